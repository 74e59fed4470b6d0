#include <numeric>

#include "gpunn/core/op.h"
#include "gpunn/kernels/common/device_dtype.h"
#include "gpunn/kernels/cross_entropy/class_targets_impl.h"
#include "gpunn/kernels/cross_entropy/cross_entropy.h"
#include "gpunn/kernels/cross_entropy/cross_entropy_impl.h"
#include "gpunn/kernels/elementwise/elementwise.h"

namespace gpunn {
namespace {

// Forward touches one element per position: the reference is the CPU's path too.
const Implementation<NllProblem> kForwardEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", DeviceType::cuda, [](const NllProblem& p) { return device_dtype_reason(p.dtype); },
     nll_fwd_cuda_workspace, Determinism::bitwise, nll_fwd_cuda},
#endif
    {"ref", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise, nll_fwd_ref},
};

const Implementation<NllBackwardProblem> kBackwardEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", DeviceType::cuda, [](const NllBackwardProblem& p) { return device_dtype_reason(p.dtype); },
     nullptr, Determinism::bitwise, nll_bwd_cuda},
#endif
    {"cpu", DeviceType::cpu,
     [](const NllBackwardProblem& p) -> const char* { return p.dtype == DType::f32 ? nullptr : "takes f32"; },
     nullptr, Determinism::bitwise, nll_bwd_cpu},
    {"ref", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise, nll_bwd_ref},
};

/// What the rule keeps beside the tensors.
struct Settings {
  Shape shape;  // of the log-probabilities
  std::int64_t outer, classes, inner;
  std::int64_t ignore_index;
  Reduction reduction;
};

Tensor backward_fused(const Tensor& target, const Tensor& weight, const Tensor& count, const Tensor& dloss,
                      const Settings& s, DType dtype) {
  Tensor dx = empty_on(target.context(), s.shape, dtype);
  if (dx.numel() == 0) return dx;
  NllBackwardProblem p{dtype,
                       static_cast<const std::int64_t*>(target.data()),
                       weight.defined() ? weight.data() : nullptr,
                       count.defined() ? count.data() : nullptr,
                       dloss.data(),
                       dx.data(),
                       s.outer,
                       s.classes,
                       s.inner,
                       s.ignore_index,
                       s.reduction,
                       weight.defined()};
  execute(kNllBackward, p, {&target, &weight, &count, &dloss}, {&dx});
  return dx;
}

/// dloss times a constant that is made on the host: the loss is linear in x.
Tensor backward_composed(const Tensor& target, const Tensor& weight, const Tensor& dloss, const Settings& s) {
  const std::vector<std::int64_t> t = target.to_vector<std::int64_t>();
  const std::vector<double> weights = weights_of_targets(t, weight, s.ignore_index);
  const double count =
      s.reduction == Reduction::mean ? std::accumulate(weights.begin(), weights.end(), 0.0) : 1;
  std::vector<double> slope(static_cast<std::size_t>(s.outer * s.classes * s.inner));
  for (std::size_t n = 0; n < t.size(); ++n) {
    const auto at = static_cast<std::int64_t>(n);
    if (weights[n] != 0)
      slope[static_cast<std::size_t>((at / s.inner * s.classes + t[n]) * s.inner + at % s.inner)] =
          -weights[n] / count;
  }
  const bool by_position = s.reduction == Reduction::none;
  const Tensor g = dloss.reshape({by_position ? s.outer : 1, 1, by_position ? s.inner : 1});
  return (constant_like(slope, {s.outer, s.classes, s.inner}, dloss) * g).reshape(s.shape);
}

}  // namespace

const ImplementationList<NllProblem> kNllForward{"nll_loss", "forward", kForwardEntries};
const ImplementationList<NllBackwardProblem> kNllBackward{"nll_loss", "backward", kBackwardEntries};

std::vector<Operand> operands(NllProblem& p) {
  const DType acc = accumulator_of(p.dtype);
  const std::int64_t n = p.outer * p.inner;
  return {
      {"x", const_cast<void**>(&p.x), p.dtype, n * p.classes, Role::in},
      {"target", reinterpret_cast<void**>(const_cast<std::int64_t**>(&p.target)), DType::i64, n, Role::in},
      {"weight", const_cast<void**>(&p.weight), acc, p.has_weight ? p.classes : 0, Role::in},
      {"loss", &p.loss, acc, p.reduction == Reduction::none ? n : 1, Role::out},
      {"count", &p.count, acc, p.reduction == Reduction::mean, Role::out}};
}

std::vector<Operand> operands(NllBackwardProblem& p) {
  const DType acc = accumulator_of(p.dtype);
  const std::int64_t n = p.outer * p.inner;
  return {
      {"target", reinterpret_cast<void**>(const_cast<std::int64_t**>(&p.target)), DType::i64, n, Role::in},
      {"weight", const_cast<void**>(&p.weight), acc, p.has_weight ? p.classes : 0, Role::in},
      {"count", const_cast<void**>(&p.count), acc, p.reduction == Reduction::mean, Role::in},
      {"dloss", const_cast<void**>(&p.dloss), acc, p.reduction == Reduction::none ? n : 1, Role::in},
      {"dx", &p.dx, p.dtype, n * p.classes, Role::out}};
}

Cost cost(const NllProblem& p) {
  const double n = static_cast<double>(p.outer * p.inner);
  return {n * (12 + static_cast<double>(size_of(p.dtype))), 2 * n};
}

Cost cost(const NllBackwardProblem& p) {
  const double n = static_cast<double>(p.outer * p.inner);
  return {n * (12 + static_cast<double>(p.classes) * static_cast<double>(size_of(p.dtype))), n};
}

Tensor nll_loss(const Tensor& log_probabilities, const Tensor& target, const NllLossOptions& options) {
  OpScope scope("nll_loss");
  check_floating(log_probabilities, "log_probabilities");
  const Shape& shape = log_probabilities.shape();
  const int rank = shape.rank();
  GPUNN_CHECK(rank >= 1 && shape[rank > 1 ? 1 : 0] >= 1,
              "expected log_probabilities [C] or [N, C, ...] with C >= 1, got ", shape);
  GPUNN_CHECK(target.defined(), "expected target, got an undefined tensor");
  check_class_target(log_probabilities, target, without_classes(shape));
  const Tensor x = log_probabilities.contiguous(), t = target.contiguous();
  const std::int64_t classes = shape[rank > 1 ? 1 : 0], outer = rank > 1 ? shape[0] : 1;
  std::int64_t inner = 1;
  for (int i = 2; i < rank; ++i) inner *= shape[i];
  const Tensor weight = class_weights(options.weight, x, classes);
  if (options.check_targets || x.context().is_cpu()) check_classes(t, classes, options.ignore_index);
  const Settings s{shape, outer, classes, inner, options.ignore_index, options.reduction};
  const DType acc = accumulator_of(x.dtype());
  DeviceContext& context = x.context();
  Tensor loss = empty_on(context, s.reduction == Reduction::none ? t.shape() : Shape{}, acc);
  Tensor count = s.reduction == Reduction::mean ? empty_on(context, {}, acc) : Tensor();
  if (loss.numel() > 0) {
    NllProblem p{x.dtype(),
                 x.data(),
                 static_cast<const std::int64_t*>(t.data()),
                 weight.defined() ? weight.data() : nullptr,
                 loss.data(),
                 count.defined() ? count.data() : nullptr,
                 outer,
                 classes,
                 inner,
                 s.ignore_index,
                 s.reduction,
                 weight.defined()};
    execute(kNllForward, p, {&x, &t, &weight}, {&loss, &count});
  }
  if (autograd::wanted(x))
    autograd::record(loss, "nll_loss", {&x},
                     [t = Saved(t), weight = Saved(weight), count = Saved(count), s,
                      dtype = x.dtype()](const Backward& b) -> Gradients {
                       if (b.creates_graph())
                         return {backward_composed(t(b), weight(b), b.grad(), s).to(dtype)};
                       return {backward_fused(t(b), weight(b), count(b), b.grad().contiguous(), s, dtype)};
                     });
  return loss;
}

}  // namespace gpunn
