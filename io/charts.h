#pragma once
// Charts as SVG drawings: lines, bars, heat maps, contours. Values that are not finite leave gaps; hovering
// shows exact values.
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gpunn/core/api.h"
#include "gpunn/io/svg.h"

namespace gpunn {

/// A width for charts that stand alone and one for two beside each other, in pixels of the report.
inline constexpr int kFullWidth = 960;
inline constexpr int kHalfWidth = 468;

/// One curve. `x` may be empty: 1, 2, 3, … then.
struct ChartSeries {
  enum class Style : std::uint8_t { line, dashed, points, steps };
  std::string name{};
  std::vector<double> y{};
  std::vector<double> x{};
  Style style = Style::line;
};

/// Curves over a common pair of axes. Long curves are thinned to the extremes of each pixel column.
struct LineChart {
  std::string title{};
  std::string x_label{}, y_label{};
  std::vector<ChartSeries> series{};
  bool log_x = false, log_y = false;  // values <= 0 leave gaps then
  /// Horizontal lines with a name, such as a target or a baseline.
  std::vector<std::pair<std::string, double>> references{};
  int width = kFullWidth, height = 320;
};

/// Horizontal bars, one below the other.
struct BarChart {
  struct Bar {
    std::string label{};
    double value = 0;
    bool highlighted = false;
  };
  std::string title{};
  std::vector<Bar> bars{};
  bool percent = false;             // 0.25 is shown as 25.0 %
  std::optional<double> maximum{};  // the axis' end; default: the largest value
  int width = kHalfWidth;
};

/// A matrix of coloured cells: confusion matrices, attention maps, tables of values. Positive values take the
/// accent colour, negative ones the second series colour, by magnitude.
struct HeatMap {
  std::string title{};
  int rows = 0, columns = 0;
  std::vector<double> values{};                            // [rows, columns]
  std::vector<std::string> row_labels{}, column_labels{};  // none, or one each
  std::string x_label{}, y_label{};
  std::vector<std::string> texts{};  // [rows, columns] to print in the cells, or none
  std::optional<double> maximum{};   // magnitude of the full colour; default: the largest
  int width = kHalfWidth;
};

/// Rows: true classes; columns: predicted ones; colours relative to each row's total.
/// Throws InvalidArgument unless counts.size() is the square of classes.size().
GPUNN_API HeatMap confusion_matrix(const std::vector<std::string>& classes,
                                   const std::vector<std::int64_t>& counts);

/// A function of two variables over a rectangle as lines of equal value, with paths over it (an optimizer's
/// steps, a boundary). A cell with a corner that is not finite is left out.
struct ContourChart {
  /// Points in order; the first is ringed, the last is a disc. What lies outside of the rectangle is cut off.
  struct Path {
    std::string name{};
    std::vector<double> x{}, y{};
  };
  std::string title{};
  std::string x_label{}, y_label{};
  int rows = 0, columns = 0;     // 2 to 1,024
  std::vector<double> values{};  // [rows, columns]; row 0 at y_low, column 0 at x_low, the last at the highs
  double x_low = 0, x_high = 1, y_low = 0, y_high = 1;
  std::vector<double> levels{};  // none: about ten round ones
  bool log_levels = false;       // those even on a logarithmic scale, from the positive values
  std::vector<Path> paths{};
  int width = kHalfWidth, height = 400;
};

/// Draw. Throw InvalidArgument for sizes that do not agree or a width outside 200 to 2,000.
GPUNN_API Svg draw(const LineChart& chart);
GPUNN_API Svg draw(const BarChart& chart);
GPUNN_API Svg draw(const HeatMap& map);
/// Throws also for a rectangle without extent or not finite, and for levels that are not finite.
GPUNN_API Svg draw(const ContourChart& chart);

}  // namespace gpunn
