// Depthwise convolution and its dx where the channels lie side by side: a warp reads neighbouring channels of
// one pixel, each thread 4 of them at once where it may, for kGroupColumns targets of one row. With stride 1
// a row of the window is read once for all of them; other walks read it for each, out of L1. The filters of
// the block's channels lie in shared memory with the channels side by side too.
#include "gpunn/core/launch.cuh"
#include "gpunn/kernels/common/device_dtype.h"
#include "gpunn/kernels/common/vec.cuh"
#include "gpunn/kernels/conv2d/depthwise_impl.h"

namespace gpunn {
namespace {

constexpr int kThreads = kDepthwiseThreads;
constexpr int kVector = 4;

/// Blocks of a multiprocessor: registers for a row of filters, without a spill.
template <int kWidth, int kSize>
inline constexpr int kBlocks = kWidth == 1  ? 6
                               : kSize == 3 ? 4
                                            : 3;

/// A thread's channels in its targets.
template <int kWidth>
using Sums = float[kGroupColumns][kWidth];

/// Targets [column, column + kGroupColumns) of a row of an image.
struct Group {
  int n, row, column;
};
GPUNN_DEVICE Group group_at(const DepthwiseProblem& p, int index) {
  const int in_row = (p.w.target + kGroupColumns - 1) / kGroupColumns;
  const int row = index / in_row, n = row / p.h.target;
  return {n, row - n * p.h.target, (index - row * in_row) * kGroupColumns};
}

/// Filters of term j to `to` [R S, channels], turned for dx; zeros for channels that there are not.
template <class T>
GPUNN_DEVICE void load_filters(float* to, const DepthwiseProblem& p, int first, int channels, int j) {
  const int taps = p.taps();
  const T* const filter = static_cast<const T*>(p.filter);
  for (int i = static_cast<int>(threadIdx.x); i < channels * taps; i += kThreads) {
    const int channel = i / taps, tap = i - channel * taps;  // reads side by side
    const bool valid = first + channel < p.target_channels;
    const std::int64_t at = valid ? static_cast<std::int64_t>(p.filter_of(first + channel, j)) * taps +
                                        (p.backward ? taps - 1 - tap : tap)
                                  : 0;
    to[tap * channels + channel] = valid ? to_float(filter[at]) : 0.0f;
  }
}

/// Row `r` of a window of kSize taps with stride 1 for all targets; `filter` its first tap. `from` is column
/// 0.
template <class T, int kWidth, int kSize>
GPUNN_DEVICE void add_row(const T* from, const DepthwiseProblem& p, int column, const float* filter,
                          int channels, Sums<kWidth>& sum) {
  float f[kSize][kWidth];
  GPUNN_UNROLL
  for (int s = 0; s < kSize; ++s) {
    GPUNN_UNROLL
    for (int v = 0; v < kWidth; ++v) f[s][v] = filter[s * channels + v];
  }
  GPUNN_UNROLL
  for (int i = 0; i < kGroupColumns + kSize - 1; ++i) {
    const int w = p.w.source_at(column - p.w.pad + i);
    if (w < 0) continue;
    const Vec<T, kWidth> x = load_vec<kWidth>(from + static_cast<std::int64_t>(w) * p.source_channels);
    GPUNN_UNROLL
    for (int c = 0; c < kGroupColumns; ++c) {
      if (i - c < 0 || i - c >= kSize) continue;
      GPUNN_UNROLL
      for (int v = 0; v < kWidth; ++v) sum[c][v] = fmaf(f[i - c][v], to_float(x.v[v]), sum[c][v]);
    }
  }
}

/// Likewise for any window.
template <class T, int kWidth>
GPUNN_DEVICE void add_any_row(const T* from, const DepthwiseProblem& p, int column, const float* filter,
                              int channels, Sums<kWidth>& sum) {
  for (int s = 0; s < p.w.window; ++s) {
    GPUNN_UNROLL
    for (int c = 0; c < kGroupColumns; ++c) {
      const int w = p.w.source_at((column + c) * p.w.stride - p.w.pad + s * p.w.dilation);
      if (w < 0) continue;
      const Vec<T, kWidth> x = load_vec<kWidth>(from + static_cast<std::int64_t>(w) * p.source_channels);
      GPUNN_UNROLL
      for (int v = 0; v < kWidth; ++v)
        sum[c][v] = fmaf(filter[s * channels + v], to_float(x.v[v]), sum[c][v]);
    }
  }
}

template <class T, int kWidth>
GPUNN_DEVICE void store_group(const DepthwiseProblem& p, const Group& g, int channel,
                              const Sums<kWidth>& sum) {
  float bias[kWidth] = {};
  if (p.bias) {
    GPUNN_UNROLL
    for (int v = 0; v < kWidth; ++v) bias[v] = to_float(static_cast<const T*>(p.bias)[channel + v]);
  }
  const std::int64_t row = static_cast<std::int64_t>(g.n) * p.h.target + g.row;
  T* const to = static_cast<T*>(p.target) + (row * p.w.target + g.column) * p.target_channels + channel;
  GPUNN_UNROLL
  for (int c = 0; c < kGroupColumns; ++c) {
    if (g.column + c >= p.w.target) continue;
    Vec<T, kWidth> out;
    GPUNN_UNROLL
    for (int v = 0; v < kWidth; ++v) out.v[v] = from_float<T>(p.end(sum[c][v], bias[v]));
    store_vec<kWidth>(to + static_cast<std::int64_t>(c) * p.target_channels, out);
  }
}

/// One group of targets, all its terms in one go: `filters` [terms, R S, channels].
template <class T, int kWidth, int kSize>
GPUNN_DEVICE void walk_group(const DepthwiseProblem& p, const Group& g, int channel, const float* filters,
                             int channels) {
  Sums<kWidth> sum = {};
  for (int j = 0; j < p.terms(); ++j) {
    const int from_channel = p.source_channel(channel, j);
    for (int r = 0; r < p.h.window; ++r) {
      const int h = p.h.source_at(g.row * p.h.stride - p.h.pad + r * p.h.dilation);
      if (h < 0) continue;
      const std::int64_t row = static_cast<std::int64_t>(g.n) * p.h.source + h;
      const T* const from =
          static_cast<const T*>(p.source) + row * p.w.source * p.source_channels + from_channel;
      const float* const filter = filters + (j * p.taps() + r * p.w.window) * channels;
      if constexpr (kSize > 0) {
        add_row<T, kWidth, kSize>(from, p, g.column, filter, channels, sum);
      } else {
        add_any_row<T, kWidth>(from, p, g.column, filter, channels, sum);
      }
    }
  }
  store_group<T, kWidth>(p, g, channel, sum);
}

template <class T, int kWidth, int kSize>
GPUNN_KERNEL __launch_bounds__(kThreads, kBlocks<kWidth, kSize>)
    depthwise_fwd_channels_kernel(const DepthwiseProblem p, const ChannelTile tile) {
  GPUNN_DYN_SHARED(memory);
  float* const filters = reinterpret_cast<float*>(memory);  // [terms, R S, channels]
  const int lanes = 1 << tile.lane_bits, channels = lanes * kWidth;
  const int block = static_cast<int>(blockIdx.x) / tile.channel_blocks;
  const int first = (static_cast<int>(blockIdx.x) - block * tile.channel_blocks) * channels;
  for (int j = 0; j < p.terms(); ++j)
    load_filters<T>(filters + j * p.taps() * channels, p, first, channels, j);
  __syncthreads();  // the filters are there
  const int mine = (static_cast<int>(threadIdx.x) & (lanes - 1)) * kWidth;
  if (first + mine >= p.target_channels) return;
  const int threads = kThreads >> tile.lane_bits;
  const int begin = block * threads * tile.rounds + (static_cast<int>(threadIdx.x) >> tile.lane_bits);
  for (int round = 0; round < tile.rounds; ++round) {
    const int index = begin + round * threads;
    if (index < tile.groups)
      walk_group<T, kWidth, kSize>(p, group_at(p, index), first + mine, filters + mine, channels);
  }
}

template <class T, int kWidth, int kSize>
void run(const DepthwiseProblem& p, const ChannelTile& tile, const Exec& exec) {
  const int block_groups = (kThreads >> tile.lane_bits) * tile.rounds;
  const int blocks = (tile.groups + block_groups - 1) / block_groups * tile.channel_blocks;
  const auto bytes =
      static_cast<std::size_t>(p.terms() * p.taps() * (kWidth << tile.lane_bits)) * sizeof(float);
  launch("depthwise_fwd_channels_kernel", depthwise_fwd_channels_kernel<T, kWidth, kSize>,
         Grid{dim3(static_cast<unsigned>(blocks)), dim3(kThreads), bytes}, exec, p, tile);
}

}  // namespace

void depthwise_channels_cuda(const DepthwiseProblem& p, const ChannelTile& tile, bool vectors,
                             const Exec& exec) {
  for_device_dtype(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    if (!vectors) return run<T, 1, 0>(p, tile, exec);
    with_window(p.h, p.w, [&](auto size, auto stride) {
      // Of these only a stride of 1 shares the rows that it reads; zeros between pixels are found by add_row.
      constexpr int kSize = decltype(stride)::value == 1 ? decltype(size)::value : 0;
      run<T, kVector, kSize>(p, tile, exec);
    });
  });
}

}  // namespace gpunn
