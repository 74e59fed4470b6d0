#pragma once
// What perceptron.cpp trains and perceptron_report.cpp draws.
#include <array>
#include <cstdint>
#include <vector>

#include "gpunn/core/tensor.h"
#include "gpunn/models/recipes/recipe.h"

namespace gpunn::detail {

/// S perceptrons with two inputs, side by side: each row that is learned goes to all of them.
class Perceptrons {
 public:
  /// Weights and biases from N(0, deviation²); 0: zeros. They are made on `device`.
  Perceptrons(std::int64_t count, double deviation, Device device);

  /// step(x . w + b): 1 where the sum is at least 0. x [1, 2] gives [S, 1]; with S = 1, x [N, 2] gives
  /// [N, 1].
  Tensor fire(const Tensor& x) const;
  /// Rosenblatt's rule for one row, x [1, 2] and y [1, 1]: w += lr (y - fire(x)) x, b += lr (y - fire(x)).
  /// Returns the mean squared error before it.
  Tensor learn(const Tensor& x, const Tensor& y, double lr);

  Tensor weights;  // f32 [S, 2]
  Tensor biases;   // f32 [S, 1]

 private:
  Tensor one_;  // the step's value at 0
};

/// A truth table, rows 00 01 10 11.
struct Gate {
  const char* name;
  std::array<float, 4> targets;
};

/// The shown perceptron after an epoch (0: at the start).
struct PerceptronEpoch {
  std::int64_t epoch;
  std::array<double, 3> weights;  // w1, w2, b
  std::array<float, 4> outputs;
};

struct PerceptronRun {
  const Gate* gate;
  std::vector<PerceptronEpoch> epochs{};
  std::int64_t draws = 0;               // perceptrons of the study
  std::vector<std::int64_t> learned{};  // how many have all rows right, by epoch, from 0
};

void write_perceptron_report(RecipeContext& context, const PerceptronRun& run, double draw_std,
                             const RecipeResult& result);

}  // namespace gpunn::detail
