#pragma once
// What launch() needs from the host side. No CUDA and no other include: device compilers read it with every
// kernel file.
#include <cstddef>

#include "gpunn/core/exec.h"

namespace gpunn::detail {

struct LaunchShape {
  unsigned grid[3], block[3];
  std::size_t shared_bytes;
};

/// Makes the device current and records the launch. Throws DeviceLost when the device is lost already.
void before_launch(const char* name, const LaunchShape& shape, const Exec& exec);
/// In synchronous mode waits for the kernel, so that its failure is met here.
void after_launch(const Exec& exec);
[[noreturn]] void launch_failed(int code, const char* name, const LaunchShape& shape);

}  // namespace gpunn::detail
