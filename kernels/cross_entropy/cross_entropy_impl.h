#pragma once
// Problems and entry points of the fused softmax cross-entropy.
#include <cstdint>
#include <vector>

#include "gpunn/core/implementation.h"
#include "gpunn/kernels/common/reduction.h"

namespace gpunn {

// "acc" is accumulator_of(dtype): f32, or f64 for f64 logits. A target outside [0, cols) that is not
// ignore_index makes NaN of its row and is never used as an index.

/// Loss of each row or of all, and what backward needs.
struct CrossEntropyProblem {
  DType dtype;                 // of the logits
  const void* logits;          // [rows, cols], contiguous
  const std::int64_t* target;  // [rows]
  void* loss;                  // acc [rows] for Reduction::none, else acc [1]
  void* stats;                 // acc [rows, 2]: maximum, sum of exp(x - maximum); zeros where ignored
  void* count;                 // acc [1]: rows not ignored; null unless Reduction::mean
  std::int64_t rows, cols;
  std::int64_t ignore_index;
  Reduction reduction;
};

/// Gradient of the logits.
struct CrossEntropyBackwardProblem {
  DType dtype;
  const void* logits;          // [rows, cols]
  const std::int64_t* target;  // [rows]
  const void* stats;           // acc [rows, 2], from forward
  const void* count;           // acc [1], from forward; null unless Reduction::mean
  const void* dloss;           // acc [rows] for Reduction::none, else acc [1]
  void* dlogits;               // [rows, cols]; not the logits
  std::int64_t rows, cols;
  std::int64_t ignore_index;
  Reduction reduction;
};

/// First row whose target is neither in [0, classes) nor ignore_index.
struct TargetCheckProblem {
  DType dtype;                 // of nothing: every list's problem has one
  const std::int64_t* target;  // [rows]
  std::int64_t* bad_row;       // [1]: the row, or -1
  std::int64_t rows, classes;
  std::int64_t ignore_index;
};

std::vector<Operand> operands(CrossEntropyProblem& p);
std::vector<Operand> operands(CrossEntropyBackwardProblem& p);
std::vector<Operand> operands(TargetCheckProblem& p);
Cost cost(const CrossEntropyProblem& p);
Cost cost(const CrossEntropyBackwardProblem& p);
Cost cost(const TargetCheckProblem& p);

extern const ImplementationList<CrossEntropyProblem> kCrossEntropyForward;
extern const ImplementationList<CrossEntropyBackwardProblem> kCrossEntropyBackward;
extern const ImplementationList<TargetCheckProblem> kCrossEntropyTargets;

// Any floating dtype, host memory.
void cross_entropy_fwd_ref(const CrossEntropyProblem& p, const Exec& exec);
void cross_entropy_bwd_ref(const CrossEntropyBackwardProblem& p, const Exec& exec);
void cross_entropy_targets_ref(const TargetCheckProblem& p, const Exec& exec);
// f32, host memory.
void cross_entropy_fwd_cpu(const CrossEntropyProblem& p, const Exec& exec);
void cross_entropy_bwd_cpu(const CrossEntropyBackwardProblem& p, const Exec& exec);
// f32, f16, bf16, device memory. Forward keeps the rows' losses in its workspace unless they are the result.
std::size_t cross_entropy_fwd_workspace(const CrossEntropyProblem& p);
void cross_entropy_fwd_cuda(const CrossEntropyProblem& p, const Exec& exec);
void cross_entropy_bwd_cuda(const CrossEntropyBackwardProblem& p, const Exec& exec);
void cross_entropy_targets_cuda(const TargetCheckProblem& p, const Exec& exec);

}  // namespace gpunn
