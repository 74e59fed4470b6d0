#pragma once
// Updates of parameters over many tensors at once: optimizer steps and gradient clipping. In place, outside
// the graph, bumping the versions of what is written; one launch serves dozens of tensors.
//
// optimizer_step, for each parameter p with gradient g, in the form of torch.optim (1.13). First
//   g = maximize ? -g : g;   g += weight_decay * p + l1_decay * sign(p);   p *= keep
// then, with the four numbers of StepValues and states v, s ... kept between steps:
//   sgd       v = first_step ? g : beta1 * v + (1 - dampening) * g;   p -= rate * (nesterov ? g + beta1 * v :
//   v)
//             (no v when beta1, the momentum, is 0: p -= rate * g)
//   adagrad   s += g^2;   p -= rate * g / (sqrt(s) + eps)
//   adadelta  s = beta2 * s + (1 - beta2) * g^2;   d = sqrt(a + eps) / sqrt(s + eps) * g
//             p -= rate * d;   a = beta2 * a + (1 - beta2) * d^2
//   rmsprop   s = beta2 * s + (1 - beta2) * g^2;   centered: c = beta2 * c + (1 - beta2) * g
//             d = g / (sqrt(max(s - c^2, 0)) + eps);   beta1 != 0: d = v = beta1 * v + d;   p -= rate * d
//   adam      m = beta1 * m + (1 - beta1) * g;   s = beta2 * s + (1 - beta2) * g^2;   amsgrad: x = max(x, s)
//             p -= rate * m / (sqrt(amsgrad ? x : s) * denominator + eps)
//   nadam     m and s likewise;   p -= (grad_rate * g + rate * m) / (sqrt(s) * denominator + eps)
//   lion      p -= rate * sign(beta1 * m + (1 - beta1) * g);   m = beta2 * m + (1 - beta2) * g
// Sources: Duchi et al. 2011 (adagrad), Zeiler 2012 (adadelta), Hinton 2012 and Graves 2013 (rmsprop), Kingma
// & Ba 2015 (adam), Loshchilov & Hutter 2019 (decoupled decay), Reddi et al. 2018 (amsgrad), Dozat 2016
// (nadam), Chen et al. 2023 (lion).
//
// Dtypes: f32, f16 or bf16 (computed in float; f64 on the CPU). Determinism: bitwise, everything here; the
// order of every sum depends on the sizes only.

#include <span>

#include "gpunn/core/api.h"
#include "gpunn/core/tensor.h"
#include "gpunn/kernels/optim/update_settings.h"

namespace gpunn {

/// Name of state `i` in PyTorch's state dict ("exp_avg"), null when the settings have no such state: sgd
/// {momentum_buffer}, adagrad {sum}, adadelta {square_avg, acc_delta}, rmsprop {square_avg, momentum_buffer,
/// grad_avg}, adam {exp_avg, exp_avg_sq, max_exp_avg_sq}, nadam {exp_avg, exp_avg_sq}, lion {exp_avg}.
GPUNN_API const char* state_name(const UpdateSettings& settings, int i) noexcept;

/// A tensor for StepValues: f64 [4] on `device`.
GPUNN_API Tensor make_step_values(Device device);
/// Writes `values` into it; on a GPU by a copy that is ordered with other work and does not wait.
GPUNN_API void write_step_values(const StepValues& values, const Tensor& tensor);

/// One parameter, given once, contiguous. `grad` has its shape, dtype and device; an undefined grad leaves
/// the parameter alone. States have the parameter's shape and dtype, each where state_name() is not null.
/// With `master` (f32, parameter f16 or bf16) the update reads and writes `master`, states are f32, and the
/// parameter receives the rounded copy; all tensors of a call have a master or none has.
struct UpdateTensor {
  Tensor param;
  Tensor grad;
  Tensor states[kMaxStates];
  Tensor master{};
};

/// Throws InvalidArgument, before anything is written, for mismatched or non-contiguous tensors, a missing
/// state, several devices or dtypes, and settings that are not finite or out of range (betas in [0, 1), sgd
/// and rmsprop momentum >= 0, eps, decay >= 0, nesterov without momentum or with dampening).
GPUNN_API void optimizer_step(std::span<const UpdateTensor> tensors, const UpdateSettings& settings,
                              const Tensor& values);

/// (sum of |x|^norm_type over all elements of all tensors)^(1 / norm_type), or the largest |x| for an
/// infinite norm_type: a tensor of one element on their device (f32; f64 when they are f64), 0 without
/// elements. NaN spreads. f32, f16 and bf16 may be mixed. Throws InvalidArgument for norm_type <= 0 or NaN,
/// undefined or integer tensors, several devices, and f64 mixed with others.
GPUNN_API Tensor total_norm(std::span<const Tensor> tensors, double norm_type = 2);

/// Scales the tensors by min(1, max_norm / (norm + 1e-6)) and returns total_norm() of what they were. Norm
/// and factor stay on the device: nothing waits. With `error_if_nonfinite` it waits, and throws
/// InvalidArgument when the norm is not finite, the tensors being unchanged. Throws it for a negative or NaN
/// max_norm, too.
GPUNN_API Tensor clip_norm_(std::span<const Tensor> tensors, double max_norm, double norm_type = 2,
                            bool error_if_nonfinite = false);

/// Clamps every element to [-clip_value, clip_value]; NaN stays. Throws InvalidArgument for a negative or NaN
/// clip_value and for tensors that total_norm() refuses.
GPUNN_API void clip_value_(std::span<const Tensor> tensors, double clip_value);

}  // namespace gpunn
