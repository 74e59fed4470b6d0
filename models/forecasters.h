#pragma once
// Models that forecast a series from a window of it: recurrent ones and a temporal convolution.
//
// All see variable 0 of the window relative to its mean over the window, and forecast relative to that mean:
// a series that grows beyond what was seen in training stays within reach. The other variables are taken as
// they are.
#include <cstdint>
#include <memory>
#include <string>

#include "gpunn/layers/conv.h"
#include "gpunn/layers/linear.h"
#include "gpunn/layers/recurrent.h"

namespace gpunn {

struct ForecasterOptions {
  std::int64_t variables = 1;
  std::int64_t hidden = 32;
  std::int64_t horizon = 1;  // rows to forecast
};

/// Windows [N, T, variables] to the next values of variable 0, [N, horizon, 1]. Throws InvalidArgument for
/// other shapes.
class GPUNN_API Forecaster : public Module {
 public:
  explicit Forecaster(const ForecasterOptions& options);
  Tensor forward(const Tensor& x) override;
  /// Steps that it needs to see.
  virtual std::int64_t least_steps() const { return 1; }

  Linear out;  // [horizon, hidden]

 protected:
  /// Features of the window's last step: [N, T, variables] to [N, hidden].
  virtual Tensor features(const Tensor& x) = 0;
  ForecasterOptions options_;
};

class GPUNN_API LstmForecaster final : public Forecaster {
 public:
  explicit LstmForecaster(const ForecasterOptions& options);
  LSTM recurrent;
  GPUNN_MEMBERS(recurrent, out)

 protected:
  Tensor features(const Tensor& x) override;
};

class GPUNN_API GruForecaster final : public Forecaster {
 public:
  explicit GruForecaster(const ForecasterOptions& options);
  GRU recurrent;
  GPUNN_MEMBERS(recurrent, out)

 protected:
  Tensor features(const Tensor& x) override;
};

/// Three convolutions over time with kernels of 3 and dilations 1, 2, 4, ReLU after each, without padding:
/// what the last step of the causal convolution of the same name sees, 15 steps. Bai, Kolter and Koltun, "An
/// empirical evaluation of generic convolutional and recurrent networks for sequence modeling" (2018).
class GPUNN_API TemporalConvolution final : public Forecaster {
 public:
  explicit TemporalConvolution(const ForecasterOptions& options);
  std::int64_t least_steps() const override { return 15; }
  Conv1d first, second, third;
  GPUNN_MEMBERS(first, second, third, out)

 protected:
  Tensor features(const Tensor& x) override;
};

/// "lstm", "gru" or "tcn". Throws InvalidArgument for another name.
GPUNN_API std::unique_ptr<Forecaster> make_forecaster(const std::string& kind,
                                                      const ForecasterOptions& options);

}  // namespace gpunn
