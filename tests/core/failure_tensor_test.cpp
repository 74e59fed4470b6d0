// Failures as tensors of an emulated GPU show them, and devices that are lost.
#if GPUNN_EMULATED

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "gpunn/core/device_api.h"
#include "gpunn/core/error.h"
#include "gpunn/core/memory.h"
#include "gpunn/core/runtime.h"
#include "gpunn/core/scheduler.h"
#include "gpunn/core/stream.h"
#include "gpunn/core/tensor.h"
#include "tests/support/device_failures.h"

namespace gpunn {
namespace {

using testing::DeviceCall;
using ::testing::HasSubstr;
using ::testing::Not;

class TensorFailureTest : public ::testing::Test {
 protected:
  TensorFailureTest() { open({.threads = 1, .forced = {}}); }
  void open(RuntimeOptions options) {
    runtime_ = std::make_unique<Runtime>(options);
    context_ = &runtime_->cuda(0);
  }
  Tensor ones_here(const Shape& shape) { return ones(shape, {.device = Device(*context_)}); }
  void fail(const Tensor& t) {
    const LayerScope layer("fc2");
    const OpScope op("save");
    Storage* const writes[] = {&t.storage()};
    context_->scheduler().fail(writes, std::make_exception_ptr(DataError("disk full")));
  }
  static std::string failure_of(const std::function<void()>& call) {
    try {
      call();
    } catch (const Error& e) {
      return e.what();
    }
    return "no exception";
  }

  testing::DeviceReset reset_;
  std::unique_ptr<Runtime> runtime_;
  DeviceContext* context_ = nullptr;
};

TEST_F(TensorFailureTest, ReadingThrowsWhatFailedFirst) {
  const Tensor x = ones_here({1}), good = ones_here({1});
  fail(x);
  const Tensor y = x.clone().to(DType::f64);  // skipped without a word
  for (int again = 0; again < 2; ++again) {
    EXPECT_THAT(failure_of([&] { y.item(); }), HasSubstr("[fc2: save] disk full"));
    EXPECT_THROW(y.to(Device::cpu()), DataError);
    EXPECT_THROW(y.to_vector<double>(), DataError);
    EXPECT_THROW(context_->synchronize(), DataError);
  }
  EXPECT_EQ(good.clone().item(), 1);
}

TEST_F(TensorFailureTest, WritingAllOfItMends) {
  const Tensor x = ones_here({4}), source = ones_here({4});
  fail(x);
  x.narrow(0, 0, 2).fill_(3);
  EXPECT_THROW(x.to_vector<float>(), DataError) << "the other half is as bad as it was";
  x.narrow(0, 2, 2).copy_(source.narrow(0, 0, 2));
  EXPECT_THROW(x.to_vector<float>(), DataError);
  x.fill_(3);
  EXPECT_EQ(x.to_vector<float>(), (std::vector<float>{3, 3, 3, 3}));
  fail(x);
  x.copy_(x);
  EXPECT_THROW(x.to_vector<float>(), DataError) << "a copy of itself";
  const RuntimeScope scope(*runtime_);
  x.copy_(Tensor::from({1, 2, 3, 4}));
  EXPECT_EQ(x.to_vector<float>(), (std::vector<float>{1, 2, 3, 4}));
  fail(source);
  x.copy_(source);
  EXPECT_THROW(x.to_vector<float>(), DataError) << "it was copied from what failed";
}

TEST_F(TensorFailureTest, PinnedMemoryIsReadOnlyWhenItIsGood) {
  const RuntimeScope scope(*runtime_);
  const Tensor pinned = ones({4}, {.device = Device::cpu()}).pin_memory(Device(*context_));
  fail(pinned);
  EXPECT_THROW(pinned.host<float>(), DataError);
  EXPECT_THROW(pinned.clone(), DataError) << "an op of the CPU, which waits";
  pinned.fill_(2);
  EXPECT_EQ(pinned.host<float>()[0], 2);
}

TEST_F(TensorFailureTest, ALaunchThatIsRefusedFailsWhatItWritesInPlace) {
  const Tensor x = ones_here({1});
  const auto version = x.storage().version();
  testing::fail_device_call(DeviceCall::launch, 1);
  EXPECT_THAT(failure_of([&] { x.fill_(2); }), HasSubstr("[fill_] fill_fwd"));
  EXPECT_THAT(failure_of([&] { x.item(); }), HasSubstr("[fill_] issuing the work failed"));
  EXPECT_GT(x.storage().version(), version);
  x.fill_(5);
  EXPECT_EQ(x.item(), 5);
}

TEST_F(TensorFailureTest, ShadowExecutionComparesNothingThatWasSkipped) {
  open({.threads = 1, .shadow = true, .forced = {}});
  const Tensor x = ones_here({8});
  fail(x);
  const Tensor y = x.clone();
  EXPECT_THROW(y.to_vector<float>(), DataError);
}

TEST_F(TensorFailureTest, SynchronousModeWaitsAfterCopiesFillsAndCallbacks) {
  open({.threads = 1, .synchronous = true, .forced = {}});
  const LayerScope layer("encoder");
  const auto host = Storage::allocate(*context_, 4000, Storage::Place::pinned_host);
  const auto block = Storage::allocate(*context_, 4000);
  DeviceApi& api = context_->api();
  const RawStream stream = context_->compute_stream();
  const std::vector<std::pair<std::string, std::function<void()>>> calls{
      {"[encoder] copy to the device of 4000 bytes: ",
       [&] { api.copy(block->data(), host->data(), 4000, CopyKind::host_to_device, stream); }},
      {"[encoder] copy to the host of 4000 bytes: ",
       [&] { api.copy(host->data(), block->data(), 4000, CopyKind::device_to_host, stream); }},
      {"[encoder] fill of 4000 bytes: ", [&] { api.fill_bytes(block->data(), 0, 4000, stream); }},
      {"[encoder] host callback: ", [&] { api.host_callback(stream, [](void*) {}, nullptr); }}};
  for (const auto& [words, call] : calls) {
    testing::fail_device_call(DeviceCall::stream, 1);
    EXPECT_THAT(failure_of(call), HasSubstr(words));
    EXPECT_EQ(failure_of(call), "no exception");
  }
  bool ran = false;
  api.host_callback(stream, [](void* flag) { *static_cast<bool*>(flag) = true; }, &ran);
  EXPECT_TRUE(ran);
  testing::lose_device_at(DeviceCall::stream, 1);
  const std::string lost = failure_of(calls[0].second);
  EXPECT_THAT(lost, HasSubstr("cuda:0 is lost: " + calls[0].first));
  EXPECT_THAT(lost, Not(HasSubstr("newest first"))) << "there is nothing to guess";
}

TEST_F(TensorFailureTest, CopiesAreAmongTheLastThings) {
  {
    const LayerScope layer("stem");
    const Tensor x = ones_here({10});
    x.to(Device::cpu());
  }
  testing::lose_device_at(DeviceCall::any, 1);
  EXPECT_THAT(failure_of([&] { context_->synchronize(); }),
              HasSubstr("newest first: copy to the host of 40 bytes in [stem: to]; fill_fwd"));
}

// The failure that would be met by the next call stays unmet: there is no call.
TEST_F(TensorFailureTest, NoCallReachesALostDevice) {
  for (const DeviceCall call : {DeviceCall::allocation, DeviceCall::copy, DeviceCall::launch,
                                DeviceCall::event, DeviceCall::stream}) {
    open({.threads = 1, .forced = {}});
    DeviceApi& api = context_->api();
    const RawStream stream = context_->compute_stream();
    const auto host = Storage::allocate(*context_, 16, Storage::Place::pinned_host);
    Tensor x = ones_here({4});
    RawEvent event = api.create_event();
    const std::function<void()> calls[] = {
        [&] { api.allocate(64); },
        [&] { api.copy(x.data(), host->data(), 16, CopyKind::host_to_device, stream); },
        [&] { x.fill_(2); },
        [&] { api.record_event(event, stream); },
        [&] { api.synchronize_stream(stream); },
        [&] { api.create_stream(0); },
        [&] { api.allocate_host(64); },
        [&] { api.query_event(event); },
        [&] { api.host_callback(stream, [](void*) {}, nullptr); },
        [&] { context_->synchronize(); }};
    testing::lose_device_at(call, 1);
    const std::string first = failure_of(calls[static_cast<int>(call)]);
    EXPECT_THAT(first, HasSubstr("cuda:0 is lost")) << testing::name_of(call);
    testing::fail_device_call(DeviceCall::any, 1);
    const std::string cause = first.substr(std::min(first.size(), first.find("cuda:0 is lost")));
    for (const auto& later : calls) {
      EXPECT_THROW(later(), DeviceLost);
      EXPECT_THAT(failure_of(later), HasSubstr(cause));
    }
    EXPECT_EQ(testing::device_failures_met(), 1) << testing::name_of(call);
    // The device would answer again, but is lost to this context.
    testing::forget_device_failures();
    const auto live = testing::device_live();
    api.destroy_event(event);
    EXPECT_EQ(testing::device_live(), live) << "not even to free";
    EXPECT_THROW(context_->synchronize(), DeviceLost);
  }
}

}  // namespace
}  // namespace gpunn

#endif
