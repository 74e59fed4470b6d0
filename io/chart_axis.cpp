#include "gpunn/io/detail/chart_axis.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "gpunn/io/detail/utf8.h"

namespace gpunn::detail {
namespace {

constexpr double kCharacter = 6.9;  // pixels; a wide digit of the fonts asked for, at 12 px

/// The round number (1, 2, 5 times a power of ten) at or above `value`.
double round_step(double value) {
  const double power = std::pow(10, std::floor(std::log10(value)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= value * (1 - 1e-9)) return factor * power;
  }
  return 10 * power;
}

ChartAxis linear_axis(double low, double high, bool round, bool whole, int wanted) {
  constexpr double kSmallest = 1e-300;
  if (high - low <= std::max(std::abs(high) * 1e-9, kSmallest)) {  // one value: give it room
    whole = whole && std::abs(high) < 1e9;
    const double room = high == 0 || whole ? 1 : std::max(std::abs(high) * 0.1, kSmallest);
    low -= room;
    high += room;
  }
  double step = round_step((high - low) / wanted);
  if (whole) step = std::max(step, 1.0);
  ChartAxis axis;
  axis.low = round ? std::floor(low / step + 1e-9) * step : low;
  axis.high = round ? std::ceil(high / step - 1e-9) * step : high;
  const double first = std::ceil(axis.low / step - 1e-9);
  for (double k = first; k * step <= axis.high + step * 1e-6 && axis.ticks.size() < 100; ++k) {
    axis.ticks.push_back(k == 0 ? 0 : k * step);
  }
  return axis;
}

ChartAxis log_axis(double low, double high, bool round, int wanted) {
  const double decades = std::log10(high / low);
  if (decades < 0.7) {  // too short for powers of ten: linear ticks on the logarithmic scale
    ChartAxis axis = linear_axis(low, high, false, false, wanted);
    if (axis.low <= 0) axis.low = low * 0.9;
    axis.log = true;
    return axis;
  }
  ChartAxis axis;
  axis.log = true;
  axis.low = low;
  axis.high = high;
  const auto first = static_cast<int>(std::floor(std::log10(low) + 1e-9));
  const auto last = static_cast<int>(std::ceil(std::log10(high) - 1e-9));
  const int stride = std::max(1, static_cast<int>(std::ceil((last - first) / (2.0 * wanted))));
  std::vector<double> candidates;
  for (int e = first; e <= last; e += stride) {
    candidates.push_back(std::pow(10, e));
    if (decades < 3 && stride == 1) {
      candidates.push_back(2 * std::pow(10, e));
      candidates.push_back(5 * std::pow(10, e));
    }
  }
  if (round) {
    // The nearest candidates outside become the range's ends.
    for (const double c : candidates) {
      if (c <= low * (1 + 1e-9)) axis.low = c;
    }
    for (auto c = candidates.rbegin(); c != candidates.rend(); ++c) {
      if (*c >= high * (1 - 1e-9)) axis.high = *c;
    }
  }
  for (const double c : candidates) {
    if (c >= axis.low * (1 - 1e-9) && c <= axis.high * (1 + 1e-9)) axis.ticks.push_back(c);
  }
  return axis;
}

std::string general(double value, int digits) {
  char buffer[40];
  const auto end =
      std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::general, digits).ptr;
  std::string out(buffer, end);
  // "1e-05" reads better as "1e-5".
  const std::size_t zero = out.find("e-0");
  if (zero != std::string::npos) out.erase(zero + 2, 1);
  const std::size_t plus = out.find("e+0");
  if (plus != std::string::npos) out.erase(plus + 1, 2);
  return out;
}

}  // namespace

bool ChartAxis::shows(double value) const noexcept { return std::isfinite(value) && (!log || value > 0); }

double ChartAxis::pixel(double value) const noexcept {
  const double unit = log ? std::log(value / low) / std::log(high / low) : (value - low) / (high - low);
  return from + unit * (to - from);
}

ChartAxis make_axis(double low, double high, bool log, bool round, bool whole, int wanted) {
  if (!(low <= high)) return log ? log_axis(0.1, 1, round, wanted) : linear_axis(0, 1, round, false, wanted);
  // Differences near the largest double would overflow; such a chart shows little else anyway.
  low = std::clamp(low, -1e300, 1e300);
  high = std::clamp(high, -1e300, 1e300);
  if (log) low = std::max(low, 1e-300);
  if (!log) return linear_axis(low, high, round, whole, wanted);
  return log_axis(low, std::max(high, low), round, wanted);
}

std::string tick_text(double value) {
  const double size = std::abs(value);
  if (size >= 1e4 && size < 1e15) {
    const bool millions = size >= 1e6;
    return general(value / (millions ? 1e6 : 1e3), 6) + (millions ? "M" : "k");
  }
  return general(value, 6);
}

std::string value_text(double value) {
  if (!std::isfinite(value)) return std::isnan(value) ? "nan" : value < 0 ? "-inf" : "inf";
  if (value == std::floor(value) && std::abs(value) < 1e9)
    return std::to_string(static_cast<long long>(value));
  return general(value, 4);
}

double text_width(std::string_view text) noexcept {
  double width = 0;
  for (const char c : text) width += (static_cast<unsigned char>(c) & 0xc0) == 0x80 ? 0 : kCharacter;
  return width;
}

std::string fitted(std::string_view text, double width) {
  if (text_width(text) <= width) return std::string(text);
  std::string out;
  double used = kCharacter;  // the ellipsis
  while (!text.empty() && used + kCharacter <= width) {
    const std::size_t length = std::max<std::size_t>(1, utf8_length(text));
    out += text.substr(0, length);
    text.remove_prefix(length);
    used += kCharacter;
  }
  return out + "…";
}

}  // namespace gpunn::detail
