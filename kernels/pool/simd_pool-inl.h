// Rows of f32 pictures under windows that move by one or two columns.
//
// Include it in a source that is compiled per target, after hwy/highway.h.
#if defined(GPUNN_KERNELS_POOL_SIMD_POOL_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GPUNN_KERNELS_POOL_SIMD_POOL_INL_H_
#undef GPUNN_KERNELS_POOL_SIMD_POOL_INL_H_
#else
#define GPUNN_KERNELS_POOL_SIMD_POOL_INL_H_
#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "gpunn/kernels/common/simd_rows-inl.h"
#include "gpunn/kernels/pool/pool_impl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace gpunn {
namespace HWY_NAMESPACE {

/// Are columns worth vectors? Other strides take their windows one by one; so do paddings that would make a
/// padded row long.
HWY_INLINE bool VectorColumns(const PoolAxis& w) { return !w.adaptive && w.stride <= 2 && w.pad <= w.in; }

/// Floats of a padded row: what the vectors of LoadColumns reach.
HWY_INLINE std::size_t PaddedWidth(const PoolAxis& w) {
  const hn::ScalableTag<float> d;
  const std::int64_t lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const std::int64_t windows = (w.out + lanes - 1) / lanes * lanes;
  const std::int64_t reach = windows * w.stride + std::int64_t{w.dilation} * (w.kernel - 1);
  return static_cast<std::size_t>(std::max<std::int64_t>(reach, w.in + w.pad));
}

/// Lane l: p[l * kStride].
template <int kStride, class D>
HWY_INLINE hn::Vec<D> LoadColumns(D d, const float* p) {
  if constexpr (kStride == 1 || hn::MaxLanes(D()) == 1) {
    return hn::LoadU(d, p);
#if HWY_TARGET != HWY_SCALAR
  } else {
    return hn::ConcatEven(d, hn::LoadU(d, p + hn::Lanes(d)), hn::LoadU(d, p));
#endif
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace gpunn
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
