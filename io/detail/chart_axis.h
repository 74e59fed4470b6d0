#pragma once
// Axes of charts: ranges, round ticks, labels, and the size that text will take.
#include <string>
#include <string_view>
#include <vector>

namespace gpunn::detail {

/// The image of [low, high] (or of its logarithm) on pixels [from, to].
struct ChartAxis {
  double low = 0, high = 1;
  bool log = false;
  double from = 0, to = 1;
  std::vector<double> ticks;

  bool shows(double value) const noexcept;
  double pixel(double value) const noexcept;
};

/// Axis for values from `low` to `high` (as found; low > high: there are none). `round` widens the range to
/// whole ticks; `whole` keeps ticks at integers. About `wanted` ticks.
ChartAxis make_axis(double low, double high, bool log, bool round, bool whole, int wanted);

/// Short text for a tick among others, and a value with four significant digits.
std::string tick_text(double value);
std::string value_text(double value);
/// Width in pixels at 12 px, on the generous side.
double text_width(std::string_view text) noexcept;
/// `text` cut to a width, with an ellipsis.
std::string fitted(std::string_view text, double width);

}  // namespace gpunn::detail
