#pragma once
// Schedules of recipes, made from their settings.
#include <cstdint>

#include "gpunn/models/recipes/recipe.h"
#include "gpunn/training/optimizer.h"
#include "gpunn/training/trainer.h"

namespace gpunn::detail {

/// How long a run is.
struct RunLength {
  std::int64_t epochs = 1;
  std::int64_t steps_per_epoch = 1;
  std::int64_t max_steps = 0;  // 0: no limit
};

/// The schedule that `settings` ask for, empty for none; it begins with the optimizer's rates. All but the
/// plateau count steps: settings in epochs are multiplied, and the end of a curve is the end of the run. With
/// a warm-up of W steps, step k < W has (k + 1) / (W + 1) of the rate and the curve follows; milestones stay
/// where they are. A resumed run needs the settings, and the length, that it began with. Throws
/// InvalidArgument naming the flag.
TrainSchedule make_schedule(const ScheduleSettings& settings, Optimizer& optimizer, const RunLength& length);

}  // namespace gpunn::detail
