#pragma once
// Tests of streams: on the CPU, on the CUDA device where there is one (real or emulated), and on a deferred
// fake.
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gpunn/core/runtime.h"
#include "gpunn/core/tensor.h"
#include "tests/support/devices.h"
#include "tests/support/fake_device.h"

namespace gpunn::testing {

// "deferred": a fake whose streams run as late as the rules allow; "cuda:0": a real or emulated GPU.
class StreamDeviceTest : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (GetParam() == "deferred") {
      auto api = std::make_unique<FakeDevice>(FakeOptions{.mode = FakeMode::deferred});
      fake_ = api.get();
      context_ = &runtime_.adopt(std::move(api));
      scope_.emplace(runtime_);
    } else {
      context_ = &Device::parse(GetParam()).context();
    }
  }
  void TearDown() override {
    if (fake_) fake_->clear_failures();
    context_->synchronize();
  }
  Device device() const { return Device(*context_); }
  bool has_streams() const { return !context_->is_cpu(); }
  Tensor pinned(float value) { return full({64}, value, {.device = Device::cpu()}).pin_memory(device()); }

  Runtime runtime_{RuntimeOptions{.threads = 1, .forced = {}}};
  std::optional<RuntimeScope> scope_;  // of the fake, so that its pinned tensors and ours share a CPU
  FakeDevice* fake_ = nullptr;
  DeviceContext* context_ = nullptr;
};

inline std::vector<std::string> stream_devices() {
  std::vector<std::string> names = device_names();
  names.emplace_back("deferred");
  return names;
}

inline std::string stream_device_name(const ::testing::TestParamInfo<std::string>& info) {
  return info.param == "cuda:0" ? "cuda" : info.param;
}

}  // namespace gpunn::testing

#define GPUNN_ON_STREAM_DEVICES(Fixture)                                                              \
  INSTANTIATE_TEST_SUITE_P(Devices, Fixture, ::testing::ValuesIn(::gpunn::testing::stream_devices()), \
                           ::gpunn::testing::stream_device_name)
