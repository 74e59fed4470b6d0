// Gradients of the element-wise losses written with public ops, so that they have gradients themselves.
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/loss/loss_rules_impl.h"

namespace gpunn {
namespace {

/// v between -a and a.
Tensor clamp_to(const Tensor& v, double a) { return relu(v + a) - relu(v - a) - a; }

/// The slope where it is constant almost everywhere.
Tensor constant_slope(const LossInputs& in, const LossSettings& s) {
  NoGrad off;
  LossSettings each = s;
  each.reduction = Reduction::none;
  const Tensor one =
      full(in.x.shape(), 1, {.dtype = accumulator_of(in.x.dtype()), .device = Device(in.x.context())});
  return loss_backward_fused({in.x.detach(), in.y.detach(), {}, {}}, one, each, true, false)[0];
}

Gradients bce_with_logits(const LossInputs& in, const Tensor& g) {
  const Tensor &x = in.x, &y = in.y;
  if (!in.pos_weight.defined()) return {(sigmoid(x) - y) * g, neg(x) * g};
  const Tensor more = in.pos_weight - 1.0, minus = neg(x);
  const Tensor softplus = relu(minus) + log(exp(neg(relu(x) + relu(minus))) + 1.0);
  return {(1.0 - y - (more * y + 1.0) * sigmoid(minus)) * g, (more * softplus - x) * g};
}

}  // namespace

Gradients loss_backward_composed(const LossInputs& in, const Tensor& dloss, const LossSettings& s) {
  const Tensor &x = in.x, &y = in.y;
  Tensor g = dloss.to(x.dtype());
  if (s.reduction == Reduction::mean) g = g / static_cast<double>(x.numel());
  if (in.weight.defined()) g = g * in.weight;
  const auto opposite = [](const Tensor& dx) -> Gradients { return {dx, neg(dx)}; };
  switch (s.kind) {
    case LossKind::mse:
      return opposite((x - y) * 2.0 * g);
    case LossKind::smooth_l1:
      return opposite(clamp_to(x - y, s.parameter) / s.parameter * g);
    case LossKind::huber:
      return opposite(clamp_to(x - y, s.parameter) * g);
    case LossKind::l1:
      return opposite(constant_slope(in, s) * g);
    case LossKind::bce:
      return {(x - y) * g / (x * (1.0 - x)), (log(1.0 - x) - log(x)) * g};
    case LossKind::bce_with_logits:
      return bce_with_logits(in, g);
    case LossKind::kl_div:
      return {neg(y) * g, (log(y) + 1.0 - x) * g};
    case LossKind::kl_div_log:
      return {neg(exp(y)) * g, exp(y) * (y - x + 1.0) * g};
    default:  // hinges, whose y is a label
      return {constant_slope(in, s) * g};
  }
}

}  // namespace gpunn
