#pragma once
// The losses of one element and their derivatives, for host and device, in float and double.
#include <cmath>

#include "gpunn/core/hd.h"
#include "gpunn/kernels/loss/loss_impl.h"

namespace gpunn {

/// max(ln, -100), NaN staying NaN.
template <class F>
GPUNN_HD F bounded_log(F ln) {
  return ln < F(-100) ? F(-100) : ln;
}

template <class F>
GPUNN_HD F loss_value(LossKind kind, F x, F y) {
  if (kind == LossKind::mse) return (x - y) * (x - y);
  if (kind == LossKind::bce)
    return (y - F(1)) * bounded_log<F>(std::log1p(-x)) - y * bounded_log<F>(std::log(x));
  return (x > F(0) ? x : F(0)) - x * y + std::log1p(std::exp(-std::fabs(x)));
}

/// d loss / dx, before the incoming gradient.
template <class F>
GPUNN_HD F loss_slope_x(LossKind kind, F x, F y) {
  if (kind == LossKind::mse) return F(2) * (x - y);
  if (kind == LossKind::bce) {
    const F variance = x * (F(1) - x);
    return (x - y) / (variance < F(1e-12) ? F(1e-12) : variance);
  }
  const F e = std::exp(-std::fabs(x));
  return (x >= F(0) ? F(1) : e) / (F(1) + e) - y;
}

template <class F>
GPUNN_HD F loss_slope_y(LossKind kind, F x, F y) {
  if (kind == LossKind::mse) return F(2) * (y - x);
  if (kind == LossKind::bce) return bounded_log<F>(std::log1p(-x)) - bounded_log<F>(std::log(x));
  return -x;
}

}  // namespace gpunn
