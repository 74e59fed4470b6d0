// Contour charts: the lines are where the function has the level, paths are drawn and cut off at the
// rectangle.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "gpunn/core/error.h"
#include "gpunn/io/charts.h"
#include "gpunn/io/detail/contour_lines.h"
#include "tests/io/markup.h"

namespace gpunn {
namespace {

using detail::contour_lines;
using detail::ContourPoint;
using testing::count_of;
using testing::expect_well_formed;

// f(column, row) over a grid.
std::vector<double> sampled(int rows, int columns, const std::function<double(double, double)>& f) {
  std::vector<double> values;
  for (int r = 0; r < rows; ++r)
    for (int c = 0; c < columns; ++c) values.push_back(f(c, r));
  return values;
}

TEST(ContourLines, PlaneGivesOneStraightLineFromRimToRim) {
  const auto values = sampled(5, 9, [](double x, double y) { return x + 2 * y; });
  const auto lines = contour_lines(values, 5, 9, 6.5);
  ASSERT_EQ(lines.size(), 1u);
  for (const auto& [x, y] : lines[0]) EXPECT_NEAR(x + 2 * y, 6.5, 1e-12);
  for (const ContourPoint& end : {lines[0].front(), lines[0].back()})
    EXPECT_TRUE(end.second == 0 || end.second == 4 || end.first == 0 || end.first == 8);
  // Every crossed column and row edge once: x = 6.5 … 0 at rows 0 … 3.25.
  EXPECT_EQ(lines[0].size(), 11u);
}

TEST(ContourLines, CircleIsClosedAndRound) {
  const auto values =
      sampled(41, 41, [](double x, double y) { return (x - 20) * (x - 20) + (y - 20) * (y - 20); });
  const auto lines = contour_lines(values, 41, 41, 144.5);
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0].front(), lines[0].back());
  EXPECT_GT(lines[0].size(), 80u);
  double length = 0;
  for (std::size_t i = 0; i < lines[0].size(); ++i) {
    const auto& [x, y] = lines[0][i];
    EXPECT_NEAR(std::hypot(x - 20, y - 20), std::sqrt(144.5), 0.02);
    if (i > 0) length += std::hypot(x - lines[0][i - 1].first, y - lines[0][i - 1].second);
  }
  EXPECT_NEAR(length, 2 * 3.14159265 * std::sqrt(144.5), 0.4);
}

TEST(ContourLines, SaddlesPartByTheirMiddle) {
  // Corners 0 and 2 above: with a high middle they join, and the lines cut off the low corners.
  for (const double high : {10.0, 1.5}) {
    const std::vector<double> values{high, 0, 0, high};
    const auto lines = contour_lines(values, 2, 2, 1);
    ASSERT_EQ(lines.size(), 2u);
    for (const auto& line : lines) {
      ASSERT_EQ(line.size(), 2u);
      const double x = (line[0].first + line[1].first) / 2, y = (line[0].second + line[1].second) / 2;
      // The diagonal of the equal corners is crossed only where they are cut off.
      EXPECT_EQ(high > 2, (x > 0.5) != (y > 0.5)) << x << " " << y;
    }
  }
}

TEST(ContourLines, FlatAndBrokenFieldsHaveNone) {
  EXPECT_TRUE(contour_lines(std::vector<double>(9, 1.0), 3, 3, 1).empty());
  EXPECT_TRUE(contour_lines(std::vector<double>(9, 1.0), 3, 3, 2).empty());
  EXPECT_TRUE(contour_lines(std::vector<double>(9, std::nan("")), 3, 3, 0).empty());
  // A cell that cannot be judged ends the line on both of its sides.
  auto values = sampled(4, 8, [](double, double y) { return y; });
  EXPECT_EQ(contour_lines(values, 4, 8, 1.5).size(), 1u);
  values[8 + 3] = std::nan("");
  const auto lines = contour_lines(values, 4, 8, 1.5);
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0].size() + lines[1].size(), 3u + 4u);
}

ContourChart bowl() {
  ContourChart chart{.title = "Bowl", .x_label = "w1", .y_label = "w2", .rows = 21, .columns = 31};
  chart.values = sampled(21, 31, [](double x, double y) { return std::hypot(x - 15, y - 10); });
  chart.x_low = -3, chart.x_high = 3, chart.y_low = -2, chart.y_high = 2;
  chart.paths = {{"descent", {-2, -1, 0}, {1, 0.5, 0}}};
  return chart;
}

TEST(ContourChart, ShowsLinesLabelsAndPaths) {
  const std::string svg = draw(bowl()).markup();
  expect_well_formed(svg);
  EXPECT_GE(count_of(svg, "class=\"contour\""), 5u);
  EXPECT_EQ(count_of(svg, "<polyline class=\"s0\""), 2u);  // the path and the legend's swatch
  EXPECT_EQ(count_of(svg, "class=\"ring\""), 1u);
  EXPECT_EQ(count_of(svg, "r=\"4.5\""), 1u);
  for (const char* text :
       {">Bowl<", ">w1<", ">w2<", ">descent<", "<title>descent, point 1: -1, 0.5</title>", "halo middle\""})
    EXPECT_NE(svg.find(text), std::string::npos) << text;
}

TEST(ContourChart, LevelsAreTheGivenOnes) {
  ContourChart chart = bowl();
  chart.paths.clear();
  chart.levels = {5};
  std::string svg = draw(chart).markup();
  EXPECT_EQ(count_of(svg, "class=\"contour\""), 1u);
  EXPECT_NE(svg.find("<title>5</title>"), std::string::npos);
  chart.levels = {1e6};
  svg = draw(chart).markup();
  expect_well_formed(svg);
  EXPECT_EQ(count_of(svg, "class=\"contour\""), 0u);
  chart.levels.clear();
  chart.log_levels = true;
  for (double& v : chart.values) v = std::pow(10, v / 5);
  svg = draw(chart).markup();
  for (const char* text :
       {"<title>3</title>", "<title>10</title>", "<title>30</title>", "<title>1000</title>"})
    EXPECT_NE(svg.find(text), std::string::npos) << text;
}

TEST(ContourChart, FlatFieldsAndGapsAreDrawn) {
  ContourChart chart = bowl();
  for (const double value : {0.0, 7.0, std::nan(""), -std::numeric_limits<double>::infinity()}) {
    for (const bool log : {false, true}) {
      chart.log_levels = log;
      chart.values.assign(21 * 31, value);
      const std::string svg = draw(chart).markup();
      expect_well_formed(svg);
      EXPECT_EQ(count_of(svg, "class=\"contour\""), 0u);
      EXPECT_EQ(count_of(svg, "<polyline class=\"s0\""), 2u);
    }
  }
  chart = bowl();
  chart.levels = {5};
  chart.values[5 * 31 + 15] = std::nan("");  // on the circle's line
  EXPECT_EQ(svg_number(std::nan("")), "0");
  const std::string svg = draw(chart).markup();
  expect_well_formed(svg);
  EXPECT_EQ(count_of(svg, "class=\"contour\""), 1u);
  EXPECT_EQ(svg.find("nan"), std::string::npos);
}

TEST(ContourChart, PathsAreCutOffAtTheRectangle) {
  ContourChart chart = bowl();
  chart.levels = {1e6};
  // In, out at the right and back in: two lines; the end lies outside and has no disc.
  chart.paths = {{"p", {0, 9, 0, 0}, {0, 0, 1, 9}}};
  std::string svg = draw(chart).markup();
  EXPECT_EQ(count_of(svg, "<polyline class=\"s0\""), 3u);
  EXPECT_EQ(count_of(svg, "class=\"ring\""), 1u);
  EXPECT_EQ(count_of(svg, "r=\"4.5\""), 0u);
  // Straight across, with both ends outside.
  chart.paths = {{"p", {-9, 9}, {-1, 1}}};
  EXPECT_EQ(count_of(draw(chart).markup(), "<polyline class=\"s0\""), 2u);
  // Past it, a point alone, none, and values that are not finite.
  for (const auto& [x, y] : std::vector<std::pair<std::vector<double>, std::vector<double>>>{
           {{-9, 9}, {5, 5}}, {{0}, {0}}, {{}, {}}, {{0, std::nan(""), 1}, {0, 0, 0}}}) {
    chart.paths = {{"p", x, y}};
    svg = draw(chart).markup();
    expect_well_formed(svg);
    EXPECT_EQ(count_of(svg, "<polyline class=\"s0\""), 1u);
  }
}

TEST(ContourChart, RefusesWhatDoesNotFit) {
  const std::vector<std::function<void(ContourChart&)>> faults = {
      [](ContourChart& c) { c.values.pop_back(); },     [](ContourChart& c) { c.rows = 1; },
      [](ContourChart& c) { c.columns = 5000; },        [](ContourChart& c) { c.x_high = c.x_low; },
      [](ContourChart& c) { c.y_low = std::nan(""); },  [](ContourChart& c) { c.levels = {1, std::nan("")}; },
      [](ContourChart& c) { c.levels.assign(101, 1); }, [](ContourChart& c) { c.paths[0].x.pop_back(); },
      [](ContourChart& c) { c.width = 100; },           [](ContourChart& c) { c.height = 5000; },
  };
  for (std::size_t i = 0; i < faults.size(); ++i) {
    ContourChart chart = bowl();
    faults[i](chart);
    EXPECT_THROW(draw(chart), InvalidArgument) << i;
  }
}

}  // namespace
}  // namespace gpunn
