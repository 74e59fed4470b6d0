#pragma once
// Reductions over any axes, and the two shape changes they are the gradients of.
//
//   sum  Σ x     mean  Σ x / K     max, amax  largest x     argmax  index of the largest x
//
// `dims` lists the axes to reduce (negative: from the end; empty: all of them); they disappear, or stay with
// extent 1 under `keepdim`. The forms without `dims` reduce everything to a scalar (rank 0). K is the number
// of elements per result.
//
// dtypes: f32, f16, bf16 (accumulated in float), f64 (on the CPU, accumulated in double); sum also i32, i64,
// u8, bool, with an i64 result; max, amax, argmax also i32 and i64. Indices are i64. Any strides are read in
// place. NaN: a maximum over values with a NaN is NaN, and its index is the first NaN's; otherwise ties give
// the first index. Empty (K = 0): sum is 0, mean is NaN, the maxima throw InvalidArgument.
//
// Backward keeps: sum and mean nothing; amax and max(x) input and output, and share the gradient evenly among
// ties (as PyTorch's amax); max(x, dim) the indices, and sends the gradient there. Second derivatives: all of
// them. Determinism: bitwise; sums are added pairwise or by fixed trees that depend on sizes only, so that
// the error grows like sqrt(K)·eps or slower and neither threads nor the GPU model change a bit of it.
// Errors: InvalidArgument for undefined tensors, axes out of range or given twice, mean of integers (convert
// with .to()).

#include <cstdint>

#include "gpunn/core/api.h"
#include "gpunn/core/tensor.h"

namespace gpunn {

GPUNN_API Tensor sum(const Tensor& x);
GPUNN_API Tensor sum(const Tensor& x, const Dims& dims, bool keepdim = false);
GPUNN_API Tensor mean(const Tensor& x);
GPUNN_API Tensor mean(const Tensor& x, const Dims& dims, bool keepdim = false);

/// Largest element of all.
GPUNN_API Tensor max(const Tensor& x);
/// Largest elements along `dims`, without indices.
GPUNN_API Tensor amax(const Tensor& x, const Dims& dims, bool keepdim = false);

/// What max along one dimension gives: `values` in the dtype of x, `indices` i64, both of the reduced shape.
struct MaxResult {
  Tensor values;
  Tensor indices;
};
GPUNN_API MaxResult max(const Tensor& x, int dim, bool keepdim = false);

/// Row-major index of the largest element of all, i64 scalar. Not differentiable.
GPUNN_API Tensor argmax(const Tensor& x);
/// Index of the largest element along `dim`, i64. Not differentiable.
GPUNN_API Tensor argmax(const Tensor& x, int dim, bool keepdim = false);

/// x seen as `shape` by repeating extents of 1 (a view with stride 0, no copy); -1 keeps an extent.
/// Differentiable.
GPUNN_API Tensor expand(const Tensor& x, const Shape& shape);
/// The opposite: sums x over whatever broadcasting `shape` to x's shape repeats. x itself when the shapes are
/// equal.
GPUNN_API Tensor sum_to(const Tensor& x, const Shape& shape);

}  // namespace gpunn
