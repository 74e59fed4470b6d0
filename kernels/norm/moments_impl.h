#pragma once
// Means and variances of parts of a channel or row, on the host.
//
// Parts are joined after T. Chan, G. Golub and R. LeVeque, "Updating formulae and a pairwise algorithm for
// computing sample variances" (1979). Within a part x - shift is summed, and its square, in f32; the shift is
// the mean of what came before. That cancels only where the part's mean differs from the shift by much more
// than its deviations, and then the difference itself is the larger part of the joint variance.
#include <algorithm>
#include <cmath>
#include <cstdint>

namespace gpunn {

/// Count, mean, and sum of squared deviations from it.
struct RunningMoments {
  double n = 0, mean = 0, squares = 0;

  void add(double count, double part_mean, double part_squares) {
    const double total = n + count, delta = part_mean - mean;
    mean += delta * (count / total);
    squares += part_squares + delta * delta * (n * (count / total));
    n = total;
  }
  /// A part given by its sums of (x - shift) and (x - shift)^2.
  void add_shifted(double count, double shift, double sum, double sum_of_squares) {
    add(count, shift + sum / count, clamped(sum_of_squares - sum * (sum / count)));
  }
  double var() const { return squares / n; }
  bool finite() const { return std::isfinite(mean) && std::isfinite(squares); }

  /// Rounding may leave a little less than nothing; NaN stays.
  static double clamped(double squares) { return squares < 0 ? 0 : squares; }
};

/// Of `count` elements `stride` apart, `segments` times, in double: for what overflows in f32, and to spread
/// NaN and infinities.
inline RunningMoments moments_in_double(const float* x, std::int64_t segments, std::int64_t segment_stride,
                                        std::int64_t count, std::int64_t stride) {
  RunningMoments m;
  m.n = static_cast<double>(segments * count);
  const auto each = [&](auto f) {
    for (std::int64_t s = 0; s < segments; ++s)
      for (std::int64_t i = 0; i < count; ++i) f(static_cast<double>(x[s * segment_stride + i * stride]));
  };
  each([&](double v) { m.mean += v / m.n; });
  each([&](double v) { m.squares += (v - m.mean) * (v - m.mean); });
  return m;
}

/// y = (x / 2 - half_mean) factor + shift. Halving keeps the difference of the largest numbers finite and
/// costs nothing within a multiply-add; the shift holds what rounding the mean to f32 leaves over, so that a
/// large mean beside tiny deviations costs no digits.
struct NormLine {
  float half_mean, factor, shift;

  static NormLine of(double mean, double rstd, double w, double b) {
    const float rounded = static_cast<float>(mean);
    const double rest = mean - static_cast<double>(rounded);
    return {0.5f * rounded, static_cast<float>(2 * rstd * w),
            static_cast<float>(rest == 0 ? b : b - rest * rstd * w)};
  }
};

}  // namespace gpunn
