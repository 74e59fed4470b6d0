// Planted bugs: programs that leave out what the scheduler needs to know give wrong results, every time, on a
// fake that runs work as late as it may and on the emulated GPU; beside each, the same program as it should
// be.
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "gpunn/core/copies.h"
#include "gpunn/core/device_api.h"
#include "gpunn/core/memory.h"
#include "gpunn/core/scheduler.h"
#include "gpunn/core/stream.h"
#include "tests/support/fake_device.h"
#include "tests/support/stuck_stream.h"

namespace gpunn {
namespace {

using testing::FakeDevice;
using testing::FakeMode;
using testing::StuckStream;

constexpr int kRuns = 20;

const std::vector<std::string> kDevices = {
    "deferred",
#if GPUNN_EMULATED
    "emulated",
#endif
};

// One int of device memory that the host reaches, which a GPU's is not: these tests are for fakes and
// emulation.
int& value(const Storage& s) { return *static_cast<int*>(s.data()); }

class SchedulerBugTest : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override { open(1); }
  void open(std::uint64_t seed) {
    if (GetParam() == "emulated") {
      context_ = &runtime_.cuda(0);
    } else {
      context_ = &runtime_.adopt(
          std::make_unique<FakeDevice>(testing::FakeOptions{.mode = FakeMode::deferred, .seed = seed}));
    }
  }

  Ref<Storage> cell(int v) {
    Ref<Storage> s = Storage::allocate(*context_, sizeof(int));
    issue(*a_, {}, {s.get()}, [&] { value(*s) = v; });
    context_->synchronize();
    return s;
  }
  void issue(const Stream& stream, const std::vector<Storage*>& reads, const std::vector<Storage*>& writes,
             std::function<void()> work) {
    work_.push_back(std::make_unique<std::function<void()>>(std::move(work)));
    Issue issue(context_->scheduler(), stream.raw(), reads, writes);
    context_->api().host_callback(
        stream.raw(), [](void* f) { (*static_cast<std::function<void()>*>(f))(); }, work_.back().get());
    issue.commit();
  }

  // Runs a program kRuns times, with the streams in either role, and counts wrong answers.
  int wrong(const std::function<bool()>& gives_the_right_answer) {
    int count = 0;
    for (int run = 0; run < kRuns; ++run) {
      open(static_cast<std::uint64_t>(run));
      Stream one{Device(*context_)}, two{Device(*context_)};
      a_ = run % 2 == 0 ? &one : &two;
      b_ = run % 2 == 0 ? &two : &one;
      count += !gives_the_right_answer();
      context_->synchronize();
      work_.clear();
    }
    return count;
  }
  // While `stream` is stuck, all that does not wait for it happens.
  void run_the_rest(const Stream& stuck) {
    for (const Stream* s : {a_, b_})
      if (s != &stuck) context_->api().synchronize_stream(s->raw());
  }

  Runtime runtime_{RuntimeOptions{.threads = 1, .forced = {}}};
  DeviceContext* context_ = nullptr;
  Stream *a_ = nullptr, *b_ = nullptr;
  std::vector<std::unique_ptr<std::function<void()>>> work_;
};

INSTANTIATE_TEST_SUITE_P(Devices, SchedulerBugTest, ::testing::ValuesIn(kDevices),
                         [](const auto& test) { return test.param; });

TEST_P(SchedulerBugTest, MissingReadOrWriteOfADependency) {
  const auto program = [this](bool first_declares, bool second_declares, bool second_writes) {
    const Ref<Storage> x = cell(1);
    int seen = 0;
    const auto read = [&] { seen = value(*x); };
    const auto write = [&] { value(*x) = 2; };
    using Storages = std::vector<Storage*>;
    const Storages none, it{x.get()};
    StuckStream stuck(*context_, a_->raw());
    if (second_writes) {
      issue(*a_, first_declares ? it : none, none, read);
      issue(*b_, none, second_declares ? it : none, write);
    } else {
      issue(*a_, none, first_declares ? it : none, write);
      issue(*b_, second_declares ? it : none, none, read);
    }
    if (!first_declares || !second_declares) run_the_rest(*a_);  // would not return if b waited for a
    stuck.let_go();
    context_->synchronize();
    return seen == (second_writes ? 1 : 2);
  };
  EXPECT_EQ(wrong([&] { return program(true, false, false); }), kRuns) << "read after write, reader silent";
  EXPECT_EQ(wrong([&] { return program(false, true, false); }), kRuns) << "read after write, writer silent";
  EXPECT_EQ(wrong([&] { return program(true, false, true); }), kRuns) << "write after read, writer silent";
  EXPECT_EQ(wrong([&] { return program(false, true, true); }), kRuns) << "write after read, reader silent";
  EXPECT_EQ(wrong([&] { return program(true, true, false); }), 0);
  EXPECT_EQ(wrong([&] { return program(true, true, true); }), 0);
}

TEST_P(SchedulerBugTest, HostReadBeforeTheWait) {
  const auto program = [this](bool waits) {
    const Ref<Storage> x = cell(1);
    StuckStream stuck(*context_, a_->raw());
    issue(*a_, {}, {x.get()}, [&] { value(*x) = 2; });
    if (waits) {
      stuck.let_go();
      context_->scheduler().wait_readable(*x);
    }
    const int read = value(*x);
    stuck.let_go();
    context_->synchronize();
    return read == 2;
  };
  EXPECT_EQ(wrong([&] { return program(false); }), kRuns);
  EXPECT_EQ(wrong([&] { return program(true); }), 0);
}

TEST_P(SchedulerBugTest, HostWriteBeforeTheCopyHasRead) {
  const auto program = [this](bool waits) {
    const Tensor source = full({16}, 1, {.device = Device::cpu()}).pin_memory(Device(*context_));
    const Tensor target = source.to(Device(*context_));
    StuckStream stuck(*context_, context_->copy_in_stream());
    copy_async(target, source);
    if (waits) stuck.let_go();
    *(waits ? source.host<float>() : static_cast<float*>(source.data())) = 5;
    stuck.let_go();
    return target.to_vector<float>()[0] == 1;
  };
  EXPECT_EQ(wrong([&] { return program(false); }), kRuns);
  EXPECT_EQ(wrong([&] { return program(true); }), 0);
}

TEST_P(SchedulerBugTest, MemoryReusedBeforeTheEvent) {
  const auto program = [this](bool declared) {
    const StreamScope on_a(*a_);
    Ref<Storage> x = cell(1);
    const int* const memory = &value(*x);
    int seen = 0;
    StuckStream stuck(*context_, b_->raw());
    issue(*b_, declared ? std::vector<Storage*>{x.get()} : std::vector<Storage*>{}, {},
          [&seen, memory] { seen = *memory; });
    x = nullptr;  // the allocator is told about b only if the scheduler was
    const Ref<Storage> y = Storage::allocate(*context_, sizeof(int));
    EXPECT_EQ(&value(*y) == memory, !declared) << "the bug is that y gets the memory of x at once";
    issue(*a_, {}, {y.get()}, [&] { value(*y) = 9; });
    run_the_rest(*b_);
    stuck.let_go();
    context_->synchronize();
    return seen == 1;
  };
  EXPECT_EQ(wrong([&] { return program(false); }), kRuns);
  EXPECT_EQ(wrong([&] { return program(true); }), 0);
}

// The other way round: new memory, still in use by its last owner's work on a, is first written on b.
TEST_P(SchedulerBugTest, NewMemoryUsedBeforeItsStreamIsDoneWithIt) {
  const auto program = [this](bool declared) {
    const StreamScope on_a(*a_);
    Ref<Storage> x = cell(1);
    const int* const memory = &value(*x);
    int seen = 0;
    StuckStream stuck(*context_, a_->raw());
    issue(*a_, {x.get()}, {}, [&seen, memory] { seen = *memory; });
    x = nullptr;
    const Ref<Storage> y = Storage::allocate(*context_, sizeof(int));
    EXPECT_EQ(&value(*y), memory) << "a itself may use it at once";
    issue(*b_, {}, declared ? std::vector<Storage*>{y.get()} : std::vector<Storage*>{},
          [&] { value(*y) = 9; });
    if (!declared) run_the_rest(*a_);
    stuck.let_go();
    context_->synchronize();
    return seen == 1;
  };
  EXPECT_EQ(wrong([&] { return program(false); }), kRuns);
  EXPECT_EQ(wrong([&] { return program(true); }), 0);
}

}  // namespace
}  // namespace gpunn
