#include "tests/support/compare.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace gpunn {
namespace {

/// Unit roundoff and half of the least positive value of a floating dtype.
struct Precision {
  double roundoff, half_least;
};

Precision precision_of(DType dtype) {
  switch (dtype) {
    case DType::f16:
      return {0x1p-11, 0x1p-25};
    case DType::bf16:
      return {0x1p-8, 0x1p-134};
    case DType::f64:
      return {0x1p-53, 0};
    default:
      return {0x1p-24, 0};
  }
}

double bound_of(DType dtype, double truth, double rounded, double scale, const Tolerance& t) {
  const bool wide = dtype == DType::f64;
  const double eps = wide ? std::numeric_limits<double>::epsilon() : std::numeric_limits<float>::epsilon();
  // Below the smallest normal number an implementation may flush to zero.
  const double least = wide ? std::numeric_limits<double>::min() : std::numeric_limits<float>::min();
  const double accumulated = std::max(t.c * eps * std::sqrt(t.k) * scale, least);
  if (dtype == DType::f32 || wide) return accumulated;
  const Precision p = precision_of(dtype);
  const double unit = std::max(p.roundoff * std::abs(truth), p.half_least);
  return t.half_factor * std::max(std::abs(rounded - truth), unit) + accumulated;
}

bool same_non_finite(double got, double expected) {
  return std::isnan(expected) ? std::isnan(got) : got == expected;
}

}  // namespace

double load_element(const void* data, DType dtype, std::int64_t i) {
  double value = 0;
  visit_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    const T element = static_cast<const T*>(data)[i];
    if constexpr (std::is_arithmetic_v<T>)
      value = static_cast<double>(element);
    else
      value = static_cast<double>(static_cast<float>(element));
  });
  return value;
}

void store_element(void* data, DType dtype, std::int64_t i, double value) {
  visit_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    if constexpr (std::is_arithmetic_v<T>)
      static_cast<T*>(data)[i] = static_cast<T>(value);
    else
      static_cast<T*>(data)[i] = T(static_cast<float>(value));
  });
}

Comparison compare(const void* got, DType dtype, std::span<const double> truth,
                   std::span<const double> rounded, std::span<const double> scale,
                   const Tolerance& tolerance) {
  Comparison result;
  double worst = -1;
  std::int64_t zeros = 0;
  for (std::size_t i = 0; i < truth.size(); ++i) {
    const auto index = static_cast<std::int64_t>(i);
    const double value = load_element(got, dtype, index);
    zeros += value == 0;
    double error = std::abs(value - truth[i]), bound = 0;
    bool good;
    if (!is_floating(dtype)) {
      good = value == truth[i];
    } else if (!std::isfinite(rounded[i])) {
      good = same_non_finite(value, rounded[i]);
      error = good ? 0 : std::numeric_limits<double>::infinity();
    } else {
      bound = bound_of(dtype, truth[i], rounded[i], scale[scale.size() == 1 ? 0 : i], tolerance);
      good = error <= bound;
    }
    result.wrong += !good;
    // How far the element went: in bounds while good, infinitely far for NaN, which no ratio would show.
    const double distance = good && bound > 0   ? error / bound
                            : good              ? 0
                            : std::isnan(error) ? HUGE_VAL
                                                : 1 + error;
    if (distance > worst) {
      worst = distance;
      result.element = index;
      result.got = value;
      result.expected = truth[i];
      result.error = error;
      result.bound = bound;
    }
  }
  result.ok = result.wrong == 0;
  result.zero_fraction = truth.empty() ? 0 : static_cast<double>(zeros) / static_cast<double>(truth.size());
  return result;
}

}  // namespace gpunn
