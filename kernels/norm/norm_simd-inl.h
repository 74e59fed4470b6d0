// What the normalisations share on the CPU, in f32: moments of segments, and lines y = a x + b over them.
//
// Include it in a source that is compiled per target, after hwy/highway.h.
#if defined(GPUNN_KERNELS_NORM_NORM_SIMD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GPUNN_KERNELS_NORM_NORM_SIMD_INL_H_
#undef GPUNN_KERNELS_NORM_NORM_SIMD_INL_H_
#else
#define GPUNN_KERNELS_NORM_NORM_SIMD_INL_H_
#endif

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "gpunn/kernels/common/simd_softmax-inl.h"
#include "gpunn/kernels/norm/moments_impl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace gpunn {
namespace HWY_NAMESPACE {

/// Shorter segments would end in too many parts of cache lines.
constexpr std::int64_t kPastCacheSegment = 256;

/// Elements that are added up in f32 before the sum goes into a double.
constexpr std::int64_t kMomentPiece = 4096;

template <class D>
HWY_INLINE float Total(D d, hn::Vec<D> a, hn::Vec<D> b) {
  return hn::GetLane(hn::SumOfLanes(d, hn::Add(a, b)));
}

/// Any number near the first elements.
HWY_INLINE float FirstShift(const float* x, std::int64_t n) {
  const hn::ScalableTag<float> d;
  auto sum = hn::Zero(d);
  ForEachVector(d, n,
                [&](std::int64_t i, std::int64_t left) { sum = hn::Add(sum, LoadPart(d, x + i, left)); });
  return hn::GetLane(hn::SumOfLanes(d, sum)) / static_cast<float>(n);
}

/// Moments of `segments` times `length` elements; may be infinite or NaN where the true ones are finite.
HWY_INLINE RunningMoments FastMoments(const float* x, std::int64_t segments, std::int64_t stride,
                                      std::int64_t length) {
  const hn::ScalableTag<float> d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  RunningMoments all;
  float shift = FirstShift(x, std::min(length, kMomentPiece));
  auto s1 = hn::Zero(d), s2 = s1, q1 = s1, q2 = s1;
  std::int64_t count = 0;
  const auto flush = [&] {
    all.add_shifted(static_cast<double>(count), shift, Total(d, s1, s2), Total(d, q1, q2));
    shift = static_cast<float>(all.mean);
    s1 = s2 = q1 = q2 = hn::Zero(d);
    count = 0;
  };
  for (std::int64_t s = 0; s < segments; ++s)
    for (std::int64_t begin = 0; begin < length; begin += kMomentPiece) {
      const float* const p = x + s * stride + begin;
      const std::int64_t n = std::min(kMomentPiece, length - begin);
      const auto origin = hn::Set(d, shift);
      std::int64_t i = 0;
      for (; i + 2 * lanes <= n; i += 2 * lanes) {
        prefetch_ahead(p + i);
        prefetch_ahead(p + i + lanes);
        const auto u = hn::Sub(hn::LoadU(d, p + i), origin), v = hn::Sub(hn::LoadU(d, p + i + lanes), origin);
        s1 = hn::Add(s1, u);
        s2 = hn::Add(s2, v);
        q1 = hn::MulAdd(u, u, q1);
        q2 = hn::MulAdd(v, v, q2);
      }
      for (; i < n; i += lanes) {
        const auto u = hn::Sub(LoadPart(d, p + i, n - i, shift), origin);
        s1 = hn::Add(s1, u);
        q1 = hn::MulAdd(u, u, q1);
      }
      count += n;
      // Never more at once than came before: a shift found from few elements may be far from the others.
      if (count >= kMomentPiece || static_cast<double>(count) >= all.n) flush();
    }
  if (count > 0) flush();
  return all;
}

HWY_INLINE RunningMoments SegmentMoments(const float* x, std::int64_t segments, std::int64_t stride,
                                         std::int64_t length) {
  const RunningMoments m = FastMoments(x, segments, stride, length);
  return m.finite() ? m : moments_in_double(x, segments, stride, length, 1);
}

/// x / 2 - half_mean
template <class D, class V = hn::Vec<D>>
HWY_INLINE V Centred(D d, V x, V half_mean) {
  return hn::MulSub(x, hn::Set(d, 0.5f), half_mean);
}

/// NaN stays.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V CutBelowZero(D d, V v) {
  return hn::IfThenZeroElse(hn::Lt(v, hn::Zero(d)), v);
}

/// y = line(x) (+ residual), cut off below 0 with kRelu.
template <bool kResidual, bool kRelu>
void ApplySegment(const float* x, const float* residual, float* y, std::int64_t n, const NormLine& line,
                  bool past_cache) {
  const hn::ScalableTag<float> d;
  const auto half_mean = hn::Set(d, line.half_mean), factor = hn::Set(d, line.factor),
             shift = hn::Set(d, line.shift);
  StoreRow(d, y, n, past_cache, [&](std::int64_t i, std::int64_t left) {
    auto v = hn::MulAdd(Centred(d, LoadPart(d, x + i, left), half_mean), factor, shift);
    if constexpr (kResidual) v = hn::Add(v, LoadPart(d, residual + i, left));
    if constexpr (kRelu) v = CutBelowZero(d, v);
    return v;
  });
}

/// Calls f with each flag as a constant.
template <class F>
HWY_INLINE void WithFlags(bool a, bool b, F f) {
  if (a)
    b ? f(std::true_type{}, std::true_type{}) : f(std::true_type{}, std::false_type{});
  else
    b ? f(std::false_type{}, std::true_type{}) : f(std::false_type{}, std::false_type{});
}

}  // namespace HWY_NAMESPACE
}  // namespace gpunn
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
