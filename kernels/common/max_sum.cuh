#pragma once
// Maximum and sum of exponentials in one pass, as softmax and cross-entropy need them.
//
// Method: Milakov and Gimelshein, "Online normalizer calculation for softmax" (2018).
#include "gpunn/kernels/common/reduce.cuh"

namespace gpunn {

/// Of the values added so far: the maximum, and the sum of exp(value - maximum).
struct MaxSum {
  float max, sum;

  /// NaN, and +inf as exp(inf - inf), make the sum NaN; -inf adds nothing.
  GPUNN_DEVICE void add(float v) {
    if (v > max) {
      sum = sum * expf(max - v) + (v - v + 1.0f);
      max = v;
    } else if (v != -INFINITY) {
      sum += expf(v - max);
    }
  }
  /// What the two-pass formula gives for a row of -inf only: exp(-inf + inf).
  GPUNN_DEVICE MaxSum of_row() const { return {max, sum == 0.0f ? NAN : sum}; }
};

GPUNN_DEVICE MaxSum shuffle_xor(MaxSum value, int lane_mask) {
  return {shuffle_xor(value.max, lane_mask), shuffle_xor(value.sum, lane_mask)};
}

struct MaxSumOp {
  static GPUNN_DEVICE MaxSum identity() { return {-INFINITY, 0.0f}; }
  /// Rounds each product: a fused multiply-add would treat a and b differently.
  static GPUNN_DEVICE MaxSum combine(MaxSum a, MaxSum b) {
    const float max = fmaxf(a.max, b.max);
    return {max, __fadd_rn(__fmul_rn(a.sum, rescale(a.max, max)), __fmul_rn(b.sum, rescale(b.max, max)))};
  }

 private:
  static GPUNN_DEVICE float rescale(float from, float to) { return from == to ? 1.0f : expf(from - to); }
};

}  // namespace gpunn
