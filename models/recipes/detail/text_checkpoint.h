#pragma once
// Checkpoints of character models: what a run carries from step to step besides model, optimizer and
// schedule.
#include <string>
#include <vector>

#include "gpunn/layers/recurrent.h"
#include "gpunn/models/recipes/detail/text_run.h"
#include "gpunn/models/recipes/recipe.h"
#include "gpunn/training/token_streams.h"
#include "gpunn/training/trainer.h"

namespace gpunn::detail {

/// Samples as entries of a checkpoint, "sample.STEP" in bytes, and back. Others are passed over; DataError
/// names the file `path` for samples that are damaged or whose steps do not rise.
void add_samples(StateDict& entries, const std::vector<TextSample>& samples);
std::vector<TextSample> read_samples(const std::string& path, const StateDict& entries);

/// In the file, below "carried.": "version"; the "cell"'s name in bytes; of streams "stream" (B, T, windows,
/// window) and, in the middle of an epoch, the state "h" [L, B, H] and of an LSTM "c"; "losses" [steps] in
/// f64; a text "sample.STEP" in bytes for each sample.
struct TextCarried {
  RecurrentState state{};             // after the last window; undefined where an epoch begins
  std::vector<TextSample> samples{};  // in the order of steps
  std::vector<double> losses{};       // of every step, where a recipe judges by them
};

/// What a checkpoint is of. All must outlive it.
struct TextCheckpointParts {
  CharRnn& model;
  Optimizer& optimizer;
  const TrainSchedule& schedule;
  const TokenStreams* streams = nullptr;  // null: no state is carried from step to step
};

class TextCheckpoint {
 public:
  TextCheckpoint(RecipeContext& context, const TextCheckpointParts& parts)
      : context_(context), parts_(parts) {}

  /// Reads the run folder's checkpoint into the parts and `carried`, on the run's device, and says where to
  /// go on. Throws DataError naming the file when it is missing, damaged, of another version, or of a run of
  /// other sizes, streams or windows; nothing is changed then.
  TrainPosition load(TextCarried& carried) const;
  /// Writes it. `at` is where the step after which `carried` stands has led.
  void save(const TextCarried& carried, const TrainPosition& at) const;

 private:
  std::string run_name() const;
  RecipeContext& context_;
  TextCheckpointParts parts_;
};

}  // namespace gpunn::detail
