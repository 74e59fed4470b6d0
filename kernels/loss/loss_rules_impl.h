#pragma once
// What loss.cpp and loss_composed.cpp share.
#include "gpunn/core/autograd.h"
#include "gpunn/kernels/loss/loss_impl.h"

namespace gpunn {

/// Which loss, for the rule and for messages.
struct LossSettings {
  const char* op;
  LossKind kind;
  Reduction reduction;
  double parameter = 0;
};

/// What forward keeps. Weights are undefined where there are none.
struct LossInputs {
  Tensor x, y, weight, pos_weight;
};

/// Checks, forward and rule. Throws InvalidArgument.
Tensor elementwise_loss(const Tensor& x, const Tensor& y, const LossSettings& settings,
                        const Tensor& weight = {}, const Tensor& pos_weight = {});
/// One pass over x and y for whichever gradients are wanted (at least one).
Gradients loss_backward_fused(const LossInputs& in, const Tensor& dloss, const LossSettings& s, bool want_dx,
                              bool want_dy);
/// The same from public ops, for second derivatives.
Gradients loss_backward_composed(const LossInputs& in, const Tensor& dloss, const LossSettings& s);

}  // namespace gpunn
