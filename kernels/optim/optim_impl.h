#pragma once
// Problem and entry points of the multi-tensor SGD step.
#include <cstdint>
#include <vector>

#include "gpunn/core/implementation.h"

namespace gpunn {

/// Tensors per problem. A kernel parameter block holds 4 KiB on every GPU: 110 tensors of 32 bytes fit beside
/// the settings.
inline constexpr int kSgdTensors = 110;

/// One parameter; all buffers hold n contiguous elements of the problem's dtype and do not overlap.
struct SgdSlot {
  void* param;
  const void* grad;
  void* momentum;  // null when momentum is 0; not read when first_step
  std::int64_t n;  // > 0
};

/// Passed to kernels by value.
struct SgdProblem {
  DType dtype;
  bool nesterov, maximize, first_step;
  int count;  // slots in use
  double lr, momentum, dampening, weight_decay;
  SgdSlot slots[kSgdTensors];
};

inline std::int64_t numel_of(const SgdProblem& p) {
  std::int64_t n = 0;
  for (int i = 0; i < p.count; ++i) n += p.slots[i].n;
  return n;
}

std::vector<Operand> operands(SgdProblem& p);
Cost cost(const SgdProblem& p);

void sgd_ref(const SgdProblem& p, const Exec& exec);
void sgd_cpu(const SgdProblem& p, const Exec& exec);
void sgd_cuda(const SgdProblem& p, const Exec& exec);

extern const ImplementationList<SgdProblem> kSgdStep;

}  // namespace gpunn
