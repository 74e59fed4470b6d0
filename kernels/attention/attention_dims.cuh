#pragma once
// From the lengths of rows to template arguments.
#include <type_traits>

#include "gpunn/kernels/attention/attention_device_impl.h"
#include "gpunn/kernels/common/device_dtype.h"

namespace gpunn::attention_tile {

/// Calls f(integral_constant) with the padded row length.
template <class F>
void for_dim(const AttentionSizes& s, F&& f) {
  switch (attention_padded_dim(s)) {
    case 32:
      return f(std::integral_constant<int, 32>{});
    case 64:
      return f(std::integral_constant<int, 64>{});
    case 128:
      return f(std::integral_constant<int, 128>{});
    default:
      return f(std::integral_constant<int, 256>{});
  }
}
template <class F>
void for_half_and_dim(DType dtype, const AttentionSizes& s, F&& f) {
  for_dim(s, [&](auto dim) {
    if (dtype == DType::f16) return f(Half{}, dim);
    f(BFloat16{}, dim);
  });
}

}  // namespace gpunn::attention_tile
