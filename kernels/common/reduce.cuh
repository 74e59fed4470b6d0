#pragma once
// Reductions over a warp and over a block, in a fixed order: every thread gets the result, the same bits each
// time.
//
// An operation is a struct with `static T identity()` and `static T combine(T a, T b)`, combine being exactly
// commutative (a butterfly hands a and b over in either order). A type of several words offers shuffle_xor()
// beside it.
#include "gpunn/core/kernel_macros.cuh"

namespace gpunn {

inline constexpr int kWarpSize = 32;
inline constexpr unsigned kFullWarp = 0xffffffffu;

struct SumOp {
  static GPUNN_DEVICE float identity() { return 0.0f; }
  static GPUNN_DEVICE float combine(float a, float b) { return a + b; }
};

/// NaN wins over everything, as in PyTorch (fmaxf would drop it).
struct MaxOp {
  static GPUNN_DEVICE float identity() { return -INFINITY; }
  static GPUNN_DEVICE float combine(float a, float b) { return a > b || a != a ? a : b; }
};

struct MinOp {
  static GPUNN_DEVICE float identity() { return INFINITY; }
  static GPUNN_DEVICE float combine(float a, float b) { return a < b || a != a ? a : b; }
};

/// Counts.
struct CountOp {
  static GPUNN_DEVICE long long identity() { return 0; }
  static GPUNN_DEVICE long long combine(long long a, long long b) { return a + b; }
};

/// The least of some indices; the identity when there is none.
struct FirstOp {
  static GPUNN_DEVICE long long identity() { return 0x7fffffffffffffffll; }
  static GPUNN_DEVICE long long combine(long long a, long long b) { return a < b ? a : b; }
};

GPUNN_DEVICE float shuffle_xor(float value, int lane_mask) {
  return __shfl_xor_sync(kFullWarp, value, lane_mask);
}
GPUNN_DEVICE int shuffle_xor(int value, int lane_mask) {
  return __shfl_xor_sync(kFullWarp, value, lane_mask);
}
GPUNN_DEVICE long long shuffle_xor(long long value, int lane_mask) {
  return __shfl_xor_sync(kFullWarp, value, lane_mask);
}

/// All 32 lanes of the warp must call it.
template <class Op, class T>
GPUNN_DEVICE T warp_reduce(T value) {
  GPUNN_UNROLL
  for (int offset = kWarpSize / 2; offset > 0; offset /= 2)
    value = Op::combine(value, shuffle_xor(value, offset));
  return value;
}

/// All kBlock threads of the block must call it; kBlock is a multiple of 32. May be called again and again.
template <class Op, int kBlock, class T>
GPUNN_DEVICE T block_reduce(T value) {
  static_assert(kBlock % kWarpSize == 0);
  GPUNN_SHARED(partial, T[kBlock / kWarpSize]);
  value = warp_reduce<Op>(value);
  __syncthreads();  // partial may still be read by the previous call
  if (threadIdx.x % kWarpSize == 0) partial[threadIdx.x / kWarpSize] = value;
  __syncthreads();  // every warp's value is there before anyone reads
  value = Op::identity();
  for (int i = 0; i < kBlock / kWarpSize; ++i) value = Op::combine(value, partial[i]);
  return value;
}

}  // namespace gpunn
