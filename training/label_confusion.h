#pragma once
// Predicted against true labels, of pictures or of their pixels: accuracy and intersection over union.
#include <cstdint>
#include <optional>
#include <vector>

#include "gpunn/core/api.h"
#include "gpunn/core/tensor.h"

namespace gpunn {

/// A confusion matrix that grows batch by batch. Counts are whole numbers, so that the order of batches
/// changes nothing. Not to be shared between threads.
class GPUNN_API LabelConfusion {
 public:
  /// Pixels whose true label is `ignore_index` do not count. Throws InvalidArgument unless there are 1 to
  /// 4096 classes.
  explicit LabelConfusion(std::int64_t classes, std::optional<std::int64_t> ignore_index = {});
  /// i64 of one shape, for instance [N, H, W]; on any device, read on the host. Throws InvalidArgument for
  /// other dtypes and shapes and for labels outside [0, classes); nothing is added then.
  void add(const Tensor& predicted, const Tensor& target);
  void reset();

  std::int64_t classes() const noexcept { return classes_; }
  std::int64_t total() const noexcept;
  /// [true class, predicted class], row by row: what confusion_matrix() draws.
  const std::vector<std::int64_t>& counts() const noexcept { return counts_; }
  /// Right ones / all; NaN without any.
  double accuracy() const;
  /// Both / either, by class; NaN for a class that was neither there nor predicted.
  std::vector<double> iou() const;
  /// Mean over the classes that have one; NaN without any.
  double mean_iou() const;

 private:
  std::int64_t count(std::int64_t target, std::int64_t predicted) const {
    return counts_[static_cast<std::size_t>(target * classes_ + predicted)];
  }

  std::int64_t classes_;
  std::optional<std::int64_t> ignore_index_;
  std::vector<std::int64_t> counts_;
};

}  // namespace gpunn
