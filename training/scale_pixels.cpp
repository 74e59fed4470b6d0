// Bytes to floats for image batches, compiled once per SIMD target and chosen at run time.
// Two products with the halves of the reciprocal give the same floats as the division and take 5.1 instead
// of 10.9 us for 64 rows of 784 bytes (AVX-512, November 2026), but 8.8 instead of 10.9 us with rows that
// come from memory: not worth a second path.
#include "gpunn/training/image_dataset.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "gpunn/training/scale_pixels.cpp"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace gpunn::detail::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// A division, not a product with the reciprocal: k / 255 is then the same float everywhere, PyTorch included.
void scale(const std::uint8_t* HWY_RESTRICT in, float* HWY_RESTRICT out, std::size_t n, float divisor) {
  const hn::ScalableTag<float> df;
  const hn::RebindToSigned<decltype(df)> di;
  const hn::Rebind<std::uint8_t, decltype(df)> du8;
  const std::size_t lanes = hn::Lanes(df);
  const auto d = hn::Set(df, divisor);
  std::size_t i = 0;
  for (; i + lanes <= n; i += lanes)
    hn::StoreU(hn::Div(hn::ConvertTo(df, hn::PromoteTo(di, hn::LoadU(du8, in + i))), d), df, out + i);
  for (; i < n; ++i) out[i] = static_cast<float>(in[i]) / divisor;
}

}  // namespace gpunn::detail::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gpunn::detail {

HWY_EXPORT(scale);

void scale_pixels(const std::uint8_t* in, float* out, std::size_t n, float divisor) {
  HWY_DYNAMIC_DISPATCH(scale)(in, out, n, divisor);
}

}  // namespace gpunn::detail
#endif
