#pragma once
// Problems and entry points of the element-wise losses.
#include <cstdint>
#include <vector>

#include "gpunn/core/implementation.h"
#include "gpunn/kernels/common/reduction.h"

namespace gpunn {

enum class LossKind : std::uint8_t { mse, bce, bce_with_logits };

// "acc" is accumulator_of(dtype): f32, or f64 for f64.

/// Loss of each element, or reduced over all.
struct LossProblem {
  DType dtype;    // of x and y
  const void* x;  // [n]
  const void* y;  // [n]
  void* loss;     // acc [n] for Reduction::none, else acc [1]
  std::int64_t n;
  LossKind kind;
  Reduction reduction;
};

/// Gradients of x and of y.
struct LossBackwardProblem {
  DType dtype;
  const void* x;      // [n]
  const void* y;      // [n]
  const void* dloss;  // acc [n] for Reduction::none, else acc [1]
  void* dx;           // [n]; null unless want_dx
  void* dy;           // [n]; null unless want_dy
  std::int64_t n;
  LossKind kind;
  Reduction reduction;
  bool want_dx, want_dy;
};

std::vector<Operand> operands(LossProblem& p);
std::vector<Operand> operands(LossBackwardProblem& p);
Cost cost(const LossProblem& p);
Cost cost(const LossBackwardProblem& p);

extern const ImplementationList<LossProblem> kLossForward;
extern const ImplementationList<LossBackwardProblem> kLossBackward;

// A reduction adds the sums of fixed chunks, kept in the workspace.
inline constexpr std::int64_t kLossChunk = 1 << 14;
std::size_t loss_fwd_workspace(const LossProblem& p);

// Any floating dtype, host memory.
void loss_fwd_ref(const LossProblem& p, const Exec& exec);
void loss_bwd_ref(const LossBackwardProblem& p, const Exec& exec);
// f32, host memory.
void loss_fwd_cpu(const LossProblem& p, const Exec& exec);
void loss_bwd_cpu(const LossBackwardProblem& p, const Exec& exec);
// f32, f16, bf16, device memory.
void loss_fwd_cuda(const LossProblem& p, const Exec& exec);
void loss_bwd_cuda(const LossBackwardProblem& p, const Exec& exec);

}  // namespace gpunn
