#pragma once
// Initial values that models of several families use.
#include <cmath>

#include "gpunn/layers/conv.h"
#include "gpunn/layers/init.h"

namespace gpunn::detail {

/// N(0, 2 / fan_out) and a bias of 0: PyTorch's kaiming_normal_ with mode 'fan_out' and nonlinearity 'relu'.
inline void init_for_relu(Conv2d& conv) {
  init::normal(conv.weight, 0, std::sqrt(2 / init::fans_of(conv.weight).out));
  if (conv.bias.defined()) init::zeros(conv.bias);
}

}  // namespace gpunn::detail
