#pragma once
// Data sets: a size, and batches by index.
#include <cstdint>
#include <span>

#include "gpunn/core/api.h"
#include "gpunn/core/tensor.h"

namespace gpunn {

struct Batch {
  Tensor inputs;   // [n, ...]
  Tensor targets;  // [n, ...]
  std::int64_t size() const { return inputs.size(0); }
};

/// `get` may be called from several threads at once and must depend on the indices (and the epoch) only, so
/// that the number of loader workers changes nothing.
class GPUNN_API Dataset {
 public:
  virtual ~Dataset();
  virtual std::int64_t size() const = 0;
  /// New tensors on the CPU with one row per index. Throws InvalidArgument for an index outside [0, size()).
  virtual Batch get(std::span<const std::int64_t> indices) const = 0;
  /// The same in pass `epoch` (from 0): what DataLoader calls. Sets whose rows differ from pass to pass
  /// (augmentation) override it; the default is get().
  virtual Batch get_in_epoch(std::span<const std::int64_t> indices, std::int64_t epoch) const;

 protected:
  /// The check that every get() starts with.
  void check_indices(std::span<const std::int64_t> indices) const;
};

/// Rows of two tensors of any dtype; they are held, not copied, and must not change meanwhile.
class GPUNN_API TensorDataset final : public Dataset {
 public:
  /// Throws InvalidArgument unless both are on the CPU and have the same first extent.
  TensorDataset(Tensor inputs, Tensor targets);
  std::int64_t size() const override { return inputs_.size(0); }
  Batch get(std::span<const std::int64_t> indices) const override;

 private:
  Tensor inputs_, targets_;
};

}  // namespace gpunn
