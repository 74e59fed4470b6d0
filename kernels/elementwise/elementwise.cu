// Element-wise kernels. A thread owns kWidth consecutive results: 16 bytes where shape, strides and addresses
// allow it, else one. The function is chosen once per thread by a uniform switch with a loop of its own in
// every branch, so one instantiation per (dtype, width) serves all functions. Rejected: one kernel per
// function and dtype (88 kernels).
#include "gpunn/core/launch.cuh"
#include "gpunn/kernels/common/vec.cuh"
#include "gpunn/kernels/elementwise/elementwise_functors_impl.h"

namespace gpunn {

namespace {

constexpr int kBlock = 256;
constexpr std::int64_t kMaxBlocks = 1 << 16;  // beyond it, threads take several groups

// The type to compute in, and the way there and back.
template <class T>
using Compute = std::conditional_t<std::is_integral_v<T>, T, float>;

template <class T>
GPUNN_DEVICE Compute<T> widen(T x) {
  if constexpr (std::is_integral_v<T>)
    return x;
  else
    return to_float(x);
}
template <class T>
GPUNN_DEVICE T narrow(Compute<T> x) {
  if constexpr (std::is_integral_v<T>)
    return x;
  else
    return from_float<T>(x);
}

/// Offset of element `flat` of an operand. The inner position is kept apart: the caller steps along it.
template <class Index>
GPUNN_DEVICE std::int64_t locate(int rank, const std::int64_t* shape, const std::int64_t* strides,
                                 std::int64_t flat) {
  Index rest = static_cast<Index>(flat);
  std::int64_t offset = 0;
  for (int i = rank - 1; i > 0; --i) {
    const Index extent = static_cast<Index>(shape[i]);
    const Index quotient = rest / extent;
    offset += static_cast<std::int64_t>(rest - quotient * extent) * strides[i];
    rest = quotient;
  }
  return offset + static_cast<std::int64_t>(rest) * strides[0];
}

GPUNN_DEVICE std::int64_t offset_of(int rank, const std::int64_t* shape, const std::int64_t* strides,
                                    std::int64_t flat, std::int64_t n) {
  // 32-bit division is several times faster than 64-bit division.
  return n <= 0x7fffffff ? locate<unsigned>(rank, shape, strides, flat)
                         : locate<std::uint64_t>(rank, shape, strides, flat);
}

/// `count` elements from p, `stride` (0 or 1 for a whole group) apart.
template <int kWidth, class T>
GPUNN_DEVICE void load_group(const T* p, std::int64_t stride, int count, Compute<T> (&out)[kWidth]) {
  if (kWidth > 1 && stride == 1 && count == kWidth) {
    const Vec<T, kWidth> in = load_vec<kWidth>(p);
    GPUNN_UNROLL
    for (int j = 0; j < kWidth; ++j) out[j] = widen(in.v[j]);
  } else {
    GPUNN_UNROLL
    for (int j = 0; j < kWidth; ++j) out[j] = j < count ? widen(p[j * stride]) : Compute<T>{};
  }
}

template <int kWidth, class T>
GPUNN_DEVICE void store_group(T* p, int count, const Compute<T> (&values)[kWidth]) {
  if (kWidth > 1 && count == kWidth) {
    Vec<T, kWidth> out;
    GPUNN_UNROLL
    for (int j = 0; j < kWidth; ++j) out.v[j] = narrow<T>(values[j]);
    store_vec<kWidth>(p, out);
  } else {
    GPUNN_UNROLL
    for (int j = 0; j < kWidth; ++j)
      if (j < count) p[j] = narrow<T>(values[j]);
  }
}

GPUNN_DEVICE std::int64_t first_group() {
  return static_cast<std::int64_t>(blockIdx.x) * kBlock + static_cast<std::int64_t>(threadIdx.x);
}
GPUNN_DEVICE std::int64_t group_step() { return static_cast<std::int64_t>(gridDim.x) * kBlock; }
GPUNN_DEVICE int count_of(std::int64_t left, int width) {
  return left < width ? static_cast<int>(left) : width;
}

template <class T, int kWidth>
GPUNN_KERNEL __launch_bounds__(kBlock)
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
GPUNN_KERNEL __launch_bounds__(kBlock)
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

bool aligned(const void* p) { return reinterpret_cast<std::uintptr_t>(p) % 16 == 0; }

/// Can groups of `width` along the last dimension be read as words? The last dimension repeats or is
/// contiguous, and every group starts at a word.
bool in_words(int rank, const std::int64_t* strides, const void* p, int width) {
  const std::int64_t inner = strides[rank - 1];
  if (inner == 0) return true;
  if (inner != 1 || !aligned(p)) return false;
  for (int i = 0; i + 1 < rank; ++i)
    if (strides[i] % width != 0) return false;
  return true;
}

/// Groups must not straddle rows; a single row may end in a part of one.
bool rows_divide(int rank, const std::int64_t* shape, int width) {
  return rank == 1 || shape[rank - 1] % width == 0;
}

Grid grid_for(std::int64_t n, int width) {
  const std::int64_t blocks = ((n + width - 1) / width + kBlock - 1) / kBlock;
  return {dim3(static_cast<unsigned>(blocks < kMaxBlocks ? blocks : kMaxBlocks)), dim3(kBlock)};
}

template <class T>
void run(const UnaryProblem& p, const Exec& exec) {
  constexpr int kWidth = kVecWidth<T>;
  const std::int64_t n = numel_of(p);
  if (aligned(p.y) && rows_divide(p.rank, p.shape, kWidth) && in_words(p.rank, p.x_strides, p.x, kWidth))
    launch("unary_fwd_kernel", unary_fwd_kernel<T, kWidth>, grid_for(n, kWidth), exec, p, n);
  else
    launch("unary_fwd_kernel", unary_fwd_kernel<T, 1>, grid_for(n, 1), exec, p, n);
}

template <class T>
void run(const BinaryProblem& p, const Exec& exec) {
  constexpr int kWidth = kVecWidth<T>;
  const std::int64_t n = numel_of(p);
  if (aligned(p.y) && rows_divide(p.rank, p.shape, kWidth) && in_words(p.rank, p.a_strides, p.a, kWidth) &&
      in_words(p.rank, p.b_strides, p.b, kWidth))
    launch("binary_fwd_kernel", binary_fwd_kernel<T, kWidth>, grid_for(n, kWidth), exec, p, n);
  else
    launch("binary_fwd_kernel", binary_fwd_kernel<T, 1>, grid_for(n, 1), exec, p, n);
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
