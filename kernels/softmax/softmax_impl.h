#pragma once
// Problems and entry points of softmax and log-softmax over the rows of a matrix.
#include <cstdint>
#include <vector>

#include "gpunn/core/implementation.h"

namespace gpunn {

/// y = softmax(x) or log-softmax(x) by rows.
struct SoftmaxProblem {
  DType dtype;
  const void* x;  // [rows, cols], contiguous
  void* y;        // [rows, cols], contiguous; may be x
  std::int64_t rows, cols;
  bool log;
};

/// dx from y and dy, by rows.
struct SoftmaxBackwardProblem {
  DType dtype;
  const void* y;   // [rows, cols], what forward returned
  const void* dy;  // [rows, cols]
  void* dx;        // [rows, cols]; may be dy
  std::int64_t rows, cols;
  bool log;
};

std::vector<Operand> operands(SoftmaxProblem& p);
std::vector<Operand> operands(SoftmaxBackwardProblem& p);
Cost cost(const SoftmaxProblem& p);
Cost cost(const SoftmaxBackwardProblem& p);

extern const ImplementationList<SoftmaxProblem> kSoftmaxForward;
extern const ImplementationList<SoftmaxBackwardProblem> kSoftmaxBackward;

// Any floating dtype, host memory.
void softmax_fwd_ref(const SoftmaxProblem& p, const Exec& exec);
void softmax_bwd_ref(const SoftmaxBackwardProblem& p, const Exec& exec);
// f32, host memory, SIMD over a row, rows shared out over the pool.
void softmax_fwd_cpu(const SoftmaxProblem& p, const Exec& exec);
void softmax_bwd_cpu(const SoftmaxBackwardProblem& p, const Exec& exec);
// f32, f16, bf16, device memory. The workspace holds statistics of the parts of rows that are cut.
std::size_t softmax_fwd_cuda_workspace(const SoftmaxProblem& p);
std::size_t softmax_bwd_cuda_workspace(const SoftmaxBackwardProblem& p);
void softmax_fwd_cuda(const SoftmaxProblem& p, const Exec& exec);
void softmax_bwd_cuda(const SoftmaxBackwardProblem& p, const Exec& exec);

}  // namespace gpunn
