#pragma once
// Numbers that say how good a model is.
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "gpunn/core/api.h"
#include "gpunn/core/tensor.h"
#include "gpunn/layers/losses.h"
#include "gpunn/layers/module.h"
#include "gpunn/training/data_loader.h"

namespace gpunn {

/// Mean of values weighted by their number of samples, kept in double. Loss tensors stay on their device
/// until asked for, so that a step never waits for the host.
class GPUNN_API MeanLoss {
 public:
  MeanLoss();
  /// `loss` is the mean over `samples`, a single element.
  void add(const Tensor& loss, std::int64_t samples);
  /// Reads what is pending; NaN when nothing was added.
  double mean();
  /// The last loss that was read, NaN before; does not wait.
  double last() const noexcept { return last_; }
  std::int64_t samples() const noexcept { return samples_; }
  /// Of loss times samples; reads what is pending.
  double sum();
  void reset();
  /// Goes on from another one's sum() and samples(): the mean is that of all.
  void resume(double sum, std::int64_t samples);

 private:
  void drain();

  std::vector<std::pair<Tensor, std::int64_t>> pending_;
  double sum_ = 0;
  double last_;
  std::int64_t samples_ = 0;
};

/// Rows of `scores` [N, C] whose largest element stands at `target` i64 [N].
GPUNN_API std::int64_t count_correct(const Tensor& scores, const Tensor& target);

struct Evaluation {
  double loss = 0;
  std::optional<double> accuracy{};  // for class targets (i64 [N]), a fraction
  std::int64_t samples = 0;
};

/// Mean loss and accuracy over one pass in evaluation mode, without gradients; the model's mode is restored.
GPUNN_API Evaluation evaluate(Module& model, Loss& loss, const DataLoader& data);

}  // namespace gpunn
