#pragma once
// How element-wise kernels read and write: a thread owns consecutive results, a group, and finds each
// operand's elements from its shape and strides; 16 bytes at a time where they and the addresses allow it.
#include <cstdint>
#include <type_traits>

#include "gpunn/core/launch.cuh"
#include "gpunn/kernels/common/vec.cuh"

namespace gpunn {

inline constexpr int kElementwiseBlock = 256;
inline constexpr std::int64_t kElementwiseBlocks = 1 << 16;  // beyond it, threads take several groups

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

/// Offset of element `flat` of an operand.
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
  return static_cast<std::int64_t>(blockIdx.x) * kElementwiseBlock + static_cast<std::int64_t>(threadIdx.x);
}
GPUNN_DEVICE std::int64_t group_step() { return static_cast<std::int64_t>(gridDim.x) * kElementwiseBlock; }
GPUNN_DEVICE int count_of(std::int64_t left, int width) {
  return left < width ? static_cast<int>(left) : width;
}

// ---- for launchers

inline bool aligned(const void* p) { return reinterpret_cast<std::uintptr_t>(p) % 16 == 0; }

/// Can groups of `width` along the last dimension be read as words? The last dimension repeats or is
/// contiguous, and every group starts at a word.
inline bool in_words(int rank, const std::int64_t* strides, const void* p, int width) {
  const std::int64_t inner = strides[rank - 1];
  if (inner == 0) return true;
  if (inner != 1 || !aligned(p)) return false;
  for (int i = 0; i + 1 < rank; ++i)
    if (strides[i] % width != 0) return false;
  return true;
}

/// Groups must not straddle rows; a single row may end in a part of one.
inline bool rows_divide(int rank, const std::int64_t* shape, int width) {
  return rank == 1 || shape[rank - 1] % width == 0;
}

inline Grid elementwise_grid(std::int64_t n, int width) {
  const std::int64_t blocks = ((n + width - 1) / width + kElementwiseBlock - 1) / kElementwiseBlock;
  return {dim3(static_cast<unsigned>(blocks < kElementwiseBlocks ? blocks : kElementwiseBlocks)),
          dim3(kElementwiseBlock)};
}

}  // namespace gpunn
