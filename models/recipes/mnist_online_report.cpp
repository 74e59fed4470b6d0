// The report of mnist-online: both runs beside each other.
#include "gpunn/models/recipes/detail/online_run.h"
#include "gpunn/models/recipes/detail/report_parts.h"
#include "gpunn/training/report.h"

namespace gpunn::detail {

namespace {

ChartSeries curve(std::string name, ChartSeries::Style style = ChartSeries::Style::line) {
  return {.name = std::move(name), .y = {}, .style = style};
}

// Both runs share their axes, so that their levels compare.
void report_curves(HtmlReport& report, const std::vector<OnlineRun>& runs) {
  LineChart accuracy{
      .title = "Accuracy", .x_label = "epoch", .y_label = "% of the test rows", .width = kHalfWidth};
  LineChart losses{.title = "Loss", .x_label = "epoch", .y_label = "mean loss", .width = kHalfWidth};
  std::vector<std::vector<std::string>> rows;
  for (const OnlineRun& run : runs) {
    ChartSeries right = curve(run.system->key);
    ChartSeries train = curve(std::string(run.system->key) + ", train");
    ChartSeries test = curve(std::string(run.system->key) + ", test", ChartSeries::Style::dashed);
    for (const EpochRecord& r : run.trained.history) {
      train.y.push_back(r.train_loss);
      if (!r.test) continue;
      test.y.push_back(r.test->loss);
      right.y.push_back(100 * r.test->accuracy.value_or(0));
      rows.push_back({run.system->title, std::to_string(r.epoch), fixed(r.train_loss, 4),
                      fixed(r.test->loss, 4), percent(r.test->accuracy.value_or(0)), fixed(r.seconds, 1)});
    }
    accuracy.references.emplace_back(std::string("to reach, ") + run.system->key, 100 * run.system->accuracy);
    accuracy.series.push_back(std::move(right));
    losses.series.push_back(std::move(train));
    losses.series.push_back(std::move(test));
  }
  if (rows.empty()) return;
  report.line_chart(accuracy);
  report.line_chart(losses);
  report.table({"pixels", "epoch", "train loss", "test loss", "test accuracy", "seconds"}, rows);
}

}  // namespace

void write_online_report(RecipeContext& context, const std::vector<OnlineRun>& runs,
                         const std::vector<std::string>& classes, const RecipeResult& result) {
  HtmlReport report(context.recipe(), find_recipe(context.recipe()).summary);
  for (const OnlineRun& run : runs)
    report.figure(std::string("test accuracy, ") + run.system->key, percent(run.accuracy()),
                  "to reach: " + percent(run.system->accuracy, 1),
                  run.accuracy() >= run.system->accuracy ? Tone::good : Tone::neutral);
  report.figure("training", fixed(result.seconds, 1) + " s",
                std::to_string(result.steps) + " steps, " + fixed(result.steps_per_second, 0) + " a second");
  report_verdict(report, context, result);
  report.text(
      "The classes come from a softmax over the last layer, trained with cross-entropy; with squared errors "
      "three epochs are too few on scaled pixels at this learning rate. Every step uses one picture, in the "
      "order of the file, so an epoch is as many steps as there are pictures.");

  report.section("Training");
  report_curves(report, runs);

  report.section("Why the scale matters");
  report.text(
      "A sigmoid's slope is below 0.01 where its output is within 0.01 of 0 or 1: such a neuron passes on "
      "almost no gradient. Bytes up to 255 drive most of the first layer there before the first step, and "
      "one "
      "step moves a weight 255 times as far as on scaled pixels, so accuracy jumps about from epoch to epoch "
      "and from seed to seed.");
  BarChart bars{.title = "First layer's outputs that are saturated", .percent = true, .maximum = 1.0};
  for (const OnlineRun& run : runs) {
    bars.bars.push_back({std::string(run.system->key) + ", before", run.saturated_before});
    bars.bars.push_back({std::string(run.system->key) + ", after", run.saturated_after, true});
  }
  report.bar_chart(bars);

  report.section("Confusion");
  for (const OnlineRun& run : runs) {
    HeatMap map = confusion_matrix(classes, run.counts);
    map.title = std::string("Test part, ") + run.system->title;
    map.width = kHalfWidth;
    report.heat_map(map);
  }
  report.section("Model");
  report.preformatted(runs.front().model);
  report.section("Memory");
  report_memory(report, runs.back().trained.memory);
  finish_report(report, context);
}

}  // namespace gpunn::detail
