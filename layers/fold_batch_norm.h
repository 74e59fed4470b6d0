#pragma once
// Batch norm as a part of the convolution before it: while the running statistics are constants, both
// together are one convolution, w' = w s and b' = (b - mean) s + beta with s = gamma / sqrt(var + eps).
#include <cstdint>

#include "gpunn/layers/conv.h"
#include "gpunn/layers/norm.h"

namespace gpunn {

/// Base of modules that know which of their convolutions a batch norm follows directly.
class GPUNN_API FoldsBatchNorm {
 public:
  /// Folds the pairs among the direct members and returns their number.
  virtual std::int64_t fold_own_batch_norms() = 0;

 protected:
  FoldsBatchNorm() = default;
  FoldsBatchNorm(const FoldsBatchNorm&) = default;
  FoldsBatchNorm& operator=(const FoldsBatchNorm&) = default;
  virtual ~FoldsBatchNorm();
};

/// Makes `conv` compute what norm(conv(x)) did in evaluation mode, but for rounding. `conv` gets a bias if it
/// had none; `norm` hands its input on from now on and has no state left, so the pair cannot be trained as
/// before. Throws InvalidArgument for a norm in training mode, without running statistics, of another number
/// of channels, or folded before.
GPUNN_API void fold_batch_norm(Conv2d& conv, BatchNorm2d& norm);

/// The same, but leaves a norm alone that was folded before; returns the number of pairs folded, 0 or 1.
GPUNN_API std::int64_t fold_pair(Conv2d& conv, BatchNorm2d& norm);

/// Folds every pair in `model`: Conv2d followed by BatchNorm2d in a Sequential, and the pairs of modules that
/// are FoldsBatchNorm (the residual blocks and nets of this library). Returns how many. Throws
/// InvalidArgument as above; what was folded before that stays folded.
GPUNN_API std::int64_t fold_batch_norm(Module& model);

}  // namespace gpunn
