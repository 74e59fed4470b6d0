#pragma once
// Products written as matmul: bmm, outer, einsum, bilinear.
//
// Dtypes, determinism, errors and derivatives are matmul's (matmul.h): f32, f16, bf16, f64 for the reference;
// bitwise; any number of derivatives, backward keeps what its matmuls keep. InvalidArgument for shapes and
// equations that do not fit. Everything here permutes, reshapes and multiplies: an operand that the
// permutation leaves strided in other than its last two dimensions is copied.
#include <span>
#include <string_view>

#include "gpunn/core/api.h"
#include "gpunn/core/tensor.h"

namespace gpunn {

/// a [B, M, K] times b [B, K, N]: [B, M, N]. No broadcasting.
GPUNN_API Tensor bmm(const Tensor& a, const Tensor& b);

/// a [M], b [N]: [M, N], y[m][n] = a[m] b[n].
GPUNN_API Tensor outer(const Tensor& a, const Tensor& b);

/// Sum of products over the letters that the result lacks, as NumPy's and PyTorch's einsum: "ij,jk->ik".
/// One or two operands. A letter may occur once in an operand (no diagonals). "..." stands for leading
/// dimensions, which broadcast, and must then occur in the result. Without "->" the result has the letters
/// that occur once, in alphabetical order, after "...". Letters a-z and A-Z; spaces are ignored.
GPUNN_API Tensor einsum(std::string_view equation, std::span<const Tensor> operands);
inline Tensor einsum(std::string_view equation, const Tensor& a) {
  return einsum(equation, std::span(&a, 1));
}
GPUNN_API Tensor einsum(std::string_view equation, const Tensor& a, const Tensor& b);

/// y[..., o] = x1[...] w[o] x2[...] + b[o] for x1 [*, I], x2 [*, J], w [O, I, J], b [O] or undefined: [*, O].
GPUNN_API Tensor bilinear(const Tensor& x1, const Tensor& x2, const Tensor& w, const Tensor& b = {});

}  // namespace gpunn
