#pragma once
// The dtypes that custom kernels compute in, and the way from a run-time dtype to a template argument.
#include "gpunn/core/dtype.h"

namespace gpunn {

/// For an entry's `accepts`: null when kernels exist for `dtype`, else the reason.
constexpr const char* device_dtype_reason(DType dtype) {
  const bool ok = dtype == DType::f32 || dtype == DType::f16 || dtype == DType::bf16;
  return ok ? nullptr : "takes f32, f16 and bf16";
}

/// Calls f(T{}) with the storage type of a dtype that device_dtype_reason() accepts.
template <class F>
void for_device_dtype(DType dtype, F&& f) {
  switch (dtype) {
    case DType::f16:
      f(Half{});
      break;
    case DType::bf16:
      f(BFloat16{});
      break;
    default:
      f(float{});
      break;
  }
}

}  // namespace gpunn
