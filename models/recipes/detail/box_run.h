#pragma once
// What box_approximation.cpp measures and box_report.cpp draws.
#include <array>
#include <cstdint>
#include <vector>

#include "gpunn/layers/linear.h"
#include "gpunn/layers/module.h"
#include "gpunn/models/recipes/recipe.h"

namespace gpunn::detail {

inline constexpr std::size_t kBoxFunctions = 3;

/// A function to approximate: of one variable, and of two.
struct BoxFunction {
  const char* key;
  const char* title;
  const char* title_2d;
  double (*f)(double x);
  double (*f_2d)(double x, double y);
};
extern const std::array<BoxFunction, kBoxFunctions> kBoxTargets;

/// Boxes that tile [-B, B) in N parts, from pairs of step neurons: box i = step(x - a_i) - step(x - a_i+1),
/// with step(0) = 1, so that no point is in two boxes or in none.
struct BoxLayer : Module {
  Linear steps;  // 1 to 2 N: the left and then the right edges
  std::int64_t count;
  BoxLayer(std::int64_t boxes, double half_width);
  GPUNN_MEMBERS(steps)
  Tensor forward(const Tensor& x) override;  // [M, 1] to [M, N]
};

/// The three functions as heights of boxes: [M, 1] to [M, 3].
struct BoxNet : Module {
  BoxLayer boxes;
  Linear heights;
  BoxNet(std::int64_t count, double half_width);
  GPUNN_MEMBERS(boxes, heights)
  Tensor forward(const Tensor& x) override { return heights(boxes(x)); }
};

/// The same of two variables with N² boxes: a second layer of step neurons fires where a box of each axis
/// does. [M, 2] to [M, 3].
struct BoxNet2d : Module {
  BoxLayer boxes;  // the same along both axes
  Linear heights;
  BoxNet2d(std::int64_t count, double half_width);
  GPUNN_MEMBERS(boxes, heights)
  Tensor forward(const Tensor& x) override;
};

/// Largest errors with N boxes an axis.
struct BoxError {
  std::int64_t boxes;
  std::array<double, kBoxFunctions> largest{};
};

struct BoxRun {
  double half_width = 0;
  std::int64_t mismatches = 0;  // points at which the single box was not exactly 0 or 1 as it must be
  std::int64_t checked = 0;
  std::vector<BoxError> line{}, plane{};
  std::array<double, kBoxFunctions> line_slope{}, plane_slope{};  // of ln error over ln N
};

void write_box_report(RecipeContext& context, const BoxRun& run, const RecipeResult& result);

/// Values of a net at rows of `points` [M, ...], a few rows at a time: [M * 3].
std::vector<float> box_values(Module& net, const Tensor& points);

/// step(x) + step(delta - x) - 1 with step(0) = 0: 1 on (0, delta) and 0 elsewhere. x [M] gives [M].
Tensor single_box(const Tensor& x, double delta);

}  // namespace gpunn::detail
