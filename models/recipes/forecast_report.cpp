// The report of forecast-lstm.
#include <algorithm>

#include "gpunn/io/html_report.h"
#include "gpunn/models/recipes/detail/forecast_run.h"
#include "gpunn/models/recipes/detail/report_parts.h"

namespace gpunn::detail {
namespace {

constexpr std::int64_t kShownRows = 200;  // of the test part; more are too dense to read

const char* title_of(const std::string& name) {
  constexpr std::pair<const char*, const char*> kTitles[] = {{"naive", "the value before"},
                                                             {"seasonal", "the season before"},
                                                             {"floor", "the series without noise"},
                                                             {"lstm", "LSTM"},
                                                             {"gru", "GRU"},
                                                             {"tcn", "temporal convolution"}};
  for (const auto& [key, title] : kTitles)
    if (name == key) return title;
  return name.c_str();
}

/// The first row's forecast of each window, or what `value` makes of its place.
template <class Value>
ChartSeries curve(const ForecastStudy& study, std::int64_t horizon, const char* name, Value&& value,
                  ChartSeries::Style style = ChartSeries::Style::line) {
  ChartSeries series{.name = name, .style = style};
  for (std::size_t i = 0; i < study.rows.size() && series.x.size() < kShownRows;
       i += static_cast<std::size_t>(horizon)) {
    series.x.push_back(static_cast<double>(study.rows[i]));
    series.y.push_back(value(i));
  }
  return series;
}

void report_errors(HtmlReport& report, const ForecastStudy& study) {
  std::vector<std::vector<std::string>> rows;
  for (const std::vector<Forecast>* all : {&study.models, &study.baselines})
    for (const Forecast& f : *all)
      rows.push_back(
          {title_of(f.name), fixed(f.errors.mae, 3), fixed(f.errors.rmse, 3), fixed(f.errors.mape, 2)});
  report.table({"forecast", "MAE", "RMSE", "MAPE, %"}, rows);
}

void report_study(HtmlReport& report, const ForecastStudy& study, std::int64_t horizon) {
  const ForecastData& data = study.data;
  report.section(data.title);
  std::string text = concat("Rows ", data.series.date(0), " to ", data.series.date(data.train_rows - 1),
                            " are for training, those to ", data.series.date(data.series.rows() - 1),
                            " for testing; a window shows ", data.input, " rows of ", data.series.variables(),
                            data.series.variables() == 1 ? " variable." : " variables.");
  if (data.series.filled_rows > 0)
    text += concat(" ", data.series.filled_rows, " rows that the file lacks are filled on a line.");
  report.text(text);
  report_errors(report, study);
  std::vector<ChartSeries> forecasts{
      curve(study, horizon, "truth", [&](std::size_t i) { return study.truth[i]; })};
  std::vector<ChartSeries> errors, losses;
  for (const Forecast& model : study.models) {
    forecasts.push_back(curve(
        study, horizon, title_of(model.name), [&](std::size_t i) { return model.values[i]; },
        ChartSeries::Style::dashed));
    errors.push_back(curve(study, horizon, title_of(model.name),
                           [&](std::size_t i) { return model.values[i] - study.truth[i]; }));
    ChartSeries loss{.name = title_of(model.name)};
    for (const EpochRecord& record : model.trained.history) {
      loss.x.push_back(static_cast<double>(record.epoch));
      loss.y.push_back(record.train_loss);
    }
    losses.push_back(std::move(loss));
  }
  report.line_chart({.title = "Forecasts and truth",
                     .x_label = "row",
                     .y_label = data.series.names[0],
                     .series = std::move(forecasts)});
  report.line_chart({.title = "Errors: forecast less truth",
                     .x_label = "row",
                     .y_label = data.series.names[0],
                     .series = std::move(errors),
                     .references = {{"none", 0}},
                     .width = kHalfWidth});
  report.line_chart({.title = "Training loss",
                     .x_label = "epoch",
                     .y_label = "mean squared error, scaled",
                     .series = std::move(losses),
                     .log_y = true,
                     .width = kHalfWidth});
}

}  // namespace

void write_forecast_report(RecipeContext& context, const std::vector<ForecastStudy>& studies,
                           const RecipeResult& result) {
  const auto& settings = static_cast<const ForecastSettings&>(context.settings());
  HtmlReport report("forecast-lstm", find_recipe("forecast-lstm").summary);
  for (const ForecastStudy& study : studies)
    for (const Forecast& model : study.models)
      report.figure(study.data.name + ", " + title_of(model.name), fixed(model.errors.mae, 2),
                    "mean absolute error; naive " + fixed(study.baseline("naive").errors.mae, 2) +
                        ", seasonal " + fixed(study.baseline("seasonal").errors.mae, 2),
                    study.beats_baselines(model) ? Tone::good : Tone::bad);
  report_verdict(report, context, result);
  for (const ForecastStudy& study : studies) report_study(report, study, settings.horizon);
  finish_report(report, context);
}

}  // namespace gpunn::detail
