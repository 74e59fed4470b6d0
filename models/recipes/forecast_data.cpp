// The series of forecast-lstm.
#include <cmath>
#include <numbers>

#include "gpunn/core/error.h"
#include "gpunn/models/recipes/detail/forecast_run.h"
#include "gpunn/training/data_paths.h"

namespace gpunn::detail {
namespace {

constexpr double kDaysOfYear = 365.2425;

/// Two more variables: sine and cosine of the time of the year, which the calendar tells in advance.
void add_calendar(Series& series) {
  const double year = series.first.unit == DateUnit::month ? 12 : kDaysOfYear;
  const std::vector<double> value = series.column(0);
  series.names = {series.names[0], "sine of the year", "cosine of the year"};
  series.values.clear();
  for (std::size_t row = 0; row < value.size(); ++row) {
    const auto units = static_cast<double>(series.first.value + static_cast<std::int64_t>(row) * series.step);
    const double angle = 2 * std::numbers::pi * std::fmod(units / year, 1.0);
    series.values.insert(series.values.end(), {value[row], std::sin(angle), std::cos(angle)});
  }
}

ForecastData from_file(const char* name, const ForecastSettings& settings) {
  const std::string path = find_data(data_set_info(name), settings.data)[0];
  ForecastData data;
  data.name = name;
  // The temperatures leave out the leap days.
  data.series = read_series(path, {.fill = GapFill::linear});
  add_calendar(data.series);
  return data;
}

ForecastData generated(const ForecastSettings& settings) {
  ForecastData data;
  data.name = "generated";
  data.title = "Generated: trend, season of 30 days and noise";
  data.series = make_trend_season({.seed = settings.noise_seed});
  data.clean = make_trend_season({.noise = 0}).values;
  data.train_rows = 150;
  data.period = 30;
  data.epochs = settings.epochs;
  return data;
}

ForecastData airline(const ForecastSettings& settings) {
  ForecastData data = from_file("airline-passengers", settings);
  data.title = "Airline passengers, thousands a month";
  data.train_rows = data.series.rows() * 3 / 4;
  data.input = 24;
  data.period = 12;
  data.epochs = settings.epochs;
  data.logarithm = true;
  return data;
}

ForecastData temperatures(const ForecastSettings& settings) {
  ForecastData data = from_file("daily-min-temperatures", settings);
  data.title = "Daily minimum temperatures in Melbourne, degrees Celsius";
  data.train_rows = data.series.rows() * 4 / 5;
  data.period = 365;
  // Twenty times the windows of the others.
  data.epochs = (settings.epochs + 9) / 10;
  return data;
}

void check(const ForecastData& data, std::int64_t horizon) {
  const std::int64_t rows = data.series.rows(), before = std::max(data.input, data.period);
  if (data.train_rows < before + horizon || rows - data.train_rows < horizon)
    throw_data(concat(data.name, ": expected a series of which three quarters hold ", before + horizon,
                      " rows, got ", rows, " rows"));
  for (std::int64_t row = 0; data.logarithm && row < rows; ++row) {
    const double value = data.series.values[static_cast<std::size_t>(row * data.series.variables())];
    if (!(value > 0))
      throw_data(concat(data.name, ": expected positive values, got ", value, " at ", data.series.date(row)));
  }
}

}  // namespace

ForecastSettings::ForecastSettings() {
  epochs = 60;
  lr = 5e-3;
  batch_size = 16;
  weight_decay = 1e-4;
  schedule.schedule = "cosine";
}

std::vector<Field> ForecastSettings::fields() {
  std::vector<Field> all = AdamSettings::fields();
  all.push_back({.name = "series",
                 .value = &series,
                 .help = "what to forecast",
                 .choices = {"all", "generated", "airline-passengers", "daily-min-temperatures"}});
  all.push_back({.name = "models",
                 .value = &models,
                 .help = "what to forecast with",
                 .choices = {"all", "lstm", "gru", "tcn"}});
  all.push_back({"hidden", &hidden, "hidden units", 1, 4096});
  all.push_back({"horizon", &horizon, "rows to forecast at once", 1, 30});
  all.push_back({"noise_seed", &noise_seed, "seed of the generated series' noise"});
  return all;
}

std::vector<ForecastData> load_forecast_data(const ForecastSettings& settings) {
  std::vector<ForecastData> all;
  const auto wanted = [&](const char* name) { return settings.series == "all" || settings.series == name; };
  if (wanted("generated")) all.push_back(generated(settings));
  if (wanted("airline-passengers")) all.push_back(airline(settings));
  if (wanted("daily-min-temperatures")) all.push_back(temperatures(settings));
  for (const ForecastData& data : all) check(data, settings.horizon);
  return all;
}

}  // namespace gpunn::detail
