#pragma once
// What a launch of the step kernels is given, and how its tiles are chosen.
#include <cstddef>
#include <cstdint>

#include "gpunn/core/exec.h"
#include "gpunn/kernels/rnn/rnn_rows_impl.h"

namespace gpunn {

/// GRU with the reset before the product takes two launches a step; every other step is whole.
enum class RnnPhase : std::uint8_t { whole, reset, candidate };

struct RnnForwardStep {
  RnnRows rows;
  RnnPhase phase;
  std::int64_t first_gate;  // of w_hh and gx
  const void* left;  // the product's left rows: row b < left_rows at left + b H, the others at h0 + b H
  std::int64_t left_rows;
  float* state;  // [B, H]: lstm c, between gru's phases z
  void* reset;   // [batch, H]: r h_prev between the phases
  int bytes;     // that may move at a time: 16, 4 or those of an element
  std::int64_t multiprocessors;
};

struct RnnBackwardStep {
  RnnRows rows;
  RnnPhase phase;
  const void* left;  // the product's left rows: row b < left_rows, column k < split at left + b G H + k,
  const void* left_extra;  // the others at left_extra + b H + k - split
  const void* weights;     // [K, H]
  std::int64_t left_rows, split, K;
  float* carry;  // [B, H]: lstm dc, gru the part of dh that meets no product
  int bytes;
  std::int64_t multiprocessors;
};

/// Rows of a block's tile: 64 where that still gives three quarters of the multiprocessors a block.
constexpr int rnn_tile_rows(std::int64_t batch, std::int64_t unit_tiles, std::int64_t multiprocessors) {
  return batch > 32 && (batch + 63) / 64 * unit_tiles * 4 >= multiprocessors * 3 ? 64 : 16;
}

/// Bytes that rows of H elements at these addresses let move at a time.
int rnn_piece_bytes(std::initializer_list<const void*> pointers, std::int64_t H, DType dtype);

// Tensor cores (f16, bf16, f32 as TF32) and CUDA cores (f32).
void rnn_fwd_step_mma_cuda(const RnnForwardProblem& p, const RnnForwardStep& s, const Exec& exec);
void rnn_fwd_step_simt_cuda(const RnnForwardProblem& p, const RnnForwardStep& s, const Exec& exec);
void rnn_bwd_step_mma_cuda(const RnnBackwardProblem& p, const RnnBackwardStep& s, const Exec& exec);
void rnn_bwd_step_simt_cuda(const RnnBackwardProblem& p, const RnnBackwardStep& s, const Exec& exec);

}  // namespace gpunn
