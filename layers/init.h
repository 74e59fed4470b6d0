#pragma once
// Initial values of parameters.
//
// Each function overwrites a tensor (f32 or any floating dtype, any device) outside the graph. Random values
// are drawn on the CPU from the Runtime's counter-based generator, so that one seed gives one model on every
// device.
//
// Of a weight [out, in, k...], fan_in = in * prod(k) and fan_out = out * prod(k); fewer than two dimensions
// throw InvalidArgument. Undefined or integer tensors and non-finite arguments do too.
#include "gpunn/core/api.h"
#include "gpunn/core/tensor.h"

namespace gpunn::init {

GPUNN_API void zeros(const Tensor& w);
GPUNN_API void ones(const Tensor& w);
GPUNN_API void constant(const Tensor& w, double value);
/// N(mean, std²).
GPUNN_API void normal(const Tensor& w, double mean = 0, double std = 1);
/// U[low, high).
GPUNN_API void uniform(const Tensor& w, double low = 0, double high = 1);

/// U(±gain sqrt(6 / (fan_in + fan_out))): Glorot & Bengio, "Understanding the difficulty of training deep
/// feedforward neural networks", 2010.
GPUNN_API void xavier_uniform(const Tensor& w, double gain = 1);
/// N(0, gain² 2 / (fan_in + fan_out)).
GPUNN_API void xavier_normal(const Tensor& w, double gain = 1);
/// U(±sqrt(6 / fan_in)), for ReLU: He et al., "Delving deep into rectifiers", 2015. PyTorch's
/// kaiming_uniform_ with nonlinearity 'relu'.
GPUNN_API void he_uniform(const Tensor& w);
/// N(0, 2 / fan_in).
GPUNN_API void he_normal(const Tensor& w);
/// N(0, 1 / max(fan_in, fan_out)), so the standard deviation is 1 / sqrt(max).
GPUNN_API void sqrt_max(const Tensor& w);

/// N(mean, std²) restricted to [a, b] (PyTorch's trunc_normal_), by inverting the distribution function: one
/// uniform number an element. Throws InvalidArgument for std <= 0, a >= b, and an interval so far out that
/// double cannot tell its ends apart.
GPUNN_API void trunc_normal(const Tensor& w, double mean = 0, double std = 1, double a = -2, double b = 2);
/// gain * Q, Q's rows (or columns, whichever are fewer) orthonormal: the orthogonal factor of a matrix
/// [w.size(0), the rest] of standard normals, R's diagonal positive. Saxe et al., "Exact solutions to the
/// nonlinear dynamics of learning in deep linear neural networks", 2014. In double on one thread, of order
/// rows * columns * min(rows, columns).
GPUNN_API void orthogonal(const Tensor& w, double gain = 1);

/// {fan_in, fan_out} of a weight.
struct Fans {
  double in;
  double out;
};
GPUNN_API Fans fans_of(const Tensor& w);

}  // namespace gpunn::init
