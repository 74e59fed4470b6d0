#pragma once
// Tensors from their parts.
#include "gpunn/core/tensor.h"

namespace gpunn::detail {

Ref<TensorImpl> make_impl(Ref<Storage> storage, const Shape& shape, const Strides& strides,
                          std::int64_t offset, DType dtype, Layout layout);

}  // namespace gpunn::detail
