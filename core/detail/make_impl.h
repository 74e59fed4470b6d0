#pragma once
// Tensors from their parts, and the copy behind clone() and copy_().
#include "gpunn/core/tensor.h"

namespace gpunn::detail {

Ref<TensorImpl> make_impl(Ref<Storage> storage, const Shape& shape, const Strides& strides,
                          std::int64_t offset, DType dtype, Layout layout);
/// Copies values between tensors of one device and shape, strides and dtypes as they are; records no
/// gradient.
void raw_copy(const Tensor& source, const Tensor& destination);
/// Is every byte of its storage part of `t`?
inline bool covers_storage(const Tensor& t) { return t.is_contiguous() && t.nbytes() == t.storage().bytes(); }

}  // namespace gpunn::detail
