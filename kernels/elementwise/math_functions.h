#pragma once
// Mathematical functions, element by element, under PyTorch's names and with its special values.
//
// Of one tensor: abs sign sqrt rsqrt square reciprocal exp2 expm1 log1p log2 log10 sin cos tan asin acos atan
// sinh cosh erf floor ceil round trunc clamp. Of several: pow maximum minimum fmod remainder atan2 heaviside
// lerp addcmul addcdiv.
//
// round takes halves to the even neighbour; sign(NaN) is NaN; fmod has the sign of the dividend, remainder
// that of the divisor; maximum and minimum give NaN where an operand is NaN; heaviside(x, values) is 0 left
// of 0, 1 right of it, values at 0 and for NaN 0. clamp with a lower bound above the upper one gives the
// upper one.
//
// Shapes, dtypes: operands broadcast, have one dtype and device, and the result is a new tensor (ordered as
// in elementwise.h) of that dtype: f32, f16, bf16 (computed in float), f64 (on the CPU); abs, sign, square,
// clamp, maximum and minimum also i32 and i64. A scalar takes the tensor's dtype.
//
// Backward keeps: sqrt, rsqrt, reciprocal, exp2, expm1, tan and scalar^tensor their output, the others their
// inputs; sign, floor, ceil, round, trunc have the gradient 0, heaviside none. At kinks as PyTorch: abs'(0)
// is 0, clamp passes the gradient on at its bounds, maximum and minimum share it among equal operands; the
// gradient of x^0 is 0. Second derivatives: all of them. Determinism: bitwise. f32 on the CPU, in ulp over
// the whole range (measured over 430,000 floats of all magnitudes): sqrt 0.5, pow 0.51, erf 1.1, expm1 1.2,
// rsqrt 1.5, log1p 1.5; the others are the C library's, or rounded once.
// Errors: InvalidArgument for undefined tensors, shapes that do not broadcast, differing dtype or device,
// other dtypes, clamp without a bound, with NaN or with a fraction for integers.
#include <optional>

#include "gpunn/core/api.h"
#include "gpunn/core/tensor.h"

namespace gpunn {

GPUNN_API Tensor abs(const Tensor& x);
GPUNN_API Tensor sign(const Tensor& x);
GPUNN_API Tensor sqrt(const Tensor& x);
GPUNN_API Tensor rsqrt(const Tensor& x);
GPUNN_API Tensor square(const Tensor& x);
GPUNN_API Tensor reciprocal(const Tensor& x);
GPUNN_API Tensor exp2(const Tensor& x);
GPUNN_API Tensor expm1(const Tensor& x);
GPUNN_API Tensor log1p(const Tensor& x);
GPUNN_API Tensor log2(const Tensor& x);
GPUNN_API Tensor log10(const Tensor& x);
GPUNN_API Tensor sin(const Tensor& x);
GPUNN_API Tensor cos(const Tensor& x);
GPUNN_API Tensor tan(const Tensor& x);
GPUNN_API Tensor asin(const Tensor& x);
GPUNN_API Tensor acos(const Tensor& x);
GPUNN_API Tensor atan(const Tensor& x);
GPUNN_API Tensor sinh(const Tensor& x);
GPUNN_API Tensor cosh(const Tensor& x);
GPUNN_API Tensor erf(const Tensor& x);
GPUNN_API Tensor floor(const Tensor& x);
GPUNN_API Tensor ceil(const Tensor& x);
GPUNN_API Tensor round(const Tensor& x);
GPUNN_API Tensor trunc(const Tensor& x);

/// x within [min, max]; a bound that is not given does not bind, but one must be. NaN stays NaN.
GPUNN_API Tensor clamp(const Tensor& x, std::optional<double> min, std::optional<double> max = std::nullopt);

GPUNN_API Tensor pow(const Tensor& x, const Tensor& exponent);
GPUNN_API Tensor pow(const Tensor& x, double exponent);
GPUNN_API Tensor pow(double x, const Tensor& exponent);
GPUNN_API Tensor maximum(const Tensor& a, const Tensor& b);
GPUNN_API Tensor minimum(const Tensor& a, const Tensor& b);
GPUNN_API Tensor fmod(const Tensor& a, const Tensor& b);
GPUNN_API Tensor fmod(const Tensor& a, double b);
GPUNN_API Tensor remainder(const Tensor& a, const Tensor& b);
GPUNN_API Tensor remainder(const Tensor& a, double b);
/// Angle of the point (b, a) in (-pi, pi].
GPUNN_API Tensor atan2(const Tensor& a, const Tensor& b);
GPUNN_API Tensor heaviside(const Tensor& x, const Tensor& values);

/// start + weight (end - start)
GPUNN_API Tensor lerp(const Tensor& start, const Tensor& end, const Tensor& weight);
GPUNN_API Tensor lerp(const Tensor& start, const Tensor& end, double weight);
/// x + value a b
GPUNN_API Tensor addcmul(const Tensor& x, const Tensor& a, const Tensor& b, double value = 1);
/// x + value a / b
GPUNN_API Tensor addcdiv(const Tensor& x, const Tensor& a, const Tensor& b, double value = 1);

}  // namespace gpunn
