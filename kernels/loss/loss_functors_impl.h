#pragma once
// The losses of one element and their derivatives, for host and device, in float and double.
#include <cmath>

#include "gpunn/core/hd.h"
#include "gpunn/kernels/loss/loss_impl.h"

namespace gpunn {

/// One element: what it is and what it is compared with.
template <class F>
struct LossElement {
  F x, y;
  F parameter;   // of the kind
  F pos_weight;  // of bce_with_logits
};

/// max(ln, -100), NaN staying NaN.
template <class F>
GPUNN_HD F bounded_log(F ln) {
  return ln < F(-100) ? F(-100) : ln;
}

/// max(v, 0), NaN staying NaN.
template <class F>
GPUNN_HD F positive_part(F v) {
  return v < F(0) ? F(0) : v;
}

template <class F>
GPUNN_HD F sign_of(F v) {
  return v > F(0) ? F(1) : v < F(0) ? F(-1) : F(0);
}

/// ln(1 + e^-x)
template <class F>
GPUNN_HD F softplus_of_negative(F x) {
  return positive_part<F>(-x) + std::log1p(std::exp(-std::fabs(x)));
}

/// 1 / (1 + e^-x)
template <class F>
GPUNN_HD F logistic(F x) {
  const F e = std::exp(-std::fabs(x));
  return (x >= F(0) ? F(1) : e) / (F(1) + e);
}

template <class F>
GPUNN_HD F bce_with_logits_value(const LossElement<F>& e) {
  if (e.pos_weight == F(1))
    return (e.x > F(0) ? e.x : F(0)) - e.x * e.y + std::log1p(std::exp(-std::fabs(e.x)));
  return (F(1) - e.y) * e.x + (F(1) + (e.pos_weight - F(1)) * e.y) * softplus_of_negative<F>(e.x);
}

template <class F>
GPUNN_HD F loss_value(LossKind kind, const LossElement<F>& e) {
  const F x = e.x, y = e.y, a = e.parameter, d = x - y, size = std::fabs(d);
  switch (kind) {
    case LossKind::mse:
      return d * d;
    case LossKind::l1:
      return size;
    case LossKind::smooth_l1:
      return size < a ? F(0.5) * d * d / a : size - F(0.5) * a;
    case LossKind::huber:
      return size <= a ? F(0.5) * d * d : a * (size - F(0.5) * a);
    case LossKind::bce:
      return (y - F(1)) * bounded_log<F>(std::log1p(-x)) - y * bounded_log<F>(std::log(x));
    case LossKind::bce_with_logits:
      return bce_with_logits_value<F>(e);
    case LossKind::kl_div:
      return y == F(0) ? F(0) : y * (std::log(y) - x);
    case LossKind::kl_div_log:
      return std::exp(y) == F(0) ? F(0) : std::exp(y) * (y - x);
    case LossKind::hinge_embedding:
      return (y != F(1) ? positive_part<F>(a - x) : F(0)) + (y != F(-1) ? x : F(0));
    case LossKind::margin:
      return positive_part<F>(a - x * y);
    default:
      return y == F(1) ? F(1) - x : y == F(-1) ? positive_part<F>(x - a) : F(0);
  }
}

/// d loss / dx, before the incoming gradient.
template <class F>
GPUNN_HD F loss_slope_x(LossKind kind, const LossElement<F>& e) {
  const F x = e.x, y = e.y, a = e.parameter, d = x - y;
  switch (kind) {
    case LossKind::mse:
      return F(2) * d;
    case LossKind::l1:
      return sign_of<F>(d);
    case LossKind::smooth_l1:
      return std::fabs(d) < a ? d / a : sign_of<F>(d);
    case LossKind::huber:
      return std::fabs(d) <= a ? d : a * sign_of<F>(d);
    case LossKind::bce: {
      const F variance = x * (F(1) - x);
      return d / (variance < F(1e-12) ? F(1e-12) : variance);
    }
    case LossKind::bce_with_logits:
      if (e.pos_weight == F(1)) return logistic<F>(x) - y;
      return F(1) - y - (F(1) + (e.pos_weight - F(1)) * y) * logistic<F>(-x);
    case LossKind::kl_div:
      return -y;
    case LossKind::kl_div_log:
      return -std::exp(y);
    case LossKind::hinge_embedding:
      return (y != F(1) && a - x >= F(0) ? F(-1) : F(0)) + (y != F(-1) ? F(1) : F(0));
    case LossKind::margin:
      return a - x * y >= F(0) ? -y : F(0);
    default:
      return y == F(1) ? F(-1) : y == F(-1) && x - a >= F(0) ? F(1) : F(0);
  }
}

/// d loss / dy; the kinds whose y is a label have none.
template <class F>
GPUNN_HD F loss_slope_y(LossKind kind, const LossElement<F>& e) {
  const F x = e.x, y = e.y;
  switch (kind) {
    case LossKind::bce:
      return bounded_log<F>(std::log1p(-x)) - bounded_log<F>(std::log(x));
    case LossKind::bce_with_logits:
      return e.pos_weight == F(1) ? -x : (e.pos_weight - F(1)) * softplus_of_negative<F>(x) - x;
    case LossKind::kl_div:
      return std::log(y) + F(1) - x;
    case LossKind::kl_div_log:
      return std::exp(y) == F(0) ? F(0) : std::exp(y) * (y - x + F(1));
    case LossKind::hinge_embedding:
    case LossKind::margin:
    case LossKind::cosine_embedding:
      return F(0);
    default:
      return -loss_slope_x<F>(kind, e);
  }
}

}  // namespace gpunn
