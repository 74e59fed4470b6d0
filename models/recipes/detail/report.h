#pragma once
// The report of a classifier's run.
#include "gpunn/models/recipes/detail/classifier.h"
#include "gpunn/training/trainer.h"

namespace gpunn::detail {

/// Writes report.html into the run folder: figures, loss curves, test pictures with class probabilities,
/// settings, environment.
void write_classifier_report(RecipeContext& context, const ClassifierRun& run, const TrainResult& trained,
                             const RecipeResult& result);

}  // namespace gpunn::detail
