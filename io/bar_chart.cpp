#include <algorithm>
#include <cmath>

#include "gpunn/core/error.h"
#include "gpunn/io/charts.h"
#include "gpunn/io/detail/chart_axis.h"

namespace gpunn {
namespace {

std::string bar_text(double value, bool percent) {
  if (!percent || !std::isfinite(value)) return detail::value_text(value);
  const auto tenths = std::llround(std::clamp(value, -1e6, 1e6) * 1000);
  const std::string digits = std::to_string(std::abs(tenths) % 10);
  return (tenths < 0 ? "-" : "") + std::to_string(std::abs(tenths) / 10) + "." + digits + " %";
}

}  // namespace

Svg draw(const BarChart& chart) {
  constexpr int kRow = 22, kBar = 14;
  constexpr std::size_t kMaxBars = 400;
  GPUNN_CHECK(chart.width >= 200 && chart.width <= 2000, "BarChart: expected a width of 200 to 2000, got ",
              chart.width);
  GPUNN_CHECK(chart.bars.size() <= kMaxBars, "BarChart: expected at most ", kMaxBars, " bars, got ",
              chart.bars.size());

  double label_width = 0, text_width = 0, low = 0, high = 0;
  for (const auto& bar : chart.bars) {
    label_width = std::max(label_width, detail::text_width(bar.label));
    text_width = std::max(text_width, detail::text_width(bar_text(bar.value, chart.percent)));
    if (std::isfinite(bar.value)) {
      low = std::min(low, bar.value);
      high = std::max(high, bar.value);
    }
  }
  if (chart.maximum && *chart.maximum > low) high = *chart.maximum;
  if (high <= low) high = low + 1;
  label_width = std::min(label_width, chart.width * 0.4);

  const int top = chart.title.empty() ? 4 : 30;
  Svg svg(chart.width, top + kRow * std::max<double>(1, static_cast<double>(chart.bars.size())) + 2,
          chart.title.empty() ? "bar chart" : chart.title);
  if (!chart.title.empty()) svg.text(0, 15, detail::fitted(chart.title, chart.width / 1.15), "title");
  const double from = std::ceil(label_width + 10),
               to = std::max(from + 40, std::floor(chart.width - text_width - 10));
  const auto pixel = [&](double v) {
    return from + (std::clamp(v, low, high) - low) / (high - low) * (to - from);
  };
  for (std::size_t i = 0; i < chart.bars.size(); ++i) {
    const auto& bar = chart.bars[i];
    const double y = top + kRow * static_cast<double>(i), middle = y + kRow / 2.0 + 4;
    const std::string text = bar_text(bar.value, chart.percent);
    svg.begin_group("", bar.label + ": " + text);
    svg.text(from - 10, middle, detail::fitted(bar.label, label_width), "label end");
    svg.rect(from, y + 4, to - from, kBar, "track");
    if (std::isfinite(bar.value)) {
      const double zero = pixel(0), end = pixel(bar.value);
      svg.rect(std::min(zero, end), y + 4, std::abs(end - zero), kBar, bar.highlighted ? "accent" : "quiet");
    }
    svg.text(chart.width - 2, middle, text, bar.highlighted ? "value end" : "muted end").end_group();
  }
  if (chart.bars.empty()) svg.text(0, top + 15, "no bars", "muted");
  return svg;
}

}  // namespace gpunn
