#pragma once
// Calls of the CUDA runtime that only the library's host code makes; <cuda_runtime.h> has the rest.

#include <cuda_runtime.h>

inline constexpr cudaError cudaErrorCooperativeLaunchTooLarge{720};

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void* kernel, int threads,
                                                          size_t dynamic_shared_bytes);
template <class... P>
inline cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, void (*kernel)(P...),
                                                                 int threads, size_t dynamic_shared_bytes) {
  return cudaOccupancyMaxActiveBlocksPerMultiprocessor(blocks, reinterpret_cast<const void*>(kernel), threads,
                                                       dynamic_shared_bytes);
}

cudaError_t cudaStreamGetPriority(cudaStream_t stream, int* priority);
