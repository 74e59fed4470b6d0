#pragma once
// What recipes share about numbers: as text, and the largest difference.
#include <cmath>
#include <cstdio>
#include <limits>
#include <span>
#include <string>

namespace gpunn::detail {

/// With `digits` significant digits; whole numbers in full.
inline std::string significant(double value, int digits) {
  char text[60];
  if (value == std::floor(value) && std::abs(value) < 1e15)
    std::snprintf(text, sizeof text, "%.0f", value);
  else
    std::snprintf(text, sizeof text, "%.*g", digits, value);
  return text;
}

/// With `digits` decimals; what rounds to zero has no sign.
inline std::string fixed(double value, int digits) {
  char text[60];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  const std::string result = text;
  return result[0] == '-' && result.find_first_not_of("-0.") == std::string::npos ? result.substr(1) : result;
}

/// A fraction as "97.42 %".
inline std::string percent(double fraction, int digits = 2) { return fixed(100 * fraction, digits) + " %"; }

/// Two significant digits: errors range from 1e-8 to 0.3.
inline std::string short_text(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2g", value);
  return text;
}

/// All of them, parted by spaces.
inline std::string significant(std::span<const double> values, int digits) {
  std::string text;
  for (const double v : values) text += (text.empty() ? "" : " ") + significant(v, digits);
  return text;
}

/// The largest |a_i - b_i|; infinite for values that are not finite and for differing counts.
inline double largest_difference(std::span<const double> a, std::span<const double> b) {
  double worst = 0;
  if (a.size() != b.size()) return std::numeric_limits<double>::infinity();
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double difference = std::abs(a[i] - b[i]);
    if (!std::isfinite(difference)) return std::numeric_limits<double>::infinity();
    worst = std::fmax(worst, difference);
  }
  return worst;
}

}  // namespace gpunn::detail
