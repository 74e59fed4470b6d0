#pragma once
// Gradient clipping, torch.nn.utils.clip_grad_norm_ and clip_grad_value_. Works on the device without
// waiting; the formulas are in kernels/optim/optim.h. Bitwise deterministic.
#include <vector>

#include "gpunn/core/api.h"
#include "gpunn/core/tensor.h"

namespace gpunn {

/// Scales the gradients of `parameters` in place so that their norm, taken together, is at most max_norm.
/// Returns the norm before that: one element on the gradients' device (f32; f64 for f64 gradients).
/// Parameters without a gradient are passed over; without any the norm is 0. norm_type may be infinite. With
/// `error_if_nonfinite` it waits for the norm and throws InvalidArgument when it is infinite or NaN, the
/// gradients unchanged. Throws InvalidArgument for undefined parameters, gradients on several devices,
/// max_norm < 0 or NaN, norm_type <= 0 or NaN.
GPUNN_API Tensor clip_grad_norm_(const std::vector<Tensor>& parameters, double max_norm, double norm_type = 2,
                                 bool error_if_nonfinite = false);

/// Clamps every element of every gradient to [-clip_value, clip_value]; NaN stays. Throws InvalidArgument for
/// a negative or NaN clip_value.
GPUNN_API void clip_grad_value_(const std::vector<Tensor>& parameters, double clip_value);

}  // namespace gpunn
