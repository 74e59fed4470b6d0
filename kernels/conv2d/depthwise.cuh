#pragma once
// Device code that the depthwise kernels of planes share.
#include <cstdint>

#include "gpunn/core/kernel_macros.cuh"
#include "gpunn/kernels/common/convert.cuh"
#include "gpunn/kernels/conv2d/depthwise_impl.h"

namespace gpunn {

/// Where a thread stands in its tile.
struct PlaneThread {
  int column, row, plane;
  GPUNN_DEVICE explicit PlaneThread(const PlaneTile& tile) {
    const int t = static_cast<int>(threadIdx.x);
    column = t & ((1 << tile.column_bits) - 1);
    row = ((t >> tile.column_bits) & ((1 << tile.row_bits) - 1)) * kTileRows;
    plane = t >> (tile.column_bits + tile.row_bits);
  }
};

/// First target of the tile that is number `place` in its planes.
struct PlaneOrigin {
  int row, column;
  GPUNN_DEVICE PlaneOrigin(const PlaneTile& tile, int place) {
    row = (place / tile.across * kTileRows) << tile.row_bits;
    column = place % tile.across << tile.column_bits;
  }
};

/// The source's part of a tile to `to` [planes, rows, columns]. `plane_at(i)` is plane i, or null.
template <class T, class F>
GPUNN_DEVICE void load_planes(float* to, const DepthwiseProblem& p, const PlaneTile& tile,
                              const PlaneOrigin& origin, F plane_at) {
  const int h0 = origin.row * p.h.stride - p.h.pad, w0 = origin.column * p.w.stride - p.w.pad;
  const int width = 1 << tile.column_bits;
  const int lane = static_cast<int>(threadIdx.x) & (width - 1);
  for (int i = static_cast<int>(threadIdx.x) >> tile.column_bits; i < tile.planes * tile.rows;
       i += kDepthwiseThreads >> tile.column_bits) {
    const int plane = i / tile.rows;
    const int h = p.h.source_at(h0 + i - plane * tile.rows);
    const T* const from = plane_at(plane);
    for (int c = lane; c < tile.columns; c += width) {
      const int w = p.w.source_at(w0 + c);
      const bool valid = from && h >= 0 && w >= 0;
      to[i * tile.columns + c] = valid ? to_float(from[static_cast<std::int64_t>(h) * p.w.source + w]) : 0.0f;
    }
  }
}

/// Corner of a thread's first window in the source's part.
GPUNN_DEVICE int window_corner(const DepthwiseProblem& p, const PlaneTile& tile, const PlaneThread& me) {
  return (me.plane * tile.rows + me.row * p.h.stride) * tile.columns + me.column * p.w.stride;
}

}  // namespace gpunn
