// The report of box-approximation: the box, what sums of boxes look like, and what they cost.
#include <cmath>

#include "gpunn/core/autograd.h"
#include "gpunn/io/html_report.h"
#include "gpunn/models/recipes/detail/box_run.h"
#include "gpunn/models/recipes/detail/plane.h"
#include "gpunn/training/report.h"

namespace gpunn::detail {

namespace {

constexpr int kCurvePoints = 600;

std::vector<float> even_points(double low, double high) {
  std::vector<float> x;
  for (int i = 0; i < kCurvePoints; ++i)
    x.push_back(static_cast<float>(low + (high - low) * (i + 0.5) / kCurvePoints));
  return x;
}

std::vector<double> doubles(const std::vector<float>& values) { return {values.begin(), values.end()}; }

void add_single_box(HtmlReport& report, const BoxRun& run) {
  report.section("A box from two neurons");
  report.text("step(x) + step(delta - x) - 1 with step(0) = 0 is 1 on (0, delta) and 0 everywhere else. At " +
              std::to_string(run.checked) + " points, the ends among them, " +
              std::to_string(run.mismatches) + " differ from that.");
  constexpr double kDelta = 0.75;
  const std::vector<float> x = even_points(-0.5, 1.25);
  const Tensor points = Tensor::from(x, {kCurvePoints});
  LineChart chart{
      .title = "The box on (0, 0.75)", .x_label = "x", .y_label = "h", .series = {}, .height = 220};
  using Style = ChartSeries::Style;
  chart.series = {{.name = "box",
                   .y = doubles(single_box(points, kDelta).to_vector<float>()),
                   .x = doubles(x),
                   .style = Style::steps}};
  report.line_chart(chart);
}

void add_curves(HtmlReport& report, const BoxRun& run) {
  report.section("Sums of boxes");
  const double b = run.half_width;
  const std::vector<float> x = even_points(-b, b);
  const Tensor points = Tensor::from(x, {kCurvePoints, 1});
  std::vector<std::vector<float>> values;
  const std::int64_t shown[] = {8, 32};
  for (const std::int64_t n : shown) {
    BoxNet net(n, b);
    values.push_back(box_values(net, points));
  }
  for (std::size_t k = 0; k < kBoxFunctions; ++k) {
    LineChart chart{.title = kBoxTargets[k].title, .x_label = "x", .series = {}, .width = kHalfWidth};
    ChartSeries exact{.name = "exact", .y = {}, .x = doubles(x)};
    for (const float v : x) exact.y.push_back(kBoxTargets[k].f(v));
    chart.series.push_back(std::move(exact));
    for (std::size_t n = 0; n < values.size(); ++n) {
      ChartSeries series{.name = std::to_string(shown[n]) + " boxes", .y = {}, .x = doubles(x)};
      for (std::size_t i = 0; i < x.size(); ++i) series.y.push_back(values[n][kBoxFunctions * i + k]);
      chart.series.push_back(std::move(series));
    }
    report.line_chart(chart);
  }
}

// One curve for each function; `power` of N is the number of boxes.
LineChart error_chart(const std::vector<BoxError>& errors, const char* title, int power) {
  LineChart chart{.title = title,
                  .x_label = "boxes",
                  .y_label = "largest error",
                  .series = {},
                  .log_x = true,
                  .log_y = true,
                  .width = kHalfWidth};
  for (std::size_t k = 0; k < kBoxFunctions; ++k) {
    ChartSeries series{.name = power == 1 ? kBoxTargets[k].title : kBoxTargets[k].title_2d, .y = {}};
    for (const BoxError& e : errors) {
      series.x.push_back(std::pow(static_cast<double>(e.boxes), power));
      series.y.push_back(e.largest[k]);
    }
    chart.series.push_back(std::move(series));
  }
  if (errors.empty()) return chart;
  ChartSeries law{.name = power == 1 ? "1/N" : "1/√boxes", .y = {}, .style = ChartSeries::Style::dashed};
  for (const BoxError& e : errors) {
    law.x.push_back(std::pow(static_cast<double>(e.boxes), power));
    law.y.push_back(errors[0].largest[0] * static_cast<double>(errors[0].boxes) /
                    static_cast<double>(e.boxes));
  }
  chart.series.push_back(std::move(law));
  return chart;
}

void add_errors(HtmlReport& report, const BoxRun& run) {
  report.section("Error and cost");
  report.line_chart(error_chart(run.line, "One variable", 1));
  report.line_chart(error_chart(run.plane, "Two variables", 2));
  const auto row = [](int dimensions, const BoxError& e) {
    const std::int64_t n = e.boxes, boxes = dimensions == 1 ? n : n * n;
    std::vector<std::string> cells{std::to_string(dimensions), std::to_string(n), std::to_string(boxes),
                                   std::to_string(dimensions == 1 ? 2 * n : 4 * n + n * n)};
    for (const double error : e.largest) cells.push_back(fixed(error, 5));
    return cells;
  };
  std::vector<std::vector<std::string>> rows;
  for (const BoxError& e : run.line) rows.push_back(row(1, e));
  for (const BoxError& e : run.plane) rows.push_back(row(2, e));
  report.table({"variables", "N an axis", "boxes N^d", "step neurons", "sin", "x²", "gaussian"}, rows);
  report.text(
      "Half the error takes twice the boxes with one variable, four times with two, 2^d times with d: "
      "ten variables and N = 8 would need 8^10, more than a thousand million.");
}

void add_planes(HtmlReport& report, const BoxRun& run) {
  report.section("Two variables");
  report.text("sin x sin y from N² boxes; red is 1, blue is -1.");
  const auto b = static_cast<float>(run.half_width) * 0.999f;  // the far rims belong to no box
  const PlaneWindow window{-b, b, -b, b};
  const Tensor points = plane_points(window, kPlaneSide);
  std::vector<CaptionedPicture> maps, surfaces;
  const auto add = [&](const std::string& caption, const std::vector<float>& values) {
    std::vector<float> waves, hill;
    for (std::size_t i = 0; i < values.size(); i += kBoxFunctions) {
      waves.push_back((values[i] + 1) / 2);
      hill.push_back(values[i + 2]);
    }
    maps.push_back({plane_map(waves, kPlaneSide, window, {}), caption});
    surfaces.push_back({plane_surface(hill, kPlaneSide), "exp(-x² - y²), " + caption});
  };
  for (const std::int64_t n : {8, 16, 32}) {
    BoxNet2d net(n, run.half_width);
    add(std::to_string(n * n) + " boxes", box_values(net, points));
  }
  const std::vector<float> at = points.to_vector<float>();
  std::vector<float> exact;
  for (std::size_t i = 0; i < at.size(); i += 2)
    for (const BoxFunction& f : kBoxTargets) exact.push_back(static_cast<float>(f.f_2d(at[i], at[i + 1])));
  add("exact", exact);
  report.pictures(maps, 2);
  report.pictures(surfaces, 1);
}

}  // namespace

void write_box_report(RecipeContext& context, const BoxRun& run, const RecipeResult& result) {
  NoGrad no_grad;
  DeviceScope scope(Device::cpu());  // pictures are made on the CPU
  HtmlReport report("box-approximation", "Functions from boxes of step neurons");
  const auto slope = [&](const char* name, const std::array<double, kBoxFunctions>& slopes) {
    report.figure(name, fixed(slopes[0], 3),
                  "sin; x² " + fixed(slopes[1], 3) + ", gaussian " + fixed(slopes[2], 3),
                  result.reached ? Tone::good : Tone::neutral);
  };
  report.figure("single box", run.mismatches == 0 ? "exact" : std::to_string(run.mismatches) + " wrong",
                std::to_string(run.checked) + " points", run.mismatches == 0 ? Tone::good : Tone::bad);
  slope("slope of the error, one variable", run.line_slope);
  slope("slope of the error, two variables", run.plane_slope);
  add_single_box(report, run);
  add_curves(report, run);
  add_errors(report, run);
  add_planes(report, run);
  report.section("Settings");
  report_settings(report, context.settings());
  report.section("Environment");
  report_environment(report, context.device());
  context.folder().write_report(report.html());
}

}  // namespace gpunn::detail
