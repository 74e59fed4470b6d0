#pragma once
// The loss of cross_entropy(linear(x, weight, bias), target) without the logits: they are made, used and
// overwritten a tile at a time, so that memory does not grow with rows times classes.
//
//   z_nc = sum_e x_ne w_ce + b_c,   lse_n = ln sum_c exp(z_nc)
//   loss_n = lse_n - (1 - s) z_nt - s / V sum_c z_nc,   t the row's label, s the label smoothing
//   none: loss_n, 0 where ignored;   sum: their sum;   mean: sum / number of rows not ignored
//
// Shapes: x [*, E], weight [V, E], bias [V], target i64 [*]; the result has the target's shape for none and
// is a scalar otherwise. dtypes: x, weight and bias alike f32, f16 or bf16, f64 on the CPU; the loss is f32
// (f64 for f64). Logits are rounded to the dtype of x, as those of linear() are. Special values and errors
// are cross_entropy's (cross_entropy.h), `check_targets` included.
//
// Memory beside results and gradients: one tile of at most 64 MiB, the workspace of a product, and four
// numbers a row. Stored logits are N V numbers, and their gradient as many.
//
// Backward, with dz_nc = (exp(z_nc - lse_n) - q_nc) dloss_n:  dx = dz w,  dw = dz^T x,  db = column sums of
// dz. Either (where rows of all classes fit the tile and the loss is reduced to one number) forward makes the
// gradients at once, while the tile holds the logits, and backward multiplies them by dloss in place: three
// products in all, as with stored logits. They are then held from forward on. Or forward keeps maximum and
// sum of each row, and backward makes each tile again: four products. A second backward through the same
// graph goes the second way, and so does f16, always: only backward knows the factor that keeps small
// gradients from vanishing. NOTES.md says where the boundary lies and why.
// In f16 and bf16 gradients that come from several tiles are rounded after each: at most 8 times the first
// way; the second way as often as there are tiles along a side, 5 for 16384 rows of 50304 classes.
// Second derivatives: all of them, by a composed definition that does store the logits.
// Determinism: bitwise; tiles depend on sizes and device only and are added in order.
//
// Source of the idea: Wijmans et al., "Cut Your Losses in Large-Vocabulary Language Models" (2024); gradients
// in forward: Hsu et al., "Liger Kernel" (2024).
#include <cstdint>

#include "gpunn/core/api.h"
#include "gpunn/core/tensor.h"
#include "gpunn/kernels/common/reduction.h"

namespace gpunn {

struct LinearCrossEntropyOptions {
  Tensor bias{};  // [V]; undefined: none
  Reduction reduction = Reduction::mean;
  std::int64_t ignore_index = -100;  // rows with this target count for nothing
  bool check_targets = true;         // on a GPU: waits for the answer; on the CPU always
  double label_smoothing = 0;        // in [0, 1]
};

/// Loss of x [*, E] under the classifier weight [V, E] against classes i64 [*].
GPUNN_API Tensor linear_cross_entropy(const Tensor& x, const Tensor& weight, const Tensor& target,
                                      const LinearCrossEntropyOptions& options = {});

}  // namespace gpunn
