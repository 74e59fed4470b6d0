// Depthwise convolution of planes that follow each other, and of its dx. The source's part of a tile lies in
// shared memory as floats, with its border; the filter of a fixed size in registers, so that each row of the
// window that a thread reads serves all targets it has above each other: (4 + R - 1) S reads for 4 results
// instead of 4 R S. Small planes share a block.
#include "gpunn/core/launch.cuh"
#include "gpunn/kernels/common/device_dtype.h"
#include "gpunn/kernels/conv2d/depthwise.cuh"

namespace gpunn {
namespace {

constexpr int kThreads = kDepthwiseThreads;

/// Blocks of a multiprocessor: registers for a window's filters, without a spill.
template <int kSize>
inline constexpr int kBlocks = kSize == 3   ? 6
                               : kSize == 7 ? 4
                                            : 5;

/// Filters of term j for the tile's planes to `to` [planes, R S], turned for dx.
template <class T>
GPUNN_DEVICE void load_filters(float* to, const DepthwiseProblem& p, int first, int planes, int j) {
  const int taps = p.taps();
  const T* const filter = static_cast<const T*>(p.filter);
  for (int i = static_cast<int>(threadIdx.x); i < planes * taps; i += kThreads) {
    const int plane = i / taps, tap = i - plane * taps;
    const int channel = (first + plane) % p.target_channels;
    to[i] = to_float(filter[static_cast<std::int64_t>(p.filter_of(channel, j)) * taps +
                            (p.backward ? taps - 1 - tap : tap)]);
  }
}

/// Adds to a thread's results; `at` is the corner of the first one's window.
template <int kSize, int kStride>
GPUNN_DEVICE void add_windows(const float* at, int columns, const float* filter, const DepthwiseProblem& p,
                              float (&sum)[kTileRows]) {
  if constexpr (kSize == 0) {
    for (int r = 0; r < p.h.window; ++r) {
      for (int s = 0; s < p.w.window; ++s) {
        const float f = filter[r * p.w.window + s];
        GPUNN_UNROLL
        for (int i = 0; i < kTileRows; ++i)
          sum[i] = fmaf(f, at[(i * p.h.stride + r * p.h.dilation) * columns + s * p.w.dilation], sum[i]);
      }
    }
  } else {
    float f[kSize][kSize];
    GPUNN_UNROLL
    for (int tap = 0; tap < kSize * kSize; ++tap) f[tap / kSize][tap % kSize] = filter[tap];
    GPUNN_UNROLL
    for (int row = 0; row < (kTileRows - 1) * kStride + kSize; ++row) {
      float v[kSize];
      GPUNN_UNROLL
      for (int s = 0; s < kSize; ++s) v[s] = at[row * columns + s];
      GPUNN_UNROLL
      for (int i = 0; i < kTileRows; ++i) {
        const int r = row - i * kStride;
        if (r < 0 || r >= kSize) continue;
        GPUNN_UNROLL
        for (int s = 0; s < kSize; ++s) sum[i] = fmaf(f[r][s], v[s], sum[i]);
      }
    }
  }
}

template <class T>
GPUNN_DEVICE void store_column(const DepthwiseProblem& p, int plane, int row, int column,
                               const float (&sum)[kTileRows]) {
  const float bias = p.bias ? to_float(static_cast<const T*>(p.bias)[plane % p.target_channels]) : 0.0f;
  T* const to = static_cast<T*>(p.target) + static_cast<std::int64_t>(plane) * p.h.target * p.w.target;
  GPUNN_UNROLL
  for (int i = 0; i < kTileRows; ++i)
    if (row + i < p.h.target)
      to[static_cast<std::int64_t>(row + i) * p.w.target + column] = from_float<T>(p.end(sum[i], bias));
}

/// A block has one tile of each of `tile.planes` planes.
template <class T, int kSize, int kStride>
GPUNN_KERNEL __launch_bounds__(kThreads, kBlocks<kSize>)
    depthwise_fwd_planes_kernel(const DepthwiseProblem p, const PlaneTile tile) {
  GPUNN_DYN_SHARED(memory);
  float* const source = reinterpret_cast<float*>(memory);  // [planes, rows, columns]
  float* const filters = source + tile.source_floats();    // [planes, R S]
  const int tiles = tile.across * tile.down;
  const int group = static_cast<int>(blockIdx.x) / tiles;
  const PlaneOrigin origin(tile, static_cast<int>(blockIdx.x) - group * tiles);
  const int first = group * tile.planes, left = p.N * p.target_channels - first;
  const int planes = left < tile.planes ? left : tile.planes;
  const PlaneThread me(tile);
  float sum[kTileRows] = {};
  for (int j = 0; j < p.terms(); ++j) {
    if (j > 0) __syncthreads();  // the previous term's tile has been read
    load_planes<T>(source, p, tile, origin, [&](int i) -> const T* {
      if (i >= planes) return nullptr;
      const int n = (first + i) / p.target_channels;
      const int channel = p.source_channel(first + i - n * p.target_channels, j);
      return static_cast<const T*>(p.source) +
             (static_cast<std::int64_t>(n) * p.source_channels + channel) * p.h.source * p.w.source;
    });
    load_filters<T>(filters, p, first, planes, j);
    __syncthreads();  // the tile and its filters are there
    if (me.plane < planes)
      add_windows<kSize, kStride>(source + window_corner(p, tile, me), tile.columns,
                                  filters + me.plane * p.taps(), p, sum);
  }
  if (me.plane < planes && origin.column + me.column < p.w.target)
    store_column<T>(p, first + me.plane, origin.row + me.row, origin.column + me.column, sum);
}

}  // namespace

void depthwise_planes_cuda(const DepthwiseProblem& p, const PlaneTile& tile, const Exec& exec) {
  const int groups = (p.N * p.target_channels + tile.planes - 1) / tile.planes;
  const int floats = tile.source_floats() + tile.planes * p.taps();
  const Grid grid{dim3(static_cast<unsigned>(groups * tile.across * tile.down)), dim3(kThreads),
                  static_cast<std::size_t>(floats) * sizeof(float)};
  for_device_dtype(p.dtype, [&](auto zero) {
    with_window(p.h, p.w, [&](auto size, auto stride) {
      launch("depthwise_fwd_planes_kernel",
             depthwise_fwd_planes_kernel<decltype(zero), decltype(size)::value, decltype(stride)::value>,
             grid, exec, p, tile);
    });
  });
}

}  // namespace gpunn
