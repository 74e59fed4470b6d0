#pragma once
// The geometry of kernels that work on the rows of a matrix: a warp per row while rows are short, a block per
// row beyond.
#include <cstdint>

#include "gpunn/core/launch.cuh"
#include "gpunn/kernels/common/reduce.cuh"

namespace gpunn {

inline constexpr int kWarpsPerBlock = 4;
inline constexpr int kWarpRowThreads = kWarpsPerBlock * kWarpSize;
inline constexpr int kBlockRowThreads = 256;
inline constexpr std::int64_t kWarpColumns = 1024;  // longest row that a warp takes

/// Rows of this warp: for (row = first_warp_row(); row < rows; row += warp_row_stride()).
GPUNN_DEVICE std::int64_t first_warp_row() {
  return static_cast<std::int64_t>(blockIdx.x) * kWarpsPerBlock + threadIdx.x / kWarpSize;
}
GPUNN_DEVICE std::int64_t warp_row_stride() { return static_cast<std::int64_t>(gridDim.x) * kWarpsPerBlock; }

GPUNN_DEVICE int lane_index() { return static_cast<int>(threadIdx.x % kWarpSize); }

/// A block per `rows_per_block` rows; beyond 2^30 blocks, rows are taken in strides of the grid.
inline unsigned row_blocks(std::int64_t rows, std::int64_t rows_per_block) {
  constexpr std::int64_t kMostBlocks = std::int64_t{1} << 30;
  const std::int64_t blocks = (rows + rows_per_block - 1) / rows_per_block;
  return static_cast<unsigned>(blocks < kMostBlocks ? blocks : kMostBlocks);
}
inline Grid warp_row_grid(std::int64_t rows) {
  return {dim3(row_blocks(rows, kWarpsPerBlock)), dim3(kWarpRowThreads)};
}
inline Grid block_row_grid(std::int64_t rows) { return {dim3(row_blocks(rows, 1)), dim3(kBlockRowThreads)}; }

}  // namespace gpunn
