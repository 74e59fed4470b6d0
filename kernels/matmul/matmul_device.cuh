#pragma once
// What the device kernels of the matrix product share: order of tiles, and the epilogue.
#include <cstdint>

#include "gpunn/core/kernel_macros.cuh"
#include "gpunn/kernels/common/convert.cuh"
#include "gpunn/kernels/matmul/matmul_impl.h"

namespace gpunn {

/// First row and column of a block's tile.
struct TileOrigin {
  std::int64_t m, n;
};

/// Tiles are taken in bands of kBand tile rows, column by column, so that the blocks running together share
/// operands in L2.
template <int kTileM, int kTileN>
GPUNN_DEVICE TileOrigin tile_origin(std::int64_t M, std::int64_t N, std::int64_t index) {
  constexpr std::int64_t kBand = 8;
  const std::int64_t rows = (M + kTileM - 1) / kTileM, cols = (N + kTileN - 1) / kTileN;
  const std::int64_t band = index / (kBand * cols), first = band * kBand,
                     within = index - band * kBand * cols;
  const std::int64_t height = rows - first < kBand ? rows - first : kBand;
  return {(first + within % height) * kTileM, within / height * kTileN};
}

/// Out of line: inlined into every element of a tile it would multiply the size of the kernels.
__device__ static GPUNN_NOINLINE float sigmoid_or_tanh(float v, bool sigmoid) {
  return sigmoid ? 1.0f / (1.0f + expf(-v)) : tanhf(v);
}

GPUNN_DEVICE float activate(float v, Activation activation) {
  if (activation == Activation::none) return v;
  if (activation == Activation::relu) return v < 0.0f ? 0.0f : v;  // keeps NaN
  return sigmoid_or_tanh(v, activation == Activation::sigmoid);
}

/// Writes element (m, n) of matrix `c` from its sum of products; nothing outside the matrix.
template <class T>
GPUNN_DEVICE void finish(const MatmulProblem& p, T* c, std::int64_t m, std::int64_t n, float sum) {
  if (m >= p.M || n >= p.N) return;
  T* const at = c + m * p.ldc + n;
  if (p.accumulate) sum += to_float(*at);
  if (p.has_bias) sum += to_float(static_cast<const T*>(p.bias)[n]);
  *at = from_float<T>(activate(sum, p.activation));
}

/// Blocks over the tiles of one matrix (x) and over matrices (z, in strides of the grid beyond its limit).
inline dim3 tile_grid(const MatmulProblem& p, std::int64_t tile_m, std::int64_t tile_n) {
  constexpr std::int64_t kMostZ = 65535;
  const std::int64_t tiles = (p.M + tile_m - 1) / tile_m * ((p.N + tile_n - 1) / tile_n);
  return dim3(static_cast<unsigned>(tiles), 1, static_cast<unsigned>(p.batch < kMostZ ? p.batch : kMostZ));
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
