// The report of hand-features: accuracies side by side, and what the features say of each digit.
#include "gpunn/models/recipes/detail/hand_features_run.h"
#include "gpunn/models/recipes/detail/report_parts.h"
#include "gpunn/models/recipes/detail/shape_features.h"

namespace gpunn::detail {

namespace {

// Bars for the end, beside a bar for knowing nothing; curves for the way there.
void report_accuracies(HtmlReport& report, const HandFeaturesRun& run) {
  BarChart bars{.title = "Test accuracy", .percent = true, .maximum = 1.0};
  bars.bars.push_back({"most frequent digit", run.guessing});
  LineChart curves{.title = "Accuracy through training",
                   .x_label = "epoch",
                   .y_label = "% of the test rows",
                   .width = kHalfWidth,
                   .height = 260};
  for (const InputRun& input : run.inputs) {
    bars.bars.push_back({input.title, input.accuracy(), true});
    ChartSeries curve{.name = input.title};
    for (const EpochRecord& r : input.trained.history)
      if (r.test) curve.y.push_back(100 * r.test->accuracy.value_or(0));
    if (!curve.y.empty()) curves.series.push_back(std::move(curve));
  }
  report.bar_chart(bars);
  if (!curves.series.empty()) report.line_chart(curves);
}

void report_features(HtmlReport& report, const HandFeaturesRun& run) {
  std::vector<std::vector<std::string>> rows;
  std::vector<std::string> names;
  for (const ShapeFeature& f : shape_feature_names()) {
    rows.push_back({f.name, f.meaning});
    names.emplace_back(f.name);
  }
  report.table({"feature", "what it is"}, rows);
  report.text(
      "Means over the training part of each digit, in deviations from the mean of all: where a column has "
      "one "
      "strong cell, the feature tells that digit from the others.");
  HeatMap map{.title = "What the features say of each digit",
              .rows = static_cast<int>(run.classes.size()),
              .columns = static_cast<int>(names.size()),
              .values = run.class_means,
              .row_labels = run.classes,
              .column_labels = names,
              .y_label = "digit",
              .width = 640};
  for (const double v : run.class_means) map.texts.push_back(fixed(v, 1));
  report.heat_map(map);
  report.pictures(run.shown, 2);
  names.insert(names.begin(), "digit");
  rows.clear();
  for (std::size_t i = 0; i < run.shown.size(); ++i) {
    rows.push_back({run.shown[i].caption});
    for (const float v : run.shown_features[i]) rows.back().push_back(fixed(v, 2));
  }
  report.table(names, rows);
}

}  // namespace

void write_hand_features_report(RecipeContext& context, const HandFeaturesRun& run,
                                const RecipeResult& result) {
  HtmlReport report(context.recipe(), find_recipe(context.recipe()).summary);
  for (const InputRun& input : run.inputs) {
    const bool pixels = &input != run.inputs.data();
    report.figure(std::string("test accuracy, ") + input.title, percent(input.accuracy()), "",
                  pixels && result.reached ? Tone::good : Tone::neutral);
  }
  report.figure("training", fixed(result.seconds, 1) + " s", std::to_string(result.steps) + " steps");
  report_verdict(report, context, result);
  report.text(
      "Both networks have the same hidden layer, start from the same seed and take the same number of steps. "
      "Inputs are standardised with means and deviations of the training part only: each feature with its "
      "own, all pixels with one common pair.");

  report.section("Side by side");
  report_accuracies(report, run);
  report.section("The features");
  report_features(report, run);
  report.section("Confusion");
  for (const InputRun& input : run.inputs) {
    HeatMap map = confusion_matrix(run.classes, input.counts);
    map.title = std::string("Test part, ") + input.title;
    map.width = kHalfWidth;
    report.heat_map(map);
  }
  report.section("Models");
  for (const InputRun& input : run.inputs) report.preformatted(input.model);
  finish_report(report, context);
}

}  // namespace gpunn::detail
