#include "gpunn/kernels/random/random.h"

#include <algorithm>
#include <utility>

#include "gpunn/core/op.h"
#include "gpunn/core/random.h"
#include "gpunn/kernels/common/device_dtype.h"
#include "gpunn/kernels/elementwise/compare.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/random/dropout_impl.h"
#include "gpunn/kernels/random/random_impl.h"
#include "gpunn/kernels/reduce/reduce.h"

namespace gpunn {
namespace {

template <class P>
const char* cpu_accepts(const P& p) {
  return p.dtype == DType::f32 ? nullptr : "takes f32";
}

#if GPUNN_HAS_CUDA
template <class P>
const char* cuda_accepts(const P& p) {
  return device_dtype_reason(p.dtype);
}
#endif

constexpr Implementation<DropoutProblem> kDropoutEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", DeviceType::cuda, cuda_accepts<DropoutProblem>, nullptr, Determinism::portable, dropout_cuda},
#endif
    {"cpu", DeviceType::cpu, cpu_accepts<DropoutProblem>, nullptr, Determinism::portable, dropout_cpu},
    {"ref", DeviceType::cpu, nullptr, nullptr, Determinism::portable, dropout_ref},
};

constexpr Implementation<BernoulliProblem> kBernoulliEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", DeviceType::cuda, cuda_accepts<BernoulliProblem>, nullptr, Determinism::portable,
     bernoulli_cuda},
#endif
    {"cpu", DeviceType::cpu, cpu_accepts<BernoulliProblem>, nullptr, Determinism::portable, bernoulli_cpu},
    {"ref", DeviceType::cpu, nullptr, nullptr, Determinism::portable, bernoulli_ref},
};

/// A range of the stream.
struct Range {
  std::uint64_t seed, offset;
};

Range reserve(std::int64_t n) {
  Generator& generator = Runtime::current().generator();
  const std::uint64_t offset = generator.reserve(static_cast<std::uint64_t>(n + 3) / 4);
  return {generator.seed(), offset};
}

void check_probabilities(const Tensor& p) {
  const NoGrad no_grad;
  const Tensor inside = all(logical_and(ge(p, 0.0), le(p, 1.0)));
  GPUNN_CHECK(inside.item() != 0, "expected probabilities in [0, 1], got others or NaN");
}

}  // namespace

DropoutMask detail::draw_dropout(std::int64_t n, double p) {
  if (p == 1) return {0, 0, 0, 0};
  const double kept = std::max(1.0, (1 - p) * 0x1p32 + 0.5);  // of 2^32 values
  const auto count = std::min(static_cast<std::uint64_t>(kept), std::uint64_t{1} << 32);
  const Range range = reserve(n);
  return {range.seed, range.offset, static_cast<std::uint32_t>(count - 1), 1 / (1 - p)};
}

/// The mask is drawn anew from its counter on the way back, and on the way back from there.
Tensor detail::drop(const Tensor& strided, const DropoutMask& mask) {
  const Tensor x = strided.contiguous();
  Tensor y = empty_on(x.context(), x.shape(), x.dtype());
  DropoutProblem p{x.dtype(), x.data(),    y.data(),           x.numel(),
                   mask.seed, mask.offset, mask.greatest_kept, mask.scale};
  execute(kDropout, p, {&x}, {&y});
  if (autograd::wanted(x))
    autograd::record(y, "dropout", {&x},
                     [mask](const Backward& b) -> Gradients { return {drop(b.grad(), mask)}; });
  return y;
}

const ImplementationList<DropoutProblem> kDropout{"dropout", "forward", kDropoutEntries};
const ImplementationList<BernoulliProblem> kBernoulli{"bernoulli", "forward", kBernoulliEntries};

std::vector<Operand> operands(DropoutProblem& p) {
  return {{"x", const_cast<void**>(&p.x), p.dtype, p.n, Role::in}, {"y", &p.y, p.dtype, p.n, Role::out}};
}

std::vector<Operand> operands(BernoulliProblem& p) {
  return {{"p", const_cast<void**>(&p.p), p.dtype, p.one_for_all ? 0 : p.n, Role::in},
          {"y", &p.y, p.dtype, p.n, Role::out}};
}

// Philox's integer work is not counted: a row shows how near it lets memory come.
Cost cost(const DropoutProblem& p) {
  const double n = static_cast<double>(p.n);
  return {2 * n * static_cast<double>(size_of(p.dtype)), n};
}

Cost cost(const BernoulliProblem& p) {
  const double n = static_cast<double>(p.n);
  return {(p.one_for_all ? 1 : 2) * n * static_cast<double>(size_of(p.dtype)), n};
}

Tensor dropout(const Tensor& x, double p, bool training) {
  OpScope scope("dropout");
  check_floating(x, "x");
  GPUNN_CHECK(p >= 0 && p <= 1, "expected p in [0, 1], got ", p);
  if (!training || p == 0 || x.numel() == 0) return x;
  return detail::drop(x, detail::draw_dropout(x.numel(), p));
}

Tensor bernoulli(const Tensor& p) {
  OpScope scope("bernoulli");
  check_floating(p, "p");
  Tensor y = empty_on(p.context(), p.shape(), p.dtype());
  if (p.numel() == 0) return y;
  const Tensor dense = p.detach().contiguous();
  check_probabilities(dense);
  const Range range = reserve(y.numel());
  BernoulliProblem problem{y.dtype(), dense.data(), y.data(), y.numel(), range.seed, range.offset, false, 0};
  execute(kBernoulli, problem, {&dense}, {&y});
  return y;
}

Tensor bernoulli(const Shape& shape, double p, TensorOptions options) {
  OpScope scope("bernoulli");
  GPUNN_CHECK(is_floating(options.dtype), "expected a floating dtype, got ", options.dtype);
  GPUNN_CHECK(p >= 0 && p <= 1, "expected p in [0, 1], got ", p);
  const bool grad = std::exchange(options.requires_grad, false);
  Tensor y = empty(shape, options);
  if (y.numel() > 0) {
    const Range range = reserve(y.numel());
    BernoulliProblem problem{y.dtype(),  nullptr,      y.data(), y.numel(),
                             range.seed, range.offset, true,     static_cast<float>(p)};
    const Tensor none;
    execute(kBernoulli, problem, {&none}, {&y});
  }
  if (grad) y.requires_grad_();
  return y;
}

}  // namespace gpunn
