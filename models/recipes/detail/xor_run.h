#pragma once
// What xor.cpp measures and xor_report.cpp draws.
#include <cstdint>
#include <string>
#include <vector>

#include "gpunn/layers/functional.h"
#include "gpunn/layers/linear.h"
#include "gpunn/layers/module.h"
#include "gpunn/models/recipes/recipe.h"

namespace gpunn::detail {

/// 2-H-1 with sigmoid (or ReLU) hidden neurons; forward gives the logit, probability() its sigmoid.
struct XorNet : Module {
  Linear hidden, out;
  bool rectified;
  XorNet(std::int64_t neurons, bool with_relu) : hidden(2, neurons), out(neurons, 1), rectified(with_relu) {}
  GPUNN_MEMBERS(hidden, out)

  Tensor features(const Tensor& x) { return rectified ? relu(hidden(x)) : sigmoid(hidden(x)); }
  Tensor forward(const Tensor& x) override { return out(features(x)); }
  Tensor probability(const Tensor& x) { return sigmoid((*this)(x)); }
};

enum class XorInit : std::uint8_t { uniform, small, xavier, he };

/// A network with its training settings.
struct XorSystem {
  const char* key;  // "a"
  const char* title;
  std::int64_t neurons;
  XorInit init;
  bool rectified;
  bool cross_entropy;  // the output's gradient is p - y; else half the sum of squares
  double lr;
};

/// Probabilities of the four rows before the step of an epoch.
struct XorSnapshot {
  std::int64_t epoch;
  std::vector<float> outputs;
};

struct XorRun {
  XorNet net;
  std::uint64_t seed = 0;
  double mse = 0;  // mean of (y - p)^2 over the four rows, at the end
  bool success = false;
  std::int64_t steps = 0;
  double step_seconds = 0, seconds = 0;
  std::vector<XorSnapshot> snapshots{};
  std::vector<double> curve_epochs{}, curve{};  // training loss
};

/// All seeds of one system; `shown` is the run that is drawn.
struct XorSummary {
  const XorSystem* system;
  std::int64_t runs = 0, successes = 0;
  double mean_mse = 0, worst_mse = 0, best_mse = 0;
  std::vector<XorRun> shown{};  // one, or none when nothing was run
};

void write_xor_report(RecipeContext& context, std::vector<XorSummary>& systems,
                      const std::vector<XorSummary>& study, const RecipeResult& result);

}  // namespace gpunn::detail
