#pragma once
// Training on batches for recipes whose loss is their own: what BatchSettings ask for, and the run's records.
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "gpunn/layers/module.h"
#include "gpunn/models/recipes/recipe.h"
#include "gpunn/training/dataset.h"
#include "gpunn/training/trainer.h"

namespace gpunn::detail {

struct BatchRun {
  Module& model;
  std::shared_ptr<const Dataset> data;
  /// Of a batch on the run's device, the forward pass included.
  std::function<Tensor(const Batch&)> loss;
  std::function<Evaluation()> test{};  // after each epoch of evaluate_every
  std::int64_t epochs = 0;             // 0: as the settings say
  std::int64_t batch_size = 0;         // likewise
  std::int64_t evaluate_every = 1;
  double clip = 0;          // largest norm of the gradients together; 0: none
  bool quiet = false;       // no line for each epoch
  bool shuffle = true;      // not for data that order their rows themselves
  bool use_weights = true;  // start from the settings' weights; not for a model they are not of
  /// File of the run folder that is written with every evaluation and at the end; empty: none.
  std::string checkpoint{};
  bool resume = false;                                // goes on from it
  std::function<void(std::int64_t steps)> on_step{};  // after each, with the steps so far
  /// What the run carries beside its history: into each checkpoint, and back, named after its file, before
  /// the first step of a resumed run. Both or none.
  std::function<StateDict()> carry{};
  std::function<void(const std::string& path, const StateDict& entries)> restore{};
};

/// Trains with the optimizer and the schedule of the context's settings, which are BatchSettings, from their
/// weights where they name a file. Every epoch's record is appended to the metrics. With `resume` the result
/// is that of a run that was never stopped, its history too, but for the seconds; DataError names a
/// checkpoint that is missing, damaged, or of another run.
TrainResult train_batches(RecipeContext& context, const BatchRun& run);

/// What a run of one model has in common: counts, rate, losses; the weights are written and hashed.
RecipeResult batch_result(RecipeContext& context, const TrainResult& trained, Module& model);

}  // namespace gpunn::detail
