#pragma once
// Words a kernel source uses instead of CUDA spellings that a C++ compiler cannot take. The same text is
// compiled by nvcc for the GPU and, in the emulated build, by the host compiler (docs/emulation.md).

#include <cuda_runtime.h>

#include <type_traits>

#include "gpunn/core/hd.h"

#define GPUNN_KERNEL static __global__ void

#if defined(__CUDACC__)

#define GPUNN_DEVICE __device__ __forceinline__
#define GPUNN_NOINLINE __noinline__
#define GPUNN_UNROLL _Pragma("unroll")
// Shared array of the block, aligned to 16 bytes at least: GPUNN_SHARED(tile, float[32][33]);
#define GPUNN_SHARED(name, ...) __shared__ __align__(16) std::type_identity_t<__VA_ARGS__> name
// Dynamic shared memory of the launch as `unsigned char name[]`, 1024-aligned (what a 128-byte swizzle
// needs).
#define GPUNN_DYN_SHARED(name) extern __shared__ __align__(1024) unsigned char name[]

#else

#define GPUNN_DEVICE inline
#define GPUNN_NOINLINE __attribute__((noinline))
#define GPUNN_UNROLL
#define GPUNN_SHARED(name, ...)                                                           \
  static constinit ::gpunn::emu::SharedVariable name##_shared_{                           \
      sizeof(__VA_ARGS__), alignof(__VA_ARGS__) < 16 ? 16 : alignof(__VA_ARGS__), #name}; \
  auto& name = *static_cast<std::type_identity_t<__VA_ARGS__>*>(::gpunn::emu::shared_address(name##_shared_))
#define GPUNN_DYN_SHARED(name) unsigned char* const name = ::gpunn::emu::dynamic_shared()

#endif
