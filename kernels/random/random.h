#pragma once
// Random draws: dropout, and tensors of random numbers.
//
//   dropout      y_i = x_i m_i / (1 - p), where m_i is 0 with probability p and 1 otherwise
//   bernoulli    1 with probability p_i, else 0
//   uniform      low + (high - low) u, u in [0, 1)          normal    mean + std z
//   multinomial  indices of a row of weights, each as likely as its weight
//
// Every call takes a range of Philox blocks of the Runtime's generator: four numbers a block, number i of the
// range for element i in row-major order. The same seed and the same calls before give the same bits on every
// device, with any number of threads, in every implementation. A generator's range is taken on the host, when
// the op is called.
//
// dtypes: f32, f16, bf16, f64 (on the CPU; uniform and normal as the factories of core). Any strides.
// Backward of dropout keeps seed and offset, four words: the mask is drawn again. Second derivatives: all of
// them, dropout is linear in x. The others have no gradient.
// Determinism: bitwise. Errors: InvalidArgument for undefined tensors, integers where floats are drawn, and
// probabilities outside [0, 1].
//
// Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC'11); dropout: Srivastava et al.
// (JMLR 2014); drawing without replacement: Efraimidis and Spirakis, "Weighted random sampling with a
// reservoir" (2006).
#include <cstdint>

#include "gpunn/core/api.h"
#include "gpunn/core/tensor.h"

namespace gpunn {

/// x with each element zeroed with probability p and the others divided by 1 - p. As in PyTorch: x itself for
/// training = false, p = 0 or an empty x, and then nothing is drawn; x * 0 for p = 1, so that infinities and
/// NaN become NaN where they are dropped. The chance to be kept is 1 - p rounded to a multiple of 2^-32.
GPUNN_API Tensor dropout(const Tensor& x, double p = 0.5, bool training = true);

/// 0 or 1 for each element of p, in the dtype of p: 1 where rand() would be less. Looks at all of p first and
/// throws InvalidArgument for one outside [0, 1] or NaN; on a GPU that waits for the device.
GPUNN_API Tensor bernoulli(const Tensor& p);
/// The same with one p (rounded to float) for all; floating dtypes.
GPUNN_API Tensor bernoulli(const Shape& shape, double p, TensorOptions options = {});

/// rand() scaled, computed in f32: in [low, high), but for rounding, which may give high itself. Drawn on the
/// CPU and copied. Throws InvalidArgument unless low <= high and both are finite in f32.
GPUNN_API Tensor uniform(const Shape& shape, double low = 0, double high = 1, TensorOptions options = {});
/// randn() scaled, likewise. Throws InvalidArgument unless mean is finite and std finite and >= 0.
GPUNN_API Tensor normal(const Shape& shape, double mean = 0, double std = 1, TensorOptions options = {});

/// num_samples indices (i64) for each row of weights [C] or [N, C]: [num_samples] or [N, num_samples] on the
/// weights' device. Weights need not sum to one. Without replacement a row's indices differ, in the order of
/// being drawn. Drawn on the CPU, in double, and copied, so it waits for a GPU. Throws InvalidArgument for
/// weights that are negative, infinite or NaN, a row without any, num_samples below 1, or more than a row has
/// positive weights (without replacement).
GPUNN_API Tensor multinomial(const Tensor& probabilities, std::int64_t num_samples, bool replacement = false);

}  // namespace gpunn
