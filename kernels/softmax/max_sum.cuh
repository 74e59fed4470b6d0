#pragma once
// Maximum and sum of exponentials in one pass, as softmax and cross-entropy over long rows need them.
//
// Method: Milakov and Gimelshein, "Online normalizer calculation for softmax" (2018).
#include "gpunn/kernels/common/reduce.cuh"

namespace gpunn {

/// max over the values seen, and the sum of exp(value - max). A NaN or an infinity among them makes the sum
/// what exp(v - max) / sum must be NaN with, as in the plain formula; -inf adds nothing.
struct MaxSum {
  float max, sum;

  GPUNN_DEVICE void add(float v) {
    if (v > max) {
      sum = sum * expf(max - v) + (v - v + 1.0f);  // 1, but NaN for +inf: exp(inf - inf)
      max = v;
    } else if (v != -INFINITY) {
      sum += expf(v - max);
    }
  }
};

GPUNN_DEVICE MaxSum shuffle_xor(MaxSum value, int lane_mask) {
  return {shuffle_xor(value.max, lane_mask), shuffle_xor(value.sum, lane_mask)};
}

struct MaxSumOp {
  static GPUNN_DEVICE MaxSum identity() { return {-INFINITY, 0.0f}; }
  /// Separate roundings: a fused multiply-add would treat a and b differently.
  static GPUNN_DEVICE MaxSum combine(MaxSum a, MaxSum b) {
    const float max = fmaxf(a.max, b.max);
    return {max, __fadd_rn(__fmul_rn(a.sum, rescale(a.max, max)), __fmul_rn(b.sum, rescale(b.max, max)))};
  }

 private:
  static GPUNN_DEVICE float rescale(float from, float to) { return from == to ? 1.0f : expf(from - to); }
};

}  // namespace gpunn
