#pragma once
// What the ops of this folder check first.
#include <cstdint>

#include "gpunn/core/tensor.h"

namespace gpunn::detail {

/// Throws InvalidArgument unless `index` is defined, i64, and on the device of
/// `x`.
void check_index_tensor(const Tensor& x, const Tensor& index);
/// Throws InvalidArgument naming the first element of `index` (contiguous)
/// outside [0, extent). On a GPU it waits, and does nothing unless `on_device`.
void check_index_range(const Tensor& index, std::int64_t extent, bool on_device);
/// A contiguous input for a kernel; the gradient's rule belongs to the op
/// itself.
Tensor dense(const Tensor& x);

}  // namespace gpunn::detail
