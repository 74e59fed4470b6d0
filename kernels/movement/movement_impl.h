#pragma once
// Problems and entry points of the ops that move elements: joining (cat, stack) and remapping (pad, flip,
// roll, tile, repeat). Any dtype: elements move as bits.
#include <cstdint>
#include <vector>

#include "gpunn/core/implementation.h"
#include "gpunn/core/shape.h"
#include "gpunn/kernels/movement/remap_rule_impl.h"

namespace gpunn {

/// Inputs per problem; longer lists take several. 48 slots of 24 bytes leave most of the 4 KiB of kernel
/// parameters free.
inline constexpr int kCatInputs = 48;

/// One input of cat: rows of `width` elements that go to columns [start, start + width) of y's rows.
struct CatSlot {
  const void* x;       // [outer, width], contiguous; not y
  std::int64_t width;  // extent along the joined dimension times what follows it; > 0
  std::int64_t start;  // first column in y
};

/// y[o, slot.start + j] = slot.x[o, j]
struct CatProblem {
  DType dtype;
  int count;           // slots in use, >= 1
  std::int64_t outer;  // product of the dimensions before the joined one, >= 1
  std::int64_t width;  // of a row of y: all slots', the ones of other problems included
  void* y;             // [outer, width], contiguous
  CatSlot slots[kCatInputs];
};

/// y[i] = x[rule(i)] by dimension, `value` where a rule leads outside. Extents > 0; x is contiguous.
struct RemapProblem {
  DType dtype;
  const void* x;  // [axes[].x]
  void* y;        // [axes[].y], not x
  int rank;       // >= 1
  RemapAxis axes[kMaxRank];
  double value;  // converted to dtype
};

/// dx[s] = sum of dy[i] over all i with rule(i) = s, in row-major order of i: the adjoint. Floating dtypes.
struct RemapBackwardProblem {
  DType dtype;
  const void* dy;  // [axes[].y], contiguous
  void* dx;        // [axes[].x], contiguous, not dy
  int rank;
  RemapAxis axes[kMaxRank];
};

std::int64_t x_numel(int rank, const RemapAxis* axes);
std::int64_t y_numel(int rank, const RemapAxis* axes);

std::vector<Operand> operands(CatProblem& p);
std::vector<Operand> operands(RemapProblem& p);
std::vector<Operand> operands(RemapBackwardProblem& p);
Cost cost(const CatProblem& p);
Cost cost(const RemapProblem& p);
Cost cost(const RemapBackwardProblem& p);

extern const ImplementationList<CatProblem> kCat;
extern const ImplementationList<RemapProblem> kRemap;
extern const ImplementationList<RemapBackwardProblem> kRemapBackward;

// Any dtype (the adjoint: floating), host memory.
void cat_ref(const CatProblem& p, const Exec& exec);
void remap_fwd_ref(const RemapProblem& p, const Exec& exec);
void remap_bwd_ref(const RemapBackwardProblem& p, const Exec& exec);
void cat_cpu(const CatProblem& p, const Exec& exec);
void remap_fwd_cpu(const RemapProblem& p, const Exec& exec);
void remap_bwd_cpu(const RemapBackwardProblem& p, const Exec& exec);  // f32
// Any dtype (the adjoint: f32, f16, bf16), device memory.
void cat_cuda(const CatProblem& p, const Exec& exec);
void remap_fwd_cuda(const RemapProblem& p, const Exec& exec);
void remap_bwd_cuda(const RemapBackwardProblem& p, const Exec& exec);

}  // namespace gpunn
