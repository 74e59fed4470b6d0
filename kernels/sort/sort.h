#pragma once
// Order along one dimension, and random order.
//
//   sort      y[k] = x[indices[k]], ascending or descending        argsort   its indices
//   topk      the first k of that: the k largest or least          randperm  0 … n-1 in random order
//
// Stable: elements that compare equal keep their order, whichever way the sort goes. NaN is greater than
// everything and -0 equals +0, as in PyTorch. Values have the dtype of x, indices are i64. A scalar is a row
// of one.
//
// dtypes: f32, f16, bf16, i32, i64, u8, bool; f64 on the CPU. Any strides (x is made contiguous first). A row
// has less than 2^32 elements. Method on a GPU: tiles of 1,024 by a bitonic network (Batcher, "Sorting
// networks and their applications", 1968) on (key, position) pairs, merged by ranks; CUB's radix sort for
// rows of 16,384 elements and more, with the same result; on the CPU radix sort.
//
// Backward keeps the indices, and sends each gradient to where its value came from; second derivatives: all
// of them. Determinism: bitwise; randperm draws from the Runtime's generator, the same numbers for every
// device. Errors: InvalidArgument for undefined tensors, a dimension out of range, k beyond the dimension, n
// < 0.

#include <cstdint>

#include "gpunn/core/api.h"
#include "gpunn/core/tensor.h"

namespace gpunn {

/// `values` in the dtype of x, `indices` i64, of one shape.
struct SortResult {
  Tensor values;
  Tensor indices;
};
GPUNN_API SortResult sort(const Tensor& x, int dim = -1, bool descending = false);
/// Not differentiable.
GPUNN_API Tensor argsort(const Tensor& x, int dim = -1, bool descending = false);
/// 0 <= k <= the extent of `dim`. The result is always sorted, equal elements in their order in x; `sorted`
/// is here for PyTorch's signature.
GPUNN_API SortResult topk(const Tensor& x, std::int64_t k, int dim = -1, bool largest = true,
                          bool sorted = true);

/// Every order of 0 … n-1 is equally likely. `options.dtype` i64 or i32.
GPUNN_API Tensor randperm(std::int64_t n, TensorOptions options = {.dtype = DType::i64});

}  // namespace gpunn
