// Element-wise kernels. A thread owns kWidth consecutive results: 16 bytes where shape, strides and addresses
// allow it, else one. The function is chosen once per thread by a uniform switch with a loop of its own in
// every branch, so one instantiation per (dtype, width) serves all functions. Rejected: one kernel per
// function and dtype (88 kernels).
#include "gpunn/kernels/elementwise/elementwise_functors_impl.h"
#include "gpunn/kernels/elementwise/strided_groups.cuh"

namespace gpunn {

namespace {

template <class T, int kWidth>
GPUNN_KERNEL __launch_bounds__(kElementwiseBlock)
    unary_fwd_kernel(const __grid_constant__ UnaryProblem p, std::int64_t n) {
  const T* x = static_cast<const T*>(p.x);
  T* y = static_cast<T*>(p.y);
  const auto scalar = static_cast<Compute<T>>(p.scalar);
  const std::int64_t inner = p.x_strides[p.rank - 1];
  elementwise::visit<Compute<T>>(p.function, [&](auto function) {
    for (std::int64_t g = first_group(); g * kWidth < n; g += group_step()) {
      const std::int64_t i = g * kWidth;
      const int count = count_of(n - i, kWidth);
      Compute<T> v[kWidth];
      load_group<kWidth>(x + offset_of(p.rank, p.shape, p.x_strides, i, n), inner, count, v);
      GPUNN_UNROLL
      for (int j = 0; j < kWidth; ++j) v[j] = decltype(function)::template apply<Compute<T>>(v[j], scalar);
      store_group<kWidth>(y + i, count, v);
    }
  });
}

template <class T, int kWidth>
GPUNN_KERNEL __launch_bounds__(kElementwiseBlock)
    binary_fwd_kernel(const __grid_constant__ BinaryProblem p, std::int64_t n) {
  const T* a = static_cast<const T*>(p.a);
  const T* b = static_cast<const T*>(p.b);
  T* y = static_cast<T*>(p.y);
  const std::int64_t inner_a = p.a_strides[p.rank - 1], inner_b = p.b_strides[p.rank - 1];
  elementwise::visit<Compute<T>>(p.function, [&](auto function) {
    for (std::int64_t g = first_group(); g * kWidth < n; g += group_step()) {
      const std::int64_t i = g * kWidth;
      const int count = count_of(n - i, kWidth);
      Compute<T> v[kWidth], w[kWidth];
      load_group<kWidth>(a + offset_of(p.rank, p.shape, p.a_strides, i, n), inner_a, count, v);
      load_group<kWidth>(b + offset_of(p.rank, p.shape, p.b_strides, i, n), inner_b, count, w);
      GPUNN_UNROLL
      for (int j = 0; j < kWidth; ++j) v[j] = decltype(function)::template apply<Compute<T>>(v[j], w[j]);
      store_group<kWidth>(y + i, count, v);
    }
  });
}

// ---- launchers

template <class T>
void run(const UnaryProblem& p, const Exec& exec) {
  constexpr int kWidth = kVecWidth<T>;
  const std::int64_t n = numel_of(p);
  if (aligned(p.y) && rows_divide(p.rank, p.shape, kWidth) && in_words(p.rank, p.x_strides, p.x, kWidth))
    launch("unary_fwd_kernel", unary_fwd_kernel<T, kWidth>, elementwise_grid(n, kWidth), exec, p, n);
  else
    launch("unary_fwd_kernel", unary_fwd_kernel<T, 1>, elementwise_grid(n, 1), exec, p, n);
}

template <class T>
void run(const BinaryProblem& p, const Exec& exec) {
  constexpr int kWidth = kVecWidth<T>;
  const std::int64_t n = numel_of(p);
  if (aligned(p.y) && rows_divide(p.rank, p.shape, kWidth) && in_words(p.rank, p.a_strides, p.a, kWidth) &&
      in_words(p.rank, p.b_strides, p.b, kWidth))
    launch("binary_fwd_kernel", binary_fwd_kernel<T, kWidth>, elementwise_grid(n, kWidth), exec, p, n);
  else
    launch("binary_fwd_kernel", binary_fwd_kernel<T, 1>, elementwise_grid(n, 1), exec, p, n);
}

template <class P>
void run_any(const P& p, const Exec& exec) {
  switch (p.dtype) {
    case DType::f32:
      return run<float>(p, exec);
    case DType::f16:
      return run<Half>(p, exec);
    case DType::bf16:
      return run<BFloat16>(p, exec);
    case DType::i32:
      return run<std::int32_t>(p, exec);
    default:
      return run<std::int64_t>(p, exec);
  }
}

}  // namespace

void unary_cuda(const UnaryProblem& p, const Exec& exec) { run_any(p, exec); }

void binary_cuda(const BinaryProblem& p, const Exec& exec) { run_any(p, exec); }

}  // namespace gpunn
