// Failures that storages keep: who has failed, who is skipped, what the waits throw and what mends it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "gpunn/core/error.h"
#include "gpunn/core/implementation.h"
#include "gpunn/core/memory.h"
#include "gpunn/core/random.h"
#include "gpunn/core/runtime.h"
#include "gpunn/core/scheduler.h"
#include "tests/support/fake_device.h"

namespace gpunn {
namespace {

using ::testing::AllOf;
using testing::FakeCall;
using testing::FakeDevice;
using testing::FakeFailure;
using testing::FakeMode;
using ::testing::HasSubstr;

class FailureTest : public ::testing::Test {
 protected:
  explicit FailureTest(FakeMode mode = FakeMode::deferred) {
    auto api = std::make_unique<FakeDevice>(testing::FakeOptions{.mode = mode});
    device_ = api.get();
    context_ = &runtime_.adopt(std::move(api));
    for (RawStream& stream : streams_) stream = context_->take_stream(0);
  }
  ~FailureTest() override { device_->clear_failures(); }

  Scheduler& scheduler() { return context_->scheduler(); }
  Ref<Storage> storage() { return Storage::allocate(*context_, 64); }
  /// False when it was skipped.
  bool issue(
      int stream, std::vector<Storage*> reads, std::vector<Storage*> writes,
      std::function<void()> work = [] {}) {
    const RawStream raw = streams_[static_cast<std::size_t>(stream)];
    Scheduler::Issue issue(scheduler(), raw, reads, writes);
    if (!issue.skipped()) device_->enqueue(raw, std::move(work));
    issue.commit();
    return !issue.skipped();
  }
  /// An op whose issue throws half-way.
  void failing_issue(std::vector<Storage*> reads, std::vector<Storage*> writes) {
    LayerScope layer("fc1");
    OpScope op("relu");
    EXPECT_THROW(
        {
          Scheduler::Issue issue(scheduler(), streams_[0], reads, writes);
          throw Unsupported("no");
        },
        Unsupported);
  }
  std::string failure_of(Storage& storage) {
    try {
      scheduler().wait_readable(storage);
    } catch (const Error& e) {
      return e.what();
    }
    return {};
  }

  Runtime runtime_{RuntimeOptions{.threads = 1, .forced = {}}};
  FakeDevice* device_ = nullptr;
  DeviceContext* context_ = nullptr;
  RawStream streams_[3] = {};
};

TEST_F(FailureTest, AFailedIssueFailsWhatItWritesAndNothingElse) {
  auto x = storage(), y = storage();
  issue(0, {}, {x.get()});
  failing_issue({x.get()}, {y.get()});
  for (int again = 0; again < 2; ++again) {
    EXPECT_THAT(failure_of(*y), AllOf(HasSubstr("[fc1: relu] "), HasSubstr("issuing the work failed"),
                                      HasSubstr("what depends on it was skipped")));
    EXPECT_THROW(context_->synchronize(), Error);
    EXPECT_THROW(scheduler().check(), Error);
  }
  EXPECT_EQ(failure_of(*x), "");
  EXPECT_NO_THROW(scheduler().wait_writable(*y)) << "a writer does not care what was there";
  y = nullptr;
  EXPECT_NO_THROW(context_->synchronize()) << "the failure went with its storage";
}

TEST_F(FailureTest, DependantsAreSkippedAndFailForTheFirstReason) {
  auto x = storage(), y = storage(), z = storage(), other = storage();
  failing_issue({}, {x.get()});
  int ran = 0;
  OpScope op("gelu");
  EXPECT_FALSE(issue(1, {x.get()}, {y.get()}, [&] { ++ran; }));
  EXPECT_FALSE(issue(2, {other.get(), y.get()}, {z.get(), other.get()}, [&] { ++ran; }));
  EXPECT_TRUE(issue(1, {}, {storage().get()}, [&] { ++ran; }));
  device_->synchronize_device();
  EXPECT_EQ(ran, 1);
  for (Storage* s : {y.get(), z.get(), other.get()}) EXPECT_THAT(failure_of(*s), HasSubstr("[fc1: relu] "));
  EXPECT_EQ(scheduler().counters().skipped, 2u);
}

// An optimizer's update: many are written, and each may be made from any other.
TEST_F(FailureTest, AWrittenOperandIsARead) {
  auto x = storage(), y = storage();
  failing_issue({}, {x.get()});
  EXPECT_FALSE(issue(0, {}, {y.get(), x.get()}));
  EXPECT_NE(failure_of(*y), "");
}

TEST_F(FailureTest, OnlyWritingTheWholeMends) {
  auto x = storage();
  failing_issue({}, {x.get()});
  int written = 0;
  EXPECT_FALSE(issue(1, {}, {x.get()}, [&] { ++written; })) << "a part, perhaps, or an update";
  EXPECT_NE(failure_of(*x), "");
  EXPECT_EQ(written, 0);
  {
    Overwrite abandoned(*x);
    EXPECT_EQ(failure_of(*x), "");
  }
  EXPECT_NE(failure_of(*x), "") << "it was not done";
  {
    Overwrite whole(*x);
    issue(1, {}, {x.get()});
    whole.done();
  }
  EXPECT_EQ(failure_of(*x), "");
  EXPECT_TRUE(issue(0, {x.get()}, {}));
  context_->synchronize();
}

TEST_F(FailureTest, AnOverwriteFromAFailedSourceFails) {
  auto x = storage(), y = storage();
  failing_issue({}, {x.get()});
  Overwrite whole(*y);
  issue(0, {x.get()}, {y.get()});
  whole.done();
  EXPECT_NE(failure_of(*y), "");
}

// A host callback reports by its outcome. The dependants are long issued when it does.
struct Report {
  std::shared_ptr<Outcome> outcome;
  bool good;
  static void run(void* self) {
    auto* const r = static_cast<Report*>(self);
    if (r->good) {
      r->outcome->succeed();
    } else {
      r->outcome->fail(std::make_exception_ptr(DataError("disk full")));
    }
  }
};

TEST_F(FailureTest, ALateReportReachesWhatWasIssuedBefore) {
  for (const bool good : {true, false}) {
    auto x = storage(), y = storage(), z = storage(), apart = storage();
    Report report{nullptr, good};
    {
      LayerScope layer("encoder");
      OpScope op("save");
      const std::vector<Storage*> writes{x.get()};
      Scheduler::Issue issue(scheduler(), streams_[0], {}, writes);
      report.outcome = scheduler().expect(writes);
      device_->host_callback(streams_[0], &Report::run, &report);
      issue.commit();
    }
    EXPECT_TRUE(issue(1, {x.get()}, {y.get()}));
    EXPECT_TRUE(issue(2, {y.get()}, {z.get()}));
    EXPECT_TRUE(issue(1, {}, {apart.get()}));
    const std::string failure = failure_of(*z);
    EXPECT_EQ(failure_of(*apart), "");
    if (good) {
      EXPECT_EQ(failure, "");
      EXPECT_TRUE(issue(0, {z.get()}, {}));
      context_->synchronize();
    } else {
      EXPECT_THAT(failure, HasSubstr("[encoder: save] disk full"));
      EXPECT_THROW(scheduler().wait_readable(*x), DataError);
      EXPECT_FALSE(issue(0, {z.get()}, {}));
      EXPECT_THROW(context_->synchronize(), DataError);
    }
  }
  EXPECT_NO_THROW(context_->synchronize());
}

TEST_F(FailureTest, TheEarlierOfTwoFailuresIsTold) {
  auto x = storage(), y = storage();
  const std::vector<Storage*> one{x.get()}, two{y.get()};
  scheduler().fail(one, std::make_exception_ptr(DataError("first")));
  scheduler().fail(two, std::make_exception_ptr(OutOfMemory("second")));
  auto z = storage();
  issue(0, {y.get(), x.get()}, {z.get()});
  EXPECT_THROW(scheduler().wait_readable(*z), DataError);
  EXPECT_THROW(context_->synchronize(), DataError);
}

TEST_F(FailureTest, TypesAndCodesAreKept) {
  auto x = storage();
  const auto fails_as = [&](auto error) {
    const std::vector<Storage*> writes{x.get()};
    Overwrite whole(*x);
    scheduler().fail(writes, std::make_exception_ptr(error));
    whole.done();
    EXPECT_THROW(scheduler().wait_readable(*x), decltype(error)) << error.what();
    EXPECT_THAT(failure_of(*x), HasSubstr(error.what()));
  };
  fails_as(Error("a"));
  fails_as(InvalidArgument("b"));
  fails_as(Unsupported("c"));
  fails_as(OutOfMemory("d"));
  fails_as(CudaError("e", 7));
  fails_as(DeviceLost("f", 700));
  fails_as(DataError("g"));
}

TEST_F(FailureTest, AnotherLibrarysExceptionComesNested) {
  auto x = storage();
  const std::vector<Storage*> writes{x.get()};
  scheduler().fail(writes, std::make_exception_ptr(std::range_error("theirs")));
  try {
    scheduler().wait_readable(*x);
    FAIL() << "no exception";
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), HasSubstr("theirs"));
    EXPECT_THROW(std::rethrow_if_nested(e), std::range_error);
  }
}

TEST_F(FailureTest, AnErrorOfTheWaitIsKept) {
  auto x = storage(), y = storage();
  {
    OpScope op("matmul");
    issue(0, {}, {x.get()});
  }
  issue(1, {}, {y.get()});
  device_->fail_at(FakeCall::event, 3);  // create, record, synchronise
  for (int again = 0; again < 2; ++again) {
    EXPECT_THROW(scheduler().wait_readable(*x), CudaError);
    EXPECT_THAT(failure_of(*x), HasSubstr("[matmul] injected"));
  }
  EXPECT_EQ(failure_of(*y), "");
  EXPECT_FALSE(issue(0, {x.get()}, {}));
}

TEST_F(FailureTest, ALostDeviceFailsEveryIssue) {
  auto x = storage(), y = storage();
  issue(0, {}, {x.get()});
  device_->enqueue_failure(streams_[0]);
  EXPECT_THROW(scheduler().wait_readable(*x), DeviceLost);
  EXPECT_THROW(issue(0, {x.get()}, {y.get()}), DeviceLost) << "not skipped in silence";
  EXPECT_THROW(issue(0, {}, {y.get()}), DeviceLost);
}

TEST_F(FailureTest, NothingIsIssuedWhenTheOrderCannotBeMade) {
  auto x = storage();
  issue(0, {}, {x.get()});
  device_->fail_at(FakeCall::event, 2);
  EXPECT_THROW(issue(1, {x.get()}, {x.get()}), CudaError);
  EXPECT_EQ(failure_of(*x), "") << "what it would have changed is as it was";
  EXPECT_TRUE(issue(1, {x.get()}, {x.get()}));
}

TEST_F(FailureTest, MemoryOfFailedStoragesComesBack) {
  for (int i = 0; i < 3; ++i) {
    auto x = storage(), y = storage();
    failing_issue({}, {x.get()});
    issue(1, {x.get()}, {y.get()});
  }
  EXPECT_EQ(context_->memory().stats().live_bytes, 0u);
  EXPECT_NO_THROW(context_->synchronize());
}

TEST_F(FailureTest, AnOpThatCannotBeOrderedLeavesNothingBehind) {
  auto x = storage();
  issue(0, {}, {x.get()});
  const std::vector<Storage*> writes{x.get()};
  const auto live = context_->memory().stats().live_bytes;
  device_->fail_at(FakeCall::event, 2);
  EXPECT_THROW(detail::OpIssue(*context_, {}, writes, 1000, "entry"), CudaError);
  EXPECT_EQ(context_->memory().stats().live_bytes, live) << "its workspace is back";
  EXPECT_EQ(x->version(), 0u);
  EXPECT_EQ(failure_of(*x), "") << "nothing was issued";
}

TEST_F(FailureTest, AnOpWithoutWorkspaceLeavesItsOutputs) {
  auto x = storage();
  const std::vector<Storage*> writes{x.get()};
  EXPECT_THROW(detail::OpIssue(*context_, {}, writes, std::size_t{1} << 40, "entry"), OutOfMemory);
  EXPECT_EQ(failure_of(*x), "");
}

TEST_F(FailureTest, AnOpThatBreaksOffHasWritten) {
  auto x = storage();
  const std::vector<Storage*> writes{x.get()};
  for (DeviceContext* context : {context_, &runtime_.cpu()}) {
    const auto version = x->version();
    try {
      detail::OpIssue op(*context, {}, writes, 100, "entry");
      throw Unsupported("half-way");
    } catch (const Unsupported&) {
    }
    EXPECT_EQ(x->version(), version + 1) << "what autograd saved of it is no longer there";
    EXPECT_EQ(context->memory().stats().live_bytes, context == context_ ? 64u : 0u);
  }
  EXPECT_NE(failure_of(*x), "");
}

// Random programs against a model: per storage the set of outcomes that it depends on.
class FailureModel {
 public:
  FailureModel(DeviceContext& context, FakeDevice& device, std::uint64_t seed)
      : context_(context), device_(device), random_(seed, 9) {
    for (std::size_t i = 0; i < kStorages; ++i) storages_.push_back(Storage::allocate(context, 64));
    for (RawStream& stream : streams_) stream = context.take_stream(0);
    depends_.resize(kStorages);
  }
  ~FailureModel() {
    for (RawStream stream : streams_) context_.give_stream(stream, 0);
  }

  /// The number of wrong answers.
  int run(int steps) {
    int wrong = 0;
    for (int i = 0; i < steps; ++i) {
      wrong += step();
      if (random_.below(6) == 0) settle_one();
      if (random_.below(4) == 0) wrong += look(random_.below(kStorages));
    }
    while (!open_.empty()) settle_one();
    for (std::size_t s = 0; s < kStorages; ++s) wrong += look(s);
    return wrong;
  }

 private:
  static constexpr std::size_t kStorages = 6;

  bool failed(std::size_t s) const {
    return std::any_of(depends_[s].begin(), depends_[s].end(), [&](int id) { return bad_.count(id) > 0; });
  }
  bool look(std::size_t s) {
    try {
      context_.scheduler().wait_readable(*storages_[s]);
    } catch (const DataError&) {
      return !failed(s);
    }
    return failed(s);
  }
  bool step() {
    const std::size_t target = random_.below(kStorages);
    if (random_.below(8) == 0) return overwrite(target);
    std::vector<Storage*> reads;
    std::set<int> inherited;
    bool skip = failed(target);
    for (std::size_t n = random_.below(3); n > 0; --n) {
      const std::size_t s = random_.below(kStorages);
      reads.push_back(storages_[s].get());
      inherited.insert(depends_[s].begin(), depends_[s].end());
      skip |= failed(s);
    }
    depends_[target].insert(inherited.begin(), inherited.end());
    const std::vector<Storage*> writes{storages_[target].get()};
    const RawStream stream = streams_[random_.below(3)];
    Scheduler::Issue issue(context_.scheduler(), stream, reads, writes);
    if (!issue.skipped()) device_.enqueue(stream, [] {});
    if (random_.below(5) == 0) {
      open_.push_back({next_, context_.scheduler().expect(writes)});
      depends_[target].insert(next_++);
    } else if (random_.below(10) == 0) {
      context_.scheduler().fail(writes, std::make_exception_ptr(DataError("planted")));
      depends_[target].insert(next_);
      bad_.insert(next_++);
    }
    issue.commit();
    return issue.skipped() != skip;
  }
  bool overwrite(std::size_t target) {
    const std::vector<Storage*> writes{storages_[target].get()};
    const bool done = random_.below(2) == 0;
    Overwrite whole(*storages_[target]);
    Scheduler::Issue issue(context_.scheduler(), streams_[random_.below(3)], {}, writes);
    issue.commit();
    if (done) {
      whole.done();
      depends_[target].clear();
    }
    return issue.skipped();
  }
  void settle_one() {
    if (open_.empty()) return;
    const std::size_t i = random_.below(open_.size());
    if (random_.below(2) == 0) {
      open_[i].second->fail(std::make_exception_ptr(DataError("planted")));
      bad_.insert(open_[i].first);
    } else {
      open_[i].second->succeed();
    }
    open_.erase(open_.begin() + static_cast<std::ptrdiff_t>(i));
  }

  DeviceContext& context_;
  FakeDevice& device_;
  PhiloxStream random_;
  std::vector<Ref<Storage>> storages_;
  RawStream streams_[3] = {};
  std::vector<std::set<int>> depends_;
  std::set<int> bad_;
  std::vector<std::pair<int, std::shared_ptr<Outcome>>> open_;
  int next_ = 0;
};

TEST_F(FailureTest, RandomProgramsFailWhereTheModelSays) {
  for (std::uint64_t seed = 1; seed <= 300; ++seed)
    ASSERT_EQ(FailureModel(*context_, *device_, seed).run(60), 0) << "seed " << seed;
  EXPECT_NO_THROW(context_->synchronize()) << "all storages are gone";
  EXPECT_GT(scheduler().counters().skipped, 1000u);
}

class FailureRaceTest : public FailureTest {
 protected:
  FailureRaceTest() : FailureTest(FakeMode::threaded) {}
};

// Callbacks report from the streams' threads while four host threads issue, wait and drop.
TEST_F(FailureRaceTest, ReportsFromStreamsWhileSeveralThreadsIssue) {
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 40; ++i) {
        auto x = storage(), y = storage();
        Report report{nullptr, (i + t) % 3 != 0};
        const std::vector<Storage*> writes{x.get()};
        {
          const RawStream stream = streams_[t % 3];
          Scheduler::Issue issue(scheduler(), stream, {}, writes);
          report.outcome = scheduler().expect(writes);
          device_->host_callback(stream, &Report::run, &report);
          issue.commit();
        }
        issue((t + 1) % 3, {x.get()}, {y.get()});
        const std::string failure = failure_of(*y);
        wrong += failure.empty() != report.good;
        try {
          scheduler().check();
        } catch (const DataError&) {
        }
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_NO_THROW(context_->synchronize());
}

}  // namespace
}  // namespace gpunn
