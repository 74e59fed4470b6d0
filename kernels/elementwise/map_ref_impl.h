#pragma once
// The reference of a group: floating dtypes through double, one rounding at the store; integers exactly.
#include <type_traits>
#include <utility>

#include "gpunn/core/detail/strided.h"
#include "gpunn/core/primitives_impl.h"
#include "gpunn/kernels/common/ref_access.h"
#include "gpunn/kernels/elementwise/functions_impl.h"

namespace gpunn::elementwise {

/// Element `i` of a buffer of integers, or of floats as double.
template <class T>
T read_ref(const void* data, DType dtype, std::int64_t i) {
  if (dtype == DType::boolean) return static_cast<T>(static_cast<const bool*>(data)[i]);
  if constexpr (std::is_same_v<T, double>)
    return load_ref(data, dtype, i);
  else
    return static_cast<const T*>(data)[i];
}

template <class T, class R>
void write_ref(void* data, DType dtype, std::int64_t i, R value) {
  if constexpr (std::is_same_v<R, bool>)
    static_cast<bool*>(data)[i] = value;
  else if constexpr (std::is_same_v<T, double>)
    store_ref(data, dtype, i, value);
  else
    static_cast<T*>(data)[i] = value;
}

template <class T, class Function>
void run_ref(const MapProblem<Function>& p) {
  constexpr int K = kInputs<Function>;
  const T s = gpunn::detail::convert_value<T>(p.s), t = gpunn::detail::convert_value<T>(p.t);
  const auto walk_all = [&]<std::size_t... I>(auto functor, std::index_sequence<I...>) {
    std::int64_t i = 0;
    gpunn::detail::walk<K>(
        p.rank, p.shape, {p.strides[I]...}, 0, numel_of(p), [&](std::int64_t n, const std::int64_t(&at)[K]) {
          for (std::int64_t j = 0; j < n; ++j, ++i)
            write_ref<T>(p.y, p.dtype, i,
                         decltype(functor)::template apply<T>(
                             read_ref<T>(p.in[I], input_dtype<Function>(p.dtype, static_cast<int>(I)),
                                         at[I] + j * p.strides[I][p.rank - 1])...,
                             s, t));
        });
  };
  visit<T>(p.function, [&](auto functor) { walk_all(functor, std::make_index_sequence<K>()); });
}

/// Chooses the type to compute in.
template <class Function>
void run_ref_any(const MapProblem<Function>& p) {
  switch (p.dtype) {
    case DType::i32:
      return run_ref<std::int32_t>(p);
    case DType::i64:
      return run_ref<std::int64_t>(p);
    case DType::u8:
      if constexpr (MapGroup<Function>::kAnyDType) run_ref<std::uint8_t>(p);
      return;
    case DType::boolean:
      if constexpr (MapGroup<Function>::kAnyDType) run_ref<bool>(p);
      return;
    default:
      return run_ref<double>(p);
  }
}

}  // namespace gpunn::elementwise
