#pragma once
// Matrix products: matmul (batched, broadcasting) and linear (product with a transposed weight, bias,
// activation and residual).
//
// Dtypes: f32, f16, bf16, and f64 for the reference. Accumulation is in f32 (f64 in the reference) in a fixed
// order, so that a result depends neither on the number of CPU threads nor on what ran before: bitwise from
// run to run. Errors: InvalidArgument for shapes that do not fit, mixed dtypes or devices, and integer
// tensors.
#include "gpunn/core/api.h"
#include "gpunn/core/tensor.h"
#include "gpunn/kernels/matmul/activation.h"  // IWYU pragma: export

namespace gpunn {

/// Product of `a` and `b` by PyTorch's rules:
///   [K] x [K] -> scalar, [M, K] x [K] -> [M], [K] x [K, N] -> [N], [M, K] x [K, N] -> [M, N],
///   [*, M, K] x [*, K, N] -> [*, M, N] with the leading dimensions broadcast (a vector operand broadcasts as
///   a matrix).
/// Transposed and otherwise strided operands are read in place. K = 0 gives zeros.
/// Backward keeps both operands: da = dy b^T and db = a^T dy, summed over what was broadcast. Any number of
/// derivatives.
GPUNN_API Tensor matmul(const Tensor& a, const Tensor& b);

/// activation(x w^T + b) + residual for x [*, K], w [N, K], b [N] or undefined, residual of the result's
/// shape
/// [*, N] or undefined (the last step of a transformer's block: a sum that costs no pass of its own).
/// Bias, activation and residual are applied while the product is still in registers, in f32, before rounding
/// to the dtype. Backward keeps x, w and, with an activation, the result y; with GELU, or an activation and a
/// residual, it keeps the preactivation z = x w^T + b instead, rounded to the dtype, a second output that is
/// written only when a gradient of x, w or b is wanted. With dz = dy * activation'(z): dx = dz w, dw = dz^T
/// x, db = column sums of dz, and the residual's gradient is dy itself. Any number of derivatives.
GPUNN_API Tensor linear(const Tensor& x, const Tensor& w, const Tensor& b = {},
                        Activation activation = Activation::none, const Tensor& residual = {});

/// May f32 products on a GPU run on tensor cores with operands rounded to TF32 (10-bit mantissa)? Off at the
/// start; one setting per process, read when an op is issued. Thread-safe.
GPUNN_API void set_allow_tf32(bool on) noexcept;
GPUNN_API bool allow_tf32() noexcept;

}  // namespace gpunn
