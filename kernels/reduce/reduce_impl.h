#pragma once
// Problems and entry points of the reductions: y[o] = reduce over r of x[o, r], and the gradient of the
// maxima.
#include <cstdint>
#include <vector>

#include "gpunn/core/implementation.h"
#include "gpunn/core/shape.h"

namespace gpunn {

enum class ReduceFunction : std::uint8_t {
  sum,
  mean,
  max,          // values
  max_indices,  // values and indices
  argmax,       // indices
};
inline constexpr int kReduceFunctions = 5;

constexpr bool gives_values(ReduceFunction f) { return f != ReduceFunction::argmax; }
constexpr bool gives_indices(ReduceFunction f) {
  return f == ReduceFunction::max_indices || f == ReduceFunction::argmax;
}

/// Shape and x's strides (elements) of one side of the reduction, coalesced: rank >= 1, in row-major order.
struct ReduceDims {
  int rank;
  std::int64_t shape[kMaxRank];
  std::int64_t strides[kMaxRank];
};

inline std::int64_t numel_of(const ReduceDims& d) {
  std::int64_t n = 1;
  for (int i = 0; i < d.rank; ++i) n *= d.shape[i];
  return n;
}

/// Outputs are numbered row-major over `kept`, indices row-major over `reduced`. Extents of `reduced` are
/// positive.
struct ReduceProblem {
  DType dtype;  // of x
  ReduceFunction function;
  const void* x;          // strided by `kept` and `reduced`
  void* y;                // [outputs], contiguous, value_dtype(); null for argmax
  std::int64_t* indices;  // [outputs], contiguous; null unless the function gives indices
  ReduceDims kept;
  ReduceDims reduced;
};

/// Sums of integers are i64.
inline DType value_dtype(const ReduceProblem& p) {
  return p.function == ReduceFunction::sum && !is_floating(p.dtype) ? DType::i64 : p.dtype;
}

/// dx[o, r] = dy[o] * w[o, r], where w is 1 at indices[o] and else 0 (by_index), or 1 / ties[o] at each of
/// the ties[o] elements equal to y[o]. When y[o] is NaN there are none, and the gradient is NaN throughout.
struct MaxBackwardProblem {
  DType dtype;
  bool by_index;
  const void* x;                // strided by `kept` and `reduced`; null by_index
  const void* y;                // [outputs]; null by_index
  const std::int64_t* indices;  // [outputs]; null unless by_index
  const void* dy;               // [outputs]
  void* dx;                     // as x, without gaps: every element is written
  ReduceDims kept;
  ReduceDims reduced;
};

std::vector<Operand> operands(ReduceProblem& p);
std::vector<Operand> operands(MaxBackwardProblem& p);
Cost cost(const ReduceProblem& p);
Cost cost(const MaxBackwardProblem& p);

void reduce_ref(const ReduceProblem& p, const Exec& exec);
void reduce_cpu(const ReduceProblem& p, const Exec& exec);
void reduce_cuda(const ReduceProblem& p, const Exec& exec);
std::size_t reduce_cpu_workspace(const ReduceProblem& p);
std::size_t reduce_cuda_workspace(const ReduceProblem& p);
void max_bwd_ref(const MaxBackwardProblem& p, const Exec& exec);
void max_bwd_cuda(const MaxBackwardProblem& p, const Exec& exec);

/// One list per function, indexed by it; they share their entries.
extern const ImplementationList<ReduceProblem> kReduce[kReduceFunctions];
extern const ImplementationList<MaxBackwardProblem> kMaxBackward;

}  // namespace gpunn
