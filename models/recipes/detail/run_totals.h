#pragma once
// Totals of a recipe that trains several models one after the other.
#include "gpunn/models/recipes/recipe.h"
#include "gpunn/training/trainer.h"

namespace gpunn::detail {

class RunTotals {
 public:
  void add(const TrainResult& run) {
    epochs_ = run.epochs;
    steps_ += run.steps;
    seconds_ += run.seconds;
    stopped_ = stopped_ || run.stopped;
    if (run.steps_per_second <= 0) return;  // too short to have a rate
    timed_steps_ += static_cast<double>(run.steps);
    step_seconds_ += static_cast<double>(run.steps) / run.steps_per_second;
  }
  /// Fills epochs (of the last run), steps, seconds, the common rate and whether a run was stopped.
  void write(RecipeResult& result) const {
    result.epochs = epochs_;
    result.steps = steps_;
    result.seconds = seconds_;
    result.stopped = stopped_;
    result.steps_per_second = step_seconds_ > 0 ? timed_steps_ / step_seconds_ : 0;
  }

 private:
  std::int64_t epochs_ = 0, steps_ = 0;
  double seconds_ = 0, timed_steps_ = 0, step_seconds_ = 0;
  bool stopped_ = false;
};

}  // namespace gpunn::detail
