#include "gpunn/kernels/cross_entropy/cross_entropy.h"

#include <vector>

#include "gpunn/core/op.h"
#include "gpunn/kernels/common/device_dtype.h"
#include "gpunn/kernels/cross_entropy/cross_entropy_impl.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/softmax/softmax.h"

namespace gpunn {
namespace {

const char* accepts_cpu(DType dtype) { return dtype == DType::f32 ? nullptr : "takes f32"; }

const Implementation<CrossEntropyProblem> kForwardEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", DeviceType::cuda, [](const CrossEntropyProblem& p) { return device_dtype_reason(p.dtype); },
     cross_entropy_fwd_workspace, Determinism::bitwise, cross_entropy_fwd_cuda},
#endif
    {"cpu", DeviceType::cpu, [](const CrossEntropyProblem& p) { return accepts_cpu(p.dtype); },
     cross_entropy_fwd_workspace, Determinism::bitwise, cross_entropy_fwd_cpu},
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

const Implementation<TargetCheckProblem> kTargetEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", DeviceType::cuda, nullptr, nullptr, Determinism::bitwise, cross_entropy_targets_cuda},
#endif
    {"ref", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise, cross_entropy_targets_ref},
};

/// Where an operand description writes a pointer to labels.
void** target_pointer(const std::int64_t*& target) {
  return reinterpret_cast<void**>(const_cast<std::int64_t**>(&target));
}

/// What the rule keeps beside the tensors.
struct Settings {
  std::int64_t ignore_index;
  Reduction reduction;
};

/// First row with a bad target, or -1. Waits for a device; on the CPU nothing is allocated.
std::int64_t bad_row(const Tensor& target, std::int64_t classes, std::int64_t ignore_index) {
  TargetCheckProblem p{DType::f32, nullptr, nullptr, target.numel(), classes, ignore_index};
  if (target.context().is_cpu()) {
    std::int64_t row = -1;
    p.target = target.host<std::int64_t>();
    p.bad_row = &row;
    cross_entropy_targets_ref(p, {});
    return row;
  }
  Tensor found = empty_on(target.context(), {1}, DType::i64);
  p.target = static_cast<const std::int64_t*>(target.data());
  p.bad_row = static_cast<std::int64_t*>(found.data());
  execute(kCrossEntropyTargets, p, {&target}, {&found});
  return found.to_vector<std::int64_t>()[0];
}

/// Throws InvalidArgument naming the first bad row, its label and the number of classes.
void check_targets(const Tensor& target, std::int64_t classes, std::int64_t ignore_index) {
  const std::int64_t row = bad_row(target, classes, ignore_index);
  if (row < 0) [[likely]]
    return;
  const std::int64_t label = target.narrow(0, row, 1).to_vector<std::int64_t>()[0];
  GPUNN_CHECK(false, "expected labels in [0, ", classes, ") or ignore_index ", ignore_index, ", got ", label,
              " in row ", row);
}

Tensor backward_fused(const Tensor& x, const Tensor& target, const Tensor& stats, const Tensor& count,
                      const Tensor& dloss, const Settings& s) {
  Tensor dx = empty_on(x.context(), x.shape(), x.dtype());
  if (x.numel() == 0) return dx;
  CrossEntropyBackwardProblem p{x.dtype(),
                                x.data(),
                                static_cast<const std::int64_t*>(target.data()),
                                stats.data(),
                                count.defined() ? count.data() : nullptr,
                                dloss.data(),
                                dx.data(),
                                x.size(0),
                                x.size(1),
                                s.ignore_index,
                                s.reduction};
  execute(kCrossEntropyBackward, p, {&x, &target, &stats, &count, &dloss}, {&dx});
  return dx;
}

/// The same from public ops, for second derivatives: (softmax(x) - onehot) * dloss * weight, the last being 0
/// in ignored rows and 1 or 1 / count elsewhere. The constants are made on the host.
Tensor backward_composed(const Tensor& x, const Tensor& target, const Tensor& dloss, const Settings& s) {
  const std::int64_t rows = x.size(0), cols = x.size(1);
  const std::vector<std::int64_t> labels = target.to_vector<std::int64_t>();
  std::vector<double> onehot(static_cast<std::size_t>(rows * cols)), weight(labels.size());
  double count = 0;
  for (std::size_t n = 0; n < labels.size(); ++n) {
    if (labels[n] == s.ignore_index) continue;
    onehot[n * static_cast<std::size_t>(cols) + static_cast<std::size_t>(labels[n])] = 1;
    weight[n] = 1;
    ++count;
  }
  if (s.reduction == Reduction::mean)
    for (double& w : weight) w /= count;
  const TensorOptions host{.dtype = DType::f64, .device = Device(x.context().runtime().cpu())};
  const Tensor ones = Tensor::from(onehot, {rows, cols}, host).to(x.dtype()).to(x.device());
  const Tensor weights = Tensor::from(weight, {rows, 1}, host).to(x.dtype()).to(x.device());
  const Tensor g = dloss.to(x.dtype()).reshape({s.reduction == Reduction::none ? rows : 1, 1});
  return (softmax(x, 1) - ones) * (g * weights);
}

void check_arguments(const Tensor& logits, const Tensor& target) {
  check_floating(logits, "logits");
  GPUNN_CHECK(logits.dim() == 2 && logits.size(1) >= 1, "expected logits [N, C] with C >= 1, got ",
              logits.shape());
  GPUNN_CHECK(target.defined(), "expected target, got an undefined tensor");
  GPUNN_CHECK(target.dtype() == DType::i64, "expected target of i64, got ", target.dtype(),
              "; convert it with .to()");
  GPUNN_CHECK(target.dim() == 1 && target.size(0) == logits.size(0), "expected target [", logits.size(0),
              "], got ", target.shape());
  GPUNN_CHECK(&target.context() == &logits.context(), "expected target on ", logits.device(),
              " like logits, got ", target.device(), "; move it with .to()");
}

}  // namespace

const ImplementationList<CrossEntropyProblem> kCrossEntropyForward{"cross_entropy", "forward",
                                                                   kForwardEntries};
const ImplementationList<CrossEntropyBackwardProblem> kCrossEntropyBackward{"cross_entropy", "backward",
                                                                            kBackwardEntries};
const ImplementationList<TargetCheckProblem> kCrossEntropyTargets{"cross_entropy", "targets", kTargetEntries};

std::vector<Operand> operands(CrossEntropyProblem& p) {
  const DType acc = accumulator_of(p.dtype);
  return {{"logits", const_cast<void**>(&p.logits), p.dtype, p.rows * p.cols, Role::in},
          {"target", target_pointer(p.target), DType::i64, p.rows, Role::in},
          {"loss", &p.loss, acc, p.reduction == Reduction::none ? p.rows : 1, Role::out},
          {"stats", &p.stats, acc, 2 * p.rows, Role::out},
          {"count", &p.count, acc, p.reduction == Reduction::mean, Role::out}};
}

std::vector<Operand> operands(CrossEntropyBackwardProblem& p) {
  const DType acc = accumulator_of(p.dtype);
  return {{"logits", const_cast<void**>(&p.logits), p.dtype, p.rows * p.cols, Role::in},
          {"target", target_pointer(p.target), DType::i64, p.rows, Role::in},
          {"stats", const_cast<void**>(&p.stats), acc, 2 * p.rows, Role::in},
          {"count", const_cast<void**>(&p.count), acc, p.reduction == Reduction::mean, Role::in},
          {"dloss", const_cast<void**>(&p.dloss), acc, p.reduction == Reduction::none ? p.rows : 1, Role::in},
          {"dlogits", &p.dlogits, p.dtype, p.rows * p.cols, Role::out}};
}

std::vector<Operand> operands(TargetCheckProblem& p) {
  return {{"target", target_pointer(p.target), DType::i64, p.rows, Role::in},
          {"bad_row", reinterpret_cast<void**>(&p.bad_row), DType::i64, 1, Role::out}};
}

// An exponential counts as one operation.
Cost cost(const CrossEntropyProblem& p) {
  const double rows = static_cast<double>(p.rows), n = rows * static_cast<double>(p.cols);
  return {n * static_cast<double>(size_of(p.dtype)) + 16 * rows, 4 * n};
}

Cost cost(const CrossEntropyBackwardProblem& p) {
  const double rows = static_cast<double>(p.rows), n = rows * static_cast<double>(p.cols);
  return {2 * n * static_cast<double>(size_of(p.dtype)) + 16 * rows, 4 * n};
}

Cost cost(const TargetCheckProblem& p) { return {8.0 * static_cast<double>(p.rows), 0}; }

std::size_t cross_entropy_fwd_workspace(const CrossEntropyProblem& p) {
  return p.reduction == Reduction::none ? 0 : static_cast<std::size_t>(p.rows) * sizeof(float);
}

Tensor cross_entropy(const Tensor& logits, const Tensor& target, const CrossEntropyOptions& options) {
  OpScope scope("cross_entropy");
  check_arguments(logits, target);
  const Tensor x = logits.contiguous(), t = target.contiguous();
  if (options.check_targets || x.context().is_cpu()) check_targets(t, x.size(1), options.ignore_index);
  const Settings s{options.ignore_index, options.reduction};
  const std::int64_t rows = x.size(0);
  const DType acc = accumulator_of(x.dtype());
  DeviceContext& context = x.context();
  Tensor loss = empty_on(context, s.reduction == Reduction::none ? Shape{rows} : Shape{}, acc);
  Tensor stats = empty_on(context, {rows, 2}, acc);
  Tensor count = s.reduction == Reduction::mean ? empty_on(context, {}, acc) : Tensor();
  CrossEntropyProblem p{x.dtype(),   x.data(),     static_cast<const std::int64_t*>(t.data()),
                        loss.data(), stats.data(), count.defined() ? count.data() : nullptr,
                        rows,        x.size(1),    s.ignore_index,
                        s.reduction};
  execute(kCrossEntropyForward, p, {&x, &t}, {&loss, &stats, &count});
  if (autograd::wanted(x))
    autograd::record(loss, "cross_entropy", {&x},
                     [x = Saved(x), t = Saved(t), stats = Saved(stats), count = Saved(count),
                      s](const Backward& b) -> Gradients {
                       if (b.creates_graph()) return {backward_composed(x(b), t(b), b.grad(), s)};
                       return {backward_fused(x(b), t(b), stats(b), count(b), b.grad().contiguous(), s)};
                     });
  return loss;
}

}  // namespace gpunn
