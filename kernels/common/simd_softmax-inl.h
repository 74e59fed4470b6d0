// What softmax and cross-entropy share on the CPU, in f32: the exponential of numbers that are not positive,
// and maximum and sum of a row, which is read from memory once.
//
// Include it in a source that is compiled per target, after hwy/highway.h.
#if defined(GPUNN_KERNELS_COMMON_SIMD_SOFTMAX_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GPUNN_KERNELS_COMMON_SIMD_SOFTMAX_INL_H_
#undef GPUNN_KERNELS_COMMON_SIMD_SOFTMAX_INL_H_
#else
#define GPUNN_KERNELS_COMMON_SIMD_SOFTMAX_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "gpunn/kernels/common/past_cache_impl.h"
#include "gpunn/kernels/common/simd_rows-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace gpunn {
namespace HWY_NAMESPACE {

constexpr float kLeastLogit = -std::numeric_limits<float>::infinity();
constexpr float kNotANumber = std::numeric_limits<float>::quiet_NaN();

/// e^x for x <= 0 (a little more does no harm), NaN for NaN; 0 where the result is below the normal numbers.
/// Exp() without what only other arguments need: two thirds of its work.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V ExpNonPositive(D d, V x) {
  const auto vanishes = hn::Lt(x, hn::Set(d, -87.3f));
  const auto n = hn::NearestInt(hn::Mul(x, hn::Set(d, 1.44269504f)));
  const V nf = hn::ConvertTo(d, n);
  V r = hn::NegMulAdd(nf, hn::Set(d, 0x1.63p-1f), x);
  r = hn::NegMulAdd(nf, hn::Set(d, -0x1.bd0106p-13f), r);
  const V p = Polynomial(r, hn::Set(d, 0x1.fffffcp-2f), hn::Set(d, 0x1.55548ap-3f),
                         hn::Set(d, 0x1.555916p-5f), hn::Set(d, 0x1.123fc6p-7f), hn::Set(d, 0x1.6a1a6ep-10f));
  const V y = hn::Add(hn::MulAdd(p, hn::Mul(r, r), r), hn::Set(d, 1.0f));
  return hn::IfThenZeroElse(vanishes, hn::Mul(y, PowerOfTwo(d, n)));
}

/// out[i] = f(i, n - i) for vectors of a row of n; f is also asked for parts. After `past_cache` rows the
/// caller runs hwy::FlushStream() before it hands the result over.
template <class D, class F>
HWY_INLINE void StoreRow(D d, float* out, std::int64_t n, bool past_cache, F f) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t i = 0;
  if (past_cache) {
    const auto beyond =
        static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(out) / sizeof(float)) % lanes;
    i = std::min(n, (lanes - beyond) % lanes);
    if (i > 0) StorePart(d, f(std::int64_t{0}, i), out, i);
    for (; i + lanes <= n; i += lanes) hn::Stream(f(i, n - i), d, out + i);
  }
  for (; i < n; i += lanes) StorePart(d, f(i, n - i), out + i, n - i);
}

/// The largest of n elements, NaN aside; -inf for none.
inline float LargestOf(const float* x, std::int64_t n) {
  const hn::ScalableTag<float> d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  auto a = hn::Set(d, kLeastLogit), b = a, c = a, e = a;
  std::int64_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    a = hn::Max(hn::LoadU(d, x + i), a);
    b = hn::Max(hn::LoadU(d, x + i + lanes), b);
    c = hn::Max(hn::LoadU(d, x + i + 2 * lanes), c);
    e = hn::Max(hn::LoadU(d, x + i + 3 * lanes), e);
  }
  for (; i < n; i += lanes) a = hn::Max(LoadPart(d, x + i, n - i, kLeastLogit), a);
  return hn::GetLane(hn::MaxOfLanes(d, hn::Max(hn::Max(a, b), hn::Max(c, e))));
}

/// Sum of exp(x_i - shift); each term is also written to `y` when kStore. `y` may be `x`.
template <bool kStore>
HWY_INLINE float SumOfExp(const float* x, float* y, std::int64_t n, float shift) {
  const hn::ScalableTag<float> d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const auto max = hn::Set(d, shift);
  auto a = hn::Zero(d), b = a;
  std::int64_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    prefetch_ahead(x + i);
    prefetch_ahead(x + i + lanes);
    const auto u = ExpNonPositive(d, hn::Sub(hn::LoadU(d, x + i), max));
    const auto v = ExpNonPositive(d, hn::Sub(hn::LoadU(d, x + i + lanes), max));
    if (kStore) {
      hn::StoreU(u, d, y + i);
      hn::StoreU(v, d, y + i + lanes);
    }
    a = hn::Add(a, u);
    b = hn::Add(b, v);
  }
  for (; i < n; i += lanes) {
    const auto u = ExpNonPositive(d, hn::Sub(LoadPart(d, x + i, n - i, kLeastLogit), max));
    if (kStore) StorePart(d, u, y + i, n - i);
    a = hn::Add(a, u);
  }
  return hn::GetLane(hn::SumOfLanes(d, hn::Add(a, b)));
}

/// Maximum and sum of exp(x - maximum) of what was seen so far, a block at a time.
struct RunningSum {
  float max = kLeastLogit, sum = 0;

  /// Adds a block; its exponentials are relative to shift() afterwards.
  template <bool kStore>
  void Add(const float* x, float* y, std::int64_t n) {
    const float top = std::max(max, LargestOf(x, n));
    if (top > max && sum != 0) sum *= std::exp(max - top);
    max = top;
    sum += SumOfExp<kStore>(x, y, n, shift());
  }
  /// Nothing but -inf (or NaN) so far: 0 instead, so that it adds 0 (or NaN).
  float shift() const { return max == kLeastLogit ? 0 : max; }
  /// A row of -inf only has no probabilities: NaN.
  float total() const { return max == kLeastLogit ? kNotANumber : sum; }
};

/// Elements of a block: 16 KB, which stay in L1 between the pass for the maximum and the one for the sum.
constexpr std::int64_t kSoftmaxBlock = 4096;

inline RunningSum MaxAndSum(const float* x, std::int64_t cols) {
  RunningSum all;
  for (std::int64_t i = 0; i < cols; i += kSoftmaxBlock)
    all.Add<false>(x + i, nullptr, std::min(kSoftmaxBlock, cols - i));
  return all;
}

}  // namespace HWY_NAMESPACE
}  // namespace gpunn
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
