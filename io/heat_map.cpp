#include <algorithm>
#include <array>
#include <cmath>

#include "gpunn/core/error.h"
#include "gpunn/io/charts.h"
#include "gpunn/io/detail/chart_axis.h"
#include "gpunn/io/png.h"

namespace gpunn {
namespace {

constexpr std::size_t kMaxDrawnCells = 2'500;  // beyond, one picture: rectangles would take 70 bytes a cell
constexpr std::size_t kMaxCells = std::size_t{1} << 22;

struct Frame {
  double left, top, cell_width, cell_height;
  bool labels_turned;
};

void check(const HeatMap& map) {
  GPUNN_CHECK(map.width >= 200 && map.width <= 2000, "HeatMap: expected a width of 200 to 2000, got ",
              map.width);
  GPUNN_CHECK(map.rows >= 1 && map.columns >= 1 && map.rows <= 4096 && map.columns <= 4096,
              "HeatMap: expected 1 to 4096 rows and columns, got ", map.rows, " x ", map.columns);
  const std::size_t cells = static_cast<std::size_t>(map.rows) * static_cast<std::size_t>(map.columns);
  GPUNN_CHECK(cells <= kMaxCells && map.values.size() == cells, "HeatMap: expected ", cells, " values, got ",
              map.values.size());
  GPUNN_CHECK(map.texts.empty() || map.texts.size() == cells, "HeatMap: expected ", cells,
              " texts or none, got ", map.texts.size());
  GPUNN_CHECK(map.row_labels.empty() || map.row_labels.size() == static_cast<std::size_t>(map.rows),
              "HeatMap: expected ", map.rows, " row labels or none, got ", map.row_labels.size());
  GPUNN_CHECK(map.column_labels.empty() || map.column_labels.size() == static_cast<std::size_t>(map.columns),
              "HeatMap: expected ", map.columns, " column labels or none, got ", map.column_labels.size());
}

double magnitude_of(const HeatMap& map) {
  if (map.maximum && *map.maximum > 0) return *map.maximum;
  double largest = 0;
  for (const double v : map.values) {
    if (std::isfinite(v)) largest = std::max(largest, std::abs(v));
  }
  return largest > 0 ? largest : 1;
}

double widest(const std::vector<std::string>& texts) {
  double width = 0;
  for (const std::string& text : texts) width = std::max(width, detail::text_width(text));
  return width;
}

void draw_cells(Svg& svg, const HeatMap& map, const Frame& frame, double magnitude) {
  for (int r = 0; r < map.rows; ++r) {
    for (int c = 0; c < map.columns; ++c) {
      const auto i =
          static_cast<std::size_t>(r) * static_cast<std::size_t>(map.columns) + static_cast<std::size_t>(c);
      const double value = map.values[i];
      const double strength = std::isfinite(value) ? std::min(1.0, std::abs(value) / magnitude) : 0;
      const double x = frame.left + c * frame.cell_width, y = frame.top + r * frame.cell_height;
      std::string hover;
      if (!map.row_labels.empty()) hover += map.row_labels[static_cast<std::size_t>(r)] + ", ";
      if (!map.column_labels.empty()) hover += map.column_labels[static_cast<std::size_t>(c)] + ": ";
      hover += map.texts.empty() ? detail::value_text(value) : map.texts[i];
      svg.begin_group("cell", hover);
      // The track below keeps empty cells visible; the gap of one pixel is the grid.
      svg.rect(x, y, frame.cell_width - 1, frame.cell_height - 1, "track", 0.45);
      if (strength > 0.004) {
        svg.rect(x, y, frame.cell_width - 1, frame.cell_height - 1, value < 0 ? "f1" : "accent", strength);
      }
      if (!map.texts.empty() && detail::text_width(map.texts[i]) <= frame.cell_width &&
          frame.cell_height >= 14) {
        svg.text(x + frame.cell_width / 2, y + frame.cell_height / 2 + 3.5, map.texts[i],
                 strength > 0.55    ? "inverse middle"
                 : strength > 0.004 ? "middle"
                                    : "muted middle");
      }
      svg.end_group();
    }
  }
}

/// White to the accent (or the second colour), for maps that are one picture and cannot follow the page's
/// colours.
Picture picture_of(const HeatMap& map, double magnitude) {
  constexpr std::array<double, 3> kPositive = {11, 99, 165}, kNegative = {204, 85, 8};
  Picture picture{map.columns, map.rows, 3, Bytes(map.values.size() * 3)};
  for (std::size_t i = 0; i < map.values.size(); ++i) {
    const double value = map.values[i];
    const double strength = std::isfinite(value) ? std::min(1.0, std::abs(value) / magnitude) : 0;
    const auto& colour = value < 0 ? kNegative : kPositive;
    for (std::size_t c = 0; c < 3; ++c) {
      picture.pixels[3 * i + c] = static_cast<std::uint8_t>(std::lround(255 + (colour[c] - 255) * strength));
    }
  }
  return picture;
}

void draw_labels(Svg& svg, const HeatMap& map, const Frame& frame) {
  const auto stride_for = [](double cell, double needed) {
    return std::max(1, static_cast<int>(std::ceil(needed / cell)));
  };
  const int row_stride = stride_for(frame.cell_height, 14);
  for (int r = 0; r < map.rows && !map.row_labels.empty(); r += row_stride) {
    svg.text(frame.left - 8, frame.top + (r + 0.5) * frame.cell_height + 4,
             detail::fitted(map.row_labels[static_cast<std::size_t>(r)], frame.left - 8), "tick end");
  }
  const int column_stride = stride_for(frame.cell_width, frame.labels_turned ? 14 : 1);
  for (int c = 0; c < map.columns && !map.column_labels.empty(); c += column_stride) {
    const std::string& label = map.column_labels[static_cast<std::size_t>(c)];
    const double x = frame.left + (c + 0.5) * frame.cell_width;
    if (frame.labels_turned) {
      svg.vertical_text(x + 4, frame.top - 7, detail::fitted(label, 110), "tick");
    } else {
      svg.text(x, frame.top - 7, label, "tick middle");
    }
  }
}

}  // namespace

HeatMap confusion_matrix(const std::vector<std::string>& classes, const std::vector<std::int64_t>& counts) {
  const std::size_t n = classes.size();
  GPUNN_CHECK(n > 0 && counts.size() == n * n, "confusion_matrix: expected ", n, " x ", n, " counts, got ",
              counts.size());
  HeatMap map;
  map.title = "Confusion matrix";
  map.rows = map.columns = static_cast<int>(n);
  map.row_labels = map.column_labels = classes;
  map.x_label = "predicted";
  map.y_label = "true";
  map.maximum = 1;
  for (std::size_t r = 0; r < n; ++r) {
    double total = 0;
    for (std::size_t c = 0; c < n; ++c) total += static_cast<double>(counts[r * n + c]);
    for (std::size_t c = 0; c < n; ++c) {
      const std::int64_t count = counts[r * n + c];
      map.values.push_back(total > 0 ? static_cast<double>(count) / total : 0);
      map.texts.push_back(std::to_string(count));
    }
  }
  map.width = n > 6 ? 680 : kHalfWidth;
  return map;
}

Svg draw(const HeatMap& map) {
  check(map);
  const double title = map.title.empty() ? 0 : 30, y_label = map.y_label.empty() ? 0 : 18;
  Frame frame{};
  frame.left = std::ceil(y_label + std::min(widest(map.row_labels), map.width * 0.3) +
                         (map.row_labels.empty() ? 2 : 10));
  frame.cell_width = (map.width - frame.left) / map.columns;
  // Cells no wider than 56 keep small matrices from becoming posters; whole pixels keep their edges sharp.
  frame.cell_width = std::min(frame.cell_width, 56.0);
  if (frame.cell_width >= 4) frame.cell_width = std::floor(frame.cell_width);
  frame.cell_height = std::clamp(frame.cell_width, 2.0, 34.0);
  frame.labels_turned = widest(map.column_labels) > frame.cell_width - 2;
  const double column_labels = map.column_labels.empty() ? 4
                               : frame.labels_turned     ? std::min(widest(map.column_labels), 110.0) + 10
                                                         : 20;
  const double x_label = map.x_label.empty() ? 0 : 20;
  frame.top = std::ceil(title + x_label + column_labels);

  const double bottom = frame.top + map.rows * frame.cell_height;
  GPUNN_CHECK(bottom <= 9'000, "HeatMap: ", map.rows, " rows do not fit a drawing; show a part of them");
  Svg svg(map.width, std::ceil(bottom) + 2, map.title.empty() ? "heat map" : map.title);
  if (!map.title.empty()) svg.text(0, 15, detail::fitted(map.title, map.width / 1.15), "title");
  const double middle = frame.left + map.columns * frame.cell_width / 2;
  svg.text(middle, title + 12, map.x_label, "muted middle");
  if (y_label > 0) svg.vertical_text(11, (frame.top + bottom) / 2, map.y_label, "muted middle");
  draw_labels(svg, map, frame);
  const double magnitude = magnitude_of(map);
  if (map.values.size() <= kMaxDrawnCells) {
    draw_cells(svg, map, frame, magnitude);
  } else {
    svg.image(frame.left, frame.top, map.columns * frame.cell_width, map.rows * frame.cell_height,
              png_data_uri(picture_of(map, magnitude)));
  }
  return svg;
}

}  // namespace gpunn
