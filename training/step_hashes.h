#pragma once
// Hashes of what each training step reads and makes: hashes.jsonl of a run folder, which `gpunn verify`
// compares.
//
// The first line describes the run; every other one is a step: {"step","epoch","loss_value","batch",
// "buffers","loss","gradients","optimizer","parameters"}, the parts in the order in which they are computed,
// each an object of names and hashes of 16 hexadecimal digits. Gradients come in the reverse order of the
// parameters: that of backward, where layers follow each other. The line of the step that a run starts from
// (0) holds what there is before it.
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "gpunn/core/api.h"
#include "gpunn/io/json_value.h"
#include "gpunn/training/trainer.h"

namespace gpunn {

class AppendFile;

/// 64 bits of a tensor's dtype, shape and values (contiguous order, little-endian): the same on every device,
/// for any strides and any number of threads.
///
/// The bytes are taken as pairs of 64-bit words, zeros after the last one; with k = 0x9e3779b97f4a7c15
///   sum  = mix(dtype + 256 * rank) + the sum of fold(w[2j] + (2j + 1) k, w[2j + 1] + (2j + 2) k) over j,
///   hash = mix(sum), then mix(hash + extent) for each extent,
/// where fold(a, b) is the upper half of the product a b xor the lower one, and mix the finalizer of
/// splitmix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014). A difference is
/// missed with probability 2^-64 or so. Not for adversaries. Waits for a device. Throws InvalidArgument for
/// an undefined tensor.
GPUNN_API std::uint64_t tensor_hash(const Tensor& tensor);

/// Names of the parts, in the order of computation.
inline constexpr std::array<const char*, 6> kHashedParts{"batch",     "buffers",   "loss",
                                                         "gradients", "optimizer", "parameters"};

/// What the first line of the file says of a run.
struct StepHashRun {
  std::string recipe;
  std::uint64_t seed = 0;
  Device device = Device::cpu();
  std::int64_t every = 1;  // steps between lines
};

/// Writes the file, whole lines only. One thread.
class GPUNN_API StepHashWriter {
 public:
  /// Starts the file with the run's line and the state at step `start`; a run that `continues` keeps the
  /// lines up to there instead. `model` and `optimizer` must outlive the writer. Throws InvalidArgument for
  /// `every` below 1, DataError when the file to go on with is damaged or of another `every`, Error when the
  /// disk refuses.
  StepHashWriter(std::string path, const StepHashRun& run, Module& model, const Optimizer& optimizer,
                 std::int64_t start = 0, bool continues = false);
  ~StepHashWriter();
  StepHashWriter(StepHashWriter&&) noexcept;

  /// After a step, before its gradients are dropped: TrainerOptions::on_step.
  void record(const TrainPosition& after, const Batch& batch, const Tensor& loss);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// One line.
struct StepHashes {
  struct Entry {
    std::string name;
    std::uint64_t hash = 0;
  };
  std::int64_t step = 0;
  double loss = 0;                                              // NaN when it is not known
  std::array<std::vector<Entry>, kHashedParts.size()> parts{};  // by kHashedParts, in the file's order
};

/// Reads the file step by step. A last line without an end (a machine that went down) is skipped.
class GPUNN_API StepHashReader {
 public:
  /// Throws DataError "<path>, line <n>: …": no such file, another format or version.
  explicit StepHashReader(const std::string& path);
  /// The first line.
  const JsonValue& run() const noexcept { return *run_; }
  std::int64_t every() const noexcept { return every_; }
  /// The next step, or none at the end. Throws DataError for a damaged line and for steps that do not
  /// ascend.
  std::optional<StepHashes> next();
  /// Bytes of the file up to the end of the line that was read last.
  std::size_t offset() const noexcept { return begin_; }

 private:
  std::optional<JsonValue> next_line();

  std::string path_, text_;
  std::size_t begin_ = 0;
  std::int64_t line_ = 0, last_step_ = -1, every_ = 1;
  std::optional<JsonValue> run_;
};

}  // namespace gpunn
