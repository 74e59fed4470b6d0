// The report of the perceptrons: the boundary epoch by epoch, the weights, and other initial values.
#include <algorithm>

#include "gpunn/io/html_report.h"
#include "gpunn/models/recipes/detail/perceptron_run.h"
#include "gpunn/models/recipes/detail/plane.h"
#include "gpunn/training/report.h"

namespace gpunn::detail {

namespace {

constexpr std::size_t kEpochsShown = 11;  // the start and ten more

std::vector<PlanePoint> table_points(const Gate& gate) {
  std::vector<PlanePoint> points;
  for (std::size_t r = 0; r < 4; ++r)
    points.push_back({static_cast<double>(r / 2), static_cast<double>(r % 2), gate.targets[r] == 1});
  return points;
}

void add_boundaries(HtmlReport& report, const PerceptronRun& run) {
  const std::vector<PlanePoint> points = table_points(*run.gate);
  const std::vector<float> at = plane_points(kTableWindow, kPlaneSide).to_vector<float>();
  const auto map = [&](const PerceptronEpoch& epoch) {
    std::vector<float> fires;
    for (std::size_t i = 0; i < at.size(); i += 2)
      fires.push_back(at[i] * epoch.weights[0] + at[i + 1] * epoch.weights[1] + epoch.weights[2] >= 0);
    return plane_map(fires, kPlaneSide, kTableWindow, points, true);
  };
  const PerceptronEpoch& last = run.epochs.back();
  report.section("Decision boundary");
  report.text(std::string(kPlaneLegend) +
              " Inputs run from -0.25 to 1.25; the boundary is where the colours "
              "meet.");
  const CaptionedPicture final_map[] = {{map(last), "after epoch " + std::to_string(last.epoch)}};
  report.pictures(final_map, 3);
  std::vector<CaptionedPicture> maps;
  for (std::size_t i = 0; i < std::min(kEpochsShown, run.epochs.size()); ++i)
    maps.push_back({map(run.epochs[i]), i == 0 ? "at the start" : "after epoch " + std::to_string(i)});
  report.pictures(maps, 1);
}

void add_weights(HtmlReport& report, const PerceptronRun& run) {
  LineChart chart{.title = "Weights", .x_label = "epoch", .y_label = "value", .series = {}};
  for (const char* name : {"w1", "w2", "b"}) chart.series.push_back({.name = name, .y = {}});
  for (const PerceptronEpoch& epoch : run.epochs)
    for (std::size_t i = 0; i < 3; ++i) {
      chart.series[i].x.push_back(static_cast<double>(epoch.epoch));
      chart.series[i].y.push_back(epoch.weights[i]);
    }
  chart.width = kHalfWidth;
  report.line_chart(chart);
}

void add_study(HtmlReport& report, const PerceptronRun& run, double draw_std) {
  ChartSeries share{.name = "all four rows right", .y = {}};
  for (std::size_t e = 0; e < run.learned.size(); ++e) {
    share.x.push_back(static_cast<double>(e));
    share.y.push_back(100 * static_cast<double>(run.learned[e]) / static_cast<double>(run.draws));
  }
  report.line_chart(
      {.title = std::to_string(run.draws) + " starts drawn from N(0, " + short_text(draw_std) + "²)",
       .x_label = "epoch",
       .y_label = "% of the perceptrons",
       .series = {share},
       .width = kHalfWidth});
}

}  // namespace

void write_perceptron_report(RecipeContext& context, const PerceptronRun& run, double draw_std,
                             const RecipeResult& result) {
  HtmlReport report(context.recipe(), std::string("Rosenblatt's rule on ") + run.gate->name);
  const PerceptronEpoch& last = run.epochs.back();
  std::vector<std::vector<std::string>> rows;
  int right = 0;
  for (std::size_t r = 0; r < 4; ++r) {
    const auto a = static_cast<double>(r / 2), b = static_cast<double>(r % 2);
    right += last.outputs[r] == run.gate->targets[r] ? 1 : 0;
    rows.push_back({fixed(a, 0), fixed(b, 0),
                    short_text(a * last.weights[0] + b * last.weights[1] + last.weights[2]),
                    fixed(last.outputs[r], 0), fixed(run.gate->targets[r], 0)});
  }
  report.figure("rows right", std::to_string(right) + " of 4",
                "after " + std::to_string(last.epoch) + " epochs",
                result.reached ? Tone::good : Tone::neutral);
  report.figure("weights", fixed(last.weights[0], 3) + ", " + fixed(last.weights[1], 3));
  report.figure("bias", fixed(last.weights[2], 3));
  report.figure(
      "random starts that learn it",
      fixed(100 * static_cast<double>(run.learned.back()) / static_cast<double>(run.draws), 1) + " %",
      "of " + std::to_string(run.draws));
  report.table({"x1", "x2", "w·x + b", "output", "target"}, rows);
  add_boundaries(report, run);
  report.section("Training");
  add_weights(report, run);
  add_study(report, run, draw_std);
  report.section("Settings");
  report_settings(report, context.settings());
  report.section("Environment");
  report_environment(report, context.device());
  context.folder().write_report(report.html());
}

}  // namespace gpunn::detail
