#include "gpunn/models/forecasters.h"

#include <array>

#include "gpunn/layers/functional.h"

namespace gpunn {

namespace {

Tensor last_step(const Tensor& y) { return y.select(1, y.size(1) - 1); }

}  // namespace

Forecaster::Forecaster(const ForecasterOptions& options)
    : out(options.hidden, options.horizon), options_(options) {
  GPUNN_CHECK(options.variables >= 1, "expected at least one variable, got ", options.variables);
}

Tensor Forecaster::forward(const Tensor& x) {
  GPUNN_CHECK(x.dim() == 3 && x.size(1) >= least_steps() && x.size(2) == options_.variables,
              "expected windows [N, T, ", options_.variables, "] with T of at least ", least_steps(),
              ", got ", x.shape());
  const Tensor value = x.narrow(2, 0, 1), base = mean(value, {1}, true);  // [N, T, 1], [N, 1, 1]
  Tensor seen = value - base;
  if (options_.variables > 1) {
    const std::array parts{seen, x.narrow(2, 1, options_.variables - 1)};
    seen = cat(parts, 2);
  }
  return out(features(seen)).unsqueeze(2) + base;
}

LstmForecaster::LstmForecaster(const ForecasterOptions& options)
    : Forecaster(options), recurrent(options.variables, options.hidden, {.batch_first = true}) {}

Tensor LstmForecaster::features(const Tensor& x) { return last_step(recurrent(x)); }

GruForecaster::GruForecaster(const ForecasterOptions& options)
    : Forecaster(options), recurrent(options.variables, options.hidden, {.batch_first = true}) {}

Tensor GruForecaster::features(const Tensor& x) { return last_step(recurrent(x)); }

TemporalConvolution::TemporalConvolution(const ForecasterOptions& options)
    : Forecaster(options),
      first(options.variables, options.hidden, 3),
      second(options.hidden, options.hidden, 3, {.dilation = 2}),
      third(options.hidden, options.hidden, 3, {.dilation = 4}) {}

Tensor TemporalConvolution::features(const Tensor& x) {
  const Tensor y = relu(third(relu(second(relu(first(x.transpose(1, 2).contiguous()))))));
  return y.select(2, y.size(2) - 1);
}

std::unique_ptr<Forecaster> make_forecaster(const std::string& kind, const ForecasterOptions& options) {
  if (kind == "lstm") return std::make_unique<LstmForecaster>(options);
  if (kind == "gru") return std::make_unique<GruForecaster>(options);
  GPUNN_CHECK(kind == "tcn", "expected a forecaster lstm, gru or tcn, got ", kind);
  return std::make_unique<TemporalConvolution>(options);
}

}  // namespace gpunn
