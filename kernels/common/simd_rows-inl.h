// Loops over a row of f32 in vectors, with a padded vector at the end instead of a scalar tail.
//
// Include it in a source that is compiled per target, after hwy/highway.h (it brings simd_math-inl.h along).
#if defined(GPUNN_KERNELS_COMMON_SIMD_ROWS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GPUNN_KERNELS_COMMON_SIMD_ROWS_INL_H_
#undef GPUNN_KERNELS_COMMON_SIMD_ROWS_INL_H_
#else
#define GPUNN_KERNELS_COMMON_SIMD_ROWS_INL_H_
#endif

#include <algorithm>
#include <cstdint>

#include "gpunn/kernels/common/simd_math-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace gpunn {
namespace HWY_NAMESPACE {

/// The lanes of `p` that exist (n of them), `rest` in the others.
template <class D>
HWY_INLINE hn::Vec<D> LoadPart(D d, const float* p, std::int64_t n, float rest = 0.0f) {
  if (HWY_LIKELY(n >= static_cast<std::int64_t>(hn::Lanes(d)))) return hn::LoadU(d, p);
  HWY_ALIGN float part[hn::MaxLanes(d)];
  hn::Store(hn::Set(d, rest), d, part);
  std::copy_n(p, n, part);
  return hn::Load(d, part);
}

/// Writes the first n lanes.
template <class D>
HWY_INLINE void StorePart(D d, hn::Vec<D> v, float* p, std::int64_t n) {
  if (HWY_LIKELY(n >= static_cast<std::int64_t>(hn::Lanes(d)))) return hn::StoreU(v, d, p);
  HWY_ALIGN float part[hn::MaxLanes(d)];
  hn::Store(v, d, part);
  std::copy_n(part, n, p);
}

/// f(i, n) for every vector of a row of `cols`: it starts at element i, and n elements are left.
template <class D, class F>
HWY_INLINE void ForEachVector(D d, std::int64_t cols, F f) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  for (std::int64_t i = 0; i < cols; i += lanes) f(i, cols - i);
}

}  // namespace HWY_NAMESPACE
}  // namespace gpunn
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
