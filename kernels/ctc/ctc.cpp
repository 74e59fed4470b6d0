#include "gpunn/kernels/ctc/ctc.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "gpunn/core/op.h"
#include "gpunn/kernels/common/device_dtype.h"
#include "gpunn/kernels/ctc/ctc_impl.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/reduce/reduce.h"

namespace gpunn {
namespace {

template <class P>
const char* accepts_cpu(const P& p) {
  return p.dtype == DType::f32 ? nullptr : "takes f32";
}

/// A block per sample.
template <class P>
const char* accepts_cuda(const P& p) {
  if (p.batch > std::numeric_limits<std::int32_t>::max()) return "takes 2^31 - 1 samples at most";
  return device_dtype_reason(p.dtype);
}

const Implementation<CtcProblem> kForwardEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", DeviceType::cuda, accepts_cuda<CtcProblem>, nullptr, Determinism::bitwise, ctc_fwd_cuda},
#endif
    {"cpu", DeviceType::cpu, accepts_cpu<CtcProblem>, nullptr, Determinism::bitwise, ctc_fwd_cpu},
    {"ref", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise, ctc_fwd_ref},
};

const Implementation<CtcBackwardProblem> kBackwardEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", DeviceType::cuda, accepts_cuda<CtcBackwardProblem>, ctc_bwd_cuda_workspace, Determinism::bitwise,
     ctc_bwd_cuda},
#endif
    {"cpu", DeviceType::cpu, accepts_cpu<CtcBackwardProblem>, nullptr, Determinism::bitwise, ctc_bwd_cpu},
    {"ref", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise, ctc_bwd_ref},
};

using Numbers = std::vector<std::int64_t>;

/// Targets and lengths, checked; `targets` is [N, width].
struct Sequences {
  Tensor targets, input_lengths, target_lengths;
  Numbers target_counts;
  std::int64_t width = 0;
};

Numbers lengths_of(const Tensor& t, const char* name, std::int64_t batch, std::int64_t least,
                   std::int64_t most) {
  GPUNN_CHECK(t.defined(), "expected ", name, ", got an undefined tensor");
  GPUNN_CHECK(t.dtype() == DType::i64, "expected ", name, " of i64, got ", t.dtype(),
              "; convert it with .to()");
  GPUNN_CHECK(t.shape() == Shape{batch}, "expected ", name, " [", batch, "], got ", t.shape());
  Numbers v = t.to_vector<std::int64_t>();
  for (std::size_t n = 0; n < v.size(); ++n)
    GPUNN_CHECK(v[n] >= least && v[n] <= most, "expected ", name, " in [", least, ", ", most, "], got ", v[n],
                " for sample ", n);
  return v;
}

/// Labels as rows of `width`, whichever of the two forms they came in.
Numbers padded_targets(const Tensor& targets, const Numbers& counts, std::int64_t width) {
  const Numbers all = targets.to_vector<std::int64_t>();
  const std::int64_t row = targets.dim() == 2 ? targets.size(1) : -1;
  Numbers padded(counts.size() * static_cast<std::size_t>(width), 0);
  std::int64_t begin = 0;
  for (std::size_t n = 0; n < counts.size(); ++n) {
    if (row >= 0) begin = static_cast<std::int64_t>(n) * row;
    std::copy_n(all.begin() + begin, counts[n], padded.begin() + static_cast<std::int64_t>(n) * width);
    begin += counts[n];
  }
  return padded;
}

Sequences check_sequences(const Tensor& x, const Tensor& targets, const Tensor& input_lengths,
                          const Tensor& target_lengths, std::int64_t blank) {
  const std::int64_t steps = x.size(0), batch = x.size(1), classes = x.size(2);
  GPUNN_CHECK(targets.defined(), "expected targets, got an undefined tensor");
  GPUNN_CHECK(targets.dtype() == DType::i64, "expected targets of i64, got ", targets.dtype(),
              "; convert it with .to()");
  const bool rows = targets.dim() == 2 && targets.size(0) == batch;
  GPUNN_CHECK(rows || targets.dim() == 1, "expected targets [", batch, ", S] or one after the other, got ",
              targets.shape());
  Sequences s;
  const Numbers inputs = lengths_of(input_lengths, "input_lengths", batch, 1, steps);
  s.target_counts = lengths_of(target_lengths, "target_lengths", batch, 0, targets.size(-1));
  std::int64_t total = 0;
  for (const std::int64_t count : s.target_counts) {
    total = checked_add(total, count);
    s.width = std::max(s.width, count);
  }
  GPUNN_CHECK(rows || total == targets.size(0), "expected ", total,
              " targets, as many as target_lengths say, got ", targets.size(0));
  const Numbers labels = padded_targets(targets, s.target_counts, s.width);
  for (std::size_t n = 0; n < s.target_counts.size(); ++n)
    for (std::int64_t i = 0; i < s.target_counts[n]; ++i) {
      const std::int64_t label = labels[n * static_cast<std::size_t>(s.width) + static_cast<std::size_t>(i)];
      GPUNN_CHECK(label >= 0 && label < classes && label != blank, "expected labels in [0, ", classes,
                  ") without the blank ", blank, ", got ", label, " in sample ", n);
    }
  const TensorOptions host{.dtype = DType::i64, .device = Device(x.context().runtime().cpu())};
  s.targets = Tensor::from(labels, {batch, s.width}, host).to(x.device());
  s.input_lengths = Tensor::from(inputs, {batch}, host).to(x.device());
  s.target_lengths = Tensor::from(s.target_counts, {batch}, host).to(x.device());
  return s;
}

const std::int64_t* numbers_of(const Tensor& t) { return static_cast<const std::int64_t*>(t.data()); }

Tensor backward_fused(const Tensor& x, const Sequences& s, const Tensor& alpha, const Tensor& dloss,
                      const CtcLossOptions& options) {
  Tensor dx = empty_on(x.context(), x.shape(), x.dtype());
  if (dx.numel() == 0) return dx;
  CtcBackwardProblem p{x.dtype(),
                       x.data(),
                       numbers_of(s.targets),
                       numbers_of(s.input_lengths),
                       numbers_of(s.target_lengths),
                       alpha.data(),
                       dloss.data(),
                       dx.data(),
                       x.size(0),
                       x.size(1),
                       x.size(2),
                       s.width,
                       options.blank,
                       options.zero_infinity};
  execute(kCtcBackward, p, {&x, &s.targets, &s.input_lengths, &s.target_lengths, &alpha, &dloss}, {&dx});
  return dx;
}

/// [N]
Tensor losses_of_samples(const Tensor& x, const Sequences& s, const CtcLossOptions& options) {
  const DType acc = accumulator_of(x.dtype());
  const std::int64_t steps = x.size(0), batch = x.size(1);
  Tensor loss = empty_on(x.context(), {batch}, acc);
  const std::int64_t per_sample = checked_mul(steps, 2 * s.width + 1);
  static_cast<void>(checked_bytes({batch, per_sample}, acc));
  Tensor alpha = empty_on(x.context(), {batch, steps, 2 * s.width + 1}, acc);
  if (batch > 0) {
    CtcProblem p{x.dtype(),
                 x.data(),
                 numbers_of(s.targets),
                 numbers_of(s.input_lengths),
                 numbers_of(s.target_lengths),
                 alpha.data(),
                 loss.data(),
                 steps,
                 batch,
                 x.size(2),
                 s.width,
                 options.blank,
                 options.zero_infinity};
    execute(kCtcForward, p, {&x, &s.targets, &s.input_lengths, &s.target_lengths}, {&loss, &alpha});
  }
  if (autograd::wanted(x))
    autograd::record(loss, "ctc_loss", {&x},
                     [x = Saved(x), alpha = Saved(alpha), s, options](const Backward& b) -> Gradients {
                       if (b.creates_graph()) b.unsupported();
                       return {backward_fused(x(b), s, alpha(b), b.grad().contiguous(), options)};
                     });
  return loss;
}

}  // namespace

const ImplementationList<CtcProblem> kCtcForward{"ctc_loss", "forward", kForwardEntries};
const ImplementationList<CtcBackwardProblem> kCtcBackward{"ctc_loss", "backward", kBackwardEntries};

namespace {

/// What both directions read.
template <class P>
std::vector<Operand> inputs_of(P& p) {
  const auto indices = [](const std::int64_t*& pointer) {
    return reinterpret_cast<void**>(const_cast<std::int64_t**>(&pointer));
  };
  return {{"log_probs", const_cast<void**>(&p.log_probs), p.dtype, p.steps * p.batch * p.classes, Role::in},
          {"targets", indices(p.targets), DType::i64, p.batch * p.width, Role::in},
          {"input_lengths", indices(p.input_lengths), DType::i64, p.batch, Role::in},
          {"target_lengths", indices(p.target_lengths), DType::i64, p.batch, Role::in}};
}

}  // namespace

std::vector<Operand> operands(CtcProblem& p) {
  const DType acc = accumulator_of(p.dtype);
  std::vector<Operand> list = inputs_of(p);
  list.push_back({"alpha", &p.alpha, acc, p.batch * p.steps * (2 * p.width + 1), Role::out});
  list.push_back({"loss", &p.loss, acc, p.batch, Role::out});
  return list;
}

std::vector<Operand> operands(CtcBackwardProblem& p) {
  const DType acc = accumulator_of(p.dtype);
  std::vector<Operand> list = inputs_of(p);
  list.push_back(
      {"alpha", const_cast<void**>(&p.alpha), acc, p.batch * p.steps * (2 * p.width + 1), Role::in});
  list.push_back({"dloss", const_cast<void**>(&p.dloss), acc, p.batch, Role::in});
  list.push_back({"dlog_probs", &p.dlog_probs, p.dtype, p.steps * p.batch * p.classes, Role::out});
  return list;
}

// The probabilities that are read, and the forward variables; an exponential counts as one operation.
Cost cost(const CtcProblem& p) {
  const double symbols = static_cast<double>(p.steps * p.batch) * static_cast<double>(2 * p.width + 1);
  return {symbols * (4 + static_cast<double>(size_of(p.dtype))), 10 * symbols};
}

Cost cost(const CtcBackwardProblem& p) {
  const double symbols = static_cast<double>(p.steps * p.batch) * static_cast<double>(2 * p.width + 1);
  const double elements = static_cast<double>(p.steps * p.batch) * static_cast<double>(p.classes);
  return {symbols * (4 + static_cast<double>(size_of(p.dtype))) +
              elements * static_cast<double>(size_of(p.dtype)),
          12 * symbols};
}

Tensor ctc_loss(const Tensor& log_probs, const Tensor& targets, const Tensor& input_lengths,
                const Tensor& target_lengths, const CtcLossOptions& options) {
  OpScope scope("ctc_loss");
  check_floating(log_probs, "log_probs");
  GPUNN_CHECK(log_probs.dim() == 3 && log_probs.size(0) >= 1 && log_probs.size(2) >= 1,
              "expected log_probs [T, N, C] with T and C >= 1, got ", log_probs.shape());
  GPUNN_CHECK(options.blank >= 0 && options.blank < log_probs.size(2), "expected blank in [0, ",
              log_probs.size(2), "), got ", options.blank);
  const Tensor x = log_probs.contiguous();
  const Sequences s = check_sequences(x, targets, input_lengths, target_lengths, options.blank);
  const Tensor loss = losses_of_samples(x, s, options);
  if (options.reduction == Reduction::none) return loss;
  if (options.reduction == Reduction::sum) return sum(loss);
  std::vector<double> scale;
  for (const std::int64_t count : s.target_counts)
    scale.push_back(1 / static_cast<double>(std::max<std::int64_t>(count, 1)));
  const TensorOptions host{.dtype = DType::f64, .device = Device(x.context().runtime().cpu())};
  return mean(loss * Tensor::from(scale, loss.shape(), host).to(loss.dtype()).to(loss.device()));
}

}  // namespace gpunn
