#pragma once
// Losses between two tensors of one shape, element by element or row by row, then reduced. Names, arguments
// and defaults are PyTorch's.
//
//   mse_loss                          (x - y)^2
//   l1_loss                           |x - y|
//   smooth_l1_loss                    (x - y)^2 / (2 beta) where |x - y| < beta, else |x - y| - beta / 2
//   huber_loss                        (x - y)^2 / 2 where |x - y| <= delta, else delta (|x - y| - delta / 2)
//   binary_cross_entropy              -y max(ln x, -100) - (1 - y) max(ln(1 - x), -100)
//   binary_cross_entropy_with_logits  (1 - y) x + (1 + (p - 1) y) ln(1 + exp(-x)),  p = pos_weight
//   kl_div                            y (ln y - x), 0 where y = 0; with log_target exp(y) (y - x)
//   hinge_embedding_loss              x where y = 1, max(0, margin - x) where y = -1
//   margin_ranking_loss               max(0, margin - y (x1 - x2))
//   cosine_similarity                 x1 . x2 / (max(|x1|, eps) max(|x2|, eps)) along `dim`
//   cosine_embedding_loss             1 - cos(x1, x2) where y = 1, max(0, cos(x1, x2) - margin) where y = -1
//   pairwise_distance                 |x1 - x2 + eps|_p along the last dimension
//   triplet_margin_loss               max(0, margin + d(a, p) - d(a, n)),  d = pairwise_distance
//
// Shapes: x and y of any shape, the same; the result has it for Reduction::none and is a scalar otherwise.
// Weights broadcast to it. The embeddings are [N, D] or [D] with y [N] or scalar, and none gives [N] or a
// scalar.
// dtypes: f32, f16, bf16 (computed in f32), f64 on the CPU; the loss is f32 (f64 for f64), a cosine or
// distance has the inputs' dtype. All tensors have one dtype.
// Special values as in PyTorch: the mean over nothing is NaN, the sum 0; the logarithms' bound of -100 keeps
// the loss of x = 0 or 1 finite. x outside [0, 1] gives NaN in binary_cross_entropy (PyTorch raises an error
// on the CPU). A slope at a kink is PyTorch's: 0 for |x - y| at 0, that of the inside for max(0, v) at 0.
// kl_div's terms of probability 0 add 0 whatever x is.
//
// Backward keeps the inputs (and norms, or distances), and differentiates with respect to both; labels (1 or
// -1) and weights are constants and may not ask for a gradient.
// Second derivatives: all of them, by the same formulas written with public ops (without the bounds; where
// the slope is constant, with it as a constant), but for pairwise_distance and triplet_margin_loss with p
// other than 2, which raise Unsupported. A row of zeros has no second derivative of its cosine or distance:
// NaN.
// Determinism: bitwise; elements are added by a tree that depends on their number only.
// Errors: InvalidArgument for undefined or integer tensors, differing shapes, dtypes or devices, and for
// parameters out of range.

#include "gpunn/core/api.h"
#include "gpunn/core/tensor.h"
#include "gpunn/kernels/common/reduction.h"

namespace gpunn {

GPUNN_API Tensor mse_loss(const Tensor& x, const Tensor& y, Reduction reduction = Reduction::mean);
GPUNN_API Tensor l1_loss(const Tensor& x, const Tensor& y, Reduction reduction = Reduction::mean);
/// beta >= 0; 0 gives l1_loss.
GPUNN_API Tensor smooth_l1_loss(const Tensor& x, const Tensor& y, Reduction reduction = Reduction::mean,
                                double beta = 1);
/// delta > 0.
GPUNN_API Tensor huber_loss(const Tensor& x, const Tensor& y, Reduction reduction = Reduction::mean,
                            double delta = 1);
/// x: probabilities in [0, 1]; y: targets, usually 0 or 1. `weight`, where defined, is a factor of each loss.
GPUNN_API Tensor binary_cross_entropy(const Tensor& x, const Tensor& y, Reduction reduction = Reduction::mean,
                                      const Tensor& weight = {});
/// x: logits; stable for large ones. `pos_weight`, where defined, is a factor of the positive targets.
GPUNN_API Tensor binary_cross_entropy_with_logits(const Tensor& x, const Tensor& y,
                                                  Reduction reduction = Reduction::mean,
                                                  const Tensor& weight = {}, const Tensor& pos_weight = {});

struct KlDivOptions {
  Reduction reduction = Reduction::mean;
  bool log_target = false;  // y holds logarithms
  bool batch_mean =
      false;  // PyTorch's "batchmean": the sum divided by the first extent, whatever `reduction`
};
/// x: log-probabilities; y: probabilities, or their logarithms.
GPUNN_API Tensor kl_div(const Tensor& x, const Tensor& y, const KlDivOptions& options = {});

/// y: 1 or -1.
GPUNN_API Tensor hinge_embedding_loss(const Tensor& x, const Tensor& y, Reduction reduction = Reduction::mean,
                                      double margin = 1);
/// y: 1 where x1 should rank above x2, -1 where below.
GPUNN_API Tensor margin_ranking_loss(const Tensor& x1, const Tensor& x2, const Tensor& y,
                                     Reduction reduction = Reduction::mean, double margin = 0);
/// The dimension `dim` disappears. eps > 0.
GPUNN_API Tensor cosine_similarity(const Tensor& x1, const Tensor& x2, int dim = 1, double eps = 1e-8);
/// x1, x2 [N, D] with y [N], or [D] with a scalar; y: 1 or -1. margin in [-1, 1].
GPUNN_API Tensor cosine_embedding_loss(const Tensor& x1, const Tensor& x2, const Tensor& y,
                                       Reduction reduction = Reduction::mean, double margin = 0);
/// x1, x2 [..., D] of one shape; the result is [...]. p >= 1 and finite.
GPUNN_API Tensor pairwise_distance(const Tensor& x1, const Tensor& x2, double p = 2, double eps = 1e-6);

struct TripletMarginOptions {
  Reduction reduction = Reduction::mean;
  double margin = 1;
  double p = 2;       // of the norm
  double eps = 1e-6;  // added to each difference
  bool swap = false;  // d(positive, negative) instead of d(anchor, negative) where it is smaller
};
/// anchor, positive, negative [..., D] of one shape; none gives [...].
GPUNN_API Tensor triplet_margin_loss(const Tensor& anchor, const Tensor& positive, const Tensor& negative,
                                     const TripletMarginOptions& options = {});

}  // namespace gpunn
