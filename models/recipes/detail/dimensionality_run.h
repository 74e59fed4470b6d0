#pragma once
// What dimensionality.cpp measures and dimensionality_report.cpp draws.
#include <cstdint>
#include <vector>

#include "gpunn/models/recipes/recipe.h"

namespace gpunn::detail {

/// Distances of pairs of points drawn uniformly from the unit cube, for each number of dimensions from 1 on.
struct DistanceStudy {
  std::int64_t pairs = 0;
  std::vector<double> mean{}, rms{};  // of dimension d at d - 1

  /// sqrt(d / 6), the root mean square that theory gives.
  static double theory(std::size_t d);
  /// The mean relative to theory(d), less 1.
  double difference(std::size_t d) const { return mean[d - 1] / theory(d) - 1; }
  double rms_difference(std::size_t d) const { return rms[d - 1] / theory(d) - 1; }
  /// Standard deviation relative to the mean.
  double spread(std::size_t d) const;
  /// First term of the mean's own distance from sqrt(d/6), relative: -7 / (40 d).
  static double correction(std::size_t d) { return -0.175 / static_cast<double>(d); }
  /// One standard error of the measured root mean square, relative, from theory; the mean's is no larger by
  /// more than a tenth from d = 4 on.
  double rms_error(std::size_t d) const;
  /// From here on correction and four standard errors together stay within `bound`; 0 when nowhere.
  std::size_t checked_from(double bound) const;
  /// From here on every measured mean is within `bound`; 0 when nowhere.
  std::size_t holds_from(double bound) const;
  /// The mean holds wherever it is checked, and the root mean square for every d within four errors.
  bool agrees(double bound) const;
};

/// Training of one network on pictures of side x side.
struct SizeRun {
  std::int64_t side = 0, parameters = 0, steps = 0;
  double step_seconds = 0;  // in the fastest epoch
  double seconds = 0, train_loss = 0;
};

inline constexpr double kDistanceBound = 0.02;

void write_dimensionality_report(RecipeContext& context, const DistanceStudy& study,
                                 const std::vector<SizeRun>& sizes, const RecipeResult& result);

}  // namespace gpunn::detail
