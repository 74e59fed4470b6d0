#include "gpunn/core/scheduler.h"

#include <gtest/gtest.h>

#include <array>
#include <functional>
#include <memory>
#include <stdexcept>
#include <vector>

#include "gpunn/core/error.h"
#include "gpunn/core/memory.h"
#include "gpunn/core/runtime.h"
#include "gpunn/core/stream.h"
#include "tests/support/fake_device.h"

namespace gpunn {
namespace {

using testing::FakeDevice;
using testing::FakeMode;

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

// The allocator hands memory out for use after what the storage's stream did with it before; other streams
// have to be told.
TEST_F(SchedulerTest, AFirstUseOnAnotherStreamWaitsForTheMemory) {
  const StreamScope on_a(*context_, a_);
  auto x = storage();
  void* const pointer = x->data();
  int value = 0;
  device_->hold(a_, true);
  issue(a_, {x.get()}, {}, [&] { value = 1; });
  x = nullptr;
  auto y = storage();
  ASSERT_EQ(y->data(), pointer) << "the test wants the same memory";
  int seen = -1;
  issue(b_, {}, {y.get()}, [&] { seen = value; });
  EXPECT_THROW(device_->synchronize_stream(b_), std::logic_error) << "b does not wait for a";
  device_->hold(a_, false);
  device_->synchronize_stream(b_);
  EXPECT_EQ(seen, 1);
}

TEST_F(SchedulerTest, AFirstUseOfIdleMemoryWaitsForNothing) {
  const StreamScope on_a(*context_, a_);
  auto x = storage();
  issue(b_, {}, {x.get()});
  auto pinned = Storage::allocate(*context_, 64, Storage::Place::pinned_host);
  issue(a_, {}, {x.get()});
  const auto waits = scheduler().counters().waits;
  issue(b_, {}, {pinned.get()});
  EXPECT_EQ(scheduler().counters().waits, waits) << "pinned memory is handed out idle";
  EXPECT_EQ(waits, 1u) << "only a waited for b";
}

}  // namespace
}  // namespace gpunn
