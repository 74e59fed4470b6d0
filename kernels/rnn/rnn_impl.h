#pragma once
// Problems and entry points of recurrent sequences and cells.
#include <cstddef>
#include <cstdint>
#include <vector>

#include "gpunn/core/hd.h"
#include "gpunn/core/implementation.h"
#include "gpunn/kernels/rnn/rnn_mode.h"

namespace gpunn {

class TuningKey;

/// Rows are those of the packing: the B_0 sequences of step 0, the B_1 <= B_0 of step 1, … All sizes are at
/// least 1 in a problem; G H and H are below 2^31.
struct RnnSizes {
  RnnMode mode;
  bool reverse;      // step T - 1 first; a sequence begins at its own last step
  bool reset_after;  // gru
  std::int64_t T, B, H;
  std::int64_t rows;  // T B when all sequences are equally long

  bool operator==(const RnnSizes&) const = default;
  GPUNN_HD constexpr std::int64_t G() const { return gates_of(mode); }
  /// GRU's third product stands alone: `extra` is kept for it.
  constexpr bool has_extra() const { return mode == RnnMode::gru; }
  constexpr bool has_cells() const { return mode == RnnMode::lstm; }
};

/// All steps of a layer in one direction. h_prev of a row is h0 at its sequence's first step in this
/// direction, else y of its row one step before. Sums are f32; h is rounded to the dtype at each step (it is
/// y), c is carried in f32 and rounded where it is stored.
struct RnnForwardProblem {
  DType dtype;
  const void* gx;                      // [rows, G, H]: x w_ih' and all biases but b_hn
  const void* w_hh;                    // [G, H, H]: w_hh[g][j][k] is what unit k adds to gate g of unit j
  const void* b_hn;                    // [H], gru with biases, else null
  const void* h0;                      // [B, H]
  const void* c0;                      // [B, H], lstm, else null
  const std::int64_t* first_row;       // [T + 1] on the device; null: step t begins at row t B
  const std::int64_t* host_first_row;  // the same on the host, read while the work is issued; null likewise
  void* y;                             // [rows, H]
  void* hn;                            // [B, H]
  void* cn;                            // [B, H], lstm, else null
  // Kept for backward; all null when nobody wants them. Nothing overlaps.
  void* gates;  // [rows, G, H] after the non-linearities (lstm i f g o, gru r z n); null for tanh, relu
  void* cells;  // [rows, H], lstm, else null
  void* extra;  // [rows, H], gru, else null: h_prev w_hn' + b_hn; without reset_after r h_prev
  RnnSizes sizes;
  bool tf32;  // f32 products may be rounded to TF32
};

/// From gradients of y, hn, cn to those of gx and the initial states, from the last step computed to the
/// first.
struct RnnBackwardProblem {
  DType dtype;
  const void* dy;     // [rows, H], may be null: zeros
  const void* dhn;    // [B, H], may be null: zeros
  const void* dcn;    // [B, H], lstm, may be null: zeros
  const void* w_hh;   // [G, H, H]
  const void* h0;     // [B, H]
  const void* c0;     // [B, H], lstm, else null
  const void* y;      // [rows, H]
  const void* gates;  // [rows, G, H], null for tanh, relu
  const void* cells;  // [rows, H], lstm, else null
  const void* extra;  // [rows, H], gru, else null
  const std::int64_t* first_row;
  const std::int64_t* host_first_row;
  void* dgx;     // [rows, G, H]; for w_hh, too, but for gru's n with reset_after
  void* dextra;  // [rows, H], gru with reset_after, else null: gradient of h_prev w_hn' + b_hn
  void* dh0;     // [B, H]
  void* dc0;     // [B, H], lstm, else null
  RnnSizes sizes;
  bool tf32;
};

/// One step without its products, for cells. Row b of every operand is a sequence.
struct RnnCellProblem {
  DType dtype;
  const void* gx;  // [B, G, H]: x w_ih' + b_ih
  const void* gh;  // [B, G, H]: h w_hh' + b_hh
  const void* h;   // [B, H], gru, else null
  const void* c;   // [B, H], lstm, else null
  void* h_next;    // [B, H]
  void* c_next;    // [B, H], lstm, else null
  void* gates;     // [B, G, H] after the non-linearities, null when not kept
  std::int64_t B, H;
  RnnMode mode;  // lstm or gru (reset_after)
};

struct RnnCellBackwardProblem {
  DType dtype;
  const void* dh_next;  // [B, H], may be null: zeros
  const void* dc_next;  // [B, H], lstm, may be null: zeros
  const void* gates;    // [B, G, H]
  const void* gh;       // [B, G, H], gru (its n part is read), else null
  const void* h;        // [B, H], gru, else null
  const void* c;        // [B, H], lstm, else null
  const void* c_next;   // [B, H], lstm, else null
  void* dgx;            // [B, G, H]
  void* dgh;            // [B, G, H], gru, else null: dgx is both
  void* dh;             // [B, H], gru, else null: what does not go through the products
  void* dc;             // [B, H], lstm, else null
  std::int64_t B, H;
  RnnMode mode;
};

/// First row and number of sequences of step t.
struct RnnStep {
  std::int64_t row, batch;
};
template <class P>
GPUNN_HD RnnStep rnn_step(const P& p, const std::int64_t* first_row, std::int64_t t) {
  if (!first_row) return {t * p.sizes.B, p.sizes.B};
  return {first_row[t], first_row[t + 1] - first_row[t]};
}

std::vector<Operand> operands(RnnForwardProblem& p);
std::vector<Operand> operands(RnnBackwardProblem& p);
std::vector<Operand> operands(RnnCellProblem& p);
std::vector<Operand> operands(RnnCellBackwardProblem& p);
Cost cost(const RnnForwardProblem& p);
Cost cost(const RnnBackwardProblem& p);
Cost cost(const RnnCellProblem& p);
Cost cost(const RnnCellBackwardProblem& p);
void describe(const RnnForwardProblem& p, TuningKey& key);
void describe(const RnnBackwardProblem& p, TuningKey& key);

extern const ImplementationList<RnnForwardProblem> kRnnForward;            // "rnn", "forward"
extern const ImplementationList<RnnBackwardProblem> kRnnBackward;          // "rnn", "backward"
extern const ImplementationList<RnnCellProblem> kRnnCellForward;           // "rnn_cell", "forward"
extern const ImplementationList<RnnCellBackwardProblem> kRnnCellBackward;  // "rnn_cell", "backward"

// Any floating dtype, host memory.
void rnn_fwd_ref(const RnnForwardProblem& p, const Exec& exec);
void rnn_bwd_ref(const RnnBackwardProblem& p, const Exec& exec);
void rnn_cell_fwd_ref(const RnnCellProblem& p, const Exec& exec);
void rnn_cell_bwd_ref(const RnnCellBackwardProblem& p, const Exec& exec);
// f32, host memory.
const char* rnn_fwd_cpu_reason(const RnnForwardProblem& p);
const char* rnn_bwd_cpu_reason(const RnnBackwardProblem& p);
std::size_t rnn_fwd_cpu_workspace(const RnnForwardProblem& p);
std::size_t rnn_bwd_cpu_workspace(const RnnBackwardProblem& p);
void rnn_fwd_cpu(const RnnForwardProblem& p, const Exec& exec);
void rnn_bwd_cpu(const RnnBackwardProblem& p, const Exec& exec);
void rnn_cell_fwd_cpu(const RnnCellProblem& p, const Exec& exec);
void rnn_cell_bwd_cpu(const RnnCellBackwardProblem& p, const Exec& exec);
// f32, f16, bf16, device memory. persistent: one launch, w_hh on chip, blocks that wait for each other;
// steps: a launch a step, the step's product with the non-linearities at its end.
const char* rnn_fwd_persistent_reason(const RnnForwardProblem& p);
const char* rnn_bwd_persistent_reason(const RnnBackwardProblem& p);
const char* rnn_fwd_steps_reason(const RnnForwardProblem& p);
const char* rnn_bwd_steps_reason(const RnnBackwardProblem& p);
std::size_t rnn_fwd_persistent_workspace(const RnnForwardProblem& p);
std::size_t rnn_bwd_persistent_workspace(const RnnBackwardProblem& p);
std::size_t rnn_fwd_steps_workspace(const RnnForwardProblem& p);
std::size_t rnn_bwd_steps_workspace(const RnnBackwardProblem& p);
void rnn_fwd_persistent_cuda(const RnnForwardProblem& p, const Exec& exec);
void rnn_bwd_persistent_cuda(const RnnBackwardProblem& p, const Exec& exec);
void rnn_fwd_steps_cuda(const RnnForwardProblem& p, const Exec& exec);
void rnn_bwd_steps_cuda(const RnnBackwardProblem& p, const Exec& exec);
void rnn_cell_fwd_cuda(const RnnCellProblem& p, const Exec& exec);
void rnn_cell_bwd_cuda(const RnnCellBackwardProblem& p, const Exec& exec);

}  // namespace gpunn
