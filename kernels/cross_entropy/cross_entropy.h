#pragma once
// Fused softmax cross-entropy: logits and class numbers in, loss out; probabilities are never stored.
//
//   loss_n = ln sum_c exp(x_nc - m_n) - (x_nt - m_n)      t = target[n], m_n = max_c x_nc
//   none: loss_n, 0 where ignored;   sum: their sum;   mean: sum / number of rows not ignored
//
// Shapes: logits [N, C], C >= 1; target i64 [N]; the result is [N] for none, a scalar otherwise.
// dtypes of logits: f32, f16, bf16 (computed in f32), f64 on the CPU; the loss is f32 (f64 for f64 logits).
// Special values as in PyTorch: the mean over no row is NaN, the sum 0; a target with logit -inf gives inf;
// rows with NaN, +inf, or -inf only give NaN. Finite logits never give NaN. An ignored row adds nothing,
// whatever its logits.
//
// Backward keeps logits, targets, and maximum and sum of each row:
//   dx_nc = (exp(x_nc - m_n) / s_n - [c = t]) * dloss_n    (dloss / count for mean), 0 in ignored rows
// Second derivatives: all of them, by a composed definition (one-hot targets and softmax).
// Determinism: bitwise; rows are added in an order that depends on N only.
//
// Targets: each must be in [0, C) or equal ignore_index. On the CPU that is always checked; on a GPU a small
// kernel looks for the first bad row and the call waits for its answer, so that the error is raised here and
// now, the same each time. A caller who knows the labels to be good (a data set that has checked them) turns
// the waiting off with `check_targets = false`; an unchecked bad label then makes its row's loss and gradient
// NaN, and reads nothing out of bounds.
// Errors: InvalidArgument for shapes, dtypes and devices that do not fit, and for a bad target (naming row,
// label and C).

#include <cstdint>

#include "gpunn/core/api.h"
#include "gpunn/core/tensor.h"
#include "gpunn/kernels/common/reduction.h"

namespace gpunn {

struct CrossEntropyOptions {
  Reduction reduction = Reduction::mean;
  std::int64_t ignore_index = -100;  // rows with this target count for nothing
  bool check_targets = true;         // on a GPU; see above
};

/// Loss of `logits` [N, C] against class numbers `target` [N].
GPUNN_API Tensor cross_entropy(const Tensor& logits, const Tensor& target,
                               const CrossEntropyOptions& options = {});

}  // namespace gpunn
