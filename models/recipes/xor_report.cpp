// The report of xor: what two networks learned, as maps over the square of inputs.
#include "gpunn/core/autograd.h"
#include "gpunn/io/html_report.h"
#include "gpunn/models/recipes/detail/plane.h"
#include "gpunn/models/recipes/detail/xor_run.h"
#include "gpunn/training/report.h"

namespace gpunn::detail {

namespace {

constexpr PlanePoint kTable[] = {{0, 0, false}, {0, 1, true}, {1, 0, true}, {1, 1, false}};

void add_system(HtmlReport& report, XorSummary& summary) {
  const XorSystem& system = *summary.system;
  report.section(std::string("(") + system.key + ") " + system.title);
  report.text(std::to_string(summary.successes) + " of " + std::to_string(summary.runs) +
              " seeds end below a mean squared error of 0.01 (mean " + short_text(summary.mean_mse) +
              ", worst " + short_text(summary.worst_mse) + ").");
  if (summary.shown.empty()) return;
  XorRun& run = summary.shown[0];
  report.text("Shown: seed " + std::to_string(run.seed) + ", mean squared error " + short_text(run.mse) +
              ".");
  std::vector<std::vector<std::string>> rows;
  for (const XorSnapshot& s : run.snapshots) {
    rows.push_back({std::to_string(s.epoch)});
    for (const float p : s.outputs) rows.back().push_back(fixed(p, 3));
  }
  report.table({"epoch", "0 0", "0 1", "1 0", "1 1"}, rows);
  if (!run.curve.empty())
    report.line_chart({.title = "Training loss",
                       .x_label = "epoch",
                       .y_label = "loss of the table",
                       .series = {{.name = "loss", .y = run.curve, .x = run.curve_epochs}},
                       .log_y = true});

  run.net.to(Device::cpu());
  add_plane_pictures(
      report, std::string("(") + system.key + ")",
      [&](const Tensor& points) { return run.net.probability(points); }, kTableWindow, kTable);
  NoGrad no_grad;
  const Tensor features = run.net.features(plane_points(kTableWindow, kPlaneSide));
  std::vector<CaptionedPicture> neurons;
  for (std::int64_t n = 0; n < system.neurons; ++n)
    neurons.push_back(
        {plane_map(features.select(1, n).contiguous().to_vector<float>(), kPlaneSide, kTableWindow, kTable),
         "hidden neuron " + std::to_string(n + 1)});
  report.pictures(neurons, 2);
}

}  // namespace

void write_xor_report(RecipeContext& context, std::vector<XorSummary>& systems,
                      const std::vector<XorSummary>& study, const RecipeResult& result) {
  HtmlReport report("xor", "Exclusive-or learned by small networks of sigmoids");
  for (const XorSummary& s : systems)
    report.figure(std::string("(") + s.system->key + ") learned",
                  std::to_string(s.successes) + " of " + std::to_string(s.runs), "seeds",
                  result.reached ? Tone::good : Tone::neutral);
  report.figure("training", fixed(result.seconds, 1) + " s", std::to_string(result.steps) + " steps");
  report.text(std::string(kPlaneLegend) + " Inputs run from -0.25 to 1.25.");
  for (XorSummary& s : systems) add_system(report, s);
  if (!study.empty()) {
    report.section("Initial values of system (a)");
    BarChart chart{.title = "Seeds that learn the table", .bars = {}, .percent = true, .maximum = 1};
    std::vector<std::vector<std::string>> rows;
    for (const XorSummary& s : study) {
      const double share = s.runs > 0 ? static_cast<double>(s.successes) / static_cast<double>(s.runs) : 0;
      chart.bars.push_back({s.system->title, share});
      rows.push_back({s.system->title, std::to_string(s.successes) + " of " + std::to_string(s.runs),
                      fixed(s.mean_mse, 4), fixed(s.best_mse, 4)});
    }
    report.bar_chart(chart);
    report.table({"initial values", "learned", "mean error", "best error"}, rows);
  }
  report.section("Settings");
  report_settings(report, context.settings());
  report.section("Environment");
  report_environment(report, context.device());
  context.folder().write_report(report.html());
}

}  // namespace gpunn::detail
