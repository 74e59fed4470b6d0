#include "gpunn/io/detail/chart_frame.h"

#include <algorithm>
#include <cmath>

namespace gpunn::detail {

void draw_axes(Svg& svg, const ChartAxis& x, const ChartAxis& y, std::string_view x_label,
               std::string_view y_label) {
  const auto crisp = [](double v) { return std::floor(v) + 0.5; };
  for (const double tick : y.ticks) {
    const double at = crisp(y.pixel(tick));
    svg.line(x.from, at, x.to, at, "grid").text(x.from - 8, at + 4, tick_text(tick), "tick end");
  }
  const double bottom = crisp(y.from);
  svg.line(x.from, bottom, x.to, bottom, "axis");
  double taken = -1e9;
  for (const double tick : x.ticks) {
    const std::string text = tick_text(tick);
    const double half = text_width(text) / 2;
    // The last label moves in rather than out of the picture; one that would touch its neighbour is left out.
    const double at = std::min(x.pixel(tick), svg.width() - half);
    if (at - half < taken + 6) continue;
    svg.line(crisp(x.pixel(tick)), bottom, crisp(x.pixel(tick)), bottom + 5, "axis")
        .text(at, bottom + 19, text, "tick middle");
    taken = at + half;
  }
  svg.text((x.from + x.to) / 2, svg.height() - 4, x_label, "muted middle");
  if (!y_label.empty()) svg.vertical_text(11, (y.from + y.to) / 2, y_label, "muted middle");
}

double y_axis_room(const ChartAxis& y, std::string_view y_label) {
  double widest = 0;
  for (const double tick : y.ticks) widest = std::max(widest, text_width(tick_text(tick)));
  return std::ceil(widest + 10 + (y_label.empty() ? 0 : 20));
}

LegendLayout lay_out_legend(std::vector<std::string> texts, double width, double top) {
  constexpr double kSwatch = 24, kGap = 18, kLine = 18;
  LegendLayout legend;
  legend.bottom = texts.empty() ? top - kLine : top;
  double x = 0;
  for (std::string& text : texts) {
    const double needed = kSwatch + text_width(text) + kGap;
    if (x > 0 && x + needed > width) {
      x = 0;
      legend.bottom += kLine;
    }
    legend.entries.push_back({x, legend.bottom, std::move(text)});
    x += needed;
  }
  return legend;
}

}  // namespace gpunn::detail
