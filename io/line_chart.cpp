#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

#include "gpunn/core/error.h"
#include "gpunn/io/charts.h"
#include "gpunn/io/detail/chart_axis.h"
#include "gpunn/io/detail/chart_frame.h"

namespace gpunn {
namespace {

using detail::ChartAxis;
using detail::value_text;
using Point = std::pair<double, double>;
using Style = ChartSeries::Style;

constexpr std::size_t kDotsUpTo = 40;      // curves with few points show them
constexpr std::size_t kHoverPoints = 160;  // a curve; keeps a report of many charts small

double x_of(const ChartSeries& series, std::size_t i) {
  return series.x.empty() ? static_cast<double>(i + 1) : series.x[i];
}

struct Extent {
  double low = std::numeric_limits<double>::infinity(), high = -low;
  bool whole = true;
  void add(double value, bool log) {
    if (!std::isfinite(value) || (log && value <= 0)) return;
    low = std::min(low, value);
    high = std::max(high, value);
    whole = whole && value == std::floor(value) && std::abs(value) < 1e9;
  }
};

std::vector<std::string> legend_texts(const LineChart& chart) {
  std::vector<std::string> texts;
  for (const ChartSeries& series : chart.series) {
    texts.push_back(detail::fitted(series.name, chart.width / 2.0));
    // The last value beside the name saves a look along the axis.
    if (!series.y.empty() && std::isfinite(series.y.back()) && series.style != Style::points &&
        series.style != Style::steps) {
      texts.back() += "  " + value_text(series.y.back());
    }
  }
  return texts;
}

/// Runs of points on the canvas; a value that cannot be shown ends a run. Long runs keep, for each half pixel
/// column, the first, least, greatest and last point, so that spikes survive.
std::vector<std::vector<Point>> runs_of(const ChartSeries& series, const ChartAxis& x, const ChartAxis& y) {
  std::vector<std::vector<Point>> runs;
  std::vector<Point> run;
  const bool thin = series.y.size() > 4 * static_cast<std::size_t>(std::abs(x.to - x.from));
  std::vector<Point> column;
  const auto flush_column = [&] {
    if (column.empty()) return;
    auto [least, greatest] = std::minmax_element(
        column.begin(), column.end(), [](const Point& a, const Point& b) { return a.second < b.second; });
    if (least > greatest) std::swap(least, greatest);
    const auto begin = column.begin(), last = column.end() - 1;
    run.push_back(*begin);
    if (least != begin && least != last) run.push_back(*least);
    if (greatest != begin && greatest != last && greatest != least) run.push_back(*greatest);
    if (last != begin) run.push_back(*last);
    column.clear();
  };
  const auto flush_run = [&] {
    flush_column();
    if (!run.empty()) runs.push_back(std::move(run));
    run.clear();
  };
  for (std::size_t i = 0; i < series.y.size(); ++i) {
    const double xv = x_of(series, i), yv = series.y[i];
    if (!x.shows(xv) || !y.shows(yv)) {
      flush_run();
      continue;
    }
    const Point at(x.pixel(xv), y.pixel(yv));
    if (series.style == Style::steps && !run.empty()) run.emplace_back(at.first, run.back().second);
    if (!thin) {
      run.push_back(at);
      continue;
    }
    if (!column.empty() && std::floor(column.front().first * 2) != std::floor(at.first * 2)) flush_column();
    column.push_back(at);
  }
  flush_run();
  return runs;
}

/// Least distance in pixels between a horizontal line and the curves over one end of the x axis.
double clearance(const LineChart& chart, const ChartAxis& x, const ChartAxis& y, double at, bool right) {
  double least = 1e9;
  for (const ChartSeries& series : chart.series) {
    for (std::size_t i = 0; i < series.y.size(); ++i) {
      if (!x.shows(x_of(series, i)) || !y.shows(series.y[i])) continue;
      const double unit = (x.pixel(x_of(series, i)) - x.from) / (x.to - x.from);
      if (right ? unit >= 0.8 : unit <= 0.2) least = std::min(least, std::abs(y.pixel(series.y[i]) - at));
    }
  }
  return least;
}

void draw_references(Svg& svg, const LineChart& chart, const ChartAxis& x, const ChartAxis& y) {
  for (const auto& [name, value] : chart.references) {
    if (!y.shows(value)) continue;
    const double at = std::floor(y.pixel(value)) + 0.5;
    svg.line(x.from, at, x.to, at, "reference");
    // The name stands where the curves leave room for it.
    const bool right = clearance(chart, x, y, at, true) >= clearance(chart, x, y, at, false);
    const bool below = at < y.to + 16;
    svg.text(right ? x.to - 2 : x.from + 4, at + (below ? 14 : -5), name + " " + value_text(value),
             right ? "muted halo end" : "muted halo");
  }
}

void draw_series(Svg& svg, const LineChart& chart, std::size_t index, const ChartAxis& x,
                 const ChartAxis& y) {
  const ChartSeries& series = chart.series[index];
  const std::string colour = std::to_string(index % detail::kSeriesColours);
  const std::string stroke = "s" + colour + (series.style == Style::dashed ? " dashed" : "");
  const auto runs = runs_of(series, x, y);
  const bool dots =
      series.style == Style::points || (series.y.size() <= kDotsUpTo && series.style != Style::steps);
  for (const auto& run : runs) {
    if (series.style != Style::points && run.size() > 1) svg.polyline(run, stroke);
    // A lone value between gaps has no line; it must not vanish.
    if (!dots && run.size() == 1) svg.circle(run[0].first, run[0].second, 2.2, "f" + colour);
  }
  const std::size_t stride = (series.y.size() + kHoverPoints - 1) / kHoverPoints;
  for (std::size_t i = 0; i < series.y.size(); i += dots ? 1 : stride) {
    const double xv = x_of(series, i), yv = series.y[i];
    if (!x.shows(xv) || !y.shows(yv)) continue;
    const double cx = x.pixel(xv), cy = y.pixel(yv);
    const bool hover = i % std::max<std::size_t>(stride, 1) == 0;
    if (hover)
      svg.begin_group("hover s" + colour, series.name + ": " + value_text(yv) + " at " + value_text(xv));
    if (dots) svg.circle(cx, cy, 2.2, "f" + colour);
    if (hover) svg.circle(cx, cy, 7, "hit").end_group();
  }
}

void check(const LineChart& chart) {
  GPUNN_CHECK(chart.width >= 200 && chart.width <= 2000 && chart.height >= 120 && chart.height <= 2000,
              "LineChart: expected a width of 200 to 2000 and a height of 120 to 2000, got ", chart.width,
              " x ", chart.height);
  for (const ChartSeries& series : chart.series) {
    GPUNN_CHECK(series.x.empty() || series.x.size() == series.y.size(), "LineChart: series '", series.name,
                "' has ", series.x.size(), " x and ", series.y.size(), " y");
  }
}

}  // namespace

Svg draw(const LineChart& chart) {
  check(chart);
  Extent xs, ys;
  for (const ChartSeries& series : chart.series) {
    for (std::size_t i = 0; i < series.y.size(); ++i) {
      // A point counts only where both of its values can be shown.
      if (!std::isfinite(series.y[i]) || (chart.log_y && series.y[i] <= 0)) continue;
      xs.add(x_of(series, i), chart.log_x);
      ys.add(series.y[i], chart.log_y);
    }
  }
  const bool has_values = ys.low <= ys.high;
  for (const auto& [name, value] : chart.references) ys.add(value, chart.log_y);

  Svg svg(chart.width, chart.height, chart.title.empty() ? "line chart" : chart.title);
  double top = 6;
  if (!chart.title.empty()) {
    svg.text(0, 15, detail::fitted(chart.title, chart.width / 1.15), "title");
    top = 34;
  }
  const detail::LegendLayout legend = detail::lay_out_legend(legend_texts(chart), chart.width, top + 4);

  ChartAxis y =
      detail::make_axis(ys.low, ys.high, chart.log_y, true, false, std::clamp(chart.height / 60, 2, 8));
  ChartAxis x =
      detail::make_axis(xs.low, xs.high, chart.log_x, false, xs.whole, std::clamp(chart.width / 90, 2, 12));
  x.from = detail::y_axis_room(y, chart.y_label);
  x.to = chart.width - 8;
  y.from = chart.height - (chart.x_label.empty() ? 26 : 44);
  y.to = std::min(legend.bottom + 16, y.from - 20);

  detail::draw_axes(svg, x, y, chart.x_label, chart.y_label);
  draw_references(svg, chart, x, y);
  for (std::size_t i = 0; i < chart.series.size(); ++i) draw_series(svg, chart, i, x, y);
  for (std::size_t i = 0; i < legend.entries.size(); ++i) {
    const auto& entry = legend.entries[i];
    const std::string colour = std::to_string(i % detail::kSeriesColours);
    if (chart.series[i].style == Style::points) {
      svg.circle(entry.x + 8, entry.y - 4, 3, "f" + colour);
    } else {
      const std::vector<Point> swatch = {{entry.x, entry.y - 4}, {entry.x + 17, entry.y - 4}};
      svg.polyline(swatch, "s" + colour + (chart.series[i].style == Style::dashed ? " dashed" : ""));
    }
    svg.text(entry.x + 24, entry.y, entry.text, "label");
  }
  if (!has_values) svg.text((x.from + x.to) / 2, (y.from + y.to) / 2, "no finite values", "muted middle");
  return svg;
}

}  // namespace gpunn
