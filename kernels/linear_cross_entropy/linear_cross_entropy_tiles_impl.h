#pragma once
// The walk over all tiles of logits: how they are cut, and forward and backward over them.
#include <cstdint>

#include "gpunn/core/tensor.h"
#include "gpunn/kernels/common/reduction.h"
#include "gpunn/kernels/linear_cross_entropy/linear_cross_entropy.h"

namespace gpunn {
namespace detail {

/// How rows and classes are cut. With `early` cols are all classes, and forward makes the gradients.
struct LossTiling {
  std::int64_t rows, cols;
  bool early;
};
/// Depends on its arguments only. `reduced`: one number comes out, so that gradients could be made early.
LossTiling loss_tiling(std::int64_t rows, std::int64_t classes, DType dtype, bool gpu, bool reduced);

/// What the walk reads: contiguous, checked, without history.
struct LossInputs {
  Tensor x, w, bias, target;  // [N, E], [V, E], [V] or undefined, [N]
  std::int64_t ignore_index;
  Reduction reduction;
  double smoothing;

  std::int64_t rows() const { return x.size(0); }
  std::int64_t classes() const { return w.size(0); }
};

/// Undefined where not asked for.
struct LossGrads {
  Tensor x, w, bias;
};
struct WantedGrads {
  bool x, w, bias;
  bool any() const { return x || w || bias; }
};

struct LossValue {
  Tensor loss, stats, count;  // count undefined unless mean
  LossGrads grads;            // for dloss = 1; undefined unless tiling.early
};
LossValue loss_forward(const LossInputs& in, const LossTiling& tiling, const WantedGrads& wanted);
/// dloss: acc, contiguous, [N] for Reduction::none, else one element.
LossGrads loss_backward(const LossInputs& in, const LossTiling& tiling, const LossValue& value,
                        const Tensor& dloss, const WantedGrads& wanted);
/// Multiplies what is defined by dloss, in place.
void scale_gradients(const LossGrads& grads, const Tensor& dloss);

/// linear_cross_entropy() with a tiling of one's own, for tests.
GPUNN_API Tensor linear_cross_entropy(const Tensor& x, const Tensor& weight, const Tensor& target,
                                      const LinearCrossEntropyOptions& options, const LossTiling* tiling);

}  // namespace detail
}  // namespace gpunn
