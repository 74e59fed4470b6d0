#pragma once
// Checkpoint: what a run needs to go on as if it had never stopped, in one safetensors file.
#include <string>

#include "gpunn/core/api.h"
#include "gpunn/layers/module.h"
#include "gpunn/training/optimizer.h"
#include "gpunn/training/trainer.h"

namespace gpunn {

/// Writes parameters and buffers ("model.…"), the optimizer's state ("optimizer.…"), the schedule's
/// ("schedule.…") where there is one, what else the run carries from step to step ("carried.…": a recurrent
/// state, for example), the position, and where the Runtime's generator stands, from which dropout draws.
/// Atomic. `run` names what is trained ("fashion-mlp, seed 0"); load_checkpoint() insists on it. Throws Error
/// when writing fails.
GPUNN_API void save_checkpoint(const std::string& path, const std::string& run, Module& model,
                               const Optimizer& optimizer, const TrainPosition& position,
                               const TrainSchedule& schedule = {}, const StateDict& carried = {});

/// Reads it back into `model`, `optimizer`, `schedule` and the Runtime's generator. Throws DataError naming
/// the file when it is missing, damaged, of another run or of another model, or when only one of run and file
/// has a schedule, or theirs differ in kind; nothing is changed then.
GPUNN_API TrainPosition load_checkpoint(const std::string& path, const std::string& run, Module& model,
                                        Optimizer& optimizer, const TrainSchedule& schedule = {});

/// What save_checkpoint() was given as `carried`, on the CPU; to be looked at before anything is loaded.
/// Throws DataError naming the file when it is missing, damaged or of another run.
GPUNN_API StateDict load_carried(const std::string& path, const std::string& run);

/// Loads weights of a safetensors file. Throws DataError naming the file, also for keys and shapes that do
/// not fit.
GPUNN_API void load_weights(const std::string& path, Module& model);

}  // namespace gpunn
