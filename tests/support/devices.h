#pragma once
// Tests that run on the CPU and, in builds with CUDA (emulated or not), on every CUDA device there is.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "gpunn/core/device.h"

namespace gpunn::testing {

/// "cpu" and "cuda:0" where there is one.
inline std::vector<std::string> device_names() {
  std::vector<std::string> names{"cpu"};
  if (cuda_device_count() > 0) names.push_back("cuda:0");
  return names;
}

class DeviceTest : public ::testing::TestWithParam<std::string> {
 protected:
  Device device() const { return Device::parse(GetParam()); }
};

inline std::string device_test_name(const ::testing::TestParamInfo<std::string>& info) {
  return info.param == "cpu" ? "cpu" : "cuda";
}

}  // namespace gpunn::testing

#define GPUNN_ON_EVERY_DEVICE(Fixture)                                                              \
  INSTANTIATE_TEST_SUITE_P(Devices, Fixture, ::testing::ValuesIn(::gpunn::testing::device_names()), \
                           ::gpunn::testing::device_test_name)
