#pragma once
// Fused softmax cross-entropy (logits and targets in, loss out; probabilities are never stored), and the
// negative log likelihood of log-probabilities.
//
//   cross_entropy  loss_n = sum_c q_nc (ln sum_k exp(x_nk - m_n) - (x_nc - m_n)),   m_n = max_c x_nc
//                  q_nc = w_c ((1 - s) y_nc + s / C),  y the target's probabilities (one-hot for a class t),
//                  w class weights, s the label smoothing; plain: loss_n = ln sum_k exp(x_nk) - x_nt
//   nll_loss       loss_n = -w_t x_nt
//   none: loss_n, 0 where ignored;   sum: their sum
//   mean: sum / sum of w_t over rows not ignored; with probabilities as targets: sum / number of rows
//
// Shapes: logits [N, C], C >= 1, with target i64 [N] (classes) or of the logits' dtype, [N, C]
// (probabilities, cross_entropy only); or [N, C, d1, ...] with [N, d1, ...], and [C] with a scalar. The
// result has the classes' shape for none and is a scalar otherwise. cross_entropy reads [N, C, d1, ...]
// through a transposed copy.
// dtypes of logits: f32, f16, bf16 (computed in f32), f64 on the CPU; the loss is f32 (f64 for f64). Weights
// may be of any floating dtype and are constants: no gradient.
// Special values as in PyTorch: the mean over no row is NaN, the sum 0; a target with logit -inf gives inf;
// rows with NaN, +inf, or -inf only give NaN. Finite logits never give NaN. An ignored row adds nothing,
// whatever its logits. Unlike in PyTorch, a class that weighs 0 adds nothing even where its logit is -inf.
//
// Backward of cross_entropy keeps logits, targets, and maximum m, sum s and S_n = sum_c q_nc of each row:
//   dx_nc = (S_n exp(x_nc - m_n) / s_n - q_nc) * dloss_n      (dloss / count for mean), 0 in ignored rows
//   dy_nc = (1 - smoothing) w_c (m_n + ln s_n - x_nc) * dloss_n
// Second derivatives: all of them, by a composed definition (constants for classes, and softmax).
// Determinism: bitwise; rows are added in an order that depends on N only, parts of long rows likewise.
//
// Targets: each class must be in [0, C) or equal ignore_index. On the CPU that is always checked; on a GPU a
// small kernel looks for the first bad row and the call waits for its answer, so that the error is raised
// here and now, the same each time. A caller who knows the labels to be good (a data set that has checked
// them) turns the waiting off with `check_targets = false`; an unchecked bad label then makes its row's loss
// and gradient NaN, and reads nothing out of bounds.
// Errors: InvalidArgument for shapes, dtypes and devices that do not fit, for smoothing outside [0, 1], and
// for a bad target (naming row, label and C).
//
// Source of label smoothing: Szegedy et al., "Rethinking the Inception Architecture" (2016).

#include <cstdint>

#include "gpunn/core/api.h"
#include "gpunn/core/tensor.h"
#include "gpunn/kernels/common/reduction.h"

namespace gpunn {

struct CrossEntropyOptions {
  Reduction reduction = Reduction::mean;
  std::int64_t ignore_index = -100;  // rows with this target count for nothing; not for probabilities
  bool check_targets = true;         // on a GPU; see above
  Tensor weight{};                   // [C]; undefined: ones
  double label_smoothing = 0;        // in [0, 1]
};

/// Loss of logits [N, C, ...] against classes i64 [N, ...] or probabilities [N, C, ...].
GPUNN_API Tensor cross_entropy(const Tensor& logits, const Tensor& target,
                               const CrossEntropyOptions& options = {});

struct NllLossOptions {
  Reduction reduction = Reduction::mean;
  std::int64_t ignore_index = -100;
  bool check_targets = true;
  Tensor weight{};  // [C]; undefined: ones
};

/// Loss of log-probabilities [N, C, ...] (log_softmax) against classes i64 [N, ...].
GPUNN_API Tensor nll_loss(const Tensor& log_probabilities, const Tensor& target,
                          const NllLossOptions& options = {});

}  // namespace gpunn
