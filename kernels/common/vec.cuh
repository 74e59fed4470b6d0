#pragma once
// 16-byte loads and stores, and loops of a thread block over a row that use them wherever alignment allows.
#include <cstdint>

#include "gpunn/core/kernel_macros.cuh"
#include "gpunn/kernels/common/convert.cuh"

namespace gpunn {

/// N elements that move in one access.
template <class T, int N>
struct alignas(sizeof(T) * N) Vec {
  T v[N];
};

/// Elements of T in 16 bytes.
template <class T>
inline constexpr int kVecWidth = 16 / static_cast<int>(sizeof(T));

/// `p` must be aligned to sizeof(T) * N.
template <int N, class T>
GPUNN_DEVICE Vec<T, N> load_vec(const T* p) {
  return *reinterpret_cast<const Vec<T, N>*>(p);
}
template <int N, class T>
GPUNN_DEVICE void store_vec(T* p, const Vec<T, N>& value) {
  *reinterpret_cast<Vec<T, N>*>(p) = value;
}

/// Elements from `p` to the next 16-byte boundary.
template <class T>
GPUNN_DEVICE int elements_to_alignment(const T* p) {
  const auto past = static_cast<unsigned>(reinterpret_cast<std::uintptr_t>(p) & 15u);
  return static_cast<int>(((16u - past) & 15u) / sizeof(T));
}

/// Calls f(i, x[i] as float) for every i in [0, n), shared out over the kBlock threads of the block: a few
/// scalars up to the first 16-byte boundary, vectors, a scalar tail. Which thread gets what depends on n and
/// the alignment only.
template <int kBlock, class T, class F>
GPUNN_DEVICE void for_each_in_row(const T* x, std::int64_t n, F f) {
  constexpr int kWidth = kVecWidth<T>;
  const int t = static_cast<int>(threadIdx.x);
  const int to_boundary = elements_to_alignment(x);
  const std::int64_t head = to_boundary < n ? to_boundary : n;
  const std::int64_t vectors = (n - head) / kWidth;
  if (t < head) f(std::int64_t{t}, to_float(x[t]));
  for (std::int64_t i = t; i < vectors; i += kBlock) {
    const std::int64_t first = head + i * kWidth;
    const Vec<T, kWidth> in = load_vec<kWidth>(x + first);
    GPUNN_UNROLL
    for (int j = 0; j < kWidth; ++j) f(first + j, to_float(in.v[j]));
  }
  for (std::int64_t i = head + vectors * kWidth + t; i < n; i += kBlock) f(i, to_float(x[i]));
}

/// y[i] = f(i, x[i]) for every i in [0, n), likewise. `y` may be `x`. Vectors need equal alignment of both
/// rows; the rest goes element by element.
template <int kBlock, class T, class F>
GPUNN_DEVICE void map_row(const T* x, T* y, std::int64_t n, F f) {
  constexpr int kWidth = kVecWidth<T>;
  const int t = static_cast<int>(threadIdx.x);
  const int to_boundary = elements_to_alignment(x);
  const bool together = to_boundary == elements_to_alignment(y);
  const std::int64_t head = together && to_boundary < n ? to_boundary : 0;
  const std::int64_t vectors = together ? (n - head) / kWidth : 0;
  if (t < head) y[t] = from_float<T>(f(std::int64_t{t}, to_float(x[t])));
  for (std::int64_t i = t; i < vectors; i += kBlock) {
    const std::int64_t first = head + i * kWidth;
    const Vec<T, kWidth> in = load_vec<kWidth>(x + first);
    Vec<T, kWidth> out;
    GPUNN_UNROLL
    for (int j = 0; j < kWidth; ++j) out.v[j] = from_float<T>(f(first + j, to_float(in.v[j])));
    store_vec<kWidth>(y + first, out);
  }
  for (std::int64_t i = head + vectors * kWidth + t; i < n; i += kBlock)
    y[i] = from_float<T>(f(i, to_float(x[i])));
}

}  // namespace gpunn
