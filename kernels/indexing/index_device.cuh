#pragma once
// What the kernels of this folder share: element loops and positions in strided
// tensors.
#include <cstdint>

#include "gpunn/core/launch.cuh"
#include "gpunn/core/shape.h"

namespace gpunn {

inline constexpr int kIndexBlock = 256;

GPUNN_DEVICE std::int64_t first_element() {
  return static_cast<std::int64_t>(blockIdx.x) * kIndexBlock + static_cast<std::int64_t>(threadIdx.x);
}
GPUNN_DEVICE std::int64_t element_stride() { return static_cast<std::int64_t>(gridDim.x) * kIndexBlock; }

/// An element per thread; beyond 2^16 blocks, threads take several.
inline Grid element_grid(std::int64_t n) {
  constexpr std::int64_t kMostBlocks = 1 << 16;
  const std::int64_t blocks = (n + kIndexBlock - 1) / kIndexBlock;
  return {dim3(static_cast<unsigned>(blocks < kMostBlocks ? blocks : kMostBlocks)), dim3(kIndexBlock)};
}

/// i / n; 32-bit division, several times faster, where `small` says that both
/// fit.
GPUNN_DEVICE std::int64_t divide(std::int64_t i, std::int64_t n, bool small) {
  return small ? static_cast<std::int64_t>(static_cast<unsigned>(i) / static_cast<unsigned>(n)) : i / n;
}

/// A shape and the strides of two operands over it, by value in kernel
/// parameters. Ranks below kRank are filled up in front with extents of 1.
template <int kRank>
struct Strided {
  std::int64_t shape[kRank], a[kRank], b[kRank];
  bool small;  // fewer than 2^31 elements
};

template <int kRank>
Strided<kRank> strided_of(int rank, const std::int64_t* shape, const std::int64_t* a, const std::int64_t* b) {
  Strided<kRank> s{};
  std::int64_t n = 1;
  for (int d = 0; d < kRank; ++d) {
    const int from = d - (kRank - rank);
    s.shape[d] = from < 0 ? 1 : shape[from];
    s.a[d] = from < 0 ? 0 : a[from];
    s.b[d] = from < 0 || b == nullptr ? 0 : b[from];
    n *= s.shape[d];
  }
  s.small = n <= 0x7fffffff;
  return s;
}

/// Offsets of element `flat` of the row-major order.
template <int kRank>
GPUNN_DEVICE void offsets_of(const Strided<kRank>& s, std::int64_t flat, std::int64_t& a, std::int64_t& b) {
  a = b = 0;
  GPUNN_UNROLL
  for (int d = kRank - 1; d >= 0; --d) {
    const std::int64_t rest = d > 0 ? divide(flat, s.shape[d], s.small) : 0;
    const std::int64_t i = flat - rest * s.shape[d];
    a += i * s.a[d];
    b += i * s.b[d];
    flat = rest;
  }
}

/// Calls f(std::integral_constant<int, kRank>) with the least rank there is a
/// kernel for.
template <class F>
void for_index_rank(int rank, F&& f) {
  if (rank == 1)
    f(std::integral_constant<int, 1>{});
  else if (rank <= 3)
    f(std::integral_constant<int, 3>{});
  else
    f(std::integral_constant<int, kMaxRank>{});
}

}  // namespace gpunn
