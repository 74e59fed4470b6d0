#pragma once
// In which order blocks take the tiles of a matrix.
#include <cstdint>

#include "gpunn/core/kernel_macros.cuh"

// Keeps a loop a loop: unrolled, it would hold one set of addresses per step in registers.
#if defined(__CUDACC__)
#define GPUNN_ROLLED _Pragma("unroll 1")
#else
#define GPUNN_ROLLED
#endif

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

}  // namespace gpunn
