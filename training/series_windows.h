#pragma once
// Forecasting: windows over series, scaling, simple forecasts to compare with, and errors.
#include <cstdint>
#include <span>
#include <vector>

#include "gpunn/core/api.h"
#include "gpunn/training/dataset.h"

namespace gpunn {

/// Mean and deviation of each variable, from the rows that are for training only.
struct GPUNN_API SeriesScaler {
  std::vector<double> mean, deviation;

  /// From rows [0, rows) of `values` [*, variables]; a variable that does not change gets the deviation 1.
  /// Throws InvalidArgument for sizes that do not agree, no row, or values that are not finite, with their
  /// place.
  static SeriesScaler fit(std::span<const double> values, std::int64_t variables, std::int64_t rows);
  /// (x - mean) / deviation of every value. Throws InvalidArgument for a length that is no multiple of the
  /// variables.
  std::vector<double> scaled(std::span<const double> values) const;
  /// The value of variable `variable` that is `value` when scaled.
  double restored(double value, std::int64_t variable) const;
};

struct SeriesWindowOptions {
  std::int64_t input = 1;               // rows to see
  std::int64_t horizon = 1;             // rows to forecast, those that follow
  std::int64_t stride = 1;              // rows from window to window
  std::vector<std::int64_t> targets{};  // variables to forecast; empty: all
  /// Rows to be forecast lie in [first, end); end 0: all rows. What is seen may begin before: splits by time.
  std::int64_t first = 0, end = 0;
};

/// Inputs f32 [n, input, variables], targets f32 [n, horizon, targets].
class GPUNN_API SeriesWindows final : public Dataset {
 public:
  /// `values` [rows, variables]. Throws InvalidArgument for sizes below 1 or out of range, values that are
  /// not finite (with row and variable), and when not one window fits.
  SeriesWindows(std::span<const double> values, std::int64_t variables, SeriesWindowOptions options);

  std::int64_t size() const override { return windows_; }
  Batch get(std::span<const std::int64_t> indices) const override;
  /// The first row that window `index` forecasts.
  std::int64_t target_row(std::int64_t index) const;
  const SeriesWindowOptions& options() const noexcept { return options_; }

 private:
  std::vector<float> values_;
  std::int64_t variables_, windows_ = 0, first_target_ = 0;
  SeriesWindowOptions options_;
};

/// What `rows_ahead` rows before row `row` was measured: the naive forecast. With a `period`, the value of
/// the same phase in the last period that is complete `rows_ahead` rows before: the seasonal one. Throws
/// InvalidArgument when that is before the first row, and for rows_ahead below 1 or a negative period.
GPUNN_API double naive_forecast(std::span<const double> values, std::int64_t row, std::int64_t rows_ahead = 1,
                                std::int64_t period = 0);

struct ForecastErrors {
  double mae = 0;   // mean absolute error
  double rmse = 0;  // root of the mean squared error
  double mape = 0;  // mean of |error / truth| in percent, over the rows whose truth is not 0; NaN: none
};
/// Throws InvalidArgument for unequal or no lengths. NaN in, NaN out.
GPUNN_API ForecastErrors forecast_errors(std::span<const double> truth, std::span<const double> forecast);

}  // namespace gpunn
