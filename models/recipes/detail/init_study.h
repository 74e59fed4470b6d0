#pragma once
// What init_study.cpp measures and init_study_report.cpp draws.
#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "gpunn/core/tensor.h"
#include "gpunn/io/charts.h"
#include "gpunn/models/recipes/recipe.h"

namespace gpunn::detail {

/// A rule for initial weights.
struct InitScheme {
  const char* key;
  const char* title;
  double (*deviation)(double in, double out);  // of the weights, as the rule states it
  void (*fill)(const Tensor& w);               // what the library does for it
};
std::span<const InitScheme> init_schemes() noexcept;

/// Units before the first layer of the stack, then of each layer.
inline constexpr std::int64_t kStackWidths[] = {128, 64, 128, 64, 128, 64, 128, 64, 128, 64, 128};
inline constexpr std::size_t kStackLayers = std::size(kStackWidths) - 1;
inline constexpr std::int64_t kLayerIn = 784, kLayerOut = 128;

/// Root of a mean square, from means over groups of networks: its value and, from how the groups differ, the
/// relative standard error.
class RootMean {
 public:
  void add(double mean_square) {
    ++count_;
    const double change = mean_square - mean_;
    mean_ += change / static_cast<double>(count_);
    spread_ += change * (mean_square - mean_);
  }
  double value() const { return std::sqrt(mean_); }
  double relative_error() const {
    if (count_ < 2 || mean_ <= 0) return 0;
    const auto n = static_cast<double>(count_);
    return 0.5 * std::sqrt(spread_ / (n - 1) / n) / mean_;
  }

 private:
  std::int64_t count_ = 0;
  double mean_ = 0, spread_ = 0;
};

/// A standard deviation and what theory says it is.
struct Deviation {
  double measured = 0, expected = 0;
  /// Infinite where something is expected to be 0 and is not.
  double relative() const {
    if (expected == 0) return measured == 0 ? 0 : HUGE_VAL;
    const double r = std::abs(measured / expected - 1);
    return std::isfinite(r) ? r : HUGE_VAL;
  }
};

/// How often values fell into equal bins of [-limit, limit].
class Histogram {
 public:
  Histogram() = default;
  explicit Histogram(double limit) : limit_(limit), counts_(kBins) {}
  void add(const Tensor& values);
  /// The density as steps.
  ChartSeries series(std::string name) const;

 private:
  static constexpr std::size_t kBins = 80;
  double limit_ = 1, total_ = 0;
  std::vector<double> counts_{};
};

/// A stack of layers, with ReLU between them or without: pre-activations z and gradients with respect to
/// them, by layer (of z: 1 to 10, of gradients: those of the input and of z 1 to 9).
struct StackResult {
  std::vector<Deviation> activations, gradients;
  std::vector<Histogram> activation_histograms, gradient_histograms;
  double standard_error = 0;  // the largest relative one of them
};

/// One layer of 784 x 128 on standard normal inputs and output gradients.
struct LayerResult {
  Deviation weight, forward, forward_relu, backward, backward_relu;
  Histogram weights;
};

struct SchemeResult {
  const InitScheme* scheme;
  LayerResult layer;
  StackResult linear, relu;
};

/// The largest relative deviation of one layer and of both stacks.
double worst_of_layer(const LayerResult& layer);
double worst_of_stack(const StackResult& stack);

/// Standard deviations that theory gives for the stack: pre-activations of layers 1 to 10, and gradients of
/// the input and of layers 1 to 9.
std::vector<double> expected_activations(const InitScheme& scheme, bool relu);
std::vector<double> expected_gradients(const InitScheme& scheme, bool relu);

void write_init_report(RecipeContext& context, const std::vector<SchemeResult>& all,
                       const RecipeResult& result);

}  // namespace gpunn::detail
