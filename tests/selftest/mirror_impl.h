#pragma once
// An op made to be broken: y = 2 x with each group of kGroup elements mirrored. Its sabotaged implementations
// are what the parity harness must reject.
#include <cstdint>
#include <vector>

#include "gpunn/core/implementation.h"

namespace gpunn::selftest {

inline constexpr int kGroup = 64;

enum class Sabotage : std::uint8_t {
  none,
  nan,           // one element is NaN
  tail,          // the last 1 % is 1 % off
  coarse,        // everything is rounded to bf16
  unwritten,     // nothing is written
  zero,          // everything is zero
  bounds,        // one element is written after the end
  underrun,      // one element is written before the begin
  workspace,     // one byte is written after the workspace
  input,         // an input is overwritten
  unrepeatable,  // the second run differs in the last bit
  last_bit,      // the last bit is another one, always: repeatable, but not portable
  stream,        // CUDA: coarse on other streams than the default one
  throws,        // an exception
  refuses,       // accepts nothing
  barrier,       // CUDA: the barrier between writing and reading shared memory is missing
  order,         // CUDA: likewise, but right when threads run in order
};

struct MirrorProblem {
  DType dtype;
  const void* x;   // [n]
  void* y;         // [n]; may be x
  std::int64_t n;  // a multiple of kGroup
};

std::vector<Operand> operands(MirrorProblem& p);

void mirror_ref(const MirrorProblem& p, const Exec& exec);
/// On the CPU, and with CUDA kernels.
template <Sabotage kSabotage>
void mirror_cpu(const MirrorProblem& p, const Exec& exec);
void mirror_cuda(const MirrorProblem& p, const Exec& exec, Sabotage sabotage);

}  // namespace gpunn::selftest
