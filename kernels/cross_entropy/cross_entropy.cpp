#include "gpunn/kernels/cross_entropy/cross_entropy.h"

#include <numeric>
#include <vector>

#include "gpunn/core/op.h"
#include "gpunn/kernels/common/device_dtype.h"
#include "gpunn/kernels/cross_entropy/class_targets_impl.h"
#include "gpunn/kernels/cross_entropy/cross_entropy_impl.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/reduce/reduce.h"
#include "gpunn/kernels/softmax/softmax.h"

namespace gpunn {
namespace {

const char* accepts_cpu(DType dtype) { return dtype == DType::f32 ? nullptr : "takes f32"; }

const Implementation<CrossEntropyProblem> kForwardEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", DeviceType::cuda, [](const CrossEntropyProblem& p) { return device_dtype_reason(p.dtype); },
     cross_entropy_fwd_cuda_workspace, Determinism::bitwise, cross_entropy_fwd_cuda},
#endif
    {"cpu", DeviceType::cpu, [](const CrossEntropyProblem& p) { return accepts_cpu(p.dtype); },
     cross_entropy_fwd_cpu_workspace, Determinism::bitwise, cross_entropy_fwd_cpu},
    {"ref", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise, cross_entropy_fwd_ref},
};

const Implementation<CrossEntropyBackwardProblem> kBackwardEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", DeviceType::cuda,
     [](const CrossEntropyBackwardProblem& p) { return device_dtype_reason(p.dtype); }, nullptr,
     Determinism::bitwise, cross_entropy_bwd_cuda},
#endif
    {"cpu", DeviceType::cpu, [](const CrossEntropyBackwardProblem& p) { return accepts_cpu(p.dtype); },
     nullptr, Determinism::bitwise, cross_entropy_bwd_cpu},
    {"ref", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise, cross_entropy_bwd_ref},
};

/// What the rule keeps beside the tensors. Of `classes` and `soft` one is defined.
struct Settings {
  std::int64_t ignore_index;
  Reduction reduction;
  double smoothing;
};

CrossEntropyTargets targets_of(const Tensor& target, const Tensor& weight, const Settings& s) {
  const bool soft = target.dtype() != DType::i64;
  return {soft ? nullptr : static_cast<const std::int64_t*>(target.data()),
          soft ? target.data() : nullptr,
          weight.defined() ? weight.data() : nullptr,
          s.ignore_index,
          s.smoothing,
          soft,
          weight.defined()};
}

/// What backward reads, from forward.
struct Kept {
  Tensor x, target, weight, stats, count;
};

Gradients backward_fused(const Kept& k, const Tensor& dloss, const Settings& s, bool want_dsoft) {
  Tensor dx = empty_on(k.x.context(), k.x.shape(), k.x.dtype());
  Tensor dsoft = want_dsoft ? empty_on(k.x.context(), k.x.shape(), k.x.dtype()) : Tensor();
  if (dx.numel() == 0) return {dx, dsoft};
  CrossEntropyBackwardProblem p{k.x.dtype(),
                                k.x.data(),
                                targets_of(k.target, k.weight, s),
                                k.stats.data(),
                                k.count.defined() ? k.count.data() : nullptr,
                                dloss.data(),
                                dx.data(),
                                want_dsoft ? dsoft.data() : nullptr,
                                k.x.size(0),
                                k.x.size(1),
                                s.reduction,
                                want_dsoft};
  execute(kCrossEntropyBackward, p, {&k.x, &k.target, &k.weight, &k.stats, &k.count, &dloss}, {&dx, &dsoft});
  return {dx, dsoft};
}

/// q of cross_entropy_impl.h times 1 / count, from classes: a constant made on the host.
Tensor constant_weights(const Tensor& x, const Tensor& target, const Tensor& weight, const Settings& s) {
  const std::int64_t rows = x.size(0), cols = x.size(1);
  const std::vector<std::int64_t> labels = target.to_vector<std::int64_t>();
  const std::vector<double> own = weights_of_targets(labels, weight, s.ignore_index);
  const std::vector<double> by_class = weight.defined()
                                           ? weight.to(DType::f64).to_vector<double>()
                                           : std::vector<double>(static_cast<std::size_t>(cols), 1.0);
  const double count = s.reduction == Reduction::mean ? std::accumulate(own.begin(), own.end(), 0.0) : 1;
  std::vector<double> q(static_cast<std::size_t>(rows * cols));
  for (std::size_t n = 0; n < labels.size(); ++n) {
    if (labels[n] == s.ignore_index) continue;
    for (std::size_t c = 0; c < by_class.size(); ++c) {
      const double y = static_cast<std::int64_t>(c) == labels[n];
      q[n * by_class.size() + c] =
          by_class[c] * ((1 - s.smoothing) * y + s.smoothing / static_cast<double>(cols)) / count;
    }
  }
  return constant_like(q, {rows, cols}, x);
}

/// The same from public ops, for second derivatives: dx = (sum(q) softmax(x) - q) g, dy = -(1 - s) w ln
/// softmax(x) g.
Gradients backward_composed(const Kept& k, const Tensor& dloss, const Settings& s) {
  const std::int64_t rows = k.x.size(0), cols = k.x.size(1);
  Tensor g = dloss.to(k.x.dtype()).reshape({s.reduction == Reduction::none ? rows : 1, 1});
  if (k.target.dtype() == DType::i64) {
    const Tensor q = constant_weights(k.x, k.target, k.weight, s);
    return {(sum(q, {1}, true) * softmax(k.x, 1) - q) * g};
  }
  if (s.reduction == Reduction::mean) g = g / static_cast<double>(rows);
  const Tensor weight = k.weight.defined() ? k.weight.to(k.x.dtype()).reshape({1, cols}) : Tensor();
  Tensor q = k.target * (1 - s.smoothing) + s.smoothing / static_cast<double>(cols);
  if (weight.defined()) q = q * weight;
  Tensor dsoft = log_softmax(k.x, 1) * (s.smoothing - 1) * g;
  if (weight.defined()) dsoft = dsoft * weight;
  return {(sum(q, {1}, true) * softmax(k.x, 1) - q) * g, dsoft};
}

/// Logits [N, C] and targets [N] or [N, C], contiguous and checked.
Tensor loss_of_rows(const Tensor& x, const Tensor& target, const Tensor& weight, const Settings& s) {
  const std::int64_t rows = x.size(0);
  const DType acc = accumulator_of(x.dtype());
  DeviceContext& context = x.context();
  Tensor loss = empty_on(context, s.reduction == Reduction::none ? Shape{rows} : Shape{}, acc);
  Tensor stats = empty_on(context, {rows, 3}, acc);
  Tensor count = s.reduction == Reduction::mean ? empty_on(context, {}, acc) : Tensor();
  CrossEntropyProblem p{x.dtype(),   x.data(),     targets_of(target, weight, s),
                        loss.data(), stats.data(), count.defined() ? count.data() : nullptr,
                        rows,        x.size(1),    s.reduction};
  execute(kCrossEntropyForward, p, {&x, &target, &weight}, {&loss, &stats, &count});
  if (autograd::wanted(x, target))
    autograd::record(loss, "cross_entropy", {&x, &target},
                     [x = Saved(x), target = Saved(target), weight = Saved(weight), stats = Saved(stats),
                      count = Saved(count), s](const Backward& b) -> Gradients {
                       const Kept kept{x(b), target(b), weight(b), stats(b), count(b)};
                       if (b.creates_graph()) return backward_composed(kept, b.grad(), s);
                       const bool want_dsoft = kept.target.dtype() != DType::i64 && b.needs(1);
                       return backward_fused(kept, b.grad().contiguous(), s, want_dsoft);
                     });
  return loss;
}

/// [N, C, d1, ...] as [N d1 ..., C], [C] as [1, C].
Tensor as_rows(const Tensor& x) {
  if (x.dim() == 1) return x.reshape({1, x.size(0)});
  if (x.dim() == 2) return x.contiguous();
  Dims order{0};
  for (int i = 2; i < x.dim(); ++i) order.push_back(i);
  order.push_back(1);
  return x.permute(order).contiguous().reshape({x.numel() / x.size(1), x.size(1)});
}

void check_arguments(const Tensor& logits, const Tensor& target, const CrossEntropyOptions& options) {
  check_floating(logits, "logits");
  GPUNN_CHECK(logits.dim() >= 1 && logits.size(logits.dim() > 1 ? 1 : 0) >= 1,
              "expected logits [N, C], [N, C, ...] or [C] with C >= 1, got ", logits.shape());
  GPUNN_CHECK(target.defined(), "expected target, got an undefined tensor");
  GPUNN_CHECK(options.label_smoothing >= 0 && options.label_smoothing <= 1,
              "expected label_smoothing in [0, 1], got ", options.label_smoothing);
  if (!is_floating(target.dtype()))
    return check_class_target(logits, target, without_classes(logits.shape()));
  check_same(logits, "logits", target, "target");
  GPUNN_CHECK(target.shape() == logits.shape(), "expected probabilities ", logits.shape(),
              " like logits, got ", target.shape());
}

}  // namespace

const ImplementationList<CrossEntropyProblem> kCrossEntropyForward{"cross_entropy", "forward",
                                                                   kForwardEntries};
const ImplementationList<CrossEntropyBackwardProblem> kCrossEntropyBackward{"cross_entropy", "backward",
                                                                            kBackwardEntries};

namespace {

template <class P>
void add_targets(P& p, std::vector<Operand>& list) {
  CrossEntropyTargets& t = p.targets;
  list.push_back({"target", reinterpret_cast<void**>(const_cast<std::int64_t**>(&t.classes)), DType::i64,
                  t.has_soft ? 0 : p.rows, Role::in});
  list.push_back({"soft", const_cast<void**>(&t.soft), p.dtype, t.has_soft ? p.rows * p.cols : 0, Role::in});
  list.push_back({"weight", const_cast<void**>(&t.weight), accumulator_of(p.dtype), t.has_weight ? p.cols : 0,
                  Role::in});
}

}  // namespace

std::vector<Operand> operands(CrossEntropyProblem& p) {
  const DType acc = accumulator_of(p.dtype);
  std::vector<Operand> list{{"logits", const_cast<void**>(&p.logits), p.dtype, p.rows * p.cols, Role::in}};
  add_targets(p, list);
  list.push_back({"loss", &p.loss, acc, p.reduction == Reduction::none ? p.rows : 1, Role::out});
  list.push_back({"stats", &p.stats, acc, 3 * p.rows, Role::out});
  list.push_back({"count", &p.count, acc, p.reduction == Reduction::mean, Role::out});
  return list;
}

std::vector<Operand> operands(CrossEntropyBackwardProblem& p) {
  const DType acc = accumulator_of(p.dtype);
  std::vector<Operand> list{{"logits", const_cast<void**>(&p.logits), p.dtype, p.rows * p.cols, Role::in}};
  add_targets(p, list);
  list.push_back({"stats", const_cast<void**>(&p.stats), acc, 3 * p.rows, Role::in});
  list.push_back({"count", const_cast<void**>(&p.count), acc, p.reduction == Reduction::mean, Role::in});
  list.push_back(
      {"dloss", const_cast<void**>(&p.dloss), acc, p.reduction == Reduction::none ? p.rows : 1, Role::in});
  list.push_back({"dlogits", &p.dlogits, p.dtype, p.rows * p.cols, Role::out});
  list.push_back({"dsoft", &p.dsoft, p.dtype, p.want_dsoft ? p.rows * p.cols : 0, Role::out});
  return list;
}

// An exponential counts as one operation.
Cost cost(const CrossEntropyProblem& p) {
  const double rows = static_cast<double>(p.rows), n = rows * static_cast<double>(p.cols);
  const int read = 1 + p.targets.has_soft;
  return {read * n * static_cast<double>(size_of(p.dtype)) + 24 * rows,
          (p.targets.every_class() ? 8 : 4) * n};
}

Cost cost(const CrossEntropyBackwardProblem& p) {
  const double rows = static_cast<double>(p.rows), n = rows * static_cast<double>(p.cols);
  const int moved = 2 + p.targets.has_soft + p.want_dsoft;
  return {moved * n * static_cast<double>(size_of(p.dtype)) + 24 * rows,
          (p.targets.every_class() ? 7 : 4) * n};
}

std::size_t cross_entropy_fwd_cpu_workspace(const CrossEntropyProblem& p) {
  return p.reduction == Reduction::none ? 0 : static_cast<std::size_t>(p.rows) * sizeof(float);
}

Tensor cross_entropy(const Tensor& logits, const Tensor& target, const CrossEntropyOptions& options) {
  OpScope scope("cross_entropy");
  check_arguments(logits, target, options);
  const bool soft = is_floating(target.dtype());
  const std::int64_t classes = logits.size(logits.dim() > 1 ? 1 : 0);
  const Tensor weight = class_weights(options.weight, logits, classes);
  const Tensor x = as_rows(logits);
  const Tensor t = soft                ? as_rows(target)
                   : target.dim() == 1 ? target.contiguous()
                                       : target.contiguous().reshape({x.size(0)});
  if (!soft && (options.check_targets || x.context().is_cpu()))
    check_classes(t, classes, options.ignore_index);
  const Tensor loss =
      loss_of_rows(x, t, weight, {options.ignore_index, options.reduction, options.label_smoothing});
  const bool shaped = options.reduction == Reduction::none && logits.dim() != 2;
  return shaped ? loss.reshape(without_classes(logits.shape())) : loss;
}

}  // namespace gpunn
