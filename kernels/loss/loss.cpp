#include "gpunn/kernels/loss/loss.h"

#include "gpunn/core/op.h"
#include "gpunn/kernels/common/device_dtype.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/loss/loss_impl.h"

namespace gpunn {
namespace {

const char* accepts_cpu(DType dtype) { return dtype == DType::f32 ? nullptr : "takes f32"; }

const Implementation<LossProblem> kForwardEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", DeviceType::cuda, [](const LossProblem& p) { return device_dtype_reason(p.dtype); },
     loss_fwd_workspace, Determinism::bitwise, loss_fwd_cuda},
#endif
    {"cpu", DeviceType::cpu, [](const LossProblem& p) { return accepts_cpu(p.dtype); }, loss_fwd_workspace,
     Determinism::bitwise, loss_fwd_cpu},
    {"ref", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise, loss_fwd_ref},
};

const Implementation<LossBackwardProblem> kBackwardEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", DeviceType::cuda, [](const LossBackwardProblem& p) { return device_dtype_reason(p.dtype); },
     nullptr, Determinism::bitwise, loss_bwd_cuda},
#endif
    {"cpu", DeviceType::cpu, [](const LossBackwardProblem& p) { return accepts_cpu(p.dtype); }, nullptr,
     Determinism::bitwise, loss_bwd_cpu},
    {"ref", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise, loss_bwd_ref},
};

/// Which loss, for the rule and for messages.
struct Kind {
  const char* op;
  LossKind kind;
  Reduction reduction;
};

/// One pass over x and y for whichever gradients are wanted (at least one).
Gradients backward_fused(const Tensor& x, const Tensor& y, const Tensor& dloss, const Kind& k, bool want_dx,
                         bool want_dy) {
  Tensor dx = want_dx ? empty_on(x.context(), x.shape(), x.dtype()) : Tensor();
  Tensor dy = want_dy ? empty_on(x.context(), x.shape(), x.dtype()) : Tensor();
  if (x.numel() == 0) return {dx, dy};
  LossBackwardProblem p{x.dtype(),
                        x.data(),
                        y.data(),
                        dloss.data(),
                        want_dx ? dx.data() : nullptr,
                        want_dy ? dy.data() : nullptr,
                        x.numel(),
                        k.kind,
                        k.reduction,
                        want_dx,
                        want_dy};
  // execute() takes the device from the first output, so that one must be there.
  if (want_dx)
    execute(kLossBackward, p, {&x, &y, &dloss}, {&dx, &dy});
  else
    execute(kLossBackward, p, {&x, &y, &dloss}, {&dy});
  return {dx, dy};
}

/// The same from public ops, for second derivatives.
Gradients backward_composed(const Tensor& x, const Tensor& y, const Tensor& dloss, const Kind& k) {
  Tensor g = dloss.to(x.dtype());
  if (k.reduction == Reduction::mean) g = g / static_cast<double>(x.numel());
  switch (k.kind) {
    case LossKind::mse: {
      const Tensor dx = (x - y) * 2.0 * g;
      return {dx, neg(dx)};
    }
    case LossKind::bce:
      return {(x - y) * g / (x * (1.0 - x)), (log(1.0 - x) - log(x)) * g};
    default:
      return {(sigmoid(x) - y) * g, neg(x) * g};
  }
}

/// The three losses: checks, forward, rule.
Tensor loss_of(const Tensor& x_in, const Tensor& y_in, const Kind& k) {
  OpScope scope(k.op);
  check_floating(x_in, "x");
  check_same(x_in, "x", y_in, "y");
  GPUNN_CHECK(x_in.shape() == y_in.shape(), "expected y ", x_in.shape(), " like x, got ", y_in.shape());
  const Tensor x = x_in.contiguous(), y = y_in.contiguous();
  Tensor loss =
      empty_on(x.context(), k.reduction == Reduction::none ? x.shape() : Shape{}, accumulator_of(x.dtype()));
  if (loss.numel() > 0) {
    LossProblem p{x.dtype(), x.data(), y.data(), loss.data(), x.numel(), k.kind, k.reduction};
    execute(kLossForward, p, {&x, &y}, {&loss});
  }
  if (autograd::wanted(x, y))
    autograd::record(loss, k.op, {&x, &y}, [x = Saved(x), y = Saved(y), k](const Backward& b) -> Gradients {
      if (b.creates_graph()) return backward_composed(x(b), y(b), b.grad(), k);
      return backward_fused(x(b), y(b), b.grad().contiguous(), k, b.needs(0), b.needs(1));
    });
  return loss;
}

}  // namespace

const ImplementationList<LossProblem> kLossForward{"loss", "forward", kForwardEntries};
const ImplementationList<LossBackwardProblem> kLossBackward{"loss", "backward", kBackwardEntries};

std::vector<Operand> operands(LossProblem& p) {
  const DType acc = accumulator_of(p.dtype);
  return {{"x", const_cast<void**>(&p.x), p.dtype, p.n, Role::in},
          {"y", const_cast<void**>(&p.y), p.dtype, p.n, Role::in},
          {"loss", &p.loss, acc, p.reduction == Reduction::none ? p.n : 1, Role::out}};
}

std::vector<Operand> operands(LossBackwardProblem& p) {
  const DType acc = accumulator_of(p.dtype);
  return {{"x", const_cast<void**>(&p.x), p.dtype, p.n, Role::in},
          {"y", const_cast<void**>(&p.y), p.dtype, p.n, Role::in},
          {"dloss", const_cast<void**>(&p.dloss), acc, p.reduction == Reduction::none ? p.n : 1, Role::in},
          {"dx", &p.dx, p.dtype, p.want_dx ? p.n : 0, Role::out},
          {"dy", &p.dy, p.dtype, p.want_dy ? p.n : 0, Role::out}};
}

// Exponentials and logarithms count as one operation.
Cost cost(const LossProblem& p) {
  const double n = static_cast<double>(p.n), bytes = static_cast<double>(size_of(p.dtype));
  return {2 * n * bytes + (p.reduction == Reduction::none ? 4 * n : 4),
          (p.kind == LossKind::mse ? 3 : 8) * n};
}

Cost cost(const LossBackwardProblem& p) {
  const double n = static_cast<double>(p.n), bytes = static_cast<double>(size_of(p.dtype));
  const int written = p.want_dx + p.want_dy;
  return {(2 + written) * n * bytes + (p.reduction == Reduction::none ? 4 * n : 4), 6.0 * written * n};
}

std::size_t loss_fwd_workspace(const LossProblem& p) {
  if (p.reduction == Reduction::none) return 0;
  return static_cast<std::size_t>((p.n + kLossChunk - 1) / kLossChunk) * sizeof(float);
}

Tensor mse_loss(const Tensor& x, const Tensor& y, Reduction reduction) {
  return loss_of(x, y, {"mse_loss", LossKind::mse, reduction});
}

Tensor binary_cross_entropy(const Tensor& x, const Tensor& y, Reduction reduction) {
  return loss_of(x, y, {"binary_cross_entropy", LossKind::bce, reduction});
}

Tensor binary_cross_entropy_with_logits(const Tensor& x, const Tensor& y, Reduction reduction) {
  return loss_of(x, y, {"binary_cross_entropy_with_logits", LossKind::bce_with_logits, reduction});
}

}  // namespace gpunn
