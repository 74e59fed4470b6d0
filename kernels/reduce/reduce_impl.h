#pragma once
// Problems and entry points of the reductions: y[o] = reduce over r of x[o, r], and their fused gradients.
#include <cstdint>
#include <limits>
#include <vector>

#include "gpunn/core/hd.h"
#include "gpunn/core/implementation.h"
#include "gpunn/core/shape.h"

namespace gpunn {

class TuningKey;

enum class ReduceFunction : std::uint8_t {
  sum,
  mean,
  max,          // values
  max_indices,  // values and indices
  argmax,       // indices
  min,
  min_indices,
  argmin,
  prod,
  var,
  std,
  norm,
  logsumexp,
  any,
  all,
  count_nonzero,
};
inline constexpr int kReduceFunctions = 16;

GPUNN_HD constexpr bool gives_indices(ReduceFunction f) {
  return f == ReduceFunction::max_indices || f == ReduceFunction::argmax ||
         f == ReduceFunction::min_indices || f == ReduceFunction::argmin;
}
GPUNN_HD constexpr bool gives_values(ReduceFunction f) {
  return f != ReduceFunction::argmax && f != ReduceFunction::argmin;
}
constexpr bool adds(ReduceFunction f) { return f == ReduceFunction::sum || f == ReduceFunction::mean; }
constexpr bool chooses(ReduceFunction f) { return f >= ReduceFunction::max && f <= ReduceFunction::argmin; }
GPUNN_HD constexpr bool wants_least(ReduceFunction f) {
  return f >= ReduceFunction::min && f <= ReduceFunction::argmin;
}
constexpr bool counts(ReduceFunction f) { return f >= ReduceFunction::any; }

inline constexpr double kLargestDouble = std::numeric_limits<double>::max();

/// What a norm does with |x|, by its p: adds up (how many are not 0, themselves, squares, powers), or
/// chooses.
enum class NormTerm : std::uint8_t { nonzero, magnitude, square, power, largest, least };
GPUNN_HD constexpr NormTerm norm_term(double p) {
  if (p == 0) return NormTerm::nonzero;
  if (p == 1) return NormTerm::magnitude;
  if (p == 2) return NormTerm::square;
  if (p > kLargestDouble) return NormTerm::largest;
  return p < -kLargestDouble ? NormTerm::least : NormTerm::power;
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
  void* y;                // [outputs], contiguous, value_dtype(); null for argmax and argmin
  std::int64_t* indices;  // [outputs], contiguous; null unless the function gives indices
  ReduceDims kept;
  ReduceDims reduced;
  double parameter = 0;  // var, std: what the divisor is less than K; norm: p
};

/// Sums of integers and counts are i64.
inline DType value_dtype(const ReduceProblem& p) {
  if (p.function == ReduceFunction::any || p.function == ReduceFunction::all) return DType::boolean;
  const bool wide = p.function == ReduceFunction::sum && !is_floating(p.dtype);
  return wide || p.function == ReduceFunction::count_nonzero ? DType::i64 : p.dtype;
}

/// What a sum of `n` squared deviations is divided by; not positive: the variance is NaN or infinite.
inline double variance_divisor(std::int64_t n, double correction) {
  const double divisor = static_cast<double>(n) - correction;
  return divisor > 0 ? divisor : 0;
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

/// dx[o, r] = dy[o] * dy[o]/dx[o, r] of prod (the product of the other elements, exact with zeros) and of
/// norm:
///   p = 0: 0    1: sign(x)    2: x / y    other: sign(x) (|x| / y)^(p-1), all of them 0 where y is 0
///   infinite: sign(x) / ties at each of the elements with |x| = y
struct ReduceBackwardProblem {
  DType dtype;
  ReduceFunction function;  // prod or norm
  const void* x;            // strided by `kept` and `reduced`
  const void* y;            // [outputs]; null for prod
  const void* dy;           // [outputs]
  void* dx;                 // as x, without gaps: every element is written
  ReduceDims kept;
  ReduceDims reduced;
  double parameter = 0;  // of norm: p
};

std::vector<Operand> operands(ReduceProblem& p);
std::vector<Operand> operands(ReduceBackwardProblem& p);
std::vector<Operand> operands(MaxBackwardProblem& p);
Cost cost(const ReduceProblem& p);
Cost cost(const MaxBackwardProblem& p);
Cost cost(const ReduceBackwardProblem& p);
/// What the speed of a reduction depends on, for Tuned.
void describe(const ReduceProblem& p, TuningKey& key);

void reduce_ref(const ReduceProblem& p, const Exec& exec);
void reduce_cpu(const ReduceProblem& p, const Exec& exec);
void reduce_cuda(const ReduceProblem& p, const Exec& exec);
std::size_t reduce_cpu_workspace(const ReduceProblem& p);
std::size_t reduce_cuda_workspace(const ReduceProblem& p);
/// On the GPU: what reduce_cuda() does not do (neither sums nor maxima and minima).
void reduce_statistics_cuda(const ReduceProblem& p, const Exec& exec);
std::size_t reduce_statistics_cuda_workspace(const ReduceProblem& p);
/// The sum of everything by CUB, in builds with nvcc only.
void reduce_cub(const ReduceProblem& p, const Exec& exec);
std::size_t reduce_cub_workspace(const ReduceProblem& p);
void max_bwd_ref(const MaxBackwardProblem& p, const Exec& exec);
void max_bwd_cuda(const MaxBackwardProblem& p, const Exec& exec);

void reduce_bwd_ref(const ReduceBackwardProblem& p, const Exec& exec);
void reduce_bwd_cuda(const ReduceBackwardProblem& p, const Exec& exec);

/// One list per function, indexed by it; they share their entries.
extern const ImplementationList<ReduceProblem> kReduce[kReduceFunctions];
extern const ImplementationList<MaxBackwardProblem> kMaxBackward;
extern const ImplementationList<ReduceBackwardProblem> kProdBackward;
extern const ImplementationList<ReduceBackwardProblem> kNormBackward;

}  // namespace gpunn
