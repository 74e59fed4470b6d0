#pragma once
// Problems and entry points of the CTC loss.
#include <cstdint>
#include <vector>

#include "gpunn/core/hd.h"
#include "gpunn/core/implementation.h"
#include "gpunn/kernels/common/reduction.h"

namespace gpunn {

// "acc" is accumulator_of(dtype). Symbols of sample n: blank, target, blank, target, …, blank; 2 length + 1.

struct CtcProblem {
  DType dtype;
  const void* log_probs;               // [steps, batch, classes]
  const std::int64_t* targets;         // [batch, width], checked; padding is not read
  const std::int64_t* input_lengths;   // [batch], in [1, steps]
  const std::int64_t* target_lengths;  // [batch], in [0, width]
  void*
      alpha;   // acc [batch, steps, 2 width + 1]: ln of what the first t + 1 steps give symbol s; -inf beyond
  void* loss;  // acc [batch]
  std::int64_t steps, batch, classes, width, blank;
  bool zero_infinity;
};

struct CtcBackwardProblem {
  DType dtype;
  const void* log_probs;               // [steps, batch, classes]
  const std::int64_t* targets;         // [batch, width]
  const std::int64_t* input_lengths;   // [batch]
  const std::int64_t* target_lengths;  // [batch]
  const void* alpha;                   // acc [batch, steps, 2 width + 1], from forward
  const void* dloss;                   // acc [batch]
  void* dlog_probs;                    // [steps, batch, classes]
  std::int64_t steps, batch, classes, width, blank;
  bool zero_infinity;
};

/// The symbols of one sample, blanks between labels.
struct CtcSymbols {
  const std::int64_t* target;
  std::int64_t count, blank;

  GPUNN_HD std::int64_t operator[](std::int64_t s) const { return s % 2 == 0 ? blank : target[s / 2]; }
  /// May an alignment go from s - 2 to s, without the blank between?
  GPUNN_HD bool skips_to(std::int64_t s) const {
    return s % 2 == 1 && s >= 3 && s < count && target[s / 2] != target[s / 2 - 1];
  }
};

template <class P>
GPUNN_HD CtcSymbols ctc_symbols(const P& p, std::int64_t n) {
  return {p.targets + n * p.width, 2 * p.target_lengths[n] + 1, p.blank};
}

std::vector<Operand> operands(CtcProblem& p);
std::vector<Operand> operands(CtcBackwardProblem& p);
Cost cost(const CtcProblem& p);
Cost cost(const CtcBackwardProblem& p);

extern const ImplementationList<CtcProblem> kCtcForward;
extern const ImplementationList<CtcBackwardProblem> kCtcBackward;

// Any floating dtype, host memory.
void ctc_fwd_ref(const CtcProblem& p, const Exec& exec);
void ctc_bwd_ref(const CtcBackwardProblem& p, const Exec& exec);
// f32, host memory, samples shared out over the pool.
void ctc_fwd_cpu(const CtcProblem& p, const Exec& exec);
void ctc_bwd_cpu(const CtcBackwardProblem& p, const Exec& exec);
// f32, f16, bf16, device memory. Backward keeps two rows of backward variables per sample in its workspace.
void ctc_fwd_cuda(const CtcProblem& p, const Exec& exec);
std::size_t ctc_bwd_cuda_workspace(const CtcBackwardProblem& p);
void ctc_bwd_cuda(const CtcBackwardProblem& p, const Exec& exec);

}  // namespace gpunn
