#pragma once
// What the sources of the public reductions share: axes, and the op without gradients.
#include "gpunn/core/tensor.h"
#include "gpunn/kernels/reduce/reduce.h"
#include "gpunn/kernels/reduce/reduce_impl.h"

namespace gpunn::detail {

/// Which dimensions of x are reduced, and the shapes of the result.
struct ReduceAxes {
  bool reduced[kMaxRank] = {};
  Shape shape;       // without the reduced dimensions
  Shape keep_shape;  // with them, as 1
  std::int64_t length = 1;
};

/// Throws InvalidArgument for an undefined tensor, dimensions out of range or given twice. No dims: all.
ReduceAxes reduce_axes(const Tensor& x, const Dims& dims);
/// One dimension, mapped into [0, rank); none for a scalar.
Dims one_dim(const Tensor& x, int dim);
/// The dimensions of `x` with axes.reduced[i] == side, coalesced; in any order where the function allows it.
ReduceDims reduce_side(const Tensor& x, const ReduceAxes& axes, bool side, bool any_order);
/// The op without gradients; values and indices as the function gives them.
MaxResult reduce(ReduceFunction function, const Tensor& x, const ReduceAxes& axes, bool keepdim,
                 double parameter = 0);

}  // namespace gpunn::detail
