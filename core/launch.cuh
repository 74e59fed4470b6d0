#pragma once
// launch(): how the library starts its kernels. Adds to launch_kernel() the flight recorder, errors as
// exceptions with the kernel's name, and synchronous mode. For .cu files; the same text for nvcc and the
// emulation.

#include <utility>

#include "gpunn/core/detail/launch_host.h"
#include "gpunn/core/exec.h"
#include "gpunn/core/kernel_macros.cuh"
#include "gpunn/core/launch_kernel.cuh"

namespace gpunn {

struct Grid {
  dim3 grid;   // blocks; an extent of 0 means that there is nothing to do
  dim3 block;  // threads of a block
  size_t shared_bytes = 0;
};

/// Issues `kernel` on exec.stream. `name` is a literal and the kernel's name in reports. Throws CudaError or
/// DeviceLost.
template <class... P, class... A>
void launch(const char* name, void (*kernel)(P...), const Grid& grid, const Exec& exec, A&&... args) {
  const detail::LaunchShape shape{
      {grid.grid.x, grid.grid.y, grid.grid.z}, {grid.block.x, grid.block.y, grid.block.z}, grid.shared_bytes};
  if (shape.grid[0] == 0 || shape.grid[1] == 0 || shape.grid[2] == 0) return;
  detail::before_launch(name, shape, exec);
  const cudaError_t error = launch_kernel(
      name, kernel, {grid.grid, grid.block, grid.shared_bytes, static_cast<cudaStream_t>(exec.stream)},
      std::forward<A>(args)...);
  if (error != cudaSuccess) detail::launch_failed(static_cast<int>(error), name, shape);
  detail::after_launch(exec);
}

}  // namespace gpunn
