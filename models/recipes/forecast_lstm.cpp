// forecast-lstm: LSTM, GRU and a temporal convolution forecast three series, beside what costs nothing: the
// value before, and the value of the season before.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>

#include "gpunn/core/autograd.h"
#include "gpunn/io/file.h"
#include "gpunn/layers/losses.h"
#include "gpunn/models/forecasters.h"
#include "gpunn/models/recipes/detail/batch_run.h"
#include "gpunn/models/recipes/detail/catalogue.h"
#include "gpunn/models/recipes/detail/forecast_run.h"
#include "gpunn/models/recipes/detail/run_totals.h"
#include "gpunn/training/data_loader.h"
#include "gpunn/training/metrics.h"

namespace gpunn {

using detail::Forecast;
using detail::ForecastData;
using detail::ForecastSettings;
using detail::ForecastStudy;

namespace detail {

const Forecast& ForecastStudy::baseline(const std::string& name) const {
  const auto found = std::find_if(baselines.begin(), baselines.end(),
                                  [&](const Forecast& forecast) { return forecast.name == name; });
  GPUNN_CHECK(found != baselines.end(), "expected a baseline of this study, got ", name);
  return *found;
}

bool ForecastStudy::beats_baselines(const Forecast& model) const {
  return model.errors.mae < baseline("naive").errors.mae &&
         model.errors.mae < baseline("seasonal").errors.mae;
}

}  // namespace detail

namespace {

constexpr double kGeneratedError = 2.9;
constexpr std::int64_t kTestBatch = 512;
const char* const kModels[] = {"lstm", "gru", "tcn"};

/// Each model has its own; one that a stopped run had not begun has none.
std::string checkpoint_of(const std::string& series, const char* kind) {
  return "checkpoint-" + series + "-" + kind + ".safetensors";
}

/// The series as the models see it.
struct Scaled {
  SeriesScaler scaler;
  std::vector<double> values;
};

Scaled scale(const ForecastData& data) {
  std::vector<double> values = data.series.values;
  const auto V = static_cast<std::size_t>(data.series.variables());
  for (std::size_t i = 0; data.logarithm && i < values.size(); i += V) values[i] = std::log(values[i]);
  Scaled scaled{SeriesScaler::fit(values, data.series.variables(), data.train_rows), {}};
  scaled.values = scaled.scaler.scaled(values);
  return scaled;
}

/// Rows, truth and simple forecasts of every test window.
ForecastStudy begin_study(ForecastData data, std::int64_t horizon) {
  ForecastStudy study;
  study.data = std::move(data);
  const std::vector<double> values = study.data.series.column(0);
  Forecast naive{.name = "naive", .values = {}}, seasonal{.name = "seasonal", .values = {}},
      floor{.name = "floor", .values = {}};
  for (std::int64_t first = study.data.train_rows; first + horizon <= study.data.series.rows(); ++first)
    for (std::int64_t lead = 0; lead < horizon; ++lead) {
      const std::int64_t row = first + lead;
      study.rows.push_back(row);
      study.truth.push_back(values[static_cast<std::size_t>(row)]);
      naive.values.push_back(naive_forecast(values, row, lead + 1));
      seasonal.values.push_back(naive_forecast(values, row, lead + 1, study.data.period));
      if (!study.data.clean.empty()) floor.values.push_back(study.data.clean[static_cast<std::size_t>(row)]);
    }
  study.baselines = {std::move(naive), std::move(seasonal)};
  if (!study.data.clean.empty()) study.baselines.push_back(std::move(floor));
  for (Forecast& baseline : study.baselines) baseline.errors = forecast_errors(study.truth, baseline.values);
  return study;
}

std::vector<double> forecast(Module& model, const DataLoader& test, const Scaled& scaled, bool logarithm) {
  const NoGrad no_grad;
  model.eval();
  std::vector<double> out;
  DataLoader::Epoch epoch = test.epoch(0);
  for (const Batch& batch : epoch)
    for (const float value : model(batch.inputs).to_vector<float>()) {
      const double restored = scaled.scaler.restored(static_cast<double>(value), 0);
      out.push_back(logarithm ? std::exp(restored) : restored);
    }
  return out;
}

Forecast fit(RecipeContext& context, const ForecastStudy& study, const Scaled& scaled, const char* kind,
             StateDict& weights) {
  const auto& settings = static_cast<const ForecastSettings&>(context.settings());
  const ForecastData& data = study.data;
  const std::int64_t V = data.series.variables();
  const SeriesWindowOptions windows{.input = data.input, .horizon = settings.horizon, .targets = {0}};
  SeriesWindowOptions train_windows = windows, test_windows = windows;
  train_windows.end = test_windows.first = data.train_rows;
  const auto train_rows = std::make_shared<SeriesWindows>(scaled.values, V, train_windows),
             test_rows = std::make_shared<SeriesWindows>(scaled.values, V, test_windows);
  const std::unique_ptr<Forecaster> model =
      make_forecaster(kind, {.variables = V, .hidden = settings.hidden, .horizon = settings.horizon});
  const DataLoader test(test_rows, {.batch_size = kTestBatch, .device = context.device()});
  MSELoss loss;
  const std::string file = checkpoint_of(data.name, kind);
  Forecast out{.name = kind, .values = {}};
  out.trained = detail::train_batches(
      context, {.model = *model,
                .data = train_rows,
                .loss = [&](const Batch& batch) { return loss((*model)(batch.inputs), batch.targets); },
                .test = [&] { return evaluate(*model, loss, test); },
                .epochs = data.epochs,
                .evaluate_every = std::max<std::int64_t>(1, data.epochs / 20),
                .quiet = true,
                .use_weights = false,
                .checkpoint = file,
                .resume = context.hooks().resume && path_exists(settings.run_dir + "/" + file)});
  out.values = forecast(*model, test, scaled, data.logarithm);
  out.errors = forecast_errors(study.truth, out.values);
  for (const auto& [key, tensor] : model->state_dict())
    weights.emplace_back(data.name + "." + kind + "." + key, tensor);
  return out;
}

void say(const RecipeContext& context, const std::string& series, const Forecast& forecast) {
  char text[160];
  std::snprintf(text, sizeof text, "%-23s %-9s MAE %8.3f  RMSE %8.3f  MAPE %6.2f %%", series.c_str(),
                forecast.name.c_str(), forecast.errors.mae, forecast.errors.rmse, forecast.errors.mape);
  context.say(text);
}

void add_metrics(RecipeResult& result, const std::string& series, const Forecast& forecast) {
  const std::string prefix = series + "_" + forecast.name + "_";
  result.metric(prefix + "mae", forecast.errors.mae);
  result.metric(prefix + "rmse", forecast.errors.rmse);
  result.metric(prefix + "mape", forecast.errors.mape);
}

/// All series with all models; the recurrent ones near the generated series' floor, everything else below
/// both baselines.
bool reached(const std::vector<ForecastStudy>& studies) {
  bool good = studies.size() == 3;
  for (const ForecastStudy& study : studies) {
    good = good && study.models.size() == std::size(kModels);
    for (const Forecast& model : study.models) {
      const bool strict = study.data.name == "generated" && model.name != "tcn";
      good = good && (strict ? model.errors.mae <= kGeneratedError : study.beats_baselines(model));
    }
  }
  return good;
}

/// A run that goes on needs its first model's; one that begins removes what an earlier one left in its
/// folder.
void check_checkpoints(const RecipeContext& context, const std::vector<ForecastStudy>& studies) {
  const auto& settings = static_cast<const ForecastSettings&>(context.settings());
  bool first = true;
  for (const ForecastStudy& study : studies)
    for (const char* kind : kModels) {
      if (settings.models != "all" && settings.models != kind) continue;
      const std::string path = settings.run_dir + "/" + checkpoint_of(study.data.name, kind);
      if (!context.hooks().resume)
        std::remove(path.c_str());
      else if (first && !path_exists(path))
        detail::throw_data(path + ": expected the checkpoint of the first model");
      first = false;
    }
}

RecipeResult run(RecipeContext& context) {
  const auto& settings = static_cast<const ForecastSettings&>(context.settings());
  GPUNN_CHECK(settings.weights.empty(),
              "--weights: this recipe trains several models, none begins with given ones");
  std::vector<ForecastStudy> studies;
  for (ForecastData& data : detail::load_forecast_data(settings))
    studies.push_back(begin_study(std::move(data), settings.horizon));
  check_checkpoints(context, studies);
  RecipeResult result;
  detail::RunTotals totals;
  StateDict weights;
  for (ForecastStudy& study : studies) {
    const Scaled scaled = scale(study.data);
    for (const Forecast& baseline : study.baselines) {
      say(context, study.data.name, baseline);
      add_metrics(result, study.data.name, baseline);
    }
    for (const char* kind : kModels) {
      if ((settings.models != "all" && settings.models != kind) || context.stopped()) continue;
      study.models.push_back(fit(context, study, scaled, kind, weights));
      totals.add(study.models.back().trained);
      say(context, study.data.name, study.models.back());
      add_metrics(result, study.data.name, study.models.back());
    }
  }
  totals.write(result);
  result.stopped = result.stopped || context.stopped();
  if (!studies.front().models.empty()) {
    const TrainResult& first = studies.front().models.front().trained;
    result.train_loss = first.train_loss;
    if (first.test) result.test_loss = first.test->loss;
  }
  result.weights_sha256 = weights_sha256(weights);
  context.folder().write_weights(weights);
  result.reached = !result.stopped && reached(studies);
  detail::write_forecast_report(context, studies, result);
  return result;
}

}  // namespace

const Recipe kForecastLstm{
    "forecast-lstm",
    "sequences",
    "LSTM, GRU and a temporal convolution forecast passengers, temperatures and a generated series",
    "airline-passengers, daily-min-temperatures, generated",
    "generated series: LSTM and GRU MAE <= 2.9; every model below both baselines on the others",
    [] { return std::unique_ptr<RunSettings>(std::make_unique<ForecastSettings>()); },
    run,
    true};

}  // namespace gpunn
