#include "gpunn/io/charts.h"

#include <cmath>
#include <limits>

#include "gpunn/io/detail/chart_axis.h"
#include "tests/io/io_testing.h"
#include "tests/io/markup.h"

namespace gpunn {
namespace {

using detail::ChartAxis;
using detail::make_axis;
using testing::count_of;
using testing::expect_well_formed;
using Doubles = std::vector<double>;

void expect_near(const Doubles& found, const Doubles& expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i)
    EXPECT_NEAR(found[i], expected[i], 1e-9 * std::abs(expected[i]) + 1e-12);
}

TEST(ChartAxis, LinearTicksAreRound) {
  ChartAxis axis = make_axis(0.31, 0.97, false, true, false, 5);
  expect_near(axis.ticks, {0.2, 0.4, 0.6, 0.8, 1.0});
  EXPECT_NEAR(axis.low, 0.2, 1e-12);
  EXPECT_NEAR(axis.high, 1.0, 1e-12);
  axis = make_axis(1, 20, false, false, true, 10);
  EXPECT_EQ(axis.low, 1);
  EXPECT_EQ(axis.high, 20);
  expect_near(axis.ticks, {2, 4, 6, 8, 10, 12, 14, 16, 18, 20});
  expect_near(make_axis(1, 3, false, false, true, 10).ticks, {1, 2, 3});
  expect_near(make_axis(-3e6, 5e6, false, true, false, 4).ticks, {-4e6, -2e6, 0, 2e6, 4e6, 6e6});
}

TEST(ChartAxis, LogTicksArePowersOrTheirParts) {
  ChartAxis axis = make_axis(3e-4, 0.5, true, true, false, 5);
  expect_near(axis.ticks, {1e-4, 1e-3, 1e-2, 0.1, 1});
  axis = make_axis(0.3, 4, true, true, false, 5);
  expect_near(axis.ticks, {0.2, 0.5, 1, 2, 5});
  EXPECT_LE(make_axis(1e-300, 1e300, true, true, false, 5).ticks.size(), 14u);
  // A range too short for powers still has ticks inside.
  axis = make_axis(0.40, 0.47, true, true, false, 5);
  EXPECT_GE(axis.ticks.size(), 3u);
  EXPECT_TRUE(axis.log);
}

TEST(ChartAxis, OddRangesGetSoundAxes) {
  const double inf = std::numeric_limits<double>::infinity(), max = std::numeric_limits<double>::max();
  for (const auto& [low, high] : std::vector<std::pair<double, double>>{{5, 5},
                                                                        {0, 0},
                                                                        {-2, -2},
                                                                        {inf, -inf},
                                                                        {1e-320, 1e-310},
                                                                        {-max, max},
                                                                        {max, max},
                                                                        {1, 1 + 1e-15},
                                                                        {1e17, 1e17 + 64}}) {
    for (const bool log : {false, true}) {
      if (log && low <= 0 && low != inf) continue;
      for (const bool whole : {false, true}) {
        const ChartAxis axis = make_axis(low, high, log, true, whole, 5);
        EXPECT_LT(axis.low, axis.high) << low << " " << high;
        EXPECT_TRUE(std::isfinite(axis.low) && std::isfinite(axis.high)) << low << " " << high;
        EXPECT_LE(axis.ticks.size(), 100u);
        EXPECT_TRUE(!log || axis.low > 0) << low;
      }
    }
  }
}

TEST(ChartAxis, TextIsShort) {
  using detail::fitted;
  using detail::tick_text;
  using detail::value_text;
  EXPECT_EQ(tick_text(0.2), "0.2");
  EXPECT_EQ(tick_text(0.30000000000000004), "0.3");
  EXPECT_EQ(tick_text(15'000), "15k");
  EXPECT_EQ(tick_text(2.5e6), "2.5M");
  EXPECT_EQ(tick_text(1e-5), "1e-5");
  EXPECT_EQ(tick_text(0), "0");
  EXPECT_EQ(value_text(0.398712), "0.3987");
  EXPECT_EQ(value_text(1e-7), "1e-7");
  EXPECT_EQ(value_text(60'000), "60000");
  EXPECT_EQ(value_text(std::nan("")), "nan");
  EXPECT_EQ(value_text(-std::numeric_limits<double>::infinity()), "-inf");
  EXPECT_EQ(fitted("short", 100), "short");
  EXPECT_EQ(fitted("a very long label", 60), "a very …");
  EXPECT_EQ(detail::text_width("é€"), detail::text_width("ab"));
}

TEST(Svg, NumbersAndEscapes) {
  EXPECT_EQ(svg_number(12), "12");
  EXPECT_EQ(svg_number(12.34), "12.3");
  EXPECT_EQ(svg_number(-0.01), "0");
  EXPECT_EQ(svg_number(std::nan("")), "0");
  EXPECT_EQ(html_escape("<a href='x'>\"&\x01\xff\n"),
            "&lt;a href=&#39;x&#39;&gt;&quot;&amp;\xef\xbf\xbd\xef\xbf\xbd\n");
  EXPECT_EQ(html_escape("é€𝄞"), "é€𝄞");
  EXPECT_THROW(Svg(0, 10, ""), InvalidArgument);
  EXPECT_THROW(Svg(10, 10'001, ""), InvalidArgument);
  EXPECT_THROW(Svg(std::nan(""), 10, ""), InvalidArgument);
}

TEST(Svg, EveryShapeIsWellFormed) {
  Svg svg(100, 50, "a <drawing>");
  svg.line(0, 0, 1, 1, "grid")
      .rect(0, 0, 5, 5, "accent", 0.05)
      .rect(0, 0, 5, 5, "accent", 0.999)
      .circle(1, 1, 2, "f0");
  const std::vector<std::pair<double, double>> points = {{0, 0}, {1.25, 2}};
  svg.polyline(points, "s1").polyline({}, "s1").text(0, 0, "<&>", "label").vertical_text(1, 2, "up", "tick");
  svg.begin_group("hover", "\"value\"").image(0, 0, 4, 4, "data:image/png;base64,AAAA").end_group();
  expect_well_formed(svg.markup());
  expect_well_formed(svg.document());
  EXPECT_NE(svg.markup().find("fill-opacity=\".05\""), std::string::npos);
  EXPECT_EQ(count_of(svg.markup(), "fill-opacity"), 1u);
  EXPECT_NE(svg.markup().find("points=\"0,0 1.3,2\""), std::string::npos) << svg.markup();
}

LineChart losses() {
  LineChart chart{.title = "Loss",
                  .x_label = "epoch",
                  .y_label = "nats",
                  .series = {{"train", {3, 2, 1}}, {"test", {4, 3, 2.5}}}};
  return chart;
}

TEST(LineChart, ShowsCurvesLegendAndValues) {
  LineChart chart = losses();
  chart.references = {{"target", 1.5}};
  const std::string svg = draw(chart).markup();
  expect_well_formed(svg);
  EXPECT_EQ(count_of(svg, "<polyline class=\"s0\""), 2u);  // the curve and the legend's swatch
  EXPECT_EQ(count_of(svg, "<polyline class=\"s1\""), 2u);
  for (const char* text : {">Loss<", ">epoch<", ">nats<", ">train  1<", ">test  2.5<", ">target 1.5<",
                           "<title>test: 3 at 2</title>"}) {
    EXPECT_NE(svg.find(text), std::string::npos) << text;
  }
}

TEST(LineChart, ValuesThatCannotBeShownLeaveGaps) {
  const double nan = std::nan(""), inf = std::numeric_limits<double>::infinity();
  LineChart chart{.title = "", .x_label = "", .y_label = "", .series = {{"a", {1, 2, nan, 3, inf, 4, 5}}}};
  std::string svg = draw(chart).markup();
  expect_well_formed(svg);
  EXPECT_EQ(count_of(svg, "<polyline class=\"s0\""), 3u);  // 1-2, 4-5, swatch; 3 stands alone as a dot
  EXPECT_EQ(svg.find("nan"), std::string::npos);
  chart.log_y = true;
  chart.series[0].y = {1, 10, 0, -5, 100, 1000};
  EXPECT_EQ(count_of(draw(chart).markup(), "<polyline class=\"s0\""), 3u);

  chart.series = {{"none", {nan, nan}}, {"empty", {}}};
  for (const bool log : {false, true}) {
    chart.log_y = chart.log_x = log;
    svg = draw(chart).markup();
    expect_well_formed(svg);
    EXPECT_NE(svg.find("no finite values"), std::string::npos);
  }
  chart.series.clear();
  EXPECT_NE(draw(chart).markup().find("no finite values"), std::string::npos);
}

TEST(LineChart, LongCurvesAreThinnedAndKeepTheirSpikes) {
  LineChart chart{.title = "steps", .x_label = "", .y_label = "", .series = {{"a", Doubles(1'000'000, 1.0)}}};
  chart.series[0].y[654'321] = 1000;
  chart.series[0].y[123'456] = -1000;
  const std::string svg = draw(chart).markup();
  EXPECT_LT(svg.size(), 200'000u);
  const std::string flat = [&] {
    chart.series[0].y.assign(1'000'000, 1.0);
    return draw(chart).markup();
  }();
  // The axis reaches the spikes, and the curve does: its points go to the top and to the bottom of the plot.
  EXPECT_NE(svg.find(">1000<"), std::string::npos);
  EXPECT_EQ(flat.find(">1000<"), std::string::npos);
  const ChartAxis y = make_axis(-1000, 1000, false, true, false, 5);
  EXPECT_EQ(y.high, 1000);
  const std::size_t curve = svg.find("<polyline class=\"s0\"");
  const std::string points = svg.substr(curve, svg.find("/>", curve) - curve);
  double least = 1e9, greatest = -1e9;
  for (std::size_t at = points.find(','); at != std::string::npos; at = points.find(',', at + 1)) {
    const double value = std::stod(points.substr(at + 1));
    least = std::min(least, value);
    greatest = std::max(greatest, value);
  }
  EXPECT_GT(greatest - least, 200);
}

TEST(LineChart, RefusesWhatDoesNotFit) {
  LineChart chart = losses();
  chart.series[0].x = {1, 2};
  EXPECT_THROW(draw(chart), InvalidArgument);
  chart = losses();
  chart.width = 100;
  EXPECT_THROW(draw(chart), InvalidArgument);
  chart = losses();
  chart.height = 10;
  EXPECT_THROW(draw(chart), InvalidArgument);
}

TEST(LineChart, ManyLongNamesStillFit) {
  LineChart chart = losses();
  chart.width = kHalfWidth;
  chart.series.clear();
  for (int i = 0; i < 9; ++i) {
    chart.series.push_back(
        {"encoder.layer" + std::to_string(i) + ".attention.output.dense.weight", {1.0 * i, 2}});
  }
  const std::string svg = draw(chart).markup();
  expect_well_formed(svg);
  EXPECT_EQ(count_of(svg, "…"), 9u);
  EXPECT_NE(svg.find("class=\"s6\""), std::string::npos);  // colours repeat after seven
}

TEST(BarChart, ShowsLabelsAndValues) {
  BarChart chart{.title = "Accuracy", .bars = {{"cat", 0.25, true}, {"dog", 0.9994}, {"nan", std::nan("")}}};
  chart.percent = true;
  std::string svg = draw(chart).markup();
  expect_well_formed(svg);
  for (const char* text : {">cat<", ">25.0 %<", ">99.9 %<", "<title>dog: 99.9 %</title>"}) {
    EXPECT_NE(svg.find(text), std::string::npos) << text;
  }
  EXPECT_EQ(count_of(svg, "class=\"accent\""), 1u);
  EXPECT_EQ(count_of(svg, "class=\"quiet\""), 1u);
  chart.percent = false;
  chart.bars = {{"a", -2}, {"b", 3}};
  expect_well_formed(draw(chart).markup());
  chart.bars.clear();
  EXPECT_NE(draw(chart).markup().find("no bars"), std::string::npos);
  chart.bars.assign(401, {"x", 1});
  EXPECT_THROW(draw(chart), InvalidArgument);
}

TEST(HeatMap, ConfusionMatrixIsRelativeToRows) {
  const HeatMap map = confusion_matrix({"a", "b"}, {9, 1, 0, 0});
  EXPECT_EQ(map.values, (Doubles{0.9, 0.1, 0, 0}));
  const std::string svg = draw(map).markup();
  expect_well_formed(svg);
  EXPECT_NE(svg.find("<title>a, b: 1</title>"), std::string::npos);
  EXPECT_EQ(count_of(svg, "class=\"accent\""), 2u);
  EXPECT_THROW(confusion_matrix({"a", "b"}, {1, 2, 3}), InvalidArgument);
  EXPECT_THROW(confusion_matrix({}, {}), InvalidArgument);
}

TEST(HeatMap, LargeMapsBecomeOnePicture) {
  HeatMap map{.title = "", .rows = 50, .columns = 128, .values = Doubles(6400, 0.5)};
  const std::string svg = draw(map).markup();
  expect_well_formed(svg);
  EXPECT_EQ(count_of(svg, "<image"), 1u);
  EXPECT_LT(svg.size(), 5000u);
}

TEST(HeatMap, OddValuesAndWrongSizes) {
  HeatMap map{.title = "m",
              .rows = 1,
              .columns = 3,
              .values = {std::nan(""), -1, std::numeric_limits<double>::infinity()}};
  expect_well_formed(draw(map).markup());
  map.values = {0, 0, 0};
  expect_well_formed(draw(map).markup());
  map.values.pop_back();
  EXPECT_THROW(draw(map), InvalidArgument);
  map.values = {1, 2, 3};
  map.row_labels = {"a", "b"};
  EXPECT_THROW(draw(map), InvalidArgument);
  map.row_labels.clear();
  map.column_labels = {"a"};
  EXPECT_THROW(draw(map), InvalidArgument);
  map.column_labels.clear();
  map.texts = {"a"};
  EXPECT_THROW(draw(map), InvalidArgument);
  map.texts.clear();
  map.rows = 0;
  EXPECT_THROW(draw(map), InvalidArgument);
}

}  // namespace
}  // namespace gpunn
