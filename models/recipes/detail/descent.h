#pragma once
// Paths of optimizers down a function of a few variables.
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "gpunn/io/charts.h"
#include "gpunn/models/recipes/recipe.h"
#include "gpunn/training/optimizer.h"

namespace gpunn::detail {

/// Points from the start on; one more than steps were made.
struct DescentPath {
  std::vector<std::vector<double>> points;
  std::vector<double> losses;                // at each point but the last
  double seconds = 0, measured_seconds = 0;  // of all steps, and of those after the first 20

  std::int64_t steps() const { return static_cast<std::int64_t>(points.size()) - 1; }
  /// One coordinate of every point.
  std::vector<double> coordinate(std::size_t i) const;
};

using MakeOptimizer = std::function<std::unique_ptr<Optimizer>(std::vector<Tensor> parameters)>;

/// Makes `steps` steps from `start`, an f32 parameter on the context's device: `loss` gives a single element
/// from it, autograd its gradient, the optimizer the update. Ends early when the run is stopped.
DescentPath descend(const RecipeContext& context, const std::vector<double>& start,
                    const std::function<Tensor(const Tensor& w)>& loss, const MakeOptimizer& make,
                    std::int64_t steps);

/// The largest distance in a coordinate between two paths at the same point, over points 0 … `points` - 1
/// (all that both have when that is fewer). NaN counts as infinite.
double largest_difference(const std::vector<std::vector<double>>& a,
                          const std::vector<std::vector<double>>& b, std::size_t points);

/// A path of two variables for a contour chart.
ContourChart::Path contour_path(std::string name, const DescentPath& path);

/// What several paths took, in a recipe's result: steps, seconds, rate.
void add_work(RecipeResult& result, const std::vector<const DescentPath*>& paths);

}  // namespace gpunn::detail
