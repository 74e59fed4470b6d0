#pragma once
// For tests: what stands between a Runtime and the CPU.
#include <memory>

#include "gpunn/core/device_api.h"

namespace gpunn::detail {

/// When set, make_cpu_device_api() returns what it makes of the CPU. Set it before a Runtime is made.
extern std::unique_ptr<DeviceApi> (*wrap_cpu_api)(std::unique_ptr<DeviceApi>);

}  // namespace gpunn::detail
