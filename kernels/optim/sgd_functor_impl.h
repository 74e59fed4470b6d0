#pragma once
// The update of one element, for every implementation but the vectorised one. T is float or double.
#include "gpunn/core/hd.h"
#include "gpunn/kernels/optim/optim_impl.h"

namespace gpunn::optim {

/// Settings in the type of the arithmetic.
template <class T>
struct SgdSettings {
  T lr, momentum, keep, weight_decay;  // keep: 1 - dampening
  bool nesterov, maximize, first_step, has_momentum;
};

template <class T>
GPUNN_HD SgdSettings<T> settings_of(const SgdProblem& p) {
  return {static_cast<T>(p.lr),
          static_cast<T>(p.momentum),
          static_cast<T>(1 - p.dampening),
          static_cast<T>(p.weight_decay),
          p.nesterov,
          p.maximize,
          p.first_step,
          p.momentum != 0};
}

/// Updates `param`, and `buffer` when there is momentum.
template <class T>
GPUNN_HD void sgd_element(const SgdSettings<T>& s, T& param, T grad, T& buffer) {
  T g = s.maximize ? -grad : grad;
  if (s.weight_decay != T{0}) g += s.weight_decay * param;
  if (s.has_momentum) {
    buffer = s.first_step ? g : s.momentum * buffer + s.keep * g;
    g = s.nesterov ? g + s.momentum * buffer : buffer;
  }
  param -= s.lr * g;
}

}  // namespace gpunn::optim
