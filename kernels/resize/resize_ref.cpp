// References of resizing, pixel by pixel.
#include <vector>

#include "gpunn/kernels/common/ref_access.h"
#include "gpunn/kernels/resize/resize_impl.h"

namespace gpunn {
namespace {

/// Element of a picture of `pixels` pixels.
std::int64_t element(const ResizeSizes& s, std::int64_t plane, std::int64_t pixels, std::int64_t pixel) {
  if (!s.channels_last) return plane * pixels + pixel;
  const std::int64_t n = plane / s.C, c = plane - n * s.C;
  return (n * pixels + pixel) * s.C + c;
}

/// f(element of y, element of x, weight) for every pair that belongs together.
template <class F>
void for_each_tap(const ResizeSizes& s, F f) {
  const bool nearest = s.rule == ResizeRule::nearest;
  for (std::int64_t plane = 0; plane < s.N * s.C; ++plane)
    for (std::int32_t p = 0; p < s.h.out; ++p)
      for (std::int32_t q = 0; q < s.w.out; ++q) {
        const std::int64_t y = element(s, plane, s.y_pixels(), std::int64_t{p} * s.w.out + q);
        const ResizeTap rows = resize_tap(s.h, s.rule, p), cols = resize_tap(s.w, s.rule, q);
        const auto at = [&](std::int64_t h, std::int64_t w) {
          return element(s, plane, s.x_pixels(), h * s.w.in + w);
        };
        const double down = static_cast<double>(rows.weight), right = static_cast<double>(cols.weight);
        f(y, at(rows.first, cols.first), (1 - down) * (1 - right));
        if (nearest) continue;
        f(y, at(rows.first, cols.second), (1 - down) * right);
        f(y, at(rows.second, cols.first), down * (1 - right));
        f(y, at(rows.second, cols.second), down * right);
      }
}

/// Sums are kept in double until they are complete.
void store(const std::vector<double>& sums, void* to, DType dtype) {
  for (std::size_t i = 0; i < sums.size(); ++i) store_ref(to, dtype, static_cast<std::int64_t>(i), sums[i]);
}

}  // namespace

void resize_fwd_ref(const ResizeProblem& p, const Exec&) {
  const RefIn x(p.x, p.dtype);
  std::vector<double> sums(static_cast<std::size_t>(p.sizes.y_elements()));
  for_each_tap(p.sizes, [&](std::int64_t to, std::int64_t from, double weight) {
    sums[static_cast<std::size_t>(to)] += weight * x[from];
  });
  store(sums, p.y, p.dtype);
}

void resize_bwd_ref(const ResizeBackwardProblem& p, const Exec&) {
  const RefIn dy(p.dy, p.dtype);
  std::vector<double> sums(static_cast<std::size_t>(p.sizes.x_elements()));
  for_each_tap(p.sizes, [&](std::int64_t from, std::int64_t to, double weight) {
    sums[static_cast<std::size_t>(to)] += weight * dy[from];
  });
  store(sums, p.dx, p.dtype);
}

}  // namespace gpunn
