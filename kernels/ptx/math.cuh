#pragma once
// Instructions of the special function unit that C++ reaches only with code around them (PTX ISA, "ex2").

#include "gpunn/kernels/ptx/common.cuh"

#if !defined(__CUDACC__)
#include <cmath>
#endif

namespace gpunn::ptx {

#if defined(__CUDACC__)

// 2^x to 2 ulp; results below the normal numbers are 0. One instruction, exp2f takes four.
GPUNN_DEVICE float ex2_approx(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

#else

inline float ex2_approx(float x) {
  const float y = std::exp2(x);
  return y < 0x1p-126f ? 0.0f : y;  // NaN stays
}

#endif

}  // namespace gpunn::ptx
