// Element-wise losses in f32 on the CPU: SIMD within chunks of kLossChunk elements, chunks shared out over
// the pool.
#include <algorithm>
#include <limits>

#include "gpunn/core/cpu_pool.h"
#include "gpunn/kernels/loss/loss_impl.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "gpunn/kernels/loss/loss_cpu.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"

#include "gpunn/kernels/common/simd_rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gpunn {
namespace HWY_NAMESPACE {

/// ln(1 + z) for z in [-1, 1]: the rounding of u = 1 + z is divided out again.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V Log1p(D d, V z) {
  const V one = hn::Set(d, 1.0f), u = hn::Add(z, one), rest = hn::Sub(u, one);
  const V scaled = hn::Mul(Log(d, u), hn::Div(z, rest));
  return hn::IfThenElse(hn::Eq(rest, hn::Zero(d)), z,
                        hn::IfThenElse(hn::Eq(u, hn::Zero(d)), Log(d, u), scaled));
}

/// max(v, -100), NaN staying NaN.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V BoundedLog(D d, V v) {
  const V least = hn::Set(d, -100.0f);
  return hn::IfThenElse(hn::Lt(v, least), least, v);
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V Value(D d, LossKind kind, V x, V y) {
  const V one = hn::Set(d, 1.0f);
  if (kind == LossKind::mse) return hn::Mul(hn::Sub(x, y), hn::Sub(x, y));
  if (kind == LossKind::bce) {
    const V miss = hn::Mul(hn::Sub(y, one), BoundedLog(d, Log1p(d, hn::Neg(x))));
    return hn::Sub(miss, hn::Mul(y, BoundedLog(d, Log(d, x))));
  }
  const V tail = Log1p(d, Exp(d, hn::Neg(hn::Abs(x))));
  return hn::Add(hn::Sub(hn::IfThenElseZero(hn::Not(hn::Lt(x, hn::Zero(d))), x), hn::Mul(x, y)), tail);
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V SlopeX(D d, LossKind kind, V x, V y) {
  const V difference = hn::Sub(x, y);
  if (kind == LossKind::mse) return hn::Add(difference, difference);
  if (kind == LossKind::bce) {
    const V variance = hn::Mul(x, hn::Sub(hn::Set(d, 1.0f), x)), least = hn::Set(d, 1e-12f);
    return hn::Div(difference, hn::IfThenElse(hn::Lt(variance, least), least, variance));
  }
  return hn::Sub(Sigmoid(d, x), y);
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V SlopeY(D d, LossKind kind, V x, V y) {
  if (kind == LossKind::mse) return hn::Neg(SlopeX(d, kind, x, y));
  if (kind == LossKind::bce) return hn::Sub(BoundedLog(d, Log1p(d, hn::Neg(x))), BoundedLog(d, Log(d, x)));
  return hn::Neg(x);
}

/// Losses of [begin, end): written to p.loss for Reduction::none, else their sum is returned.
float ForwardChunk(const LossProblem& p, std::int64_t begin, std::int64_t end) {
  const hn::ScalableTag<float> d;
  const auto* x = static_cast<const float*>(p.x) + begin;
  const auto* y = static_cast<const float*>(p.y) + begin;
  float* const loss = p.reduction == Reduction::none ? static_cast<float*>(p.loss) + begin : nullptr;
  auto sum = hn::Zero(d);
  ForEachVector(d, end - begin, [&](std::int64_t i, std::int64_t n) {
    const auto v = Value(d, p.kind, LoadPart(d, x + i, n, 0.5f), LoadPart(d, y + i, n, 0.5f));
    if (loss) return StorePart(d, v, loss + i, n);
    sum = hn::Add(sum, FirstLanes(d, v, n));
  });
  return hn::GetLane(hn::SumOfLanes(d, sum));
}

void BackwardChunk(const LossBackwardProblem& p, std::int64_t begin, std::int64_t end) {
  const hn::ScalableTag<float> d;
  const auto* x = static_cast<const float*>(p.x);
  const auto* y = static_cast<const float*>(p.y);
  const auto* dloss = static_cast<const float*>(p.dloss);
  const bool by_element = p.reduction == Reduction::none;
  const float shared =
      by_element ? 0 : *dloss / (p.reduction == Reduction::mean ? static_cast<float>(p.n) : 1.0f);
  ForEachVector(d, end - begin, [&](std::int64_t offset, std::int64_t n) {
    const std::int64_t i = begin + offset;
    const auto a = LoadPart(d, x + i, n), b = LoadPart(d, y + i, n);
    const auto g = by_element ? LoadPart(d, dloss + i, n) : hn::Set(d, shared);
    if (p.want_dx) StorePart(d, hn::Mul(SlopeX(d, p.kind, a, b), g), static_cast<float*>(p.dx) + i, n);
    if (p.want_dy) StorePart(d, hn::Mul(SlopeY(d, p.kind, a, b), g), static_cast<float*>(p.dy) + i, n);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace gpunn
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gpunn {

HWY_EXPORT(ForwardChunk);
HWY_EXPORT(BackwardChunk);

void loss_fwd_cpu(const LossProblem& p, const Exec& exec) {
  const auto chunk = HWY_DYNAMIC_DISPATCH(ForwardChunk);
  auto* sums = static_cast<float*>(exec.workspace);
  parallel_for(*exec.pool, p.n, kLossChunk, [&](std::int64_t begin, std::int64_t end) {
    const float sum = chunk(p, begin, end);
    if (sums) sums[begin / kLossChunk] = sum;
  });
  if (p.reduction == Reduction::none) return;
  double total = 0;
  for (std::int64_t c = 0; c * kLossChunk < p.n; ++c) total += static_cast<double>(sums[c]);
  if (p.reduction == Reduction::mean) total /= static_cast<double>(p.n);
  *static_cast<float*>(p.loss) = static_cast<float>(total);
}

void loss_bwd_cpu(const LossBackwardProblem& p, const Exec& exec) {
  const auto chunk = HWY_DYNAMIC_DISPATCH(BackwardChunk);
  parallel_for(*exec.pool, p.n, kLossChunk,
               [&](std::int64_t begin, std::int64_t end) { chunk(p, begin, end); });
}

}  // namespace gpunn
#endif  // HWY_ONCE
