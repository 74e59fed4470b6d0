#pragma once
// What layer, RMS and group norm share: the call and its gradient.
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

}  // namespace gpunn::detail
