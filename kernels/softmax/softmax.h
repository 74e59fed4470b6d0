#pragma once
// softmax and log-softmax over one dimension.
//
//   softmax      y_i = exp(x_i - m) / s            m = max_j x_j,  s = sum_j exp(x_j - m)
//   log_softmax  y_i = (x_i - m) - ln s
//
// Shapes: any x of rank >= 1; y has the shape of x. dtypes: f32, f16, bf16 (computed in f32), f64 on the CPU.
// Special values as in PyTorch: -inf gives probability 0; a row of -inf only, or with +inf or NaN, gives NaN.
// Finite input never gives NaN: nothing overflows, since the maximum is subtracted first.
//
// Backward keeps y:  softmax      dx_i = y_i (dy_i - sum_j dy_j y_j)
//                    log_softmax  dx_i = dy_i - exp(y_i) sum_j dy_j
// Second derivatives: all of them, through the same formulas written with public ops.
// Determinism: bitwise; sums run in an order that depends on sizes and alignment only.
// Errors: InvalidArgument for undefined, integer or rank-0 x, and for `dim` out of range.
// A `dim` other than the last is served by a transposed copy; rows are best contiguous.
//
// Source: subtracting the maximum is textbook practice; the one-pass sum of long rows on a GPU follows
// Milakov and Gimelshein, "Online normalizer calculation for softmax" (2018).

#include "gpunn/core/api.h"
#include "gpunn/core/tensor.h"

namespace gpunn {

/// Probabilities along `dim` (negative counts from the end).
GPUNN_API Tensor softmax(const Tensor& x, int dim);
/// Logarithm of softmax, exact where the probability underflows.
GPUNN_API Tensor log_softmax(const Tensor& x, int dim);

}  // namespace gpunn
