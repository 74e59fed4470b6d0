#pragma once
// Problems and entry points of chains: y = program(x, operands), and its gradients.
#include <cstdint>
#include <vector>

#include "gpunn/core/implementation.h"
#include "gpunn/core/shape.h"
#include "gpunn/kernels/chain/chain_program.h"

namespace gpunn {

/// Dimensions are coalesced (rank >= 1, extents > 0); strides are in elements, extents of stride 0 repeat.
struct ChainGeometry {
  int rank;
  std::int64_t shape[kMaxRank];
  std::int64_t strides[1 + kChainOperands][kMaxRank];  // of x, then of the operands; 0 for absent ones
};

struct ChainProblem {
  DType dtype;
  const void* x;                        // strided
  const void* operand[kChainOperands];  // strided; the first program.operands of them
  void* y;  // contiguous; may be x or an operand that is contiguous and of y's shape
  ChainGeometry geometry;
  ChainProgram program;
};

/// Gradients of the full shape; those of broadcast operands are summed afterwards.
struct ChainBackwardProblem {
  DType dtype;
  const void* x;                        // as forward
  const void* operand[kChainOperands];  // as forward
  const void* dy;                       // contiguous
  void* dx;                             // contiguous; null when not wanted; aliases nothing
  void* d_operand[kChainOperands];      // likewise, each
  ChainGeometry geometry;
  ChainProgram program;
};

std::int64_t numel_of(const ChainGeometry& g);
/// How many steps backward computes again: up to the last value that a gradient which is wanted depends on.
int recomputed_steps(const ChainBackwardProblem& p);
std::vector<Operand> operands(ChainProblem& p);
std::vector<Operand> operands(ChainBackwardProblem& p);
/// Each tensor that is there read and written once; a step counts as one operation, in backward as three.
Cost cost(const ChainProblem& p);
Cost cost(const ChainBackwardProblem& p);

extern const ImplementationList<ChainProblem> kChainForward;
extern const ImplementationList<ChainBackwardProblem> kChainBackward;

// Any floating dtype, host memory.
void chain_fwd_ref(const ChainProblem& p, const Exec& exec);
void chain_bwd_ref(const ChainBackwardProblem& p, const Exec& exec);
// f32, host memory: tiles that stay in the first cache.
void chain_fwd_cpu(const ChainProblem& p, const Exec& exec);
void chain_bwd_cpu(const ChainBackwardProblem& p, const Exec& exec);
// f32, f16, bf16, device memory: values in registers.
void chain_fwd_cuda(const ChainProblem& p, const Exec& exec);
void chain_bwd_cuda(const ChainBackwardProblem& p, const Exec& exec);

}  // namespace gpunn
