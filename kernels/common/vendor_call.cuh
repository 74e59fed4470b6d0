#pragma once
// How a vendor's device-wide algorithm is called: f(temporary, bytes, stream) in its two steps, with a null
// `temporary` to learn the bytes, and to run. What it launches is one entry of the flight recorder.
#include <cstddef>

#include "gpunn/core/launch.cuh"

namespace gpunn {

/// Bytes of temporary memory, rounded up to where another array may start. Asks the current device.
template <class F>
std::size_t vendor_bytes(const char* name, F&& f) {
  std::size_t bytes = 0;
  const cudaError_t error = f(nullptr, bytes, cudaStream_t{});
  if (error != cudaSuccess) detail::launch_failed(static_cast<int>(error), name, {});
  return (bytes + 255) / 256 * 256;
}

/// `name` is a literal. `bytes` of `temporary` are at least what vendor_bytes() said.
template <class F>
void vendor_run(const char* name, void* temporary, std::size_t bytes, const Exec& exec, F&& f) {
  detail::before_launch(name, {}, exec);
  const cudaError_t error = f(temporary, bytes, static_cast<cudaStream_t>(exec.stream));
  if (error != cudaSuccess) detail::launch_failed(static_cast<int>(error), name, {});
  detail::after_launch(exec);
}

}  // namespace gpunn
