#pragma once
// The arithmetic of norms and clipping, for the reference (double) and the GPU (float).
#include <cmath>

#include "gpunn/core/hd.h"
#include "gpunn/kernels/optim/optim_impl.h"

namespace gpunn::optim {

/// What an element adds to its norm.
template <class T>
GPUNN_HD T norm_term(NormKind kind, T x, T exponent) {
  if (kind == NormKind::two) return x * x;
  const T size = std::fabs(x);
  return kind == NormKind::power ? std::pow(size, exponent) : size;
}

/// Sum, or the larger one; NaN spreads either way.
template <class T>
GPUNN_HD T join_norms(NormKind kind, T a, T b) {
  if (kind != NormKind::infinity) return a + b;
  return a > b || a != a ? a : b;
}

template <class T>
GPUNN_HD T norm_root(NormKind kind, T sum, T exponent) {
  if (kind == NormKind::two) return std::sqrt(sum);
  return kind == NormKind::power ? std::pow(sum, T{1} / exponent) : sum;
}

/// PyTorch's factor; NaN when the norm is.
template <class T>
GPUNN_HD T clip_factor(T norm, T max_norm) {
  const T factor = max_norm / (norm + static_cast<T>(1e-6));
  return factor > T{1} ? T{1} : factor;
}

template <class T>
GPUNN_HD T clamped(T x, T bound) {
  return x > bound ? bound : (x < -bound ? -bound : x);
}

}  // namespace gpunn::optim
