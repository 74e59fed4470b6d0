// The report of learning-rates: curves, measured numbers and the rules of the verdicts.
#include "gpunn/models/recipes/detail/learning_rates_run.h"
#include "gpunn/models/recipes/detail/report_parts.h"

namespace gpunn::detail {

namespace {

void report_curves(HtmlReport& report, const std::vector<RateRun>& runs) {
  LineChart losses{.title = "Training loss", .x_label = "epoch", .y_label = "mean loss", .log_y = true};
  LineChart accuracy{.title = "Test accuracy", .x_label = "epoch", .y_label = "% of the test rows"};
  accuracy.height = 260;
  for (const RateRun& run : runs) {
    ChartSeries curve{.name = run.rate, .y = {run.start}, .x = {0}};
    ChartSeries right{.name = run.rate};
    for (std::size_t e = 0; e < run.losses.size(); ++e) {
      curve.x.push_back(static_cast<double>(e + 1));
      curve.y.push_back(run.losses[e]);
    }
    for (const EpochRecord& r : run.trained.history)
      if (r.test) right.y.push_back(100 * r.test->accuracy.value_or(0));
    losses.series.push_back(std::move(curve));
    if (!right.y.empty()) accuracy.series.push_back(std::move(right));
  }
  if (!runs.empty())
    losses.references = {{"good", kGoodShare * runs[0].start}, {"slow", kSlowShare * runs[0].start}};
  report.line_chart(losses);
  if (!accuracy.series.empty()) report.line_chart(accuracy);
}

}  // namespace

void write_learning_rates_report(RecipeContext& context, const std::vector<RateRun>& runs,
                                 const RecipeResult& result) {
  HtmlReport report(context.recipe(), find_recipe(context.recipe()).summary);
  for (const RateRun& run : runs)
    report.figure(
        "learning rate " + run.rate, name_of(run.verdict), "test accuracy " + percent(run.accuracy()),
        run.verdict == RateVerdict::good                                               ? Tone::good
        : run.verdict == RateVerdict::unstable || run.verdict == RateVerdict::diverges ? Tone::bad
                                                                                       : Tone::neutral);
  report_verdict(report, context, result);
  report.section("Curves");
  report.text(
      "Every rate starts from the same weights and sees the same batches. Losses are those of the whole "
      "training part, before the first step and after each epoch.");
  report_curves(report, runs);

  report.section("Verdicts");
  std::vector<std::vector<std::string>> rows;
  for (const RateRun& run : runs)
    rows.push_back({run.rate, fixed(run.start, 4), fixed(run.losses.back(), 4),
                    percent(run.losses.back() / run.start, 1),
                    percent(share_of_rises(run.start, run.losses), 0), percent(run.accuracy()),
                    name_of(run.verdict)});
  report.table({"rate", "loss at the start", "at the end", "of the start", "epochs that rose",
                "test accuracy", "verdict"},
               rows);
  report.text("The first rule that fits decides.");
  report.table({"verdict", "rule"},
               {{"diverges", "a loss is not finite, or the last one is not below the start"},
                {"good", "the last loss is at most 5 % of the start"},
                {"unstable", "the loss rose in a quarter of the epochs or more"},
                {"slow", "the last loss is at most half of the start"},
                {"too slow", "otherwise"}});
  finish_report(report, context);
}

}  // namespace gpunn::detail
