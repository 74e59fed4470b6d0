#pragma once
// Means and variances in registers: Welford's update, joined after Chan, Golub and LeVeque.
#include "gpunn/kernels/common/reduce.cuh"

namespace gpunn {

/// Count, mean and sum of squared deviations.
struct Moments {
  float n, mean, squares;
};
GPUNN_DEVICE Moments shuffle_xor(Moments m, int lane_mask) {
  return {shuffle_xor(m.n, lane_mask), shuffle_xor(m.mean, lane_mask), shuffle_xor(m.squares, lane_mask)};
}

struct MomentsOp {
  static GPUNN_DEVICE Moments identity() { return {0.0f, 0.0f, 0.0f}; }
  /// Rounds each product: a fused multiply-add would treat a and b differently.
  static GPUNN_DEVICE Moments combine(Moments a, Moments b) {
    if (a.n == 0.0f) return b;
    if (b.n == 0.0f) return a;
    const float n = a.n + b.n, delta = b.mean - a.mean;
    const float mean = __fadd_rn(__fmul_rn(a.mean, a.n / n), __fmul_rn(b.mean, b.n / n));
    return {n, mean,
            __fadd_rn(__fadd_rn(a.squares, b.squares),
                      __fmul_rn(__fmul_rn(delta, delta), __fmul_rn(a.n, b.n / n)))};
  }
};

/// Moments are taken of (x - shift) / 4, the shift being some element: what a large common mean would cost
/// goes with it, and the difference of the largest numbers stays finite.
GPUNN_DEVICE float shifted(float x, float quarter_shift) { return fmaf(x, 0.25f, -quarter_shift); }

/// kWidth values at a time, each into moments of its own; they share the count, and so one division.
template <int kWidth>
struct Welford {
  float n = 0.0f, mean[kWidth] = {}, squares[kWidth] = {};

  GPUNN_DEVICE void add(const float (&v)[kWidth]) {
    n += 1.0f;
    const float share = 1.0f / n;
    GPUNN_UNROLL
    for (int k = 0; k < kWidth; ++k) {
      const float delta = v[k] - mean[k];
      mean[k] = fmaf(delta, share, mean[k]);
      squares[k] = fmaf(delta, v[k] - mean[k], squares[k]);
    }
  }
  GPUNN_DEVICE Moments at(int k) const { return {n, mean[k], squares[k]}; }
  GPUNN_DEVICE Moments joined() const {
    Moments all = at(0);
    GPUNN_UNROLL
    for (int k = 1; k < kWidth; ++k) all = MomentsOp::combine(all, at(k));
    return all;
  }
};

/// mean + rest is the mean of the x that gave this mean, rest being what rounding leaves over. Found in
/// halves: the distance to the shift may be twice the largest number.
struct ExactMean {
  float mean, rest;
  GPUNN_DEVICE ExactMean(float shift, float shifted_mean) {
    const float from = 0.5f * shift, moved = 2.0f * shifted_mean;
    const float half = __fadd_rn(from, moved), part = __fadd_rn(half, -from);
    mean = 2.0f * half;
    rest = 2.0f * __fadd_rn(__fadd_rn(from, -__fadd_rn(half, -part)), __fadd_rn(moved, -part));
  }
};

/// Of the x that gave moments with these squares, divided by `count`.
GPUNN_DEVICE float variance_of(float squares, float count) { return 16.0f * (squares / count); }

}  // namespace gpunn
