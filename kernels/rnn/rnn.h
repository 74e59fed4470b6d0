#pragma once
// Recurrent networks: one layer in one direction over whole sequences, and single steps (cells).
// Layers, directions and dropout between them are composed of these in gpunn/layers/recurrent.h.
//
//   a_t = x_t w_ih' + b_ih + h_(t-1) w_hh' + b_hh                  [B, G H], G gates one after the other
//   tanh, relu   G = 1   h_t = tanh(a_t), relu(a_t)
//   lstm         G = 4   i, f, g, o = sigmoid, sigmoid, tanh, sigmoid of a_t;  c_t = f c_(t-1) + i g;
//                        h_t = o tanh(c_t)
//   gru          G = 3   r, z = sigmoid of a_t;  n = tanh(x_t w_in' + b_in + r (h_(t-1) w_hn' + b_hn));
//                        h_t = (1 - z) n + z h_(t-1)
//                        with reset_after = false: n = tanh(x_t w_in' + b_in + (r h_(t-1)) w_hn' + b_hn)
//
// Order of gates, weights and biases as PyTorch's. The inputs' part of a is one product of matrices for all
// steps; the recurrent part runs step by step; the weights' gradients are products over all steps at the end.
//
// Shapes: x [T, B, K] (time first), or packed [rows, K] with options.packed (gpunn/kernels/rnn/packed.h);
// h0, c0 [B, H] (undefined: zeros); w_ih [G H, K], w_hh [G H, H], b_ih, b_hh [G H] (both or none). y like x
// with H features; h and c [B, H] are those of each sequence's last step (of its first one with reverse).
// dtypes: f32, f16, bf16 (products and states between steps in f32, h rounded to the dtype at each step), f64
// on the CPU; all tensors of one dtype. T = 0: y is empty, h and c are h0 and c0.
//
// Backward keeps x, the gates after their non-linearities, y and (lstm) the cells of all steps. Second
// derivatives run the definition step by step. Gates and cells carry no gradient.
// The layer is composed of our own parts; GPUNN_IMPL=rnn_layer=cudnn or =onednn makes it one call of a
// vendor's library, which keeps a buffer of its own and shows no gates. cuDNN does not promise equal bits;
// what a library cannot take throws Unsupported with its reason.
// Determinism: bitwise. Errors: InvalidArgument for ranks, sizes, dtypes and devices that do not fit, for c0
// where the mode has none, for a packing of other rows.
//
// Source: Hochreiter and Schmidhuber, "Long Short-Term Memory" (1997); Cho et al., "Learning Phrase
// Representations using RNN Encoder-Decoder" (2014); reset after the product as in cuDNN and PyTorch.

#include <cstdint>

#include "gpunn/core/api.h"
#include "gpunn/core/tensor.h"
#include "gpunn/kernels/rnn/rnn_mode.h"

namespace gpunn {

class Packing;

struct RnnWeights {
  Tensor w_ih;  // [G H, K]
  Tensor w_hh;  // [G H, H]
  Tensor b_ih;  // [G H], or undefined
  Tensor b_hh;  // [G H], or undefined
};

struct RnnSequenceOptions {
  bool reverse = false;             // from the last step to the first; y stays in x's order
  bool reset_after = true;          // gru
  const Packing* packed = nullptr;  // x is [rows, K] in this packing
  bool keep_gates = false;          // fill RnnOutput::gates and cells also without backward
};

struct RnnOutput {
  Tensor y;      // [T, B, H] or [rows, H]
  Tensor h;      // [B, H]
  Tensor c;      // [B, H], lstm only
  Tensor gates;  // [T, B, G, H] or [rows, G, H] after the non-linearities, with keep_gates, not tanh and relu
  Tensor cells;  // [T, B, H] or [rows, H], lstm with keep_gates
};

GPUNN_API RnnOutput rnn_sequence(RnnMode mode, const Tensor& x, const Tensor& h0, const Tensor& c0,
                                 const RnnWeights& weights, const RnnSequenceOptions& options = {});

struct LstmState {
  Tensor h, c;  // [B, H]
};

/// One step: x [B, K], h and c [B, H]; likewise [K] and [H] without a batch. Undefined states are zeros.
GPUNN_API LstmState lstm_cell(const Tensor& x, const LstmState& state, const RnnWeights& weights);
GPUNN_API Tensor gru_cell(const Tensor& x, const Tensor& h, const RnnWeights& weights,
                          bool reset_after = true);
GPUNN_API Tensor rnn_tanh_cell(const Tensor& x, const Tensor& h, const RnnWeights& weights);
GPUNN_API Tensor rnn_relu_cell(const Tensor& x, const Tensor& h, const RnnWeights& weights);

}  // namespace gpunn
