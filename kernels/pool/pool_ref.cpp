// References of pooling, window by window.
#include <cmath>
#include <limits>

#include "gpunn/kernels/common/ref_access.h"
#include "gpunn/kernels/pool/pool_impl.h"

namespace gpunn {
namespace {

/// Element of a picture of `pixels` pixels.
std::int64_t element(const PoolSizes& s, std::int64_t plane, std::int64_t pixels, std::int64_t pixel) {
  if (!s.channels_last) return plane * pixels + pixel;
  const std::int64_t n = plane / s.C, c = plane - n * s.C;
  return (n * pixels + pixel) * s.C + c;
}
std::int64_t x_at(const PoolSizes& s, std::int64_t plane, std::int64_t pixel) {
  return element(s, plane, s.x_pixels(), pixel);
}
std::int64_t y_at(const PoolSizes& s, std::int64_t plane, std::int64_t pixel) {
  return element(s, plane, s.y_pixels(), pixel);
}

/// f(plane, p, q, element of y) for all of them.
template <class F>
void for_each_window(const PoolSizes& s, F f) {
  for (std::int64_t plane = 0; plane < s.N * s.C; ++plane)
    for (std::int32_t p = 0; p < s.h.out; ++p)
      for (std::int32_t q = 0; q < s.w.out; ++q)
        f(plane, p, q, y_at(s, plane, std::int64_t{p} * s.w.out + q));
}

/// f(pixel) for those a window sees, in row-major order.
template <class F>
void for_each_pixel(const PoolSizes& s, std::int32_t p, std::int32_t q, F f) {
  const PoolSpan rows = pool_window(s.h, p), cols = pool_window(s.w, q);
  for (std::int32_t h = rows.first; h < rows.end; h += s.h.dilation)
    for (std::int32_t w = cols.first; w < cols.end; w += s.w.dilation) f(h * s.w.in + w);
}

template <class P>
double divisor_of(const P& p, std::int32_t row, std::int32_t col) {
  if (p.divisor_override != 0) return static_cast<double>(p.divisor_override);
  return static_cast<double>(pool_divisor(p.sizes.h, row, p.count_include_pad)) *
         static_cast<double>(pool_divisor(p.sizes.w, col, p.count_include_pad));
}

/// Sums are kept in double until they are complete.
template <class F>
void accumulate(void* dx, DType dtype, std::int64_t n, F add) {
  std::vector<double> sums(static_cast<std::size_t>(n));
  add(sums.data());
  const RefOut out(dx, dtype);
  for (std::int64_t i = 0; i < n; ++i) out.set(i, sums[static_cast<std::size_t>(i)]);
}

}  // namespace

void max_pool_fwd_ref(const MaxPoolProblem& p, const Exec&) {
  const RefIn x(p.x, p.dtype);
  const RefOut y(p.y, p.dtype);
  for_each_window(p.sizes, [&](std::int64_t plane, std::int32_t row, std::int32_t col, std::int64_t to) {
    double best = -std::numeric_limits<double>::infinity();
    std::int32_t at = -1;
    for_each_pixel(p.sizes, row, col, [&](std::int32_t pixel) {
      const double v = x[x_at(p.sizes, plane, pixel)];
      if (at >= 0 && !(v > best) && !std::isnan(v)) return;
      best = v;
      at = pixel;
    });
    y.set(to, best);
    if (p.want_indices) p.indices[to] = at;
  });
}

void max_pool_bwd_ref(const MaxPoolBackwardProblem& p, const Exec&) {
  const RefIn dy(p.dy, p.dtype);
  accumulate(p.dx, p.dtype, p.sizes.x_elements(), [&](double* sums) {
    for_each_window(p.sizes, [&](std::int64_t plane, std::int32_t, std::int32_t, std::int64_t from) {
      sums[x_at(p.sizes, plane, p.indices[from])] += dy[from];
    });
  });
}

void pool_gather_ref(const PoolGatherProblem& p, const Exec&) {
  const RefIn x(p.x, p.dtype);
  const RefOut y(p.y, p.dtype);
  for_each_window(p.sizes, [&](std::int64_t plane, std::int32_t, std::int32_t, std::int64_t to) {
    y.set(to, x[x_at(p.sizes, plane, p.indices[to])]);
  });
}

void avg_pool_fwd_ref(const AvgPoolProblem& p, const Exec&) {
  const RefIn x(p.x, p.dtype);
  const RefOut y(p.y, p.dtype);
  for_each_window(p.sizes, [&](std::int64_t plane, std::int32_t row, std::int32_t col, std::int64_t to) {
    double sum = 0;
    for_each_pixel(p.sizes, row, col, [&](std::int32_t pixel) { sum += x[x_at(p.sizes, plane, pixel)]; });
    y.set(to, sum / divisor_of(p, row, col));
  });
}

void avg_pool_bwd_ref(const AvgPoolBackwardProblem& p, const Exec&) {
  const RefIn dy(p.dy, p.dtype);
  accumulate(p.dx, p.dtype, p.sizes.x_elements(), [&](double* sums) {
    for_each_window(p.sizes, [&](std::int64_t plane, std::int32_t row, std::int32_t col, std::int64_t from) {
      const double each = dy[from] / divisor_of(p, row, col);
      for_each_pixel(p.sizes, row, col,
                     [&](std::int32_t pixel) { sums[x_at(p.sizes, plane, pixel)] += each; });
    });
  });
}

}  // namespace gpunn
