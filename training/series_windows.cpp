#include "gpunn/training/series_windows.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace gpunn {
namespace {

void check_table(std::size_t values, std::int64_t variables) {
  GPUNN_CHECK(variables >= 1 && values % static_cast<std::size_t>(variables) == 0,
              "expected values [rows, variables] with at least one variable, got ", values, " values and ",
              variables, " variables");
}

void check_finite(double value, std::int64_t index, std::int64_t variables) {
  GPUNN_CHECK(std::isfinite(value), "expected finite values, got ", value, " in row ", index / variables,
              ", variable ", index % variables);
}

}  // namespace

SeriesScaler SeriesScaler::fit(std::span<const double> values, std::int64_t variables, std::int64_t rows) {
  check_table(values.size(), variables);
  GPUNN_CHECK(rows >= 1 && rows <= static_cast<std::int64_t>(values.size()) / variables,
              "expected rows to fit within [1, ", static_cast<std::int64_t>(values.size()) / variables,
              "], got ", rows);
  SeriesScaler scaler;
  for (std::int64_t v = 0; v < variables; ++v) {
    double sum = 0, squares = 0;
    const auto at = [&](std::int64_t row) { return values[static_cast<std::size_t>(row * variables + v)]; };
    for (std::int64_t row = 0; row < rows; ++row) {
      check_finite(at(row), row * variables + v, variables);
      sum += at(row);
    }
    // The mean first: a sum of squares less the squared mean loses everything where the mean is large.
    const double mean = sum / static_cast<double>(rows);
    for (std::int64_t row = 0; row < rows; ++row) squares += (at(row) - mean) * (at(row) - mean);
    const double deviation = std::sqrt(squares / static_cast<double>(rows));
    scaler.mean.push_back(mean);
    scaler.deviation.push_back(deviation > 0 ? deviation : 1);
  }
  return scaler;
}

std::vector<double> SeriesScaler::scaled(std::span<const double> values) const {
  check_table(values.size(), static_cast<std::int64_t>(mean.size()));
  std::vector<double> out(values.begin(), values.end());
  for (std::size_t i = 0; i < out.size(); ++i)
    out[i] = (out[i] - mean[i % mean.size()]) / deviation[i % mean.size()];
  return out;
}

double SeriesScaler::restored(double value, std::int64_t variable) const {
  GPUNN_CHECK(variable >= 0 && variable < static_cast<std::int64_t>(mean.size()),
              "expected a variable in [0, ", mean.size(), "), got ", variable);
  const auto v = static_cast<std::size_t>(variable);
  return value * deviation[v] + mean[v];
}

SeriesWindows::SeriesWindows(std::span<const double> values, std::int64_t variables,
                             SeriesWindowOptions options)
    : variables_(variables), options_(std::move(options)) {
  check_table(values.size(), variables);
  GPUNN_CHECK(options_.input >= 1 && options_.horizon >= 1 && options_.stride >= 1,
              "expected input, horizon and stride of at least 1, got ", options_.input, ", ",
              options_.horizon, " and ", options_.stride);
  for (const std::int64_t v : options_.targets)
    GPUNN_CHECK(v >= 0 && v < variables, "expected variables to forecast in [0, ", variables, "), got ", v);
  if (options_.targets.empty())
    for (std::int64_t v = 0; v < variables; ++v) options_.targets.push_back(v);
  const std::int64_t rows = static_cast<std::int64_t>(values.size()) / variables;
  if (options_.end == 0) options_.end = rows;
  GPUNN_CHECK(options_.first >= 0 && options_.first < options_.end && options_.end <= rows,
              "expected rows to forecast within [0, ", rows, "), got [", options_.first, ", ", options_.end,
              ")");
  // The first window that may be forecast has all of its input within the series.
  first_target_ = std::max(options_.first, options_.input);
  // Differences, not sums: a horizon near the largest integer must not overflow.
  const std::int64_t room = options_.end - first_target_ - options_.horizon;
  GPUNN_CHECK(room >= 0, "expected rows for one window of ", options_.input, " and ", options_.horizon,
              " to forecast within [", options_.first, ", ", options_.end, "), got none");
  windows_ = room / options_.stride + 1;
  values_.reserve(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    check_finite(values[i], static_cast<std::int64_t>(i), variables);
    values_.push_back(static_cast<float>(values[i]));
  }
}

std::int64_t SeriesWindows::target_row(std::int64_t index) const {
  GPUNN_CHECK(index >= 0 && index < windows_, "expected a window in [0, ", windows_, "), got ", index);
  return first_target_ + index * options_.stride;
}

Batch SeriesWindows::get(std::span<const std::int64_t> indices) const {
  check_indices(indices);
  const auto n = static_cast<std::int64_t>(indices.size()),
             targets = static_cast<std::int64_t>(options_.targets.size());
  Batch batch{empty({n, options_.input, variables_}, {.device = Device::cpu()}),
              empty({n, options_.horizon, targets}, {.device = Device::cpu()})};
  auto *x = batch.inputs.host<float>(), *y = batch.targets.host<float>();
  for (const std::int64_t index : indices) {
    const std::int64_t row = target_row(index);
    const float* from = values_.data() + (row - options_.input) * variables_;
    x = std::copy(from, from + options_.input * variables_, x);
    for (std::int64_t t = 0; t < options_.horizon; ++t)
      for (const std::int64_t v : options_.targets)
        *y++ = values_[static_cast<std::size_t>((row + t) * variables_ + v)];
  }
  return batch;
}

double naive_forecast(std::span<const double> values, std::int64_t row, std::int64_t rows_ahead,
                      std::int64_t period) {
  GPUNN_CHECK(rows_ahead >= 1 && period >= 0,
              "expected rows_ahead of at least 1 and a period of at least 0, got ", rows_ahead, " and ",
              period);
  // Whole periods back, as many as it takes to be known already.
  const std::int64_t back = period == 0 ? rows_ahead : (rows_ahead + period - 1) / period * period;
  GPUNN_CHECK(row >= back && row - back < static_cast<std::int64_t>(values.size()), "expected a row in [",
              back, ", ", static_cast<std::int64_t>(values.size()) + back, ") for a forecast ", back,
              " rows ahead, got ", row);
  return values[static_cast<std::size_t>(row - back)];
}

ForecastErrors forecast_errors(std::span<const double> truth, std::span<const double> forecast) {
  GPUNN_CHECK(!truth.empty() && truth.size() == forecast.size(),
              "expected as many forecasts as true values and at least one, got ", forecast.size(), " and ",
              truth.size());
  double absolute = 0, squares = 0, relative = 0;
  std::size_t counted = 0;
  for (std::size_t i = 0; i < truth.size(); ++i) {
    const double error = forecast[i] - truth[i];
    absolute += std::abs(error);
    squares += error * error;
    if (truth[i] == 0) continue;  // no percentage of nothing
    relative += std::abs(error / truth[i]);
    ++counted;
  }
  const auto n = static_cast<double>(truth.size());
  return {
      absolute / n, std::sqrt(squares / n),
      counted > 0 ? 100 * relative / static_cast<double>(counted) : std::numeric_limits<double>::quiet_NaN()};
}

}  // namespace gpunn
