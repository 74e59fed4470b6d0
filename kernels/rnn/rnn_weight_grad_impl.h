#pragma once
// Gradients of the recurrent weights and biases: products and sums over all rows, after the steps.
#include "gpunn/core/tensor.h"
#include "gpunn/kernels/rnn/rnn_impl.h"

namespace gpunn {
class Packing;
}

namespace gpunn::detail {

/// What the gradient of w_hh is computed from; all contiguous.
struct RnnWeightGrad {
  const RnnSizes& sizes;
  const Packing* packing;  // null: every step has all sequences
  const Tensor& y;         // [rows, H], or [T, B, H]
  const Tensor& h0;        // [B, H]; undefined: zeros
  const Tensor& extra;     // [rows, H], gru
  const Tensor& dgx;       // [rows, G H]
  const Tensor& dextra;    // [rows, H], gru with reset_after
};

/// [G H, H]
Tensor rnn_w_hh_grad(const RnnWeightGrad& g);
/// Sums over the rows of [rows, n]: [n].
Tensor rnn_column_sums(const Tensor& d);
/// From that of b_ih, which it equals but for GRU's n with reset_after.
Tensor rnn_b_hh_grad(const Tensor& db_ih, const Tensor& dextra);

}  // namespace gpunn::detail
