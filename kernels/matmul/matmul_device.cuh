#pragma once
// What the device kernels of the matrix product share: pieces of k, the epilogue, and what launchers need.
#include <cstdint>

#include "gpunn/core/kernel_macros.cuh"
#include "gpunn/kernels/common/convert.cuh"
#include "gpunn/kernels/common/tile_order.cuh"
#include "gpunn/kernels/elementwise/activation_functors_impl.h"
#include "gpunn/kernels/matmul/matmul_impl.h"

namespace gpunn {

/// Out of line: inlined into every element of a tile it would multiply the size of the kernels.
__device__ static GPUNN_NOINLINE float smooth(float v, Activation activation) {
  switch (activation) {
    case Activation::sigmoid:
      return 1.0f / (1.0f + expf(-v));
    case Activation::tanh:
      return tanhf(v);
    case Activation::gelu:
      return elementwise::Gelu::apply(v, 0.0f, 0.0f);
    default:
      return elementwise::GeluTanh::apply(v, 0.0f, 0.0f);
  }
}

GPUNN_DEVICE float activate(float v, Activation activation) {
  if (activation == Activation::none) return v;
  if (activation == Activation::relu) return v < 0.0f ? 0.0f : v;  // keeps NaN
  return smooth(v, activation);
}

/// Writes element (m, n) of matrix `i` from its sum of products; nothing outside the matrix.
template <class T>
GPUNN_DEVICE void finish(const MatmulProblem& p, std::int64_t i, std::int64_t m, std::int64_t n, float sum) {
  if (m >= p.M || n >= p.N) return;
  const std::int64_t at = i * p.c_batch + m * p.ldc + n;
  T* const c = static_cast<T*>(p.c) + at;
  if (p.accumulate) sum += to_float(*c);
  if (p.has_bias) sum += to_float(static_cast<const T*>(p.bias)[n]);
  if (p.save_pre) static_cast<T*>(p.pre)[at] = from_float<T>(sum);
  float y = activate(sum, p.activation);
  if (p.has_residual) y += to_float(static_cast<const T*>(p.residual)[i * p.r_batch + m * p.ldr + n]);
  *c = from_float<T>(y);
}

/// A piece of k as the kernels see it: blockIdx.y is its number. With one piece `partial` is null.
struct Pieces {
  std::int64_t k;  // of each piece, the last may be shorter
  float* partial;  // [pieces, batch, M, N]
};

/// An element's sum over this block's piece of k goes to the result, or to where the pieces are added up.
template <class T>
GPUNN_DEVICE void deliver(const MatmulProblem& p, const Pieces& pieces, std::int64_t i, std::int64_t m,
                          std::int64_t n, float sum) {
  if (!pieces.partial) return finish<T>(p, i, m, n, sum);
  if (m < p.M && n < p.N) pieces.partial[((blockIdx.y * p.batch + i) * p.M + m) * p.N + n] = sum;
}

/// Blocks over the tiles of one matrix (x), over pieces of k (y) and over matrices (z, in strides of the grid
/// beyond its limit).
inline dim3 tile_grid(const MatmulProblem& p, std::int64_t tile_m, std::int64_t tile_n) {
  constexpr std::int64_t kMostZ = 65535;
  const std::int64_t tiles = (p.M + tile_m - 1) / tile_m * ((p.N + tile_n - 1) / tile_n);
  return dim3(static_cast<unsigned>(tiles), static_cast<unsigned>(split_k(p).count),
              static_cast<unsigned>(p.batch < kMostZ ? p.batch : kMostZ));
}

/// What the kernels are told about pieces; their sums are the whole workspace.
inline Pieces pieces_of(const MatmulProblem& p, void* workspace) {
  const SplitK split = split_k(p);
  return {split.k, split.count > 1 ? static_cast<float*>(workspace) : nullptr};
}

/// Is every row of such an operand, in every matrix, aligned to 16 bytes, and a whole number of them long?
inline bool moves_by_16_bytes(const void* data, std::int64_t ld, std::int64_t stride, std::int64_t adjacent,
                              std::int64_t width) {
  return reinterpret_cast<std::uintptr_t>(data) % 16 == 0 && ld % width == 0 && stride % width == 0 &&
         adjacent % width == 0;
}

/// How a launcher tells the kernels which operands may move by 16 bytes.
struct Widths {
  bool a, b;
};
inline Widths widths_of(const MatmulProblem& p) {
  const std::int64_t width = 16 / static_cast<std::int64_t>(size_of(p.dtype));
  return {moves_by_16_bytes(p.a, p.lda, p.a_batch, p.trans_a ? p.M : p.K, width),
          moves_by_16_bytes(p.b, p.ldb, p.b_batch, p.trans_b ? p.K : p.N, width)};
}

}  // namespace gpunn
