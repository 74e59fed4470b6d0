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

/// max(v, 0), NaN staying NaN.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V PositivePart(D d, V v) {
  return hn::IfThenZeroElse(hn::Lt(v, hn::Zero(d)), v);
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V SignOf(D d, V v) {
  const V one = hn::Set(d, 1.0f), zero = hn::Zero(d);
  return hn::Sub(hn::IfThenElseZero(hn::Gt(v, zero), one), hn::IfThenElseZero(hn::Lt(v, zero), one));
}

/// ln(1 + e^-x)
template <class D, class V = hn::Vec<D>>
HWY_INLINE V SoftplusOfNegative(D d, V x) {
  return hn::Add(PositivePart(d, hn::Neg(x)), Log1p(d, Exp(d, hn::Neg(hn::Abs(x)))));
}

/// A vector of elements, as LossElement.
template <class D>
struct Elements {
  using V = hn::Vec<D>;
  V x, y, parameter, pos_weight;
  bool plain;  // pos_weight is 1
};

template <class D, class V = hn::Vec<D>>
HWY_INLINE V BceValue(D d, V x, V y) {
  const V one = hn::Set(d, 1.0f);
  const V miss = hn::Mul(hn::Sub(y, one), BoundedLog(d, Log1p(d, hn::Neg(x))));
  return hn::Sub(miss, hn::Mul(y, BoundedLog(d, Log(d, x))));
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V BceWithLogitsValue(D d, const Elements<D>& e) {
  const V one = hn::Set(d, 1.0f), zero = hn::Zero(d);
  const V tail = Log1p(d, Exp(d, hn::Neg(hn::Abs(e.x))));
  const V plain =
      hn::Add(hn::Sub(hn::IfThenElseZero(hn::Not(hn::Lt(e.x, zero)), e.x), hn::Mul(e.x, e.y)), tail);
  if (e.plain) return plain;
  const V softplus = hn::Add(PositivePart(d, hn::Neg(e.x)), tail);
  const V factor = hn::MulAdd(hn::Sub(e.pos_weight, one), e.y, one);
  const V weighted = hn::MulAdd(factor, softplus, hn::Mul(hn::Sub(one, e.y), e.x));
  return hn::IfThenElse(hn::Eq(e.pos_weight, one), plain, weighted);
}

/// Zero where e^y is 0, also for an infinite factor.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V TimesExp(D d, V y, V factor) {
  const V e = Exp(d, y);
  return hn::IfThenZeroElse(hn::Eq(e, hn::Zero(d)), hn::Mul(e, factor));
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V Value(D d, LossKind kind, const Elements<D>& e) {
  const V one = hn::Set(d, 1.0f), half = hn::Set(d, 0.5f), zero = hn::Zero(d), a = e.parameter;
  const V difference = hn::Sub(e.x, e.y), size = hn::Abs(difference);
  const V square = hn::Mul(difference, difference);
  switch (kind) {
    case LossKind::mse:
      return square;
    case LossKind::l1:
      return size;
    case LossKind::smooth_l1:
      return hn::IfThenElse(hn::Lt(size, a), hn::Div(hn::Mul(half, square), a), hn::NegMulAdd(half, a, size));
    case LossKind::huber:
      return hn::IfThenElse(hn::Le(size, a), hn::Mul(half, square), hn::Mul(a, hn::NegMulAdd(half, a, size)));
    case LossKind::bce:
      return BceValue(d, e.x, e.y);
    case LossKind::bce_with_logits:
      return BceWithLogitsValue(d, e);
    case LossKind::kl_div:
      return hn::IfThenZeroElse(hn::Eq(e.y, zero), hn::Mul(e.y, hn::Sub(Log(d, e.y), e.x)));
    case LossKind::kl_div_log:
      return TimesExp(d, e.y, hn::Sub(e.y, e.x));
    case LossKind::hinge_embedding:
      return hn::Add(hn::IfThenZeroElse(hn::Eq(e.y, one), PositivePart(d, hn::Sub(a, e.x))),
                     hn::IfThenZeroElse(hn::Eq(e.y, hn::Neg(one)), e.x));
    case LossKind::margin:
      return PositivePart(d, hn::Sub(a, hn::Mul(e.x, e.y)));
    default:
      return hn::IfThenElse(hn::Eq(e.y, one), hn::Sub(one, e.x),
                            hn::IfThenElseZero(hn::Eq(e.y, hn::Neg(one)), PositivePart(d, hn::Sub(e.x, a))));
  }
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V SlopeX(D d, LossKind kind, const Elements<D>& e) {
  const V one = hn::Set(d, 1.0f), zero = hn::Zero(d), a = e.parameter, difference = hn::Sub(e.x, e.y);
  switch (kind) {
    case LossKind::mse:
      return hn::Add(difference, difference);
    case LossKind::l1:
      return SignOf(d, difference);
    case LossKind::smooth_l1:
      return hn::IfThenElse(hn::Lt(hn::Abs(difference), a), hn::Div(difference, a), SignOf(d, difference));
    case LossKind::huber:
      return hn::IfThenElse(hn::Le(hn::Abs(difference), a), difference, hn::Mul(a, SignOf(d, difference)));
    case LossKind::bce: {
      const V variance = hn::Mul(e.x, hn::Sub(one, e.x)), least = hn::Set(d, 1e-12f);
      return hn::Div(difference, hn::IfThenElse(hn::Lt(variance, least), least, variance));
    }
    case LossKind::bce_with_logits: {
      const V plain = hn::Sub(Sigmoid(d, e.x), e.y);
      if (e.plain) return plain;
      const V factor = hn::MulAdd(hn::Sub(e.pos_weight, one), e.y, one);
      const V weighted = hn::NegMulAdd(factor, Sigmoid(d, hn::Neg(e.x)), hn::Sub(one, e.y));
      return hn::IfThenElse(hn::Eq(e.pos_weight, one), plain, weighted);
    }
    case LossKind::kl_div:
      return hn::Neg(e.y);
    case LossKind::kl_div_log:
      return hn::Neg(Exp(d, e.y));
    case LossKind::hinge_embedding:
      return hn::Sub(
          hn::IfThenZeroElse(hn::Eq(e.y, hn::Neg(one)), one),
          hn::IfThenElseZero(hn::Ge(hn::Sub(a, e.x), zero), hn::IfThenZeroElse(hn::Eq(e.y, one), one)));
    case LossKind::margin:
      return hn::IfThenElseZero(hn::Ge(hn::Sub(a, hn::Mul(e.x, e.y)), zero), hn::Neg(e.y));
    default:
      return hn::IfThenElse(hn::Eq(e.y, one), hn::Neg(one),
                            hn::IfThenElseZero(hn::Ge(hn::Sub(e.x, a), zero),
                                               hn::IfThenElseZero(hn::Eq(e.y, hn::Neg(one)), one)));
  }
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V SlopeY(D d, LossKind kind, const Elements<D>& e) {
  const V one = hn::Set(d, 1.0f);
  switch (kind) {
    case LossKind::bce:
      return hn::Sub(BoundedLog(d, Log1p(d, hn::Neg(e.x))), BoundedLog(d, Log(d, e.x)));
    case LossKind::bce_with_logits:
      if (e.plain) return hn::Neg(e.x);
      return hn::IfThenElse(hn::Eq(e.pos_weight, one), hn::Neg(e.x),
                            hn::MulSub(hn::Sub(e.pos_weight, one), SoftplusOfNegative(d, e.x), e.x));
    case LossKind::kl_div:
      return hn::Sub(hn::Add(Log(d, e.y), one), e.x);
    case LossKind::kl_div_log:
      return TimesExp(d, e.y, hn::Add(hn::Sub(e.y, e.x), one));
    case LossKind::hinge_embedding:
    case LossKind::margin:
    case LossKind::cosine_embedding:
      return hn::Zero(d);
    default:
      return hn::Neg(SlopeX(d, kind, e));
  }
}

/// What both directions read, at element i of n left.
template <class P, class D>
HWY_INLINE Elements<D> ElementsAt(D d, const P& p, std::int64_t i, std::int64_t n) {
  const auto pos =
      p.has_pos_weight ? LoadPart(d, static_cast<const float*>(p.pos_weight) + i, n, 1.0f) : hn::Set(d, 1.0f);
  return {LoadPart(d, static_cast<const float*>(p.x) + i, n, 0.5f),
          LoadPart(d, static_cast<const float*>(p.y) + i, n, 0.5f),
          hn::Set(d, static_cast<float>(p.parameter)), pos, !p.has_pos_weight};
}

/// Losses of [begin, end): written to p.loss for Reduction::none, else their sum is returned.
float ForwardChunk(const LossProblem& p, std::int64_t begin, std::int64_t end) {
  const hn::ScalableTag<float> d;
  const auto* weight = static_cast<const float*>(p.weight);
  float* const loss = p.reduction == Reduction::none ? static_cast<float*>(p.loss) : nullptr;
  auto sum = hn::Zero(d);
  ForEachVector(d, end - begin, [&](std::int64_t offset, std::int64_t n) {
    const std::int64_t i = begin + offset;
    auto v = Value(d, p.kind, ElementsAt(d, p, i, n));
    if (p.has_weight) v = hn::Mul(v, LoadPart(d, weight + i, n));
    if (loss) return StorePart(d, v, loss + i, n);
    sum = hn::Add(sum, FirstLanes(d, v, n));
  });
  return hn::GetLane(hn::SumOfLanes(d, sum));
}

void BackwardChunk(const LossBackwardProblem& p, std::int64_t begin, std::int64_t end) {
  const hn::ScalableTag<float> d;
  const auto* dloss = static_cast<const float*>(p.dloss);
  const auto* weight = static_cast<const float*>(p.weight);
  const bool by_element = p.reduction == Reduction::none;
  const float shared =
      by_element ? 0 : *dloss / (p.reduction == Reduction::mean ? static_cast<float>(p.n) : 1.0f);
  ForEachVector(d, end - begin, [&](std::int64_t offset, std::int64_t n) {
    const std::int64_t i = begin + offset;
    const auto e = ElementsAt(d, p, i, n);
    auto g = by_element ? LoadPart(d, dloss + i, n) : hn::Set(d, shared);
    if (p.has_weight) g = hn::Mul(g, LoadPart(d, weight + i, n));
    if (p.want_dx) StorePart(d, hn::Mul(SlopeX(d, p.kind, e), g), static_cast<float*>(p.dx) + i, n);
    if (p.want_dy) StorePart(d, hn::Mul(SlopeY(d, p.kind, e), g), static_cast<float*>(p.dy) + i, n);
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
