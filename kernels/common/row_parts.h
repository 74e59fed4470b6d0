#pragma once
// How kernels cut long rows when there are too few of them to fill a GPU.
#include <cstdint>

namespace gpunn {

/// Parts of a row, each a block's work. It depends on sizes only, so that sums have a fixed order. Below 128
/// rows (about the multiprocessors of a large GPU) rows beyond 8,192 columns are cut, into 64 parts at most.
constexpr int row_parts(std::int64_t rows, std::int64_t cols) {
  constexpr std::int64_t kRows = 128, kPartColumns = 8192, kMostParts = 64;
  if (rows >= kRows || cols <= kPartColumns) return 1;
  const std::int64_t parts = (cols + kPartColumns - 1) / kPartColumns;
  return static_cast<int>(parts < kMostParts ? parts : kMostParts);
}

/// Columns of each part but the last; a multiple of 8, so that parts are aligned like their row.
constexpr std::int64_t part_columns(std::int64_t cols, int parts) {
  return ((cols + parts - 1) / parts + 7) / 8 * 8;
}

}  // namespace gpunn
