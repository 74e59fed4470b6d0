#include <vector>

#include "gpunn/kernels/common/ref_access.h"
#include "gpunn/kernels/conv2d/conv2d_impl.h"

namespace gpunn {
namespace {

std::int64_t x_at(const Conv2dSizes& s, std::int64_t n, std::int64_t c, std::int64_t h, std::int64_t w) {
  return s.channels_last ? ((n * s.H + h) * s.W + w) * s.C + c : ((n * s.C + c) * s.H + h) * s.W + w;
}
std::int64_t y_at(const Conv2dSizes& s, std::int64_t n, std::int64_t k, std::int64_t p, std::int64_t q) {
  return s.channels_last ? ((n * s.P + p) * s.Q + q) * s.K + k : ((n * s.K + k) * s.P + p) * s.Q + q;
}
/// `c`: within the group.
std::int64_t w_at(const Conv2dSizes& sizes, std::int64_t k, std::int64_t c, std::int64_t r, std::int64_t s) {
  return ((k * (sizes.C / sizes.groups) + c) * sizes.R + r) * sizes.S + s;
}
bool inside(std::int64_t i, std::int64_t size) { return i >= 0 && i < size; }

/// f(r, s, h, w) for every tap of the window (p, q) that lies on the picture.
template <class F>
void for_window(const Conv2dSizes& z, std::int64_t p, std::int64_t q, F&& f) {
  for (std::int64_t r = 0; r < z.R; ++r)
    for (std::int64_t s = 0; s < z.S; ++s) {
      const std::int64_t h = p * z.stride_h - z.pad_h + r * z.dilation_h;
      const std::int64_t w = q * z.stride_w - z.pad_w + s * z.dilation_w;
      if (inside(h, z.H) && inside(w, z.W)) f(r, s, h, w);
    }
}

}  // namespace

void conv2d_ref(const Conv2dProblem& problem, const Exec&) {
  const Conv2dSizes& z = problem.sizes;
  const RefIn x(problem.x, problem.dtype), w(problem.w, problem.dtype), bias(problem.bias, problem.dtype);
  const RefOut y(problem.y, problem.dtype);
  const std::int64_t channels = z.C / z.groups, filters = z.K / z.groups;
  for (std::int64_t n = 0; n < z.N; ++n)
    for (std::int64_t k = 0; k < z.K; ++k)
      for (std::int64_t p = 0; p < z.P; ++p)
        for (std::int64_t q = 0; q < z.Q; ++q) {
          double sum = 0;
          for (std::int64_t c = 0; c < channels; ++c)
            for_window(z, p, q, [&](std::int64_t r, std::int64_t s, std::int64_t i, std::int64_t j) {
              sum += w[w_at(z, k, c, r, s)] * x[x_at(z, n, k / filters * channels + c, i, j)];
            });
          if (problem.has_bias) sum += bias[k];
          y.set(y_at(z, n, k, p, q), problem.relu && sum < 0 ? 0 : sum);  // keeps NaN
        }
}

void conv2d_dx_ref(const Conv2dDxProblem& problem, const Exec&) {
  const Conv2dSizes& z = problem.sizes;
  const RefIn dy(problem.dy, problem.dtype), w(problem.w, problem.dtype), bias(problem.bias, problem.dtype);
  const RefOut dx(problem.dx, problem.dtype);
  const std::int64_t channels = z.C / z.groups, filters = z.K / z.groups;
  std::vector<double> plane(static_cast<std::size_t>(z.H * z.W));
  for (std::int64_t n = 0; n < z.N; ++n)
    for (std::int64_t c = 0; c < z.C; ++c) {
      plane.assign(plane.size(), problem.has_bias ? bias[c] : 0);
      for (std::int64_t k = c / channels * filters; k < (c / channels + 1) * filters; ++k)
        for (std::int64_t p = 0; p < z.P; ++p)
          for (std::int64_t q = 0; q < z.Q; ++q) {
            const double g = dy[y_at(z, n, k, p, q)];
            for_window(z, p, q, [&](std::int64_t r, std::int64_t s, std::int64_t i, std::int64_t j) {
              plane[static_cast<std::size_t>(i * z.W + j)] += g * w[w_at(z, k, c % channels, r, s)];
            });
          }
      for (std::int64_t i = 0; i < z.H; ++i)
        for (std::int64_t j = 0; j < z.W; ++j)
          dx.set(x_at(z, n, c, i, j), plane[static_cast<std::size_t>(i * z.W + j)]);
    }
}

void conv2d_dw_ref(const Conv2dDwProblem& problem, const Exec&) {
  const Conv2dSizes& z = problem.sizes;
  const RefIn x(problem.x, problem.dtype), dy(problem.dy, problem.dtype);
  const RefOut dw(problem.dw, problem.dtype);
  const std::int64_t channels = z.C / z.groups, filters = z.K / z.groups;
  std::vector<double> taps(static_cast<std::size_t>(z.R * z.S));
  for (std::int64_t k = 0; k < z.K; ++k)
    for (std::int64_t c = 0; c < channels; ++c) {
      taps.assign(taps.size(), 0);
      for (std::int64_t n = 0; n < z.N; ++n)
        for (std::int64_t p = 0; p < z.P; ++p)
          for (std::int64_t q = 0; q < z.Q; ++q) {
            const double g = dy[y_at(z, n, k, p, q)];
            for_window(z, p, q, [&](std::int64_t r, std::int64_t s, std::int64_t i, std::int64_t j) {
              taps[static_cast<std::size_t>(r * z.S + s)] +=
                  g * x[x_at(z, n, k / filters * channels + c, i, j)];
            });
          }
      for (std::int64_t i = 0; i < z.R * z.S; ++i)
        dw.set(w_at(z, k, c, 0, 0) + i, taps[static_cast<std::size_t>(i)]);
    }
}

void channel_grad_ref(const ChannelGradProblem& p, const Exec&) {
  const RefIn dy(p.dy, p.dtype), y(p.y, p.dtype);
  const RefOut dz(p.dz, p.dtype), db(p.db, p.dtype);
  for (std::int64_t k = 0; k < p.K; ++k) {
    double sum = 0;
    for (std::int64_t n = 0; n < p.N; ++n)
      for (std::int64_t i = 0; i < p.pixels; ++i) {
        const std::int64_t at = p.channels_last ? (n * p.pixels + i) * p.K + k : (n * p.K + k) * p.pixels + i;
        const double g = p.relu && !(y[at] > 0) ? 0 : dy[at];
        if (p.relu) dz.set(at, g);
        sum += g;
      }
    if (p.want_db) db.set(k, sum);
  }
}

}  // namespace gpunn
