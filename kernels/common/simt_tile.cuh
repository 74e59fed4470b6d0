#pragma once
// Products of tiles on the CUDA cores: 256 threads, each with an 8 x 8 (or 4 x 4) piece of the result in
// registers. Both operands lie k-major in shared memory, whatever their layout outside: an operand that is
// contiguous along m or n arrives in 16-byte pieces, one that is contiguous along k element by element.
//
// Per k a thread reads 16 floats for 64 multiply-adds (8 for 16 with small tiles).
#include <cstdint>

#include "gpunn/kernels/common/tile_order.cuh"
#include "gpunn/kernels/ptx/cp_async.cuh"

namespace gpunn::simt_tile {

inline constexpr int kThreads = 256;
inline constexpr int kSide = 16;  // threads along m and along n
inline constexpr int kTileK = 16;
inline constexpr int kPad = 4;                  // keeps rows on 16 bytes and spreads the banks
inline constexpr std::int64_t kFewTiles = 264;  // two blocks on each of 132 multiprocessors

/// One operand's tile, k-major.
template <int kTile>
using Tile = float[kTileK][kTile + kPad];

/// Shared memory: two stages of a's tile, then two of b's.
template <int kTile>
using Tiles = Tile<kTile>[4];

/// Copies rows [first, first + kTile) x k [k0, k0 + kTileK) of an operand to `to`, zeros beyond its edges.
template <int kTile>
GPUNN_DEVICE void load_tile(Tile<kTile>& to, const float* from, std::int64_t ld, bool k_contiguous, bool wide,
                            std::int64_t first, std::int64_t rows, std::int64_t k0, std::int64_t K) {
  const int t = static_cast<int>(threadIdx.x);
  if (k_contiguous) {
    for (int i = t; i < kTile * kTileK; i += kThreads) {
      const int r = i / kTileK, k = i % kTileK;
      const bool valid = first + r < rows && k0 + k < K;
      ptx::cp_async_4(&to[k][r], valid ? from + (first + r) * ld + k0 + k : from, valid);
    }
  } else if (wide) {
    for (int i = t; i < kTile * kTileK / 4; i += kThreads) {
      const int k = i / (kTile / 4), r = i % (kTile / 4) * 4;
      const bool valid = first + r < rows && k0 + k < K;
      ptx::cp_async_16(&to[k][r], valid ? from + (k0 + k) * ld + first + r : from, valid);
    }
  } else {
    for (int i = t; i < kTile * kTileK; i += kThreads) {
      const int k = i / kTile, r = i % kTile;
      const bool valid = first + r < rows && k0 + k < K;
      ptx::cp_async_4(&to[k][r], valid ? from + (k0 + k) * ld + first + r : from, valid);
    }
  }
}

/// Row or column i of a thread's piece within the tile: groups of four, so that a warp reads shared memory in
/// 16 bytes.
template <int kTile>
GPUNN_DEVICE int piece(int thread, int i) {
  constexpr int kGroups = kTile / kSide / 4;
  return i / 4 * (kTile / kGroups) + thread * 4 + i % 4;
}

template <int kTile>
GPUNN_DEVICE void multiply_tile(const Tile<kTile>& a, const Tile<kTile>& b,
                                float (&sum)[kTile / kSide][kTile / kSide]) {
  constexpr int kPiece = kTile / kSide;
  const int tm = static_cast<int>(threadIdx.x) / kSide, tn = static_cast<int>(threadIdx.x) % kSide;
  GPUNN_UNROLL
  for (int k = 0; k < kTileK; ++k) {
    float x[kPiece], y[kPiece];
    GPUNN_UNROLL
    for (int i = 0; i < kPiece; ++i) {
      x[i] = a[k][piece<kTile>(tm, i)];
      y[i] = b[k][piece<kTile>(tn, i)];
    }
    GPUNN_UNROLL
    for (int i = 0; i < kPiece; ++i) {
      GPUNN_UNROLL
      for (int j = 0; j < kPiece; ++j) sum[i][j] = fmaf(x[i], y[j], sum[i][j]);
    }
  }
}

/// The threads' pieces to their places by way of shared memory, four rows of each at a time: f(m, n, sum) is
/// called with neighbouring n, or with `along_m` neighbouring m, in neighbouring threads, and the epilogue's
/// code stands once per four rows of a piece instead of once per element. (Per element it took 202 registers
/// with small tiles, against 128 now: one block on a multiprocessor instead of two.) `tiles` is free when all
/// threads arrive.
template <int kTile, class F>
GPUNN_DEVICE void store_sums(const float (&sum)[kTile / kSide][kTile / kSide], Tiles<kTile>& tiles,
                             bool along_m, F f) {
  constexpr int kRows = 4, kFloats = kSide * kTile;  // of a piece at a time, and in each of these tiles
  static_assert(kTileK == kSide);
  const int tm = static_cast<int>(threadIdx.x) / kSide, tn = static_cast<int>(threadIdx.x) % kSide;
  GPUNN_UNROLL
  for (int first = 0; first < kTile / kSide; first += kRows) {
    GPUNN_UNROLL
    for (int r = 0; r < kRows; ++r) {
      GPUNN_UNROLL
      for (int j = 0; j < kTile / kSide; ++j) tiles[r][tm][piece<kTile>(tn, j)] = sum[first + r][j];
    }
    __syncthreads();  // these rows of every thread are there
    GPUNN_ROLLED
    for (int e = static_cast<int>(threadIdx.x); e < kRows * kFloats; e += kThreads) {
      // Along m the four rows of a thread's piece are neighbours, and so are those of neighbouring threads.
      const int r = along_m ? e % kRows : e / kFloats;
      const int row = along_m ? e / kRows % kSide : e / kTile % kSide;
      const int column = along_m ? e / (kRows * kSide) : e % kTile;
      f(piece<kTile>(row, first + r), column, tiles[r][row][column]);
    }
    __syncthreads();  // and have been read before the next ones, or the next matrix
  }
}

}  // namespace gpunn::simt_tile
