#pragma once
// Problems and entry points of the norms of residual + dropout(x). They begin with the problems of the norm
// itself, whose channels are the columns here: 1 group, 1 pixel.
#include <cstddef>
#include <vector>

#include "gpunn/kernels/norm/norm_impl.h"
#include "gpunn/kernels/random/random_impl.h"

namespace gpunn {

/// sum = residual + x, or residual + x m with the factors m of `mask`; y, mean and rstd as of RowNormProblem
/// for the rows of the sum, as it is after rounding to dtype. Nothing may overlap another operand.
struct AddNormProblem : RowNormProblem {
  const void* residual;  // [rows, cols]
  void* sum;             // [rows, cols]
  DropoutMask mask;      // only with drop
  bool drop;
};

/// x is the sum. dx, the gradient of sum and residual, is what RowNormBackwardProblem makes of dy, plus dsum;
/// dbranch = dx m is that of the forward's x.
struct AddNormBackwardProblem : RowNormBackwardProblem {
  const void* dsum;  // [rows, cols], only when has_dsum; may be dx
  void* dbranch;     // [rows, cols], only when want_dbranch; overlaps nothing
  DropoutMask mask;  // only when want_dbranch
  bool has_dsum, want_dbranch;
};

std::vector<Operand> operands(AddNormProblem& p);
std::vector<Operand> operands(AddNormBackwardProblem& p);
Cost cost(const AddNormProblem& p);
Cost cost(const AddNormBackwardProblem& p);

extern const ImplementationList<AddNormProblem> kAddNormForward;
extern const ImplementationList<AddNormBackwardProblem> kAddNormBackward;

// Any floating dtype, host memory.
void add_norm_fwd_ref(const AddNormProblem& p, const Exec& exec);
void add_norm_bwd_ref(const AddNormBackwardProblem& p, const Exec& exec);
// f32, host memory. The workspace holds sums of parts of the rows.
std::size_t add_norm_bwd_cpu_workspace(const AddNormBackwardProblem& p);
void add_norm_fwd_cpu(const AddNormProblem& p, const Exec& exec);
void add_norm_bwd_cpu(const AddNormBackwardProblem& p, const Exec& exec);
// f32, f16, bf16, device memory.
std::size_t add_norm_bwd_cuda_workspace(const AddNormBackwardProblem& p);
void add_norm_fwd_cuda(const AddNormProblem& p, const Exec& exec);
void add_norm_bwd_cuda(const AddNormBackwardProblem& p, const Exec& exec);

}  // namespace gpunn
