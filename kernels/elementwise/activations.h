#pragma once
// Activations, element by element, with PyTorch's names, defaults and special values.
//
//   leaky_relu   x > 0 ? x : negative_slope x; prelu: with a learnt slope per channel
//   elu          x > 0 ? x : alpha (e^x - 1)
//   celu         x > 0 ? x : alpha (e^(x / alpha) - 1)
//   selu         scale elu(x, alpha), with the constants of Klambauer et al. (2017)
//   gelu         x P(X <= x), X standard normal (Hendrycks and Gimpel, 2016)
//                tanh form: x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2
//   silu         x sigmoid(x)
//   mish         x tanh(ln(1 + e^x))
//   softplus     ln(1 + e^(beta x)) / beta, x itself where beta x > threshold
//   softsign     x / (1 + |x|)
//   logsigmoid   ln sigmoid(x)
//   hardtanh     x within [min_val, max_val]; relu6: within [0, 6]
//   hardsigmoid  (x + 3 within [0, 6]) / 6
//   hardswish    x hardsigmoid(x)
//   glu          a sigmoid(b), a and b the halves of x along `dim`
//   swiglu       silu(gate) up;  geglu: gelu(gate) up (Shazeer, "GLU variants improve transformer", 2020)
//
// Shapes, dtypes: the result is a new tensor of x's order, shape (glu: half the extent along dim) and
// dtype: f32, f16, bf16 (computed in float), f64 (on the CPU). NaN gives NaN. Backward keeps the input; at
// kinks as PyTorch: 0 at the bounds of hardtanh and relu6, the slope from the left at 0. Second derivatives:
// all of them. Determinism: bitwise. f32 on the CPU, in ulp over the whole range (measured over 430,000
// floats of all magnitudes): elu 1.0, softplus and logsigmoid 1.7, silu 2.6, mish 3.4, gelu 5.7; below -87,
// where the exponential is subnormal, silu and mish are off by up to |x| / 2 units of 2^-149. Errors:
// InvalidArgument for undefined tensors and other dtypes, celu with alpha 0, hardtanh with its bounds
// exchanged, glu of an odd extent, a prelu weight that is neither single nor of the extent of x's
// dimension 1.
#include <cstdint>

#include "gpunn/core/api.h"
#include "gpunn/core/tensor.h"

namespace gpunn {

enum class GeluApproximate : std::uint8_t { none, tanh };

GPUNN_API Tensor leaky_relu(const Tensor& x, double negative_slope = 0.01);
/// `weight` has one element, or one per channel: dimension 1 of x (its only one when it has one).
GPUNN_API Tensor prelu(const Tensor& x, const Tensor& weight);
GPUNN_API Tensor elu(const Tensor& x, double alpha = 1);
GPUNN_API Tensor selu(const Tensor& x);
GPUNN_API Tensor celu(const Tensor& x, double alpha = 1);
GPUNN_API Tensor gelu(const Tensor& x, GeluApproximate approximate = GeluApproximate::none);
GPUNN_API Tensor silu(const Tensor& x);
GPUNN_API Tensor mish(const Tensor& x);
GPUNN_API Tensor softplus(const Tensor& x, double beta = 1, double threshold = 20);
GPUNN_API Tensor softsign(const Tensor& x);
GPUNN_API Tensor hardtanh(const Tensor& x, double min_val = -1, double max_val = 1);
GPUNN_API Tensor hardsigmoid(const Tensor& x);
GPUNN_API Tensor hardswish(const Tensor& x);
GPUNN_API Tensor relu6(const Tensor& x);
GPUNN_API Tensor logsigmoid(const Tensor& x);
GPUNN_API Tensor glu(const Tensor& x, int dim = -1);
/// Of two tensors that broadcast; backward keeps both.
GPUNN_API Tensor swiglu(const Tensor& gate, const Tensor& up);
GPUNN_API Tensor geglu(const Tensor& gate, const Tensor& up);

}  // namespace gpunn
