#pragma once
// Losses between two tensors of one shape, element by element, then reduced.
//
//   mse_loss                          (x - y)^2
//   binary_cross_entropy              -y max(ln x, -100) - (1 - y) max(ln(1 - x), -100)
//   binary_cross_entropy_with_logits  max(x, 0) - x y + ln(1 + exp(-|x|))
//
// Shapes: x and y of any shape, the same; the result has it for Reduction::none and is a scalar otherwise.
// dtypes: f32, f16, bf16 (computed in f32), f64 on the CPU; the loss is f32 (f64 for f64).
// Special values as in PyTorch: the mean over nothing is NaN, the sum 0; the logarithms' bound of -100 keeps
// the loss of x = 0 or 1 finite. x outside [0, 1] gives NaN in binary_cross_entropy (PyTorch raises an error
// on the CPU).
//
// Backward keeps x and y, and differentiates with respect to both:
//   mse        dx = 2 (x - y) g                      dy = -dx
//   bce        dx = (x - y) g / max(x (1 - x), 1e-12)  dy = (max(ln(1 - x), -100) - max(ln x, -100)) g
//   bce logits dx = (sigmoid(x) - y) g               dy = -x g
// Second derivatives: all of them, by the same formulas written with public ops (without the bounds).
// Determinism: bitwise; elements are added by a tree that depends on their number only.
// Errors: InvalidArgument for undefined or integer tensors, differing shapes, dtypes or devices.

#include "gpunn/core/api.h"
#include "gpunn/core/tensor.h"
#include "gpunn/kernels/common/reduction.h"

namespace gpunn {

GPUNN_API Tensor mse_loss(const Tensor& x, const Tensor& y, Reduction reduction = Reduction::mean);
/// x: probabilities in [0, 1]; y: targets, usually 0 or 1.
GPUNN_API Tensor binary_cross_entropy(const Tensor& x, const Tensor& y,
                                      Reduction reduction = Reduction::mean);
/// x: logits; stable for large ones.
GPUNN_API Tensor binary_cross_entropy_with_logits(const Tensor& x, const Tensor& y,
                                                  Reduction reduction = Reduction::mean);

}  // namespace gpunn
