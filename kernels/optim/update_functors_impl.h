#pragma once
// The update of one element by each rule, for the reference (double) and the GPU (float). The vectorised
// bodies of optim_cpu.cpp follow them line by line. T is float or double.
#include <cmath>

#include "gpunn/core/hd.h"
#include "gpunn/kernels/optim/optim_impl.h"

namespace gpunn::optim {

/// Settings and step values in the type of the arithmetic.
template <class T>
struct Constants {
  T beta1, rest1, beta2, rest2, eps, weight_decay, l1_decay;  // rest1 = 1 - beta1; sgd: 1 - dampening
  T rate, grad_rate, denominator, keep;
  bool momentum, nesterov, centered, amsgrad, maximize, first_step;
};

template <class T>
GPUNN_HD Constants<T> constants_of(const UpdateSettings& s, const double* values) {
  const bool sgd = s.rule == UpdateRule::sgd;
  return {static_cast<T>(s.beta1),
          static_cast<T>(1 - (sgd ? s.dampening : s.beta1)),
          static_cast<T>(s.beta2),
          static_cast<T>(1 - s.beta2),
          static_cast<T>(s.eps),
          static_cast<T>(s.weight_decay),
          static_cast<T>(s.l1_decay),
          static_cast<T>(values[0]),
          static_cast<T>(values[1]),
          static_cast<T>(values[2]),
          static_cast<T>(values[3]),
          s.beta1 != 0,
          s.nesterov,
          s.centered,
          s.amsgrad,
          s.maximize,
          s.first_step};
}

/// -1, 0 or 1; NaN stays NaN.
template <class T>
GPUNN_HD T sign_of(T x) {
  return x > T{0} ? T{1} : (x < T{0} ? T{-1} : x);
}

/// Is state `i` of the rule in use?
GPUNN_HD bool has_state(const UpdateSettings& s, int i) {
  switch (s.rule) {
    case UpdateRule::sgd:
      return i == 0 && s.beta1 != 0;
    case UpdateRule::rmsprop:
      return i == 0 || (i == 1 && s.beta1 != 0) || (i == 2 && s.centered);
    case UpdateRule::adam:
      return i < 2 || (i == 2 && s.amsgrad);
    case UpdateRule::adadelta:
    case UpdateRule::nadam:
      return i < 2;
    default:
      return i == 0;
  }
}

/// What all rules do first: the gradient with decay; shrinks `w`.
template <class T>
GPUNN_HD T gradient_of(const Constants<T>& c, T& w, T grad) {
  T g = c.maximize ? -grad : grad;
  if (c.weight_decay != T{0}) g += c.weight_decay * w;
  if (c.l1_decay != T{0}) g += c.l1_decay * sign_of(w);
  w *= c.keep;
  return g;
}

template <class T>
GPUNN_HD void sgd_element(const Constants<T>& c, T& w, T g, T (&s)[kMaxStates]) {
  if (c.momentum) {
    s[0] = c.first_step ? g : c.beta1 * s[0] + c.rest1 * g;
    g = c.nesterov ? g + c.beta1 * s[0] : s[0];
  }
  w -= c.rate * g;
}

template <class T>
GPUNN_HD void adagrad_element(const Constants<T>& c, T& w, T g, T (&s)[kMaxStates]) {
  s[0] += g * g;
  w -= c.rate * g / (std::sqrt(s[0]) + c.eps);
}

template <class T>
GPUNN_HD void adadelta_element(const Constants<T>& c, T& w, T g, T (&s)[kMaxStates]) {
  s[0] = c.beta2 * s[0] + c.rest2 * g * g;
  const T delta = std::sqrt(s[1] + c.eps) / std::sqrt(s[0] + c.eps) * g;
  w -= c.rate * delta;
  s[1] = c.beta2 * s[1] + c.rest2 * delta * delta;
}

template <class T>
GPUNN_HD void rmsprop_element(const Constants<T>& c, T& w, T g, T (&s)[kMaxStates]) {
  s[0] = c.beta2 * s[0] + c.rest2 * g * g;
  T variance = s[0];
  if (c.centered) {
    s[2] = c.beta2 * s[2] + c.rest2 * g;
    variance -= s[2] * s[2];
    variance = variance < T{0} ? T{0} : variance;  // rounding can make it negative; NaN stays
  }
  T delta = g / (std::sqrt(variance) + c.eps);
  if (c.momentum) delta = s[1] = c.beta1 * s[1] + delta;
  w -= c.rate * delta;
}

template <class T>
GPUNN_HD void adam_element(const Constants<T>& c, T& w, T g, T (&s)[kMaxStates]) {
  s[0] = c.beta1 * s[0] + c.rest1 * g;
  s[1] = c.beta2 * s[1] + c.rest2 * g * g;
  T square = s[1];
  if (c.amsgrad) square = s[2] = s[2] < square || square != square ? square : s[2];
  w -= c.rate * s[0] / (std::sqrt(square) * c.denominator + c.eps);
}

template <class T>
GPUNN_HD void nadam_element(const Constants<T>& c, T& w, T g, T (&s)[kMaxStates]) {
  s[0] = c.beta1 * s[0] + c.rest1 * g;
  s[1] = c.beta2 * s[1] + c.rest2 * g * g;
  w -= (c.grad_rate * g + c.rate * s[0]) / (std::sqrt(s[1]) * c.denominator + c.eps);
}

template <class T>
GPUNN_HD void lion_element(const Constants<T>& c, T& w, T g, T (&s)[kMaxStates]) {
  w -= c.rate * sign_of(c.beta1 * s[0] + c.rest1 * g);
  s[0] = c.beta2 * s[0] + c.rest2 * g;
}

/// Updates `w` and the states in use.
template <UpdateRule kRule, class T>
GPUNN_HD void update_element(const Constants<T>& c, T& w, T grad, T (&s)[kMaxStates]) {
  const T g = gradient_of(c, w, grad);
  if constexpr (kRule == UpdateRule::sgd) sgd_element(c, w, g, s);
  if constexpr (kRule == UpdateRule::adagrad) adagrad_element(c, w, g, s);
  if constexpr (kRule == UpdateRule::adadelta) adadelta_element(c, w, g, s);
  if constexpr (kRule == UpdateRule::rmsprop) rmsprop_element(c, w, g, s);
  if constexpr (kRule == UpdateRule::adam) adam_element(c, w, g, s);
  if constexpr (kRule == UpdateRule::nadam) nadam_element(c, w, g, s);
  if constexpr (kRule == UpdateRule::lion) lion_element(c, w, g, s);
}

template <UpdateRule kRule>
struct RuleTag {
  static constexpr UpdateRule kValue = kRule;
};

/// Calls f(RuleTag<rule>{}).
template <class F>
void for_rule(UpdateRule rule, F&& f) {
  switch (rule) {
    case UpdateRule::sgd:
      return f(RuleTag<UpdateRule::sgd>{});
    case UpdateRule::adagrad:
      return f(RuleTag<UpdateRule::adagrad>{});
    case UpdateRule::adadelta:
      return f(RuleTag<UpdateRule::adadelta>{});
    case UpdateRule::rmsprop:
      return f(RuleTag<UpdateRule::rmsprop>{});
    case UpdateRule::adam:
      return f(RuleTag<UpdateRule::adam>{});
    case UpdateRule::nadam:
      return f(RuleTag<UpdateRule::nadam>{});
    case UpdateRule::lion:
      return f(RuleTag<UpdateRule::lion>{});
  }
}

}  // namespace gpunn::optim
