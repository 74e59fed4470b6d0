#pragma once
// What charts over a pair of axes share: the axes themselves and the legend.
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gpunn/io/detail/chart_axis.h"
#include "gpunn/io/svg.h"

namespace gpunn::detail {

inline constexpr int kSeriesColours = 7;  // classes s0 … s6

/// Grid lines for the y axis, ticks and labels for both. The y axis' grid runs over the whole width.
void draw_axes(Svg& svg, const ChartAxis& x, const ChartAxis& y, std::string_view x_label,
               std::string_view y_label);

/// Places left of the plot for labels of the y axis: the widest tick and the axis' name.
double y_axis_room(const ChartAxis& y, std::string_view y_label);

/// Entries broken into lines that fit `width`; `bottom` is the base line of the last.
struct LegendLayout {
  struct Entry {
    double x, y;
    std::string text;
  };
  std::vector<Entry> entries;
  double bottom = 0;
};
LegendLayout lay_out_legend(std::vector<std::string> texts, double width, double top);

}  // namespace gpunn::detail
