#pragma once
// The one typed way to start a kernel, for nvcc and for the emulation. gpunn/core/launch.cuh builds on it.

#include <cuda_runtime.h>

#include <memory>
#include <tuple>
#include <type_traits>
#include <utility>

namespace gpunn {

struct LaunchConfig {
  dim3 grid;
  dim3 block;
  size_t shared_bytes = 0;  // dynamic shared memory
  cudaStream_t stream = nullptr;
};

inline constexpr size_t kDefaultSharedLimit = 48 * 1024;  // above it a kernel must opt in

// Starts `kernel` on `config.stream`. Arguments are converted to the parameter types and copied before the
// call returns. `name` appears in the emulator's reports. Returns what the launch itself reports (bad
// configuration, an earlier sticky error); what happens while the kernel runs shows at the next
// synchronisation.
template <class... P, class... A>
cudaError_t launch_kernel(const char* name, void (*kernel)(P...), const LaunchConfig& config, A&&... args) {
  static_assert(sizeof...(P) == sizeof...(A), "a kernel is launched with exactly its parameters");
  if (config.shared_bytes > kDefaultSharedLimit) {
    const cudaError_t error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                   static_cast<int>(config.shared_bytes));
    if (error != cudaSuccess) return error;
  }
#if defined(__CUDACC__)
  static_cast<void>(name);
  cudaLaunchConfig_t launch{};
  launch.gridDim = config.grid;
  launch.blockDim = config.block;
  launch.dynamicSmemBytes = config.shared_bytes;
  launch.stream = config.stream;
  return cudaLaunchKernelEx(&launch, kernel, static_cast<P>(std::forward<A>(args))...);
#else
  using Arguments = std::tuple<std::remove_cv_t<P>...>;
  return emu::launch({config.grid, config.block, config.shared_bytes, config.stream, name,
                      reinterpret_cast<void*>(kernel), &emu::thread_loop<void (*)(P...), Arguments>,
                      std::make_shared<Arguments>(static_cast<P>(std::forward<A>(args))...)});
#endif
}

}  // namespace gpunn
