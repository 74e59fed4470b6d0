#pragma once
// Problems and entry points of the random ops. Element i belongs to Philox block offset + i / 4.
#include <cstdint>
#include <vector>

#include "gpunn/core/implementation.h"

namespace gpunn {

/// What dropout multiplies by: element i's factor is 0, or `scale` where its 32 bits, number i % 4 of Philox
/// block offset + i / 4, are at most greatest_kept.
struct DropoutMask {
  std::uint64_t seed, offset;
  std::uint32_t greatest_kept;
  double scale;  // rounded to float for all dtypes but f64
};

/// y = x * factor, factor 0 where dropped. Its own backward, with the same numbers.
struct DropoutProblem {
  DType dtype;
  const void* x;                // [n], contiguous
  void* y;                      // [n], contiguous; may be x
  std::int64_t n;               // elements
  std::uint64_t seed, offset;   // offset: block of the first four elements
  std::uint32_t greatest_kept;  // an element stays when its 32 bits are at most this
  double scale;                 // rounded to float for all dtypes but f64
};

/// y = uniform < p.
struct BernoulliProblem {
  DType dtype;
  const void* p;   // [n], contiguous; null when one_for_all
  void* y;         // [n], contiguous; may be p
  std::int64_t n;  // elements
  std::uint64_t seed, offset;
  bool one_for_all;
  float probability;  // for all
};

std::vector<Operand> operands(DropoutProblem& p);
std::vector<Operand> operands(BernoulliProblem& p);
Cost cost(const DropoutProblem& p);
Cost cost(const BernoulliProblem& p);

extern const ImplementationList<DropoutProblem> kDropout;
extern const ImplementationList<BernoulliProblem> kBernoulli;

// Any floating dtype, host memory.
void dropout_ref(const DropoutProblem& p, const Exec& exec);
void bernoulli_ref(const BernoulliProblem& p, const Exec& exec);
// f32, host memory: Philox in SIMD lanes, blocks shared out over the pool.
void dropout_cpu(const DropoutProblem& p, const Exec& exec);
void bernoulli_cpu(const BernoulliProblem& p, const Exec& exec);
// f32, f16, bf16, device memory.
void dropout_cuda(const DropoutProblem& p, const Exec& exec);
void bernoulli_cuda(const BernoulliProblem& p, const Exec& exec);

}  // namespace gpunn
