#pragma once
// Running sums and products along one dimension: y has the shape of x.
//
//   cumsum   y[k] = x[0] + … + x[k]        cumprod   y[k] = x[0] · … · x[k]
//
// dtypes: f32, f16, bf16 (accumulated in float; f32 on the CPU in double), f64 (on the CPU); cumsum also i32,
// i64, u8 and bool, with an i64 result that wraps around. Any strides (x is made contiguous first). NaN and
// infinities spread to everything after them. Empty tensors give empty results; a scalar is a row of one.
//
// Backward keeps: cumsum nothing (its gradient is the sum from the other end); cumprod input and output. With
// R[k] = dy[k] + x[k+1] R[k+1] its gradient is dx[k] = y[k-1] R[k]: no division, exact where elements are 0.
// Second derivatives: cumsum's; cumprod throws Unsupported. Determinism: bitwise; long rows are cut into
// pieces that depend on sizes only, and neither threads nor the GPU model change a bit. Errors:
// InvalidArgument for undefined tensors, a dimension out of range, cumprod of integers.

#include "gpunn/core/api.h"
#include "gpunn/core/tensor.h"

namespace gpunn {

GPUNN_API Tensor cumsum(const Tensor& x, int dim);
GPUNN_API Tensor cumprod(const Tensor& x, int dim);

}  // namespace gpunn
