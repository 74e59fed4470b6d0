#pragma once
// launch_coresident(): for kernels whose blocks wait for each other (gpunn/kernels/common/grid_barrier.cuh).
// All blocks run at the same time or the launch is refused; under launch() a block may wait for one that gets
// no room. A cooperative launch on a GPU.
//
// Under stream capture the attribute goes into the graph's kernel node, which CUDA allows (driver_types.h:
// "valid for graph nodes"; not tried here). The launch waits until the GPU has room for all blocks, so that
// it starts late beside long kernels of other streams.

#include <cuda_runtime_api.h>

#include "gpunn/core/detail/coresident_host.h"
#include "gpunn/core/launch.cuh"
#if !defined(__CUDACC__)
#include "gpunn/core/emulation/coresident.h"
#endif

namespace gpunn {

template <class... P>
cudaError_t allow_shared(void (*kernel)(P...), size_t shared_bytes) {
  if (shared_bytes <= kDefaultSharedLimit) return cudaSuccess;
  return cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                              static_cast<int>(shared_bytes));
}

// As launch_kernel(). cudaErrorCooperativeLaunchTooLarge: the device cannot hold the grid.
template <class... P, class... A>
cudaError_t launch_kernel_coresident(const char* name, void (*kernel)(P...), const LaunchConfig& config,
                                     A&&... args) {
  static_assert(sizeof...(P) == sizeof...(A), "a kernel is launched with exactly its parameters");
  const cudaError_t error = allow_shared(kernel, config.shared_bytes);
  if (error != cudaSuccess) return error;
#if defined(__CUDACC__)
  static_cast<void>(name);
  cudaLaunchAttribute cooperative{};
  cooperative.id = cudaLaunchAttributeCooperative;
  cooperative.val.cooperative = 1;
  cudaLaunchConfig_t launch{};
  launch.gridDim = config.grid;
  launch.blockDim = config.block;
  launch.dynamicSmemBytes = config.shared_bytes;
  launch.stream = config.stream;
  launch.attrs = &cooperative;
  launch.numAttrs = 1;
  return cudaLaunchKernelEx(&launch, kernel, static_cast<P>(std::forward<A>(args))...);
#else
  using Arguments = std::tuple<std::remove_cv_t<P>...>;
  return emu::launch_coresident({config.grid, config.block, config.shared_bytes, config.stream, name,
                                 reinterpret_cast<void*>(kernel),
                                 &emu::thread_loop<void (*)(P...), Arguments>,
                                 std::make_shared<Arguments>(static_cast<P>(std::forward<A>(args))...)});
#endif
}

// How many blocks of `kernel` the current device holds at once, with nothing else running on it. 0: not one.
template <class... P>
cudaError_t coresident_blocks(int& blocks, void (*kernel)(P...), unsigned threads, size_t shared_bytes) {
  blocks = 0;
  int device = 0, multiprocessors = 0, of_each = 0;
  cudaError_t error = allow_shared(kernel, shared_bytes);
  if (error == cudaErrorInvalidValue) {  // more than any block can have
    static_cast<void>(cudaGetLastError());
    return cudaSuccess;
  }
  if (error == cudaSuccess) error = cudaGetDevice(&device);
  if (error == cudaSuccess)
    error = cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device);
  if (error == cudaSuccess)
    error = cudaOccupancyMaxActiveBlocksPerMultiprocessor(&of_each, kernel, static_cast<int>(threads),
                                                          shared_bytes);
  if (error == cudaSuccess) blocks = of_each * multiprocessors;
  return error;
}

/// The same on exec's device; throws CudaError or DeviceLost. A few microseconds: not for every launch.
template <class... P>
int coresident_blocks(void (*kernel)(P...), unsigned threads, size_t shared_bytes, const Exec& exec) {
  detail::make_current(exec);
  int blocks = 0;
  const cudaError_t error = coresident_blocks(blocks, kernel, threads, shared_bytes);
  if (error != cudaSuccess) detail::launch_failed(static_cast<int>(error), "coresident_blocks", {});
  return blocks;
}

/// As launch(). Throws CudaError with the number of blocks that would fit when the grid is larger.
template <class... P, class... A>
void launch_coresident(const char* name, void (*kernel)(P...), const Grid& grid, const Exec& exec,
                       A&&... args) {
  const detail::LaunchShape shape{
      {grid.grid.x, grid.grid.y, grid.grid.z}, {grid.block.x, grid.block.y, grid.block.z}, grid.shared_bytes};
  if (shape.grid[0] == 0 || shape.grid[1] == 0 || shape.grid[2] == 0) return;
  detail::before_launch(name, shape, exec);
  const cudaError_t error = launch_kernel_coresident(
      name, kernel, {grid.grid, grid.block, grid.shared_bytes, static_cast<cudaStream_t>(exec.stream)},
      std::forward<A>(args)...);
  if (error == cudaErrorCooperativeLaunchTooLarge) {
    static_cast<void>(cudaGetLastError());
    int fits = 0;
    static_cast<void>(
        coresident_blocks(fits, kernel, grid.block.x * grid.block.y * grid.block.z, grid.shared_bytes));
    detail::too_many_blocks(static_cast<int>(error), name, shape, fits);
  }
  if (error != cudaSuccess) detail::launch_failed(static_cast<int>(error), name, shape);
  detail::after_launch(exec);
}

}  // namespace gpunn
