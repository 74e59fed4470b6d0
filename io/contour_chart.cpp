#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <optional>

#include "gpunn/core/error.h"
#include "gpunn/io/charts.h"
#include "gpunn/io/detail/chart_axis.h"
#include "gpunn/io/detail/chart_frame.h"
#include "gpunn/io/detail/contour_lines.h"

namespace gpunn {
namespace {

using detail::ChartAxis;
using detail::value_text;
using Point = std::pair<double, double>;
using Path = ContourChart::Path;

constexpr std::size_t kDotsUpTo = 60;     // steps of a path with few points show as dots
constexpr std::size_t kHoverPoints = 60;  // a path
constexpr std::size_t kMaxLevels = 100;
constexpr double kDecades = 5;  // that levels on a logarithmic scale go below the largest value

void check(const ContourChart& chart) {
  GPUNN_CHECK(chart.width >= 200 && chart.width <= 2000 && chart.height >= 120 && chart.height <= 2000,
              "ContourChart: expected a width of 200 to 2000 and a height of 120 to 2000, got ", chart.width,
              " x ", chart.height);
  GPUNN_CHECK(chart.rows >= 2 && chart.columns >= 2 && chart.rows <= 1024 && chart.columns <= 1024,
              "ContourChart: expected 2 to 1024 rows and columns, got ", chart.rows, " x ", chart.columns);
  const std::size_t count = static_cast<std::size_t>(chart.rows) * static_cast<std::size_t>(chart.columns);
  GPUNN_CHECK(chart.values.size() == count, "ContourChart: expected ", count, " values, got ",
              chart.values.size());
  for (const auto& [low, high] : {Point{chart.x_low, chart.x_high}, Point{chart.y_low, chart.y_high}})
    GPUNN_CHECK(std::isfinite(low) && std::isfinite(high) && low < high,
                "ContourChart: expected a range from low to high, got ", low, " to ", high);
  GPUNN_CHECK(chart.levels.size() <= kMaxLevels, "ContourChart: expected at most ", kMaxLevels,
              " levels, got ", chart.levels.size());
  for (const double level : chart.levels)
    GPUNN_CHECK(std::isfinite(level), "ContourChart: expected finite levels, got ", level);
  for (const Path& path : chart.paths)
    GPUNN_CHECK(path.x.size() == path.y.size(), "ContourChart: path '", path.name, "' has ", path.x.size(),
                " x and ", path.y.size(), " y");
}

std::vector<double> levels_of(const ContourChart& chart) {
  if (!chart.levels.empty()) return chart.levels;
  double low = std::numeric_limits<double>::infinity(), high = -low;
  for (const double v : chart.values) {
    if (!std::isfinite(v) || (chart.log_levels && v <= 0)) continue;
    low = std::min(low, v);
    high = std::max(high, v);
  }
  if (!(low < high)) return {};  // a flat function has no lines
  if (chart.log_levels) low = std::max(low, high * std::pow(10, -kDecades));
  if (!chart.log_levels || high / low < 1000)
    return detail::make_axis(low, high, chart.log_levels, false, false, 12).ticks;
  // Over many decades an axis keeps whole powers only, too few for lines.
  std::vector<double> levels;
  for (double power = std::pow(10, std::floor(std::log10(low))); power <= high; power *= 10)
    for (const double level : {power, 3 * power})
      if (level >= low && level <= high) levels.push_back(level);
  return levels;
}

// Labels of lines, none over another.
class Labels {
 public:
  Labels(const ChartAxis& x, const ChartAxis& y) : x_(x), y_(y) {}

  void place(Svg& svg, const std::vector<Point>& line, const std::string& text) {
    const double half = detail::text_width(text) / 2, height = 14;
    for (const double part : {0.5, 0.3, 0.7, 0.15, 0.85, 0.0}) {
      const auto& [x, y] = line[static_cast<std::size_t>(part * static_cast<double>(line.size() - 1))];
      if (x - half < x_.from || x + half > x_.to || y - height < y_.to || y + height > y_.from) continue;
      const Box box{x - half - 4, y - height / 2 - 2, x + half + 4, y + height / 2 + 2};
      if (std::any_of(taken_.begin(), taken_.end(), [&](const Box& b) {
            return box[0] < b[2] && b[0] < box[2] && box[1] < b[3] && b[1] < box[3];
          }))
        continue;
      taken_.push_back(box);
      svg.text(x, y + 4, text, "tick halo middle");
      return;
    }
  }

 private:
  using Box = std::array<double, 4>;  // left, top, right, bottom
  const ChartAxis &x_, &y_;
  std::vector<Box> taken_;
};

void draw_lines(Svg& svg, const ContourChart& chart, const ChartAxis& x, const ChartAxis& y) {
  const double dx = (x.to - x.from) / (chart.columns - 1), dy = (y.to - y.from) / (chart.rows - 1);
  std::vector<std::pair<std::string, std::vector<Point>>> longest;
  for (const double level : levels_of(chart)) {
    const std::string text = detail::tick_text(level);
    std::vector<Point> to_label;
    svg.begin_group("", text);
    for (auto& line : detail::contour_lines(chart.values, chart.rows, chart.columns, level)) {
      for (auto& [column, row] : line) {
        column = x.from + column * dx;
        row = y.from + row * dy;
      }
      svg.polyline(line, "contour");
      if (line.size() > to_label.size()) to_label = std::move(line);
    }
    svg.end_group();
    if (to_label.size() > 2) longest.emplace_back(text, std::move(to_label));
  }
  // After all lines, so that none crosses a label.
  Labels labels(x, y);
  for (const auto& [text, line] : longest) labels.place(svg, line, text);
}

// The part of a-b within the rectangle (Liang and Barsky, 1984).
std::optional<std::pair<Point, Point>> clipped(const Point& a, const Point& b, const ContourChart& chart) {
  const double dx = b.first - a.first, dy = b.second - a.second;
  double enter = 0, leave = 1;
  for (const auto& [along, room] : {Point{-dx, a.first - chart.x_low}, Point{dx, chart.x_high - a.first},
                                    Point{-dy, a.second - chart.y_low}, Point{dy, chart.y_high - a.second}}) {
    if (along == 0) {
      if (room < 0) return std::nullopt;
      continue;
    }
    if (along < 0) enter = std::max(enter, room / along);
    if (along > 0) leave = std::min(leave, room / along);
  }
  if (enter > leave) return std::nullopt;
  return std::pair{Point{a.first + enter * dx, a.second + enter * dy},
                   Point{a.first + leave * dx, a.second + leave * dy}};
}

bool finite(const Path& path, std::size_t i) { return std::isfinite(path.x[i]) && std::isfinite(path.y[i]); }

void draw_path(Svg& svg, const ContourChart& chart, std::size_t index, const ChartAxis& x,
               const ChartAxis& y) {
  const Path& path = chart.paths[index];
  const std::string colour = std::to_string(index % detail::kSeriesColours);
  const auto pixel = [&](const Point& p) { return Point{x.pixel(p.first), y.pixel(p.second)}; };
  const auto inside = [&](std::size_t i) {
    return finite(path, i) && path.x[i] >= chart.x_low && path.x[i] <= chart.x_high &&
           path.y[i] >= chart.y_low && path.y[i] <= chart.y_high;
  };
  std::vector<Point> run;
  const auto flush = [&] {
    if (run.size() > 1) svg.polyline(run, "s" + colour);
    run.clear();
  };
  for (std::size_t i = 0; i + 1 < path.x.size(); ++i) {
    const auto part = finite(path, i) && finite(path, i + 1)
                          ? clipped({path.x[i], path.y[i]}, {path.x[i + 1], path.y[i + 1]}, chart)
                          : std::nullopt;
    if (!part) {
      flush();
      continue;
    }
    if (run.empty() || !inside(i)) {
      flush();
      run.push_back(pixel(part->first));
    }
    run.push_back(pixel(part->second));
  }
  flush();

  const std::size_t n = path.x.size(), stride = (n + kHoverPoints - 1) / kHoverPoints;
  for (std::size_t i = 0; i < n; ++i) {
    const bool ends = i == 0 || i + 1 == n;
    if (!inside(i) || (!ends && i % stride != 0)) continue;
    const Point at = pixel({path.x[i], path.y[i]});
    svg.begin_group("hover s" + colour, path.name + ", point " + std::to_string(i) + ": " +
                                            value_text(path.x[i]) + ", " + value_text(path.y[i]));
    if (i == 0) {
      svg.circle(at.first, at.second, 4, "ring");
    } else if (ends || n <= kDotsUpTo) {
      svg.circle(at.first, at.second, ends ? 4.5 : 2, "f" + colour);
    }
    svg.circle(at.first, at.second, 7, "hit").end_group();
  }
}

}  // namespace

Svg draw(const ContourChart& chart) {
  check(chart);
  Svg svg(chart.width, chart.height, chart.title.empty() ? "contour chart" : chart.title);
  double top = 6;
  if (!chart.title.empty()) {
    svg.text(0, 15, detail::fitted(chart.title, chart.width / 1.15), "title");
    top = 34;
  }
  std::vector<std::string> names;
  for (const Path& path : chart.paths) names.push_back(detail::fitted(path.name, chart.width / 2.0));
  const detail::LegendLayout legend = detail::lay_out_legend(std::move(names), chart.width, top + 4);

  ChartAxis y =
      detail::make_axis(chart.y_low, chart.y_high, false, false, false, std::clamp(chart.height / 60, 2, 8));
  ChartAxis x =
      detail::make_axis(chart.x_low, chart.x_high, false, false, false, std::clamp(chart.width / 90, 2, 12));
  x.from = detail::y_axis_room(y, chart.y_label);
  x.to = chart.width - 8;
  y.from = chart.height - (chart.x_label.empty() ? 26 : 44);
  y.to = std::min(legend.bottom + 16, y.from - 20);

  detail::draw_axes(svg, x, y, chart.x_label, chart.y_label);
  draw_lines(svg, chart, x, y);
  for (std::size_t i = 0; i < chart.paths.size(); ++i) {
    draw_path(svg, chart, i, x, y);
    const auto& entry = legend.entries[i];
    const std::vector<Point> swatch = {{entry.x, entry.y - 4}, {entry.x + 17, entry.y - 4}};
    svg.polyline(swatch, "s" + std::to_string(i % detail::kSeriesColours))
        .text(entry.x + 24, entry.y, entry.text, "label");
  }
  return svg;
}

}  // namespace gpunn
