#pragma once
// Problems and entry points of the fused softmax cross-entropy and of the negative log likelihood.
#include <cstdint>
#include <vector>

#include "gpunn/core/hd.h"
#include "gpunn/core/implementation.h"
#include "gpunn/kernels/common/reduction.h"

namespace gpunn {

// "acc" is accumulator_of(dtype): f32, or f64 for f64 logits. A class outside [0, cols) that is not
// ignore_index makes NaN of its row and is never used as an index.

/// What the rows are compared with. Class c of row n weighs
///   q_nc = w_c ((1 - smoothing) y_nc + smoothing / cols),   y_nc = soft[n, c] or [c = classes[n]],
/// and the row's loss is sum_c q_nc (ln sum_k exp x_nk - x_nc). What weighs 0 adds 0, whatever its logit.
struct CrossEntropyTargets {
  const std::int64_t* classes;  // [rows]; null if has_soft
  const void* soft;             // [rows, cols] of the problem's dtype; null unless has_soft
  const void* weight;           // acc [cols]; null unless has_weight
  std::int64_t ignore_index;
  double smoothing;  // in [0, 1]
  bool has_soft, has_weight;

  /// Does every class have a say, not one per row?
  GPUNN_HD bool every_class() const { return has_soft || smoothing > 0; }
  GPUNN_HD bool ignores(std::int64_t row) const { return !has_soft && classes[row] == ignore_index; }
  /// What a row counts in a mean: 0 where ignored, the weight of its class, 1 for soft targets.
  template <class F>
  GPUNN_HD F row_weight(std::int64_t row, std::int64_t cols) const {
    if (has_soft) return F(1);
    const std::int64_t t = classes[row];
    if (t == ignore_index) return F(0);
    return has_weight && t >= 0 && t < cols ? static_cast<const F*>(weight)[t] : F(1);
  }
};

/// Loss of each row or of all, and what backward needs.
struct CrossEntropyProblem {
  DType dtype;         // of the logits
  const void* logits;  // [rows, cols], contiguous
  CrossEntropyTargets targets;
  void* loss;   // acc [rows] for Reduction::none, else acc [1]
  void* stats;  // acc [rows, 3]: maximum, sum of exp(x - maximum), sum of q; zeros where ignored
  void* count;  // acc [1]: what the rows count together; null unless Reduction::mean
  std::int64_t rows, cols;
  Reduction reduction;
};

/// Gradients of the logits and of soft targets.
struct CrossEntropyBackwardProblem {
  DType dtype;
  const void* logits;  // [rows, cols]
  CrossEntropyTargets targets;
  const void* stats;  // acc [rows, 3], from forward
  const void* count;  // acc [1], from forward; null unless Reduction::mean
  const void* dloss;  // acc [rows] for Reduction::none, else acc [1]
  void* dlogits;      // [rows, cols]; not the logits
  void* dsoft;        // [rows, cols]; null unless want_dsoft
  std::int64_t rows, cols;
  Reduction reduction;
  bool want_dsoft;
};

/// First row whose target is neither in [0, classes) nor ignore_index.
struct TargetCheckProblem {
  DType dtype;                 // of nothing: every list's problem has one
  const std::int64_t* target;  // [rows]
  std::int64_t* bad_row;       // [1]: the row, or -1
  std::int64_t rows, classes;
  std::int64_t ignore_index;
};

/// Loss of position (n, d): -w_t x[n, t, d] with t = target[n, d].
struct NllProblem {
  DType dtype;                 // of the log-probabilities
  const void* x;               // [outer, classes, inner], contiguous
  const std::int64_t* target;  // [outer, inner]
  const void* weight;          // acc [classes]; null unless has_weight
  void* loss;                  // acc [outer, inner] for Reduction::none, else acc [1]
  void* count;                 // acc [1]: sum of the weights of targets not ignored; null unless mean
  std::int64_t outer, classes, inner;
  std::int64_t ignore_index;
  Reduction reduction;
  bool has_weight;
};

/// Gradient of the log-probabilities: zero but for one element per position.
struct NllBackwardProblem {
  DType dtype;
  const std::int64_t* target;  // [outer, inner]
  const void* weight;          // acc [classes]; null unless has_weight
  const void* count;           // acc [1], from forward; null unless Reduction::mean
  const void* dloss;           // acc [outer, inner] for Reduction::none, else acc [1]
  void* dx;                    // [outer, classes, inner]
  std::int64_t outer, classes, inner;
  std::int64_t ignore_index;
  Reduction reduction;
  bool has_weight;
};

std::vector<Operand> operands(CrossEntropyProblem& p);
std::vector<Operand> operands(CrossEntropyBackwardProblem& p);
std::vector<Operand> operands(TargetCheckProblem& p);
std::vector<Operand> operands(NllProblem& p);
std::vector<Operand> operands(NllBackwardProblem& p);
Cost cost(const CrossEntropyProblem& p);
Cost cost(const CrossEntropyBackwardProblem& p);
Cost cost(const TargetCheckProblem& p);
Cost cost(const NllProblem& p);
Cost cost(const NllBackwardProblem& p);

extern const ImplementationList<CrossEntropyProblem> kCrossEntropyForward;
extern const ImplementationList<CrossEntropyBackwardProblem> kCrossEntropyBackward;
extern const ImplementationList<TargetCheckProblem> kCrossEntropyTargets;
extern const ImplementationList<NllProblem> kNllForward;
extern const ImplementationList<NllBackwardProblem> kNllBackward;

// Any floating dtype, host memory.
void cross_entropy_fwd_ref(const CrossEntropyProblem& p, const Exec& exec);
void cross_entropy_bwd_ref(const CrossEntropyBackwardProblem& p, const Exec& exec);
void cross_entropy_targets_ref(const TargetCheckProblem& p, const Exec& exec);
void nll_fwd_ref(const NllProblem& p, const Exec& exec);
void nll_bwd_ref(const NllBackwardProblem& p, const Exec& exec);
// f32, host memory. Forward keeps the rows' losses in its workspace unless they are the result.
std::size_t cross_entropy_fwd_cpu_workspace(const CrossEntropyProblem& p);
void cross_entropy_fwd_cpu(const CrossEntropyProblem& p, const Exec& exec);
void cross_entropy_bwd_cpu(const CrossEntropyBackwardProblem& p, const Exec& exec);
void nll_bwd_cpu(const NllBackwardProblem& p, const Exec& exec);
// f32, f16, bf16, device memory. Forward keeps the rows' losses in its workspace too, and there the
// statistics of the parts of rows that are cut.
std::size_t cross_entropy_fwd_cuda_workspace(const CrossEntropyProblem& p);
void cross_entropy_fwd_cuda(const CrossEntropyProblem& p, const Exec& exec);
void cross_entropy_bwd_cuda(const CrossEntropyBackwardProblem& p, const Exec& exec);
void cross_entropy_targets_cuda(const TargetCheckProblem& p, const Exec& exec);
std::size_t nll_fwd_cuda_workspace(const NllProblem& p);
void nll_fwd_cuda(const NllProblem& p, const Exec& exec);
void nll_bwd_cuda(const NllBackwardProblem& p, const Exec& exec);

}  // namespace gpunn
