#pragma once
// Reductions over any axes, and the two shape changes they are the gradients of.
//
//   sum  Σ x       mean  Σ x / K      prod  Π x      logsumexp  ln Σ e^x
//   max, amax, min, amin  largest, least x           argmax, argmin  its index
//   var  Σ (x - mean)² / max(0, K - correction)      std  √var
//   norm  (Σ |x|^p)^(1/p); p = ∞, -∞: largest, least |x|; p = 0: how many are not 0
//   any, all  is any, is every element not 0?        count_nonzero  how many are not
//
// `dims` lists the axes to reduce (negative: from the end; empty: all of them); they disappear, or stay with
// extent 1 under `keepdim`. The forms without `dims` reduce everything to a scalar (rank 0). K is the number
// of elements per result.
//
// dtypes: f32, f16, bf16 (accumulated in float), f64 (on the CPU, accumulated in double). Besides: sum also
// i32, i64, u8, bool, with an i64 result; the maxima and minima also i32 and i64; any, all (result: bool) and
// count_nonzero (i64) every dtype. Indices are i64. Any strides are read in place.
// Special values: a maximum or minimum over values with a NaN is NaN, and its index is the first NaN's;
// otherwise ties give the first index. NaN counts as not 0. logsumexp is ∞ for a row with ∞ (without NaN) and
// -∞ for a row of -∞; it never overflows. var subtracts before it squares: it is exact to a few eps·√K for
// any mean. The squares of a norm must be in float's range. Empty (K = 0): sum, norm, count_nonzero and any
// are 0, prod and all 1, logsumexp -∞, mean, var and std NaN; the maxima, the minima and norms with p = ±∞ or
// p < 0 throw InvalidArgument.
//
// Backward keeps: sum and mean nothing; amax, amin, max(x), min(x) input and output, and share the gradient
// evenly among ties (as PyTorch's amax); max(x, dim), min(x, dim) the indices, and send the gradient there;
// prod and var the input; std, norm and logsumexp input and output. prod is exact where elements are 0; std
// and norm give 0 where they are 0; norm with p = ±∞ shares among ties. Second derivatives: all of them but
// norm's with p other than 0, 1, 2, ±∞, which throws Unsupported. Determinism: bitwise; sums are added
// pairwise or by fixed trees that depend on sizes only, so that the error grows like sqrt(K)·eps or slower
// and neither threads nor the GPU model change a bit of it. Method of var on a GPU: Chan, Golub, LeVeque,
// "Updating formulae and a pairwise algorithm for computing sample variances" (1979), on values less the
// first one. Errors: InvalidArgument for undefined tensors, axes out of range or given twice, dtypes other
// than these (convert with .to()), a p that is NaN, a correction that is not finite.

#include <cstdint>

#include "gpunn/core/api.h"
#include "gpunn/core/tensor.h"

namespace gpunn {

GPUNN_API Tensor sum(const Tensor& x);
GPUNN_API Tensor sum(const Tensor& x, const Dims& dims, bool keepdim = false);
GPUNN_API Tensor mean(const Tensor& x);
GPUNN_API Tensor mean(const Tensor& x, const Dims& dims, bool keepdim = false);

/// Largest and least element of all.
GPUNN_API Tensor max(const Tensor& x);
GPUNN_API Tensor min(const Tensor& x);
/// Largest and least elements along `dims`, without indices.
GPUNN_API Tensor amax(const Tensor& x, const Dims& dims, bool keepdim = false);
GPUNN_API Tensor amin(const Tensor& x, const Dims& dims, bool keepdim = false);

/// What max and min along one dimension give: `values` in the dtype of x, `indices` i64, both of the reduced
/// shape.
struct MaxResult {
  Tensor values;
  Tensor indices;
};
GPUNN_API MaxResult max(const Tensor& x, int dim, bool keepdim = false);
GPUNN_API MaxResult min(const Tensor& x, int dim, bool keepdim = false);

/// Row-major index of the largest or least element of all, i64 scalar. Not differentiable.
GPUNN_API Tensor argmax(const Tensor& x);
GPUNN_API Tensor argmin(const Tensor& x);
/// Index of the largest or least element along `dim`, i64. Not differentiable.
GPUNN_API Tensor argmax(const Tensor& x, int dim, bool keepdim = false);
GPUNN_API Tensor argmin(const Tensor& x, int dim, bool keepdim = false);

GPUNN_API Tensor prod(const Tensor& x);
GPUNN_API Tensor prod(const Tensor& x, const Dims& dims, bool keepdim = false);

/// correction 1: the unbiased estimate from a sample; 0: of a whole population.
GPUNN_API Tensor var(const Tensor& x, const Dims& dims = {}, double correction = 1, bool keepdim = false);
GPUNN_API Tensor std(const Tensor& x, const Dims& dims = {}, double correction = 1, bool keepdim = false);
struct VarMean {
  Tensor var;
  Tensor mean;
};
GPUNN_API VarMean var_mean(const Tensor& x, const Dims& dims = {}, double correction = 1,
                           bool keepdim = false);

/// p = 2 over two axes is the Frobenius norm of their matrices.
GPUNN_API Tensor norm(const Tensor& x, double p = 2);
GPUNN_API Tensor norm(const Tensor& x, double p, const Dims& dims, bool keepdim = false);
GPUNN_API Tensor logsumexp(const Tensor& x, const Dims& dims, bool keepdim = false);

/// Not differentiable, these three.
GPUNN_API Tensor any(const Tensor& x);
GPUNN_API Tensor any(const Tensor& x, const Dims& dims, bool keepdim = false);
GPUNN_API Tensor all(const Tensor& x);
GPUNN_API Tensor all(const Tensor& x, const Dims& dims, bool keepdim = false);
GPUNN_API Tensor count_nonzero(const Tensor& x, const Dims& dims = {});

/// x seen as `shape` by repeating extents of 1 (a view with stride 0, no copy); -1 keeps an extent.
/// Differentiable.
GPUNN_API Tensor expand(const Tensor& x, const Shape& shape);
/// The opposite: sums x over whatever broadcasting `shape` to x's shape repeats. x itself when the shapes are
/// equal.
GPUNN_API Tensor sum_to(const Tensor& x, const Shape& shape);

}  // namespace gpunn
