#pragma once
// What the files of recurrent sequences and cells share.
#include <cstdint>

#include "gpunn/core/tensor.h"
#include "gpunn/kernels/rnn/rnn.h"

namespace gpunn::detail {

/// H after checks of dtypes, devices and shapes: w_ih [G H, K] for x [..., K], w_hh [G H, H], both biases
/// [G H] or none.
std::int64_t check_rnn_weights(RnnMode mode, const Tensor& x, const RnnWeights& w);

/// The definition step by step from public ops, differentiable any number of times; checked, contiguous
/// arguments. h0 and c0 may be undefined. No gates and cells.
RnnOutput rnn_by_steps(RnnMode mode, const Tensor& x, const Tensor& h0, const Tensor& c0,
                       const RnnWeights& weights, const RnnSequenceOptions& options);

// Steps from public ops. `a` [B, 4 H]: the sums before the non-linearities; gx and gh [B, 3 H]: what x and h
// add to them.
LstmState lstm_from_sums(const Tensor& a, const Tensor& c);
Tensor gru_from_products(const Tensor& gx, const Tensor& gh, const Tensor& h);
/// Whether or not h is reset before its product.
Tensor gru_step(const Tensor& gx, const Tensor& h, const RnnWeights& w, bool reset_after);

}  // namespace gpunn::detail
