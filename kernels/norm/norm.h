#pragma once
// Normalisations: over a batch, the trailing dimensions, groups of channels, or neighbouring channels.
//
//   batch, layer, group, instance   y = (x - mean) / sqrt(var + eps) * w + b
//   RMS                             y = x / sqrt(mean(x^2) + eps) * w
//
// with mean and (biased) variance of each channel, row, or group of channels of a sample.
//
// dtypes: x in f32, f16 or bf16 with statistics in f32, or f64 on the CPU with statistics in f64. Weights,
// biases and running statistics have one dtype: x's, or f32 beside halves. The result has x's dtype.
// Variances are found around the mean, never as E[x^2] - E[x]^2: a large mean costs no digits. Finite input
// never gives NaN (f32: where the variance overflows, beyond deviations of 1e19, a GPU takes it for
// infinite). NaN stays within its channel, row or group.
//
// Memory order: batch_norm takes channels-last pictures as they are, and so is its result; group_norm and
// instance_norm compute on a contiguous copy and give the order of x back; layer_norm and rms_norm return
// contiguous tensors.
//
// Backward keeps x, mean and 1 / sqrt(var + eps), the latter two in the precision of statistics; with relu
// also y. Second derivatives: all, through the same formulas written with public ops; with relu but for the
// kink. The norms of sums keep the sum, which is a result of theirs, instead of x, and draw dropout's mask
// again. Determinism: bitwise, whatever the number of threads.
// Errors: InvalidArgument for undefined or integer tensors, dtypes, devices and sizes that do not fit each
// other, eps < 0, groups that do not divide the channels, and statistics of a single value.
//
// Sources: S. Ioffe and C. Szegedy, "Batch Normalization", 2015; J. Ba, J. Kiros and G. Hinton, "Layer
// Normalization", 2016; D. Ulyanov et al., "Instance Normalization", 2016; Y. Wu and K. He, "Group
// Normalization", 2018; B. Zhang and R. Sennrich, "Root Mean Square Layer Normalization", 2019; variances
// after B. Welford (1962) and T. Chan, G. Golub and R. LeVeque (1979).
#include <cstdint>
#include <optional>

#include "gpunn/core/api.h"
#include "gpunn/core/tensor.h"

namespace gpunn {

struct BatchNormOptions {
  bool training = false;  // statistics of this batch; else the running ones
  double momentum = 0.1;  // share of this batch in the new running statistics, [0, 1]
  double eps = 1e-5;
  bool relu = false;  // max(y, 0) in the same pass
};

/// y = (x - mean) / sqrt(var + eps) w + b + residual, with relu cut off below 0. x is [N, C], [N, C, L] or
/// [N, C, H, W]; weight, bias, running_mean and running_var are [C] or undefined (1 and 0; running statistics
/// are needed unless training); residual has x's shape. Training updates running_mean and running_var (with
/// the unbiased variance) in place, outside the graph, and needs more than one value per channel.
GPUNN_API Tensor batch_norm(const Tensor& x, const Tensor& running_mean, const Tensor& running_var,
                            const Tensor& weight = {}, const Tensor& bias = {},
                            const BatchNormOptions& options = {}, const Tensor& residual = {});

/// Over the trailing dimensions `normalized_shape` of x; weight and bias have that shape.
GPUNN_API Tensor layer_norm(const Tensor& x, const Shape& normalized_shape, const Tensor& weight = {},
                            const Tensor& bias = {}, double eps = 1e-5);

/// Likewise without mean and bias. eps defaults to the machine epsilon of x's dtype.
GPUNN_API Tensor rms_norm(const Tensor& x, const Shape& normalized_shape, const Tensor& weight = {},
                          std::optional<double> eps = {});

/// x [N, C, *] in `groups` groups of neighbouring channels, each sample by itself; weight and bias are [C].
GPUNN_API Tensor group_norm(const Tensor& x, std::int64_t groups, const Tensor& weight = {},
                            const Tensor& bias = {}, double eps = 1e-5);

/// Each channel of each sample by itself, x [N, C, L] or [N, C, H, W] (without a batch [C, L]); weight, bias
/// and running statistics are [C]. Running statistics move towards the mean of the samples' statistics. With
/// use_input_stats false they are what x is normalised with, as in batch_norm.
GPUNN_API Tensor instance_norm(const Tensor& x, const Tensor& running_mean = {},
                               const Tensor& running_var = {}, const Tensor& weight = {},
                               const Tensor& bias = {}, bool use_input_stats = true, double momentum = 0.1,
                               double eps = 1e-5);

/// y = x / (k + alpha / size * sum of x^2 over `size` neighbouring channels)^beta, x [N, C, *]. Channel c
/// sees c - size / 2 up to c + (size - 1) / 2, zeros beyond the ends.
GPUNN_API Tensor local_response_norm(const Tensor& x, std::int64_t size, double alpha = 1e-4,
                                     double beta = 0.75, double k = 1.0);

struct AddNormOptions {
  std::optional<double> eps{};  // 1e-5; for RMS the machine epsilon of x's dtype
  double dropout_p = 0;         // chance of an element of x to be dropped, [0, 1]
  bool training = true;         // else nothing is dropped
};

struct AddNormOutput {
  Tensor y;    // the norm of the sum
  Tensor sum;  // residual + dropout(x), what the next block adds to
};

/// sum = residual + dropout(x) and y = layer_norm(sum) in one pass, forward and backward. x and residual have
/// one shape and dtype; the norm is over the trailing dimensions that weight and bias have, over the last one
/// without both. dropout_p > 0 takes the numbers of the stream that dropout(x, dropout_p) would take. In f32
/// values and gradients are those of dropout(), add() and layer_norm(), bit for bit; halves are rounded less
/// often, where the sum is kept and at the end. Results overlap no input, and both may be used and
/// differentiated, or one of them. Without dropout x and residual get one gradient tensor.
GPUNN_API AddNormOutput add_layer_norm(const Tensor& x, const Tensor& residual, const Tensor& weight = {},
                                       const Tensor& bias = {}, const AddNormOptions& options = {});

/// Likewise y = rms_norm(sum).
GPUNN_API AddNormOutput add_rms_norm(const Tensor& x, const Tensor& residual, const Tensor& weight = {},
                                     const AddNormOptions& options = {});

}  // namespace gpunn
