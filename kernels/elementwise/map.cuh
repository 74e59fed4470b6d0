#pragma once
// The kernel of a group of element-wise functions. The function is chosen once per thread by a uniform
// switch with a loop of its own in every branch, so one instantiation per (dtype, width) serves all
// functions.
#include "gpunn/core/primitives_impl.h"
#include "gpunn/kernels/elementwise/functions_impl.h"
#include "gpunn/kernels/elementwise/strided_groups.cuh"

namespace gpunn {

/// Applies a functor to lane `j` of the loaded inputs.
template <class Functor, class C, int K, int W>
GPUNN_DEVICE auto apply_lane(const C (&v)[K][W], int j, C s, C t) {
  if constexpr (K == 1)
    return Functor::template apply<C>(v[0][j], s, t);
  else if constexpr (K == 2)
    return Functor::template apply<C>(v[0][j], v[1][j], s, t);
  else
    return Functor::template apply<C>(v[0][j], v[1][j], v[2][j], s, t);
}

template <class Function, class T, int kWidth>
GPUNN_KERNEL __launch_bounds__(kElementwiseBlock)
    map_fwd_kernel(const __grid_constant__ MapProblem<Function> p, std::int64_t n) {
  constexpr int K = kInputs<Function>;
  using C = Compute<T>;
  using Out = std::conditional_t<MapGroup<Function>::kResult == MapResult::boolean, bool, T>;
  Out* y = static_cast<Out*>(p.y);
  const C s = detail::convert_value<C>(p.s), t = detail::convert_value<C>(p.t);
  elementwise::visit<C>(p.function, [&](auto functor) {
    for (std::int64_t g = first_group(); g * kWidth < n; g += group_step()) {
      const std::int64_t i = g * kWidth;
      const int count = count_of(n - i, kWidth);
      C v[K][kWidth];
      GPUNN_UNROLL
      for (int k = 0; k < K; ++k) {
        const std::int64_t at = offset_of(p.rank, p.shape, p.strides[k], i, n);
        if (MapGroup<Function>::kSelects && k == 0) {
          bool chosen[kWidth];
          load_group<kWidth>(static_cast<const bool*>(p.in[k]) + at, p.strides[k][p.rank - 1], count, chosen);
          GPUNN_UNROLL
          for (int j = 0; j < kWidth; ++j) v[k][j] = static_cast<C>(chosen[j]);
        } else {
          load_group<kWidth>(static_cast<const T*>(p.in[k]) + at, p.strides[k][p.rank - 1], count, v[k]);
        }
      }
      Compute<Out> result[kWidth];
      GPUNN_UNROLL
      for (int j = 0; j < kWidth; ++j) result[j] = apply_lane<decltype(functor)>(v, j, s, t);
      store_group<kWidth>(y + i, count, result);
    }
  });
}

/// Four elements at a time for every dtype: wider groups of halves would only lengthen the unrolled
/// transcendental functions.
inline constexpr int kMapWidth = 4;

template <class Function, class T>
void launch_map(const MapProblem<Function>& p, const Exec& exec) {
  constexpr int kWidth = sizeof(T) == 8 ? 2 : kMapWidth;
  const std::int64_t n = numel_of(p);
  bool words = aligned(p.y) && rows_divide(p.rank, p.shape, kWidth);
  for (int k = 0; k < kInputs<Function>; ++k)
    words = words && in_words(p.rank, p.strides[k], p.in[k], kWidth);
  if (words)
    launch("map_fwd_kernel", map_fwd_kernel<Function, T, kWidth>, elementwise_grid(n, kWidth), exec, p, n);
  else
    launch("map_fwd_kernel", map_fwd_kernel<Function, T, 1>, elementwise_grid(n, 1), exec, p, n);
}

template <class Function>
void launch_map_any(const MapProblem<Function>& p, const Exec& exec) {
  constexpr bool kIntegers = MapGroup<Function>::kIntegerFunctions > 0;
  switch (p.dtype) {
    case DType::f32:
      return launch_map<Function, float>(p, exec);
    case DType::f16:
      return launch_map<Function, Half>(p, exec);
    case DType::bf16:
      return launch_map<Function, BFloat16>(p, exec);
    case DType::i32:
      if constexpr (kIntegers) launch_map<Function, std::int32_t>(p, exec);
      return;
    case DType::i64:
      if constexpr (kIntegers) launch_map<Function, std::int64_t>(p, exec);
      return;
    case DType::u8:
      if constexpr (MapGroup<Function>::kAnyDType) launch_map<Function, std::uint8_t>(p, exec);
      return;
    default:
      if constexpr (MapGroup<Function>::kAnyDType) launch_map<Function, bool>(p, exec);
      return;
  }
}

}  // namespace gpunn
