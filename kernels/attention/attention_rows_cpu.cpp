// What happens to rows of scores on the CPU, in f32 by vectors of keys, compiled once per target.
#include "gpunn/kernels/attention/attention_cpu_impl.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "gpunn/kernels/attention/attention_rows_cpu.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// after foreach_target
#include <cmath>
#include <limits>

#include "hwy/highway.h"

#include "gpunn/kernels/common/simd_philox-inl.h"
#include "gpunn/kernels/common/simd_rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gpunn {
namespace HWY_NAMESPACE {
namespace {

using detail::AttentionBias;
using detail::AttentionColumns;
using detail::AttentionFinish;
using detail::AttentionKernels;
using detail::AttentionTile;

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;
constexpr float kLeast = -std::numeric_limits<float>::infinity();
constexpr float kLog2E = 1.44269504f;

/// 2^x for x below 127, 0 where that is below the normal numbers, NaN for NaN. Half of Exp()'s work: no
/// second part of ln 2, no subnormal results. 1 for 0; |error| < 9.2e-8 before rounding.
HWY_INLINE V Exp2(V x) {
  const D d;
  const hn::RebindToSigned<D> di;
  // The sum's last bits are round(x) + 127, a float's exponent.
  const V magic = hn::Set(d, 0x1.8p23f + 127), sum = hn::Add(x, magic);
  const V r = hn::Sub(x, hn::Sub(sum, magic));
  const V p = Polynomial(r, hn::Set(d, 1.0f), hn::Set(d, 0x1.62e42ap-1f), hn::Set(d, 0x1.ebf9bcp-3f),
                         hn::Set(d, 0x1.c6b752p-5f), hn::Set(d, 0x1.3cea88p-7f), hn::Set(d, 0x1.5bba14p-10f));
  const V power = hn::BitCast(d, hn::ShiftLeft<23>(hn::BitCast(di, sum)));
  return hn::IfThenZeroElse(hn::Lt(x, hn::Set(d, -126.0f)), hn::Mul(p, power));
}

/// Scores with scale and bias; hidden ones are -inf whatever the key holds.
HWY_INLINE V Transformed(V scores, V scale, const float* bias, std::int64_t n) {
  const D d;
  const V scaled = hn::Mul(scores, scale), least = hn::Set(d, kLeast);
  if (!bias) return scaled;
  const V added = LoadPart(d, bias, n);
  return hn::IfThenElse(hn::Eq(added, least), least, hn::Add(scaled, added));
}

/// Bias and scale on a row's scores, in place; the largest of them.
template <bool kTransformed>
HWY_INLINE float Largest(const AttentionTile& t, std::int64_t r) {
  const D d;
  const V least = hn::Set(d, kLeast), scale = hn::Set(d, t.scale);
  const AttentionColumns seen = t.seen[r];
  float* const s = t.scores + r * t.ld + seen.begin;
  const float* const bias = t.bias ? t.bias + r * t.bias_ld + seen.begin : nullptr;
  V top = least;
  ForEachVector(d, seen.count(), [&](std::int64_t j, std::int64_t n) HWY_ATTR {
    V v = LoadPart(d, s + j, n, kLeast);
    if constexpr (kTransformed) {
      v = Transformed(v, scale, bias ? bias + j : nullptr, n);
      StorePart(d, v, s + j, n);
      if (n < static_cast<std::int64_t>(hn::Lanes(d)))
        v = hn::IfThenElse(hn::FirstN(d, static_cast<std::size_t>(n)), v, least);
    }
    top = hn::Max(v, top);  // keeps top when v is NaN
  });
  return hn::GetLane(hn::MaxOfLanes(d, top));
}

void ZeroUnseen(const AttentionTile& t, std::int64_t r, float* row) {
  const AttentionColumns seen = t.seen[r];
  if (seen.count() <= 0) return std::fill(row + t.columns.begin, row + t.columns.end, 0.0f);
  std::fill(row + t.columns.begin, row + seen.begin, 0.0f);
  std::fill(row + seen.end, row + t.columns.end, 0.0f);
}

template <bool kTransformed>
void Forward(const AttentionTile& t) {
  const D d;
  const float exponent = kTransformed ? kLog2E : t.scale * kLog2E;
  for (std::int64_t r = 0; r < t.rows; ++r) {
    const float before = t.max[r], now = std::max(before, Largest<kTransformed>(t, r));
    t.rescale[r] = now == before || t.sum[r] == 0 ? 1.0f : std::exp2((before - now) * exponent);
    t.max[r] = now;
  }
  const V by = hn::Set(d, exponent);
  for (std::int64_t r = 0; r < t.rows; ++r) {
    const AttentionColumns seen = t.seen[r];
    float* const s = t.scores + r * t.ld + seen.begin;
    const float* const factors = t.factors ? t.factors + r * t.ld + seen.begin : nullptr;
    // Nothing but -inf (or NaN) so far: all weights are 0 (or NaN).
    const V shift = hn::Set(d, t.max[r] == kLeast ? 0.0f : t.max[r]);
    V sum = hn::Zero(d);
    ForEachVector(d, seen.count(), [&](std::int64_t j, std::int64_t n) HWY_ATTR {
      V p = Exp2(hn::Mul(hn::Sub(LoadPart(d, s + j, n, kLeast), shift), by));
      sum = hn::Add(sum, p);
      if (factors) p = hn::Mul(p, LoadPart(d, factors + j, n));
      StorePart(d, p, s + j, n);
    });
    t.sum[r] = t.sum[r] * t.rescale[r] + hn::GetLane(hn::SumOfLanes(d, sum));
    ZeroUnseen(t, r, t.scores + r * t.ld);
  }
}

template <bool kTransformed>
void Backward(const AttentionTile& t) {
  const D d;
  const V scale = hn::Set(d, t.scale), log2e = hn::Set(d, kLog2E);
  for (std::int64_t r = 0; r < t.rows; ++r) {
    const AttentionColumns seen = t.seen[r];
    const std::int64_t at = r * t.ld + seen.begin;
    float* const s = t.scores + at;
    float* const g = t.products + at;
    const float* const bias = t.bias ? t.bias + r * t.bias_ld + seen.begin : nullptr;
    const float* const factors = t.factors ? t.factors + at : nullptr;
    const V lse = hn::Set(d, t.lse[r]), delta = hn::Set(d, t.delta[r]);
    ForEachVector(d, seen.count(), [&](std::int64_t j, std::int64_t n) HWY_ATTR {
      V x = LoadPart(d, s + j, n);
      if constexpr (kTransformed)
        x = hn::Sub(Transformed(x, scale, bias ? bias + j : nullptr, n), lse);
      else
        x = hn::MulSub(x, scale, lse);
      V p = Exp2(hn::Mul(x, log2e)), product = LoadPart(d, g + j, n);
      const V scaled = hn::Mul(p, scale);
      if (factors) {
        const V factor = LoadPart(d, factors + j, n);
        p = hn::Mul(p, factor);
        product = hn::Mul(product, factor);
      }
      V ds = hn::Mul(scaled, hn::Sub(product, delta));
      if constexpr (kTransformed) ds = hn::IfThenZeroElse(hn::Eq(scaled, hn::Zero(d)), ds);  // v may be NaN
      StorePart(d, p, s + j, n);
      StorePart(d, ds, g + j, n);
    });
    ZeroUnseen(t, r, t.scores + r * t.ld);
    ZeroUnseen(t, r, t.products + r * t.ld);
  }
}

void ForwardOf(const AttentionTile& t) { t.transformed ? Forward<true>(t) : Forward<false>(t); }
void BackwardOf(const AttentionTile& t) { t.transformed ? Backward<true>(t) : Backward<false>(t); }

/// f(column, mask element) for every column of a row.
template <class T, class F>
HWY_INLINE void ForEachMasked(const AttentionBias& b, AttentionColumns columns, F f) {
  const std::int64_t step = b.mask->key;
  const T* const mask = static_cast<const T*>(b.mask->data) + b.mask_at + b.key * step;
  if (step == 1) {
    for (std::int64_t j = columns.begin; j < columns.end; ++j) f(j, mask[j]);  // by vectors
  } else {
    for (std::int64_t j = columns.begin; j < columns.end; ++j) f(j, mask[j * step]);
  }
}

void MaskRow(const AttentionBias& b, AttentionColumns columns, float* out) {
  switch (b.mask->kind) {
    case AttentionMaskKind::none:
      return std::fill(out + columns.begin, out + columns.end, 0.0f);
    case AttentionMaskKind::boolean:
      return ForEachMasked<std::uint8_t>(
          b, columns, [&](std::int64_t j, std::uint8_t sees) { out[j] = sees ? 0.0f : kLeast; });
    case AttentionMaskKind::additive:
      return ForEachMasked<float>(b, columns, [&](std::int64_t j, float v) { out[j] = v; });
  }
}

void Bias(const AttentionBias& b, AttentionColumns columns, float* out) {
  MaskRow(b, columns, out);
  if (b.slope == 0) return;
  const D d;
  const V slope = hn::Set(d, -b.slope);
  ForEachVector(d, columns.count(), [&](std::int64_t j, std::int64_t n) HWY_ATTR {
    float* const at = out + columns.begin + j;
    const V away = hn::Abs(hn::Iota(d, static_cast<float>(b.key + columns.begin + j - b.position)));
    StorePart(d, hn::MulAdd(away, slope, LoadPart(d, at, n)), at, n);
  });
}

void Factors(const gpunn::AttentionDropout& dropout, std::int64_t first, AttentionColumns columns,
             float* out) {
  const D d;
  const hn::RebindToUnsigned<D> du;
  const auto greatest = hn::Set(du, dropout.greatest_kept);
  const auto scale = hn::BitCast(du, hn::Set(d, dropout.scale));
  ForEachBits(dropout.seed, dropout.offset, first + columns.begin / 4 * 4, first + columns.end,
              [&](std::int64_t i, auto bits, std::int64_t n) HWY_ATTR {
                const auto factor = hn::IfThenZeroElse(hn::Gt(bits, greatest), scale);
                StorePart(d, hn::BitCast(d, factor), out + (i - first), n);
              });
}

void Finish(const AttentionFinish& f) {
  const D d;
  for (std::int64_t r = 0; r < f.rows; ++r) {
    if (!f.y[r]) continue;
    const bool nothing = f.sum[r] == 0;
    const V by = hn::Set(d, nothing ? 0.0f : 1 / f.sum[r]);
    ForEachVector(d, f.cols, [&](std::int64_t j, std::int64_t n) HWY_ATTR {
      StorePart(d, nothing ? by : hn::Mul(by, LoadPart(d, f.sums + r * f.ld + j, n)), f.y[r] + j, n);
    });
  }
  if (!f.lse) return;
  const V scale = hn::Set(d, f.scale);
  ForEachVector(d, f.rows, [&](std::int64_t r, std::int64_t n) HWY_ATTR {
    StorePart(d, hn::MulAdd(LoadPart(d, f.max + r, n), scale, Log(d, LoadPart(d, f.sum + r, n))), f.lse + r,
              n);
  });
}

bool Copy(const float* from, std::int64_t from_ld, std::int64_t rows, std::int64_t cols, float* to,
          std::int64_t to_ld) {
  const D d;
  V odd = hn::Zero(d);  // 0 as long as everything is finite
  for (std::int64_t r = 0; r < rows; ++r) {
    float* const row = to + r * to_ld;
    ForEachVector(d, cols, [&](std::int64_t j, std::int64_t n) HWY_ATTR {
      const V v = LoadPart(d, from + r * from_ld + j, n);
      odd = hn::MulAdd(v, hn::Zero(d), odd);
      StorePart(d, v, row + j, n);
    });
    if (cols < to_ld) std::fill(row + cols, row + to_ld, 0.0f);
  }
  return hn::GetLane(hn::SumOfLanes(d, odd)) == 0;
}

float Dot(const float* a, const float* b, std::int64_t count) {
  const D d;
  V sum = hn::Zero(d);
  ForEachVector(d, count, [&](std::int64_t j, std::int64_t n) HWY_ATTR {
    sum = hn::MulAdd(LoadPart(d, a + j, n), LoadPart(d, b + j, n), sum);
  });
  return hn::GetLane(hn::SumOfLanes(d, sum));
}

constexpr AttentionKernels kKernels{ForwardOf, BackwardOf, Bias, Factors, Finish, Copy, Dot};

}  // namespace

const AttentionKernels* target_attention_kernels() { return &kKernels; }

}  // namespace HWY_NAMESPACE
}  // namespace gpunn
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gpunn {

HWY_EXPORT(target_attention_kernels);

const detail::AttentionKernels& detail::attention_kernels() {
  return *HWY_DYNAMIC_DISPATCH(target_attention_kernels)();
}

}  // namespace gpunn
#endif
