#include "gpunn/kernels/loss/loss.h"

#include "gpunn/core/op.h"
#include "gpunn/kernels/common/device_dtype.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/loss/loss_rules_impl.h"
#include "gpunn/kernels/reduce/reduce.h"

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

/// A weight as a tensor of x's shape; undefined for undefined.
Tensor weight_like(const Tensor& weight, const char* name, const Tensor& x) {
  if (!weight.defined()) return {};
  check_same(x, "x", weight, name);
  GPUNN_CHECK(!weight.requires_grad(), "expected ", name, " without gradient; detach() it");
  GPUNN_CHECK(broadcast_shapes(x.shape(), weight.shape()) == x.shape(), "expected ", name,
              " that broadcasts to ", x.shape(), ", got ", weight.shape());
  return expand(weight, x.shape()).contiguous();
}

bool is_label_kind(LossKind kind) {
  return kind == LossKind::hinge_embedding || kind == LossKind::margin || kind == LossKind::cosine_embedding;
}

void* data_or_null(const Tensor& t) { return t.defined() ? t.data() : nullptr; }

}  // namespace

Gradients loss_backward_fused(const LossInputs& in, const Tensor& dloss, const LossSettings& s, bool want_dx,
                              bool want_dy) {
  const Tensor& x = in.x;
  Tensor dx = want_dx ? empty_on(x.context(), x.shape(), x.dtype()) : Tensor();
  Tensor dy = want_dy ? empty_on(x.context(), x.shape(), x.dtype()) : Tensor();
  if (x.numel() == 0) return {dx, dy};
  LossBackwardProblem p{x.dtype(),
                        x.data(),
                        in.y.data(),
                        data_or_null(in.weight),
                        data_or_null(in.pos_weight),
                        dloss.data(),
                        data_or_null(dx),
                        data_or_null(dy),
                        x.numel(),
                        s.kind,
                        s.reduction,
                        s.parameter,
                        in.weight.defined(),
                        in.pos_weight.defined(),
                        want_dx,
                        want_dy};
  // execute() takes the device from the first output, so that one must be there.
  if (want_dx)
    execute(kLossBackward, p, {&x, &in.y, &in.weight, &in.pos_weight, &dloss}, {&dx, &dy});
  else
    execute(kLossBackward, p, {&x, &in.y, &in.weight, &in.pos_weight, &dloss}, {&dy});
  return {dx, dy};
}

Tensor elementwise_loss(const Tensor& x_in, const Tensor& y_in, const LossSettings& s,
                        const Tensor& weight_in, const Tensor& pos_weight_in) {
  OpScope scope(s.op);
  check_floating(x_in, "x");
  check_same(x_in, "x", y_in, "y");
  GPUNN_CHECK(x_in.shape() == y_in.shape(), "expected y ", x_in.shape(), " like x, got ", y_in.shape());
  GPUNN_CHECK(!is_label_kind(s.kind) || !y_in.requires_grad(),
              "expected labels y without gradient; detach() them");
  const Tensor x = x_in.contiguous(), y = y_in.contiguous();
  const Tensor weight = weight_like(weight_in, "weight", x);
  const Tensor pos_weight = weight_like(pos_weight_in, "pos_weight", x);
  Tensor loss =
      empty_on(x.context(), s.reduction == Reduction::none ? x.shape() : Shape{}, accumulator_of(x.dtype()));
  if (loss.numel() > 0) {
    LossProblem p{x.dtype(),
                  x.data(),
                  y.data(),
                  data_or_null(weight),
                  data_or_null(pos_weight),
                  loss.data(),
                  x.numel(),
                  s.kind,
                  s.reduction,
                  s.parameter,
                  weight.defined(),
                  pos_weight.defined()};
    execute(kLossForward, p, {&x, &y, &weight, &pos_weight}, {&loss});
  }
  if (autograd::wanted(x, y))
    autograd::record(loss, s.op, {&x, &y},
                     [x = Saved(x), y = Saved(y), weight = Saved(weight), pos_weight = Saved(pos_weight),
                      s](const Backward& b) -> Gradients {
                       const LossInputs in{x(b), y(b), weight(b), pos_weight(b)};
                       if (b.creates_graph()) return loss_backward_composed(in, b.grad(), s);
                       return loss_backward_fused(in, b.grad().contiguous(), s, b.needs(0), b.needs(1));
                     });
  return loss;
}

const ImplementationList<LossProblem> kLossForward{"loss", "forward", kForwardEntries};
const ImplementationList<LossBackwardProblem> kLossBackward{"loss", "backward", kBackwardEntries};

std::vector<Operand> operands(LossProblem& p) {
  const DType acc = accumulator_of(p.dtype);
  return {{"x", const_cast<void**>(&p.x), p.dtype, p.n, Role::in},
          {"y", const_cast<void**>(&p.y), p.dtype, p.n, Role::in},
          {"weight", const_cast<void**>(&p.weight), p.dtype, p.has_weight ? p.n : 0, Role::in},
          {"pos_weight", const_cast<void**>(&p.pos_weight), p.dtype, p.has_pos_weight ? p.n : 0, Role::in},
          {"loss", &p.loss, acc, p.reduction == Reduction::none ? p.n : 1, Role::out}};
}

std::vector<Operand> operands(LossBackwardProblem& p) {
  const DType acc = accumulator_of(p.dtype);
  return {{"x", const_cast<void**>(&p.x), p.dtype, p.n, Role::in},
          {"y", const_cast<void**>(&p.y), p.dtype, p.n, Role::in},
          {"weight", const_cast<void**>(&p.weight), p.dtype, p.has_weight ? p.n : 0, Role::in},
          {"pos_weight", const_cast<void**>(&p.pos_weight), p.dtype, p.has_pos_weight ? p.n : 0, Role::in},
          {"dloss", const_cast<void**>(&p.dloss), acc, p.reduction == Reduction::none ? p.n : 1, Role::in},
          {"dx", &p.dx, p.dtype, p.want_dx ? p.n : 0, Role::out},
          {"dy", &p.dy, p.dtype, p.want_dy ? p.n : 0, Role::out}};
}

// Exponentials and logarithms count as one operation.
Cost cost(const LossProblem& p) {
  const double n = static_cast<double>(p.n), bytes = static_cast<double>(size_of(p.dtype));
  return {(2 + p.has_weight + p.has_pos_weight) * n * bytes + (p.reduction == Reduction::none ? 4 * n : 4),
          (p.kind <= LossKind::huber ? 3 : 8) * n};
}

Cost cost(const LossBackwardProblem& p) {
  const double n = static_cast<double>(p.n), bytes = static_cast<double>(size_of(p.dtype));
  const int written = p.want_dx + p.want_dy;
  return {(2 + p.has_weight + p.has_pos_weight + written) * n * bytes +
              (p.reduction == Reduction::none ? 4 * n : 4),
          6.0 * written * n};
}

std::size_t loss_fwd_workspace(const LossProblem& p) {
  if (p.reduction == Reduction::none) return 0;
  return static_cast<std::size_t>((p.n + kLossChunk - 1) / kLossChunk) * sizeof(float);
}

Tensor mse_loss(const Tensor& x, const Tensor& y, Reduction reduction) {
  return elementwise_loss(x, y, {"mse_loss", LossKind::mse, reduction});
}

Tensor l1_loss(const Tensor& x, const Tensor& y, Reduction reduction) {
  return elementwise_loss(x, y, {"l1_loss", LossKind::l1, reduction});
}

Tensor smooth_l1_loss(const Tensor& x, const Tensor& y, Reduction reduction, double beta) {
  OpScope scope("smooth_l1_loss");
  GPUNN_CHECK(beta >= 0, "expected beta >= 0, got ", beta);
  return elementwise_loss(
      x, y, {"smooth_l1_loss", beta == 0 ? LossKind::l1 : LossKind::smooth_l1, reduction, beta});
}

Tensor huber_loss(const Tensor& x, const Tensor& y, Reduction reduction, double delta) {
  OpScope scope("huber_loss");
  GPUNN_CHECK(delta > 0, "expected delta > 0, got ", delta);
  return elementwise_loss(x, y, {"huber_loss", LossKind::huber, reduction, delta});
}

Tensor binary_cross_entropy(const Tensor& x, const Tensor& y, Reduction reduction, const Tensor& weight) {
  return elementwise_loss(x, y, {"binary_cross_entropy", LossKind::bce, reduction}, weight);
}

Tensor binary_cross_entropy_with_logits(const Tensor& x, const Tensor& y, Reduction reduction,
                                        const Tensor& weight, const Tensor& pos_weight) {
  return elementwise_loss(x, y, {"binary_cross_entropy_with_logits", LossKind::bce_with_logits, reduction},
                          weight, pos_weight);
}

Tensor kl_div(const Tensor& x, const Tensor& y, const KlDivOptions& options) {
  OpScope scope("kl_div");
  const LossKind kind = options.log_target ? LossKind::kl_div_log : LossKind::kl_div;
  if (!options.batch_mean) return elementwise_loss(x, y, {"kl_div", kind, options.reduction});
  const Tensor total = elementwise_loss(x, y, {"kl_div", kind, Reduction::sum});
  GPUNN_CHECK(x.dim() >= 1, "expected x of rank >= 1 for a mean over the batch, got a scalar");
  return total / static_cast<double>(x.size(0));
}

Tensor hinge_embedding_loss(const Tensor& x, const Tensor& y, Reduction reduction, double margin) {
  return elementwise_loss(x, y, {"hinge_embedding_loss", LossKind::hinge_embedding, reduction, margin});
}

}  // namespace gpunn
