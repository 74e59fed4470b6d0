#pragma once
// What forecast-lstm trains on, and what it finds out.
#include <cstdint>
#include <string>
#include <vector>

#include "gpunn/models/recipes/recipe.h"
#include "gpunn/training/series.h"
#include "gpunn/training/series_windows.h"
#include "gpunn/training/trainer.h"

namespace gpunn::detail {

struct ForecastSettings : AdamSettings {
  std::string series = "all";
  std::string models = "all";
  std::int64_t hidden = 32;
  std::int64_t horizon = 1;
  std::uint64_t noise_seed = 0;
  ForecastSettings();
  std::vector<Field> fields() override;
};

/// A series to forecast; variable 0 is the one.
struct ForecastData {
  std::string name, title;
  Series series;
  std::vector<double> clean{};  // the generated one's values without noise
  std::int64_t train_rows = 0;  // the others come later and are for testing
  std::int64_t input = 30;      // rows that are seen
  std::int64_t period = 1;      // of the season, for the baseline
  std::int64_t epochs = 1;
  bool logarithm = false;  // scaled and learnt as logarithms: the season grows with the trend
};
/// Those that the settings ask for. Throws DataError for files that are missing, damaged or too short.
std::vector<ForecastData> load_forecast_data(const ForecastSettings& settings);

/// One forecast of the test rows, window by window and row by row within.
struct Forecast {
  std::string name;  // "lstm", "naive"
  std::vector<double> values;
  ForecastErrors errors{};
  TrainResult trained{};  // of models
};

struct ForecastStudy {
  ForecastData data;
  std::vector<std::int64_t> rows;  // that are forecast, in the order of `truth`
  std::vector<double> truth;
  std::vector<Forecast> baselines;  // naive, seasonal; with `clean`, the floor: that series itself
  std::vector<Forecast> models;

  const Forecast& baseline(const std::string& name) const;
  /// Whether the errors are below both simple forecasts' (mean absolute error).
  bool beats_baselines(const Forecast& model) const;
};

void write_forecast_report(RecipeContext& context, const std::vector<ForecastStudy>& studies,
                           const RecipeResult& result);

}  // namespace gpunn::detail
