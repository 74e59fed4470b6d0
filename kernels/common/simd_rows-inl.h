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

// Masked accesses touch nothing beyond the mask with AVX2 and AVX-512 only; elsewhere vectors have four lanes
// at most, and a copy of the part is cheap. (Through such a copy a row of 10 took 130 ns with AVX-512, masked
// it takes a fifth.)
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2
#define GPUNN_HWY_MASKED 1
#else
#define GPUNN_HWY_MASKED 0
#endif

/// The lanes of `p` that exist (n of them), `rest` in the others.
template <class D>
HWY_INLINE hn::Vec<D> LoadPart(D d, const float* p, std::int64_t n, float rest = 0.0f) {
  if (HWY_LIKELY(n >= static_cast<std::int64_t>(hn::Lanes(d)))) return hn::LoadU(d, p);
#if GPUNN_HWY_MASKED
  const auto mask = hn::FirstN(d, static_cast<std::size_t>(n));
  return hn::IfThenElse(mask, hn::MaskedLoad(mask, d, p), hn::Set(d, rest));
#else
  HWY_ALIGN float part[hn::MaxLanes(d)];
  hn::Store(hn::Set(d, rest), d, part);
  std::copy_n(p, n, part);
  return hn::Load(d, part);
#endif
}

/// Writes the first n lanes.
template <class D>
HWY_INLINE void StorePart(D d, hn::Vec<D> v, float* p, std::int64_t n) {
  if (HWY_LIKELY(n >= static_cast<std::int64_t>(hn::Lanes(d)))) return hn::StoreU(v, d, p);
#if GPUNN_HWY_MASKED
  hn::BlendedStore(v, hn::FirstN(d, static_cast<std::size_t>(n)), d, p);
#else
  HWY_ALIGN float part[hn::MaxLanes(d)];
  hn::Store(v, d, part);
  std::copy_n(part, n, p);
#endif
}
#undef GPUNN_HWY_MASKED

/// The first n lanes of v, zeros in the others.
template <class D>
HWY_INLINE hn::Vec<D> FirstLanes(D d, hn::Vec<D> v, std::int64_t n) {
  if (HWY_LIKELY(n >= static_cast<std::int64_t>(hn::Lanes(d)))) return v;
  return hn::IfThenElseZero(hn::FirstN(d, static_cast<std::size_t>(n)), v);
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
