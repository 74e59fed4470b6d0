#include "gpunn/core/scheduler.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "gpunn/core/error.h"
#include "gpunn/core/memory.h"
#include "gpunn/core/runtime.h"
#include "tests/support/fake_device.h"
#include "tests/support/random_programs.h"

namespace gpunn {
namespace {

using testing::FakeCall;
using testing::FakeDevice;
using testing::FakeFailure;
using testing::FakeMode;
using testing::ProgramOptions;
using testing::RandomProgram;

class SchedulerTest : public ::testing::Test {
 protected:
  explicit SchedulerTest(FakeMode mode = FakeMode::deferred) {
    auto api = std::make_unique<FakeDevice>(testing::FakeOptions{.mode = mode});
    device_ = api.get();
    context_ = &runtime_.adopt(std::move(api));
    a_ = context_->take_stream(0);
    b_ = context_->take_stream(0);
    c_ = context_->take_stream(0);
  }
  ~SchedulerTest() override { device_->clear_failures(); }

  Ref<Storage> storage() { return Storage::allocate(*context_, 64); }
  void issue(
      RawStream stream, std::vector<Storage*> reads, std::vector<Storage*> writes,
      std::function<void()> work = [] {}) {
    Scheduler::Issue issue(context_->scheduler(), stream, reads, writes);
    device_->enqueue(stream, std::move(work));
    issue.commit();
  }
  Scheduler& scheduler() { return context_->scheduler(); }

  Runtime runtime_{RuntimeOptions{.threads = 1, .forced = {}}};
  FakeDevice* device_ = nullptr;
  DeviceContext* context_ = nullptr;
  RawStream a_{}, b_{}, c_{};
};

TEST_F(SchedulerTest, OneStreamRecordsNoEvents) {
  auto x = storage(), y = storage();
  for (int i = 0; i < 10; ++i) issue(a_, {x.get()}, {y.get()});
  const auto counters = scheduler().counters();
  EXPECT_EQ(counters.issues, 10u);
  EXPECT_EQ(counters.events, 0u);
  EXPECT_EQ(counters.waits, 0u);
  EXPECT_GT(counters.waits_dropped, 0u);
}

TEST_F(SchedulerTest, AReaderWaitsForTheWriterOnce) {
  auto x = storage(), y = storage();
  issue(a_, {}, {x.get()});
  issue(a_, {}, {y.get()});
  issue(b_, {x.get()}, {});
  EXPECT_EQ(scheduler().counters().waits, 1u);
  // The event covers the second write, too, and stream b has waited for it already.
  issue(b_, {y.get()}, {});
  EXPECT_EQ(scheduler().counters().waits, 1u);
  // Another stream waits for the same event.
  issue(c_, {x.get()}, {});
  EXPECT_EQ(scheduler().counters().events, 1u);
  EXPECT_EQ(scheduler().counters().waits, 2u);
}

TEST_F(SchedulerTest, ReadersDoNotWaitForEachOther) {
  auto x = storage();
  issue(a_, {}, {x.get()});
  context_->synchronize();
  const auto before = scheduler().counters().waits;
  issue(a_, {x.get()}, {});
  issue(b_, {x.get()}, {});
  EXPECT_EQ(scheduler().counters().waits, before) << "the write is known to be over";
  issue(c_, {}, {x.get()});
  EXPECT_EQ(scheduler().counters().waits, before + 2) << "a writer waits for both readers";
}

TEST_F(SchedulerTest, AWriteEndsTheListOfReaders) {
  auto x = storage();
  issue(c_, {x.get()}, {});
  issue(a_, {}, {x.get()});
  const auto before = scheduler().counters().waits;
  issue(b_, {}, {x.get()});
  EXPECT_EQ(scheduler().counters().waits, before + 1) << "the writer on a has waited for the reader on c";
}

TEST_F(SchedulerTest, TheHostSeesWhatWasWritten) {
  auto x = storage();
  int value = 0, reads_done = 0;
  issue(a_, {}, {x.get()}, [&] { value = 1; });
  issue(b_, {x.get()}, {}, [&] { reads_done += value; });
  scheduler().wait_readable(*x);
  EXPECT_EQ(value, 1);
  scheduler().wait_writable(*x);
  EXPECT_EQ(reads_done, 1);
}

TEST_F(SchedulerTest, JoinCoversWhatTheSchedulerHasNotSeen) {
  int order = 0, seen = 0;
  device_->enqueue(a_, [&] { order = 1; });
  scheduler().join(a_, b_);
  device_->enqueue(b_, [&] { seen = order; });
  device_->synchronize_stream(b_);
  EXPECT_EQ(seen, 1);
}

TEST_F(SchedulerTest, AnAbandonedIssueIsStillWaitedFor) {
  auto x = storage();
  bool first_half = false;
  try {
    const std::array<Storage*, 1> writes{x.get()};
    Scheduler::Issue issue(scheduler(), a_, {}, writes);
    device_->enqueue(a_, [&] { first_half = true; });
    throw InvalidArgument("the second half cannot be issued");
  } catch (const InvalidArgument&) {
  }
  EXPECT_THROW(scheduler().wait_readable(*x), Error) << "it is not whole";
  EXPECT_TRUE(first_half);
}

TEST_F(SchedulerTest, AnIssueMayHoldAnother) {
  auto x = storage(), y = storage();
  const std::array<Storage*, 1> outer_writes{x.get()};
  Scheduler::Issue outer(scheduler(), a_, {}, outer_writes);
  issue(b_, {}, {y.get()});
  y = nullptr;  // dies within an issue
  outer.commit();
  context_->synchronize();
  EXPECT_EQ(scheduler().counters().issues, 2u);
}

TEST_F(SchedulerTest, MemoryOfADeadStorageWaitsForItsUsers) {
  auto x = storage();
  void* const pointer = x->data();
  bool done = false;
  for (int i = 0; i < 5; ++i) device_->enqueue(b_, [] {});
  issue(b_, {x.get()}, {}, [&] { done = true; });
  x = nullptr;
  for (int i = 0; i < 3; ++i) {
    auto y = storage();
    if (y->data() == pointer) {
      EXPECT_TRUE(done);
    }
  }
  context_->synchronize();
}

TEST_F(SchedulerTest, AnAsynchronousFailureSurfacesAtTheWait) {
  auto x = storage();
  {
    const std::array<Storage*, 1> writes{x.get()};
    Scheduler::Issue issue(scheduler(), a_, {}, writes);
    device_->enqueue_failure(a_);
    issue.commit();
  }
  EXPECT_THROW(scheduler().wait_readable(*x), DeviceLost);
  EXPECT_THROW(context_->synchronize(), DeviceLost);
}

// Random programs

struct ProgramCase {
  FakeMode mode;
  int programs;
};

int differing_programs(FakeMode mode, int programs, bool scheduled) {
  int differing = 0;
  Runtime runtime(RuntimeOptions{.threads = 1, .forced = {}});
  for (int p = 0; p < programs; ++p) {
    const auto seed = static_cast<std::uint32_t>(p + 1);
    DeviceContext context(runtime,
                          std::make_unique<FakeDevice>(testing::FakeOptions{.mode = mode, .seed = seed}));
    RandomProgram program(context, {.seed = seed, .streams = 1 + p % 4, .scheduled = scheduled});
    const int different = program.run();
    differing += different > 0;
    if (scheduled) {
      EXPECT_EQ(different, 0) << "seed " << seed;
    }
  }
  return differing;
}

TEST(RandomProgramTest, EqualSerialExecutionWhenRunAtOnce) {
  differing_programs(FakeMode::immediate, 500, true);
}

TEST(RandomProgramTest, EqualSerialExecutionWhenRunAsLateAsPossible) {
  differing_programs(FakeMode::deferred, 3000, true);
}

TEST(RandomProgramTest, DifferWithoutTheScheduler) {
  EXPECT_GT(differing_programs(FakeMode::deferred, 40, false), 10);
}

TEST(RandomProgramTest, SurviveAFailureOfAnyCall) {
  for (FakeFailure failure :
       {FakeFailure::cuda_error, FakeFailure::out_of_memory, FakeFailure::device_lost}) {
    int failed = 0;
    for (long n = 1; n < 250; ++n) {
      auto api = std::make_unique<FakeDevice>(testing::FakeOptions{.mode = FakeMode::deferred, .seed = 3});
      FakeDevice& device = *api;
      Runtime runtime(RuntimeOptions{.threads = 1, .forced = {}});
      DeviceContext context(runtime, std::move(api));
      const auto live = device.live();
      {
        RandomProgram program(context, {.seed = 3});
        device.fail_at(FakeCall::any, n, failure);
        try {
          program.run();
        } catch (const Error&) {
          ++failed;
        }
        device.clear_failures();
      }
      context.pinned().trim();
      EXPECT_EQ(context.pinned().stats().live_bytes, 0u) << "call " << n;
      EXPECT_EQ(device.live().host_allocations, live.host_allocations) << "call " << n;
    }
    EXPECT_GT(failed, 100);
  }
}

TEST(SchedulerRaceTest, ProgramsOnThreadedStreams) { differing_programs(FakeMode::threaded, 60, true); }

TEST(SchedulerRaceTest, SeveralThreadsShareOneContext) {
  Runtime runtime(RuntimeOptions{.threads = 1, .forced = {}});
  DeviceContext context(runtime,
                        std::make_unique<FakeDevice>(testing::FakeOptions{.mode = FakeMode::threaded}));
  std::vector<std::thread> threads;
  std::atomic<int> different{0};
  for (std::uint32_t t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (std::uint32_t p = 0; p < 5; ++p)
        different += RandomProgram(context, {.seed = 10 * t + p, .streams = 2}).run();
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(different, 0);
}

#if GPUNN_EMULATED
// Streams of the emulated GPU, where TSan sees exactly the edges that CUDA gives.
TEST(SchedulerRaceTest, ProgramsOnEmulatedStreams) {
  Runtime runtime(RuntimeOptions{.threads = 1, .forced = {}});
  for (std::uint32_t seed = 1; seed <= 60; ++seed) {
    RandomProgram program(runtime.cuda(0), {.seed = seed, .streams = 1 + static_cast<int>(seed % 4)});
    ASSERT_EQ(program.run(), 0) << "seed " << seed;
  }
}
#endif

}  // namespace
}  // namespace gpunn
