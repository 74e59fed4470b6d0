#pragma once
// Optimizer steps over many tensors at once.
//
// sgd_step, PyTorch's torch.optim.SGD, for each parameter p with gradient g and momentum buffer v:
//   g = maximize ? -g : g
//   g = g + weight_decay * p
//   if momentum != 0:   v = first_step ? g : momentum * v + (1 - dampening) * g
//                       g = nesterov ? g + momentum * v : v
//   p = p - lr * g
//
// One launch serves up to some hundred tensors. It writes in place, whether or not the parameters need
// gradients, and bumps the versions of what it writes. Determinism: bitwise.

#include <span>

#include "gpunn/core/api.h"
#include "gpunn/core/tensor.h"

namespace gpunn {

/// One parameter, given once: f32, f16 or bf16 (computed in float; f64 on the CPU), contiguous. `grad` and
/// `momentum_buffer` have its shape, dtype and device; an undefined grad leaves the parameter alone. The
/// buffer is needed when momentum is not 0.
struct SgdTensor {
  Tensor param;
  Tensor grad;
  Tensor momentum_buffer;
};

struct SgdOptions {
  double lr = 1e-3;
  double momentum = 0;
  double dampening = 0;
  double weight_decay = 0;
  bool nesterov = false;
  bool maximize = false;
  bool first_step = false;  // momentum buffers are written without being read
};

/// Throws InvalidArgument for mismatched or non-contiguous tensors, a missing buffer, several devices or
/// dtypes, negative or non-finite settings, and nesterov without momentum or with dampening.
GPUNN_API void sgd_step(std::span<const SgdTensor> tensors, const SgdOptions& options);

}  // namespace gpunn
