#pragma once
// Sums of segments of equal keys, in an order that depends on their lengths
// only.
#include "gpunn/kernels/common/convert.cuh"
#include "gpunn/kernels/common/device_dtype.h"
#include "gpunn/kernels/common/reduce.cuh"
#include "gpunn/kernels/indexing/index_device.cuh"
#include "gpunn/kernels/indexing/stable_sort_impl.h"

namespace gpunn {

/// y[o, key, i] = base[o, key, i] + sum of src[o, position, i] over the
/// positions of a key < extent.
template <class T>
struct Segments {
  const std::uint32_t* keys;       // [n], rising
  const std::uint32_t* positions;  // [n]
  const T* base;                   // [outer, extent, inner]; null: zeros
  const T* src;                    // [outer, n, inner]
  T* y;                            // [outer, extent, inner]
  std::int64_t n, outer, extent, inner;
};

inline constexpr int kSegmentColumns = 32, kSegmentRows = 8;
inline constexpr int kSegmentWarps = 4;
inline constexpr std::int64_t kNarrowColumns = 8;  // below, a warp sums one column

/// Is sorted element i the first of a segment that counts?
template <class T>
GPUNN_DEVICE bool begins_segment(const Segments<T>& s, std::int64_t i) {
  return s.keys[i] < s.extent && (i == 0 || s.keys[i - 1] != s.keys[i]);
}

template <class T>
GPUNN_DEVICE void store_sum(const Segments<T>& s, std::int64_t at, float sum) {
  s.y[at] = from_float<T>((s.base ? to_float(s.base[at]) : 0.0f) + sum);
}

/// Every element of y that no segment reaches (and, before they are summed, the
/// others).
template <class T>
GPUNN_KERNEL __launch_bounds__(kIndexBlock) add_rows_init_kernel(const T* base, T* y, std::int64_t n) {
  for (std::int64_t i = first_element(); i < n; i += element_stride())
    y[i] = base ? base[i] : from_float<T>(0.0f);
}

/// A block per sorted element and 32 columns; blocks that do not begin a
/// segment have nothing to do. Eight rows of threads take every eighth term,
/// their sums are added in order.
template <class T>
GPUNN_KERNEL __launch_bounds__(kSegmentColumns* kSegmentRows)
    add_rows_wide_kernel(const __grid_constant__ Segments<T> s) {
  GPUNN_SHARED(partial, float[kSegmentRows][kSegmentColumns]);
  const int lane = static_cast<int>(threadIdx.x), row = static_cast<int>(threadIdx.y);
  const std::int64_t columns = s.outer * s.inner;
  for (std::int64_t i = blockIdx.x; i < s.n; i += gridDim.x) {
    if (!begins_segment(s, i)) continue;  // the same for all threads of the block
    const std::uint32_t key = s.keys[i];
    for (std::int64_t first = static_cast<std::int64_t>(blockIdx.y) * kSegmentColumns; first < columns;
         first += static_cast<std::int64_t>(gridDim.y) * kSegmentColumns) {
      const std::int64_t column = first + lane < columns ? first + lane : columns - 1;
      const std::int64_t o = column / s.inner, at = column - o * s.inner;
      const T* src = s.src + o * s.n * s.inner + at;
      float sum = 0;
      for (std::int64_t k = i + row; k < s.n && s.keys[k] == key; k += kSegmentRows)
        sum += to_float(src[s.positions[k] * s.inner]);
      partial[row][lane] = sum;
      __syncthreads();  // all rows' sums are there
      if (row == 0 && first + lane < columns) {
        for (int r = 1; r < kSegmentRows; ++r) sum += partial[r][lane];
        store_sum(s, (o * s.extent + key) * s.inner + at, sum);
      }
      __syncthreads();  // they have been read before the next columns overwrite
                        // them
    }
  }
}

/// A warp per sorted element, for few columns: lanes take every 32nd term.
template <class T>
GPUNN_KERNEL __launch_bounds__(kSegmentWarps* kWarpSize)
    add_rows_narrow_kernel(const __grid_constant__ Segments<T> s) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  const std::int64_t columns = s.outer * s.inner;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kSegmentWarps + threadIdx.x / kWarpSize;
       i < s.n; i += static_cast<std::int64_t>(gridDim.x) * kSegmentWarps) {
    if (!begins_segment(s, i)) continue;  // the same for all lanes
    const std::uint32_t key = s.keys[i];
    for (std::int64_t column = 0; column < columns; ++column) {
      const std::int64_t o = column / s.inner, at = column - o * s.inner;
      const T* src = s.src + o * s.n * s.inner + at;
      float sum = 0;
      for (std::int64_t k = i + lane; k < s.n && s.keys[k] == key; k += kWarpSize)
        sum += to_float(src[s.positions[k] * s.inner]);
      sum = warp_reduce<SumOp>(sum);
      if (lane == 0) store_sum(s, (o * s.extent + key) * s.inner + at, sum);
    }
  }
}

template <class T>
void launch_segments(const Segments<T>& s, const Exec& exec) {
  launch("add_rows_init_kernel", add_rows_init_kernel<T>, element_grid(s.outer * s.extent * s.inner), exec,
         s.base, s.y, s.outer * s.extent * s.inner);
  const std::int64_t columns = s.outer * s.inner;
  constexpr std::int64_t kMostBlocks = std::int64_t{1} << 30, kMostChunks = 65535;
  if (columns < kNarrowColumns) {
    const std::int64_t blocks = (s.n + kSegmentWarps - 1) / kSegmentWarps;
    launch("add_rows_narrow_kernel", add_rows_narrow_kernel<T>,
           {dim3(static_cast<unsigned>(blocks)), dim3(kSegmentWarps * kWarpSize)}, exec, s);
    return;
  }
  const std::int64_t chunks = (columns + kSegmentColumns - 1) / kSegmentColumns;
  launch("add_rows_wide_kernel", add_rows_wide_kernel<T>,
         {dim3(static_cast<unsigned>(s.n < kMostBlocks ? s.n : kMostBlocks),
               static_cast<unsigned>(chunks < kMostChunks ? chunks : kMostChunks)),
          dim3(kSegmentColumns, kSegmentRows)},
         exec, s);
}

}  // namespace gpunn
