#pragma once
// Storage types to float and back, in device code: all arithmetic of a kernel is in float. On a GPU the
// hardware's conversions are used; they give the bits of core/float16.h (round to nearest even).
#include "gpunn/core/float16.h"
#include "gpunn/core/kernel_macros.cuh"

#if defined(__CUDACC__)
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#endif

namespace gpunn {

GPUNN_DEVICE float to_float(float x) { return x; }
#if defined(__CUDACC__)
GPUNN_DEVICE float to_float(Half x) { return __half2float(__ushort_as_half(x.bits)); }
GPUNN_DEVICE float to_float(BFloat16 x) { return __uint_as_float(static_cast<unsigned>(x.bits) << 16); }
#else
GPUNN_DEVICE float to_float(Half x) { return static_cast<float>(x); }
GPUNN_DEVICE float to_float(BFloat16 x) { return static_cast<float>(x); }
#endif

/// `from_float<T>(x)` rounds a float to the storage type.
template <class T>
GPUNN_DEVICE T from_float(float x);
template <>
GPUNN_DEVICE float from_float<float>(float x) {
  return x;
}
#if defined(__CUDACC__)
template <>
GPUNN_DEVICE Half from_float<Half>(float x) {
  Half h;
  h.bits = __half_as_ushort(__float2half_rn(x));
  return h;
}
template <>
GPUNN_DEVICE BFloat16 from_float<BFloat16>(float x) {
  BFloat16 b;
  b.bits = __bfloat16_as_ushort(__float2bfloat16_rn(x));
  return b;
}
#else
template <>
GPUNN_DEVICE Half from_float<Half>(float x) {
  return Half(x);
}
template <>
GPUNN_DEVICE BFloat16 from_float<BFloat16>(float x) {
  return BFloat16(x);
}
#endif

}  // namespace gpunn
