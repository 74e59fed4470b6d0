#pragma once
// What layer, RMS and group norm and those of sums share: the call and its gradient.
#include "gpunn/core/autograd.h"
#include "gpunn/core/tensor.h"
#include "gpunn/kernels/norm/norm_impl.h"

namespace gpunn::detail {

struct RowNormSettings {
  const char* op;  // a literal
  NormRows sizes;
  double eps;
  bool rms, wide;
};

/// x contiguous, with rows as `sizes` says; weight and bias have channels() elements or are undefined.
/// Checked before. The result has x's shape.
Tensor row_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, const RowNormSettings& settings);

/// Gradients of x, weight and bias from public ops, for second derivatives, in the precision of statistics.
Gradients row_norm_gradients(const Tensor& x, const Tensor& weight, const Tensor& dy,
                             const RowNormSettings& settings, const Shape& weight_shape);

/// The trailing dimensions of x must be `shape`; how many rows it has before them.
NormRows rows_of(const Tensor& x, const Shape& shape);

/// RMS norm's eps where none is given: the machine epsilon of x's dtype.
double rms_eps(DType dtype);

}  // namespace gpunn::detail
