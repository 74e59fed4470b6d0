#pragma once
// A recurrent layer in one direction as one problem, product of the inputs and gradients of the weights
// included: what vendor libraries offer. Ours is composed of the product and the steps (rnn_impl.h) by
// rnn_sequence() and stands in no list; it is what runs unless another is asked for.
//
// Forward and backward come as a pair: what one keeps only its own other half can read.
#include <cstddef>
#include <cstdint>
#include <vector>

#include "gpunn/core/implementation.h"
#include "gpunn/kernels/rnn/rnn_impl.h"

namespace gpunn {

/// Sizes as in the problems of the steps; K features of x.
struct RnnLayerForwardProblem {
  DType dtype;
  const void* x;                       // [rows, K]
  const void* w_ih;                    // [G, H, K]
  const void* w_hh;                    // [G, H, H]
  const void* b_ih;                    // [G, H], or null with b_hh
  const void* b_hh;                    // [G, H]
  const void* h0;                      // [B, H], null: zeros
  const void* c0;                      // [B, H], lstm, null: zeros
  const std::int64_t* host_first_row;  // [T + 1] on the host; null: step t begins at row t B
  void* y;                             // [rows, H]
  void* hn;                            // [B, H]
  void* cn;                            // [B, H], lstm, else null
  void* kept;  // rnn_layer_kept() bytes for backward, aligned to 64 bytes; null when nobody wants them
  RnnSizes sizes;
  std::int64_t K;
  bool keep;   // backward will follow
  bool gates;  // the gates of all steps are to be shown, too
  bool tf32;   // f32 products may be rounded to TF32
};

/// From gradients of y, hn, cn to those of all that forward read. `kept` stays as it is.
struct RnnLayerBackwardProblem {
  DType dtype;
  const void* x;  // [rows, K], as all that follow to h0 and c0 what forward was given
  const void* w_ih;
  const void* w_hh;
  const void* b_ih;
  const void* b_hh;
  const void* h0;
  const void* c0;
  const std::int64_t* host_first_row;
  const void* y;     // [rows, H], as forward left it
  const void* kept;  // likewise
  const void* dy;    // [rows, H]
  const void* dhn;   // [B, H], may be null: zeros
  const void* dcn;   // [B, H], lstm, may be null: zeros
  void* dx;          // [rows, K]
  void* dw_ih;       // [G, H, K]; null with all of the weights' gradients: not wanted
  void* dw_hh;       // [G, H, H]
  void* db_ih;       // [G, H]; null without biases
  void* db_hh;       // [G, H]
  void* dh0;         // [B, H]
  void* dc0;         // [B, H], lstm, else null
  RnnSizes sizes;
  std::int64_t K;
  bool tf32;
};

std::vector<Operand> operands(RnnLayerForwardProblem& p);
std::vector<Operand> operands(RnnLayerBackwardProblem& p);
Cost cost(const RnnLayerForwardProblem& p);
Cost cost(const RnnLayerBackwardProblem& p);

// Entries of the same name are pairs. `kept` is no operand: nothing but its own pair can compare it.
extern const ImplementationList<RnnLayerForwardProblem> kRnnLayerForward;    // "rnn_layer", "forward"
extern const ImplementationList<RnnLayerBackwardProblem> kRnnLayerBackward;  // "rnn_layer", "backward"

/// Bytes that forward of this entry keeps for its backward.
std::size_t rnn_layer_kept(const char* entry, const RnnLayerForwardProblem& p);

// Any floating dtype, host memory. Keeps nothing: backward runs forward again.
void rnn_layer_fwd_ref(const RnnLayerForwardProblem& p, const Exec& exec);
void rnn_layer_bwd_ref(const RnnLayerBackwardProblem& p, const Exec& exec);
// f32, host memory, sequences of one length, both directions.
const char* rnn_layer_fwd_onednn_reason(const RnnLayerForwardProblem& p);
const char* rnn_layer_bwd_onednn_reason(const RnnLayerBackwardProblem& p);
std::size_t rnn_layer_fwd_onednn_workspace(const RnnLayerForwardProblem& p);
std::size_t rnn_layer_bwd_onednn_workspace(const RnnLayerBackwardProblem& p);
std::size_t rnn_layer_onednn_kept(const RnnLayerForwardProblem& p);
void rnn_layer_fwd_onednn(const RnnLayerForwardProblem& p, const Exec& exec);
void rnn_layer_bwd_onednn(const RnnLayerBackwardProblem& p, const Exec& exec);
// f32, f16, bf16, device memory, from the first step to the last.
const char* rnn_layer_fwd_cudnn_reason(const RnnLayerForwardProblem& p);
const char* rnn_layer_bwd_cudnn_reason(const RnnLayerBackwardProblem& p);
std::size_t rnn_layer_fwd_cudnn_workspace(const RnnLayerForwardProblem& p);
std::size_t rnn_layer_bwd_cudnn_workspace(const RnnLayerBackwardProblem& p);
std::size_t rnn_layer_cudnn_kept(const RnnLayerForwardProblem& p);
void rnn_layer_fwd_cudnn(const RnnLayerForwardProblem& p, const Exec& exec);
void rnn_layer_bwd_cudnn(const RnnLayerBackwardProblem& p, const Exec& exec);

}  // namespace gpunn
