// Gradient of the depthwise convolution by its filters: for each tap a sum over all targets of an image and
// over all images. A block takes one channel (32 where channels lie side by side) and a piece of the images;
// threads keep the sums of all taps of a fixed window in registers. Sums go through warps in a fixed order,
// and a second kernel adds the pieces. Any other window goes tap by tap.
//
// The source outside its planes counts as 0 times dy.
#include "gpunn/core/launch.cuh"
#include "gpunn/kernels/common/device_dtype.h"
#include "gpunn/kernels/common/reduce.cuh"
#include "gpunn/kernels/conv2d/depthwise.cuh"
#include "gpunn/kernels/conv2d/piece_sum.cuh"

namespace gpunn {
namespace {

constexpr int kThreads = kDepthwiseThreads;
constexpr int kWarps = kThreads / kWarpSize;

/// A thread's part of dy, `rows` of them being there.
struct Column {
  float g[kTileRows];
  int rows;
};

template <class T>
GPUNN_DEVICE Column load_column(const DepthwiseProblem& p, bool valid, std::int64_t plane, int row,
                                int column) {
  Column c{};
  if (!valid || column >= p.w.target || row >= p.h.target) return c;
  c.rows = p.h.target - row < kTileRows ? p.h.target - row : kTileRows;
  const T* const from = static_cast<const T*>(p.target) + (plane * p.h.target + row) * p.w.target + column;
  GPUNN_UNROLL
  for (int i = 0; i < kTileRows; ++i)
    if (i < c.rows) c.g[i] = to_float(from[static_cast<std::int64_t>(i) * p.w.target]);
  return c;
}

/// `at`: corner of the first target's window.
template <int kSize, int kStride>
GPUNN_DEVICE void add_products(const float* at, int columns, const Column& c, float (&sum)[kSize][kSize]) {
  GPUNN_UNROLL
  for (int row = 0; row < (kTileRows - 1) * kStride + kSize; ++row) {
    float v[kSize];
    GPUNN_UNROLL
    for (int s = 0; s < kSize; ++s) v[s] = at[row * columns + s];
    GPUNN_UNROLL
    for (int i = 0; i < kTileRows; ++i) {
      const int r = row - i * kStride;
      if (r < 0 || r >= kSize || i >= c.rows) continue;
      GPUNN_UNROLL
      for (int s = 0; s < kSize; ++s) sum[r][s] = fmaf(c.g[i], v[s], sum[r][s]);
    }
  }
}

GPUNN_DEVICE float tap_product(const float* at, int columns, const Column& c, const DepthwiseProblem& p,
                               int tap) {
  const int r = tap / p.w.window * p.h.dilation, s = tap % p.w.window * p.w.dilation;
  float sum = 0.0f;
  GPUNN_UNROLL
  for (int i = 0; i < kTileRows; ++i)
    if (i < c.rows) sum = fmaf(c.g[i], at[(i * p.h.stride + r) * columns + s], sum);
  return sum;
}

/// Block (channel of dy, piece); `partial` [pieces, K, R S].
template <class T, int kSize, int kStride>
GPUNN_KERNEL __launch_bounds__(kThreads)
    depthwise_dw_planes_kernel(const DepthwiseProblem p, const PlaneTile tile, int parts, int pieces,
                               float* partial) {
  GPUNN_DYN_SHARED(memory);
  float* const source = reinterpret_cast<float*>(memory);  // [planes, rows, columns], planes of images
  float* const sums = source + tile.source_floats();       // [kWarps, R S]
  constexpr int kSide = kSize > 0 ? kSize : 1;
  const int taps = p.taps(), tiles = tile.across * tile.down;
  const int piece = static_cast<int>(blockIdx.x) / p.target_channels;
  const int k = static_cast<int>(blockIdx.x) - piece * p.target_channels;
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize,
            warp = static_cast<int>(threadIdx.x) / kWarpSize;
  const std::int64_t source_plane = static_cast<std::int64_t>(p.h.source) * p.w.source;
  const PlaneThread me(tile);
  float sum[kSide][kSide] = {};
  if (kSize == 0 && lane == 0)
    for (int tap = 0; tap < taps; ++tap) sums[warp * taps + tap] = 0.0f;  // only this lane uses them
  const PieceRange range = piece_range(parts, pieces, piece);
  for (int part = static_cast<int>(range.first); part < range.end; ++part) {
    const int first = part / tiles * tile.planes;
    const PlaneOrigin origin(tile, part % tiles);
    __syncthreads();  // the previous part's tile has been read
    load_planes<T>(source, p, tile, origin, [&](int i) -> const T* {
      const std::int64_t plane =
          static_cast<std::int64_t>(first + i) * p.source_channels + p.source_channel(k, 0);
      return first + i < p.N ? static_cast<const T*>(p.source) + plane * source_plane : nullptr;
    });
    const int n = first + me.plane;
    const Column dy = load_column<T>(p, n < p.N, static_cast<std::int64_t>(n) * p.target_channels + k,
                                     origin.row + me.row, origin.column + me.column);
    __syncthreads();  // the tile is there
    const float* const at = source + window_corner(p, tile, me);
    if constexpr (kSize > 0) {
      add_products<kSize, kStride>(at, tile.columns, dy, sum);
    } else {
      for (int tap = 0; tap < taps; ++tap) {
        const float v = warp_reduce<SumOp>(tap_product(at, tile.columns, dy, p, tap));
        if (lane == 0) sums[warp * taps + tap] += v;
      }
    }
  }
  if constexpr (kSize > 0) {
    GPUNN_UNROLL
    for (int tap = 0; tap < kSize * kSize; ++tap) {
      const float v = warp_reduce<SumOp>(sum[tap / kSize][tap % kSize]);
      if (lane == 0) sums[warp * taps + tap] = v;
    }
  }
  __syncthreads();  // every warp's sums are there
  for (int tap = static_cast<int>(threadIdx.x); tap < taps; tap += kThreads) {
    float total = 0.0f;
    for (int i = 0; i < kWarps; ++i) total += sums[i * taps + tap];
    partial[static_cast<std::int64_t>(blockIdx.x) * taps + tap] = total;
  }
}

/// A channel's rows where the channels are last.
template <class T>
struct ChannelRow {
  const T* at;
  int channels;
  GPUNN_DEVICE float operator[](int pixel) const {
    return to_float(at[static_cast<std::int64_t>(pixel) * channels]);
  }
};

/// A row of dy and where its windows lie.
template <class T>
struct Row {
  ChannelRow<T> dy;
  int n, row;
  /// The row of x on which row r of the windows lies; false where there is none.
  GPUNN_DEVICE bool meets(const DepthwiseProblem& p, int channel, int r, ChannelRow<T>& x) const {
    const int h = p.h.source_at(row * p.h.stride - p.h.pad + r * p.h.dilation);
    const std::int64_t x_row = (static_cast<std::int64_t>(n) * p.h.source + h) * p.w.source;
    x = {static_cast<const T*>(p.source) + (h < 0 ? 0 : x_row * p.source_channels + channel),
         p.source_channels};
    return h >= 0;
  }
};

/// Row r of the windows: x is read once, in a window that slides.
template <class T, int kSize, int kStride>
GPUNN_DEVICE void slide(const ChannelRow<T>& x, const ChannelRow<T>& dy, const DepthwiseProblem& p,
                        float (&sum)[kSize]) {
  const auto load = [&](int at) {
    const int w = p.w.source_at(at - p.w.pad);
    return w < 0 ? 0.0f : x[w];
  };
  float v[kSize];
  GPUNN_UNROLL
  for (int s = 0; s < kSize - kStride; ++s) v[s] = load(s);
  for (int q = 0; q < p.w.target; ++q) {
    GPUNN_UNROLL
    for (int s = kSize - kStride; s < kSize; ++s) v[s] = load(q * kStride + s);
    const float g = dy[q];
    GPUNN_UNROLL
    for (int s = 0; s < kSize; ++s) sum[s] = fmaf(g, v[s], sum[s]);
    GPUNN_UNROLL
    for (int s = 0; s < kSize - kStride; ++s) v[s] = v[s + kStride];
  }
}

/// One tap of any window over one row of dy.
template <class T>
GPUNN_DEVICE float tap_row(const ChannelRow<T>& x, const ChannelRow<T>& dy, const DepthwiseProblem& p,
                           int s) {
  float sum = 0.0f;
  for (int q = 0; q < p.w.target; ++q) {
    const int w = p.w.source_at(q * p.w.stride - p.w.pad + s * p.w.dilation);
    if (w >= 0) sum = fmaf(dy[q], x[w], sum);
  }
  return sum;
}

/// A block's sum of one tap, added over its warps in order; all threads call it.
GPUNN_DEVICE void deliver(float (&sums)[kWarps][kWarpSize], float sum, float* to, bool valid) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize,
            warp = static_cast<int>(threadIdx.x) / kWarpSize;
  __syncthreads();  // the previous tap's sums have been read
  sums[warp][lane] = sum;
  __syncthreads();  // every warp's sum is there
  if (warp != 0 || !valid) return;
  float total = 0.0f;
  for (int i = 0; i < kWarps; ++i) total += sums[i][lane];
  *to = total;
}

/// Block (32 channels of dy, piece of the rows of all images), a warp a row; `partial` [pieces, K, R S].
template <class T, int kSize, int kStride>
GPUNN_KERNEL __launch_bounds__(kThreads, kSize == 7   ? 2
                                         : kSize == 5 ? 3
                                         : kSize == 3 ? 4
                                                      : 5)
    depthwise_dw_channels_kernel(const DepthwiseProblem p, int rows, int pieces, float* partial) {
  GPUNN_SHARED(sums, float[kWarps][kWarpSize]);
  const int taps = p.taps(), blocks = (p.target_channels + kWarpSize - 1) / kWarpSize;
  const int piece = static_cast<int>(blockIdx.x) / blocks;
  const int k =
      (static_cast<int>(blockIdx.x) - piece * blocks) * kWarpSize + static_cast<int>(threadIdx.x) % kWarpSize;
  const bool valid = k < p.target_channels;
  const int channel = valid ? p.source_channel(k, 0) : 0;
  const PieceRange range = piece_range(rows, pieces, piece);
  float* const to = partial + (static_cast<std::int64_t>(piece) * p.target_channels + k) * taps;
  const auto for_rows = [&](auto&& f) {
    const int end = valid ? static_cast<int>(range.end) : 0;
    for (int i = static_cast<int>(range.first) + static_cast<int>(threadIdx.x) / kWarpSize; i < end;
         i += kWarps) {
      const int n = i / p.h.target;
      const std::int64_t at = static_cast<std::int64_t>(i) * p.w.target * p.target_channels + k;
      f(Row<T>{{static_cast<const T*>(p.target) + at, p.target_channels}, n, i - n * p.h.target});
    }
  };
  ChannelRow<T> x;
  if constexpr (kSize > 0) {
    float sum[kSize][kSize] = {};
    for_rows([&](const Row<T>& row) {
      GPUNN_UNROLL
      for (int r = 0; r < kSize; ++r)
        if (row.meets(p, channel, r, x)) slide<T, kSize, kStride>(x, row.dy, p, sum[r]);
    });
    GPUNN_UNROLL
    for (int tap = 0; tap < kSize * kSize; ++tap)
      deliver(sums, sum[tap / kSize][tap % kSize], to + tap, valid);
  } else {
    for (int tap = 0; tap < taps; ++tap) {
      float sum = 0.0f;
      for_rows([&](const Row<T>& row) {
        if (row.meets(p, channel, tap / p.w.window, x)) sum += tap_row(x, row.dy, p, tap % p.w.window);
      });
      deliver(sums, sum, to + tap, valid);
    }
  }
}

}  // namespace

void depthwise_dw_planes_cuda(const DepthwiseProblem& p, const PlaneTile& tile, int parts, int pieces,
                              float* partial, const Exec& exec) {
  const int floats = tile.source_floats() + kWarps * p.taps();
  const Grid grid{dim3(static_cast<unsigned>(pieces * p.target_channels)), dim3(kThreads),
                  static_cast<std::size_t>(floats) * sizeof(float)};
  for_device_dtype(p.dtype, [&](auto zero) {
    with_window(p.h, p.w, [&](auto size, auto stride) {
      launch("depthwise_dw_planes_kernel",
             depthwise_dw_planes_kernel<decltype(zero), decltype(size)::value, decltype(stride)::value>, grid,
             exec, p, tile, parts, pieces, partial);
    });
  });
}

void depthwise_dw_channels_cuda(const DepthwiseProblem& p, int parts, int pieces, float* partial,
                                const Exec& exec) {
  const int blocks = (p.target_channels + kWarpSize - 1) / kWarpSize * pieces;
  for_device_dtype(p.dtype, [&](auto zero) {
    with_window(p.h, p.w, [&](auto size, auto stride) {
      launch("depthwise_dw_channels_kernel",
             depthwise_dw_channels_kernel<decltype(zero), decltype(size)::value, decltype(stride)::value>,
             Grid{dim3(static_cast<unsigned>(blocks)), dim3(kThreads)}, exec, p, parts, pieces, partial);
    });
  });
}

void depthwise_dw_sum_cuda(const Conv2dDwProblem& p, int pieces, const float* partial, const Exec& exec) {
  for_device_dtype(p.dtype, [&](auto zero) {
    sum_pieces(partial, static_cast<decltype(zero)*>(p.dw), pieces, p.sizes.w_elements(), exec);
  });
}

}  // namespace gpunn
