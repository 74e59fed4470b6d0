// The report of dimensionality: distances against theory, and the time of a step against the inputs.
#include "gpunn/models/recipes/detail/dimensionality_run.h"
#include "gpunn/models/recipes/detail/report_parts.h"

namespace gpunn::detail {

namespace {

// Rows of the table; the curves have every d.
constexpr std::size_t kShown[] = {1, 2, 3, 4, 5, 7, 10, 15, 20, 50, 100, 200, 500, 1000};

std::string square_of(const SizeRun& s) { return std::to_string(s.side) + " x " + std::to_string(s.side); }

void report_distances(HtmlReport& report, const DistanceStudy& study) {
  ChartSeries mean{.name = "mean"}, rms{.name = "root mean square", .style = ChartSeries::Style::points};
  ChartSeries theory{.name = "sqrt(d/6)", .style = ChartSeries::Style::dashed};
  ChartSeries measured{.name = "mean, measured"}, rms_measured{.name = "root mean square, measured"};
  ChartSeries expected{.name = "mean, -7/(40 d)", .style = ChartSeries::Style::dashed};
  ChartSeries spread{.name = "deviation / mean"};
  for (std::size_t d = 1; d <= study.mean.size(); ++d) {
    mean.y.push_back(study.mean[d - 1]);
    theory.y.push_back(DistanceStudy::theory(d));
    measured.y.push_back(100 * study.difference(d));
    rms_measured.y.push_back(100 * study.rms_difference(d));
    expected.y.push_back(100 * DistanceStudy::correction(d));
    spread.y.push_back(study.spread(d));
  }
  for (const std::size_t d : kShown) {
    if (d > study.rms.size()) continue;
    rms.x.push_back(static_cast<double>(d));
    rms.y.push_back(study.rms[d - 1]);
  }
  report.line_chart({.title = "Distance of two random points of the unit cube",
                     .x_label = "dimensions",
                     .y_label = "distance",
                     .series = {mean, theory, rms},
                     .log_x = true,
                     .log_y = true});
  report.line_chart({.title = "Difference from sqrt(d/6)",
                     .x_label = "dimensions",
                     .y_label = "%",
                     .series = {measured, expected, rms_measured},
                     .log_x = true,
                     .references = {{"bound", -100 * kDistanceBound}},
                     .width = kHalfWidth});
  report.line_chart({.title = "All distances become alike",
                     .x_label = "dimensions",
                     .y_label = "deviation relative to the mean",
                     .series = {spread},
                     .log_x = true,
                     .log_y = true,
                     .width = kHalfWidth});
  std::vector<std::vector<std::string>> rows;
  for (const std::size_t d : kShown) {
    if (d > study.mean.size()) continue;
    rows.push_back({std::to_string(d), fixed(study.mean[d - 1], 4), fixed(study.rms[d - 1], 4),
                    fixed(DistanceStudy::theory(d), 4), percent(study.difference(d)),
                    percent(study.rms_difference(d)), fixed(study.spread(d), 4)});
  }
  report.table({"d", "mean", "root mean square", "sqrt(d/6)", "mean differs by",
                "root mean square differs by", "deviation / mean"},
               rows);
}

// Both axes are logarithmic: what grows in proportion to the inputs is parallel to the dashed line.
void report_sizes(HtmlReport& report, const std::vector<SizeRun>& sizes) {
  ChartSeries time{.name = "measured"}, inputs{.name = "in proportion to the inputs"};
  inputs.style = ChartSeries::Style::dashed;
  std::vector<std::vector<std::string>> rows;
  for (const SizeRun& s : sizes) {
    const SizeRun& first = sizes.front();
    const auto pixels = static_cast<double>(s.side * s.side);
    const double ratio = pixels / static_cast<double>(first.side * first.side);
    time.x.push_back(pixels);
    time.y.push_back(1e3 * s.step_seconds);
    inputs.x.push_back(pixels);
    inputs.y.push_back(1e3 * first.step_seconds * ratio);
    rows.push_back({square_of(s), std::to_string(s.parameters), std::to_string(s.steps),
                    fixed(1e3 * s.step_seconds, 3), fixed(ratio, 0) + " x",
                    fixed(s.step_seconds / first.step_seconds, 1) + " x"});
  }
  report.line_chart({.title = "Time of a training step",
                     .x_label = "inputs",
                     .y_label = "milliseconds",
                     .series = {time, inputs},
                     .log_x = true,
                     .log_y = true,
                     .width = kHalfWidth});
  report.table({"pictures", "parameters", "steps", "ms a step", "inputs", "time"}, rows);
}

}  // namespace

void write_dimensionality_report(RecipeContext& context, const DistanceStudy& study,
                                 const std::vector<SizeRun>& sizes, const RecipeResult& result) {
  HtmlReport report(context.recipe(), find_recipe(context.recipe()).summary);
  const std::size_t most = study.mean.size();
  const Tone tone = result.reached ? Tone::good : Tone::neutral;
  if (most > 0) {
    report.figure("mean distance, d = " + std::to_string(most), fixed(study.mean[most - 1], 3),
                  "sqrt(d/6): " + fixed(DistanceStudy::theory(most), 3), tone);
    report.figure("within 2 % of sqrt(d/6)", "d >= " + std::to_string(study.holds_from(kDistanceBound)),
                  "checked from d = " + std::to_string(study.checked_from(kDistanceBound)), tone);
  }
  if (!sizes.empty())
    report.figure(
        "step at " + square_of(sizes.back()), fixed(1e3 * sizes.back().step_seconds, 2) + " ms",
        "at " + square_of(sizes.front()) + ": " + fixed(1e3 * sizes.front().step_seconds, 2) + " ms");
  report_verdict(report, context, result);

  report.section("Distances");
  report.text(
      "A coordinate's squared difference has the mean 1/6 and the variance 7/180. The mean square of the "
      "distance is therefore d/6 for every d. The mean itself is smaller: 1/3 instead of 0.408 for d = 1, "
      "and "
      "by 7/(40 d) in the first order of 1/d, which is below 2 % from d = 9 on. What is checked to 2 % "
      "starts "
      "where this and four standard errors of the measurement together fit into 2 %; the root mean square is "
      "checked for every d, to four standard errors.");
  if (most > 0) {
    report.text("Measured on " + std::to_string(study.pairs) +
                " pairs of points; every d is in metrics.jsonl.");
    report_distances(report, study);
  }
  if (!sizes.empty()) {
    report.section("Larger pictures");
    report.text(
        "A network with 64 hidden neurons on random pictures, 64 a step; times are those of the fastest "
        "epoch, batches being made included. The first layer's weights grow with the number of pixels, four "
        "times as many for twice the side; time follows once arithmetic outweighs the fixed cost of a step.");
    report_sizes(report, sizes);
  }
  finish_report(report, context);
}

}  // namespace gpunn::detail
