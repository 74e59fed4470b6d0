// The report of sentiment.
#include <algorithm>
#include <numeric>

#include "gpunn/io/html_report.h"
#include "gpunn/models/recipes/detail/attention_pictures.h"
#include "gpunn/models/recipes/detail/report_parts.h"
#include "gpunn/models/recipes/detail/sentiment_run.h"
#include "gpunn/training/report.h"

namespace gpunn::detail {
namespace {

constexpr std::size_t kShownErrors = 8;

/// Accuracy and share of sentences by how wide the neutral band is.
void report_bands(HtmlReport& report, const SentimentData& data, const std::vector<double>& positive) {
  std::vector<std::vector<std::string>> rows;
  ChartSeries accuracy{.name = "right, of the others", .y = {}}, neutral{.name = "neutral", .y = {}};
  for (int step = 0; step < 20; ++step) {
    const double band = step == 0 ? -1 : 0.05 * step;
    const Confidence c = confidence(positive, data.test, band);
    if (c.sure == 0) break;
    accuracy.x.push_back(0.05 * step);
    accuracy.y.push_back(c.accuracy());
    neutral.x.push_back(0.05 * step);
    neutral.y.push_back(c.neutral());
    if (step % 4 == 0)
      rows.push_back({fixed(0.05 * step, 2), percent(c.neutral(), 1), percent(c.accuracy(), 1)});
  }
  report.table({"width of the band", "neutral", "right, of the others"}, rows);
  report.line_chart({.title = "Verdicts by the width of the neutral band",
                     .x_label = "width of the band, in probability",
                     .y_label = "share of the test sentences",
                     .series = {std::move(accuracy), std::move(neutral)}});
}

void report_worst(HtmlReport& report, const SentimentData& data, const std::vector<double>& positive) {
  std::vector<std::size_t> order(positive.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto truth = [&](std::size_t i) { return data.test[i].label == 1 ? positive[i] : 1 - positive[i]; };
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return truth(a) < truth(b); });
  std::vector<std::vector<std::string>> rows;
  for (std::size_t k = 0; k < std::min(order.size(), kShownErrors); ++k) {
    const Review& review = data.test[order[k]];
    rows.push_back(
        {review.text, review.label == 1 ? "positive" : "negative", percent(positive[order[k]], 1)});
  }
  report.table({"sentence", "truth", "positive, says the model"}, rows);
}

}  // namespace

void write_sentiment_report(RecipeContext& context, const SentimentData& data,
                            const std::vector<double>& positive, const std::vector<SampleReview>& samples,
                            const SampleAttention& attention, const TrainResult& trained,
                            const RecipeResult& result) {
  const auto& settings = static_cast<const SentimentSettings&>(context.settings());
  const Confidence all = confidence(positive, data.test, -1),
                   sure = confidence(positive, data.test, settings.band);
  HtmlReport report("sentiment", find_recipe("sentiment").summary);
  report.figure("test accuracy", percent(all.accuracy(), 1), concat("of ", all.all, " sentences"),
                result.stopped   ? Tone::neutral
                : result.reached ? Tone::good
                                 : Tone::bad);
  report.figure("where it is sure", sure.sure > 0 ? percent(sure.accuracy(), 1) : "nowhere",
                percent(sure.neutral(), 1) + " neutral");
  report.figure("words", std::to_string(data.vocab.size()),
                concat("that occur ", settings.min_count, " times or more"));
  report_verdict(report, context, result);
  report.section("Six reviews");
  std::vector<std::vector<std::string>> rows;
  for (const SampleReview& sample : samples)
    rows.push_back({sample.text, percent(sample.positive, 1), verdict(sample.positive, settings.band)});
  report.table({"review", "positive", "verdict"}, rows);
  if (!attention.maps.empty()) {
    report.section("What each word looks at");
    report.text("Rows are words of the first review that look, columns those that are looked at.");
    report_attention(report, attention.maps, attention.words);
  }
  report.section("How sure");
  report_bands(report, data, positive);
  report.section("Test sentences");
  std::vector<std::int64_t> counts(4);
  for (std::size_t i = 0; i < positive.size(); ++i)
    ++counts[static_cast<std::size_t>(2 * data.test[i].label + (positive[i] > 0.5 ? 1 : 0))];
  report.heat_map(confusion_matrix({"negative", "positive"}, counts));
  report.text("Those that the model was most wrong about:");
  report_worst(report, data, positive);
  report_history(report, trained.history);
  finish_report(report, context);
}

}  // namespace gpunn::detail
