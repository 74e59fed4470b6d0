// Convolution of few input channels (pictures, masks, the 7 x 7 filters with stride 2 at a network's start),
// where a product of matrices would be mostly padding of its short side. A block takes a tile of 8 x 32
// results; x's part of it lies in shared memory as floats, [channels, rows, columns], as do 16 filters at a
// time, [taps, 16]. A thread has two pixels and all 16 filters: 32 multiply-adds for two values of x and four
// 16-byte reads of filters that the whole warp shares.
//
// Both orders differ only in how x comes and y goes.
#include "gpunn/core/launch.cuh"
#include "gpunn/kernels/common/device_dtype.h"
#include "gpunn/kernels/common/vec.cuh"
#include "gpunn/kernels/conv2d/direct_impl.h"

namespace gpunn {
namespace {

/// Sizes as int (checked), and the group's channels.
struct Sizes {
  int C, H, W, K, R, S, P, Q, channels, filters;  // the last two of a group
  GPUNN_DEVICE explicit Sizes(const Conv2dSizes& s)
      : C(static_cast<int>(s.C)),
        H(static_cast<int>(s.H)),
        W(static_cast<int>(s.W)),
        K(static_cast<int>(s.K)),
        R(static_cast<int>(s.R)),
        S(static_cast<int>(s.S)),
        P(static_cast<int>(s.P)),
        Q(static_cast<int>(s.Q)),
        channels(static_cast<int>(s.C / s.groups)),
        filters(static_cast<int>(s.K / s.groups)) {}
};

/// A block's work.
struct Place {
  int n, group, row, column, first_chunk;
  GPUNN_DEVICE Place(const Conv2dSizes& s, const DirectTile& tile, unsigned block) {
    const auto next = [&](std::int64_t extent) {
      const auto e = static_cast<unsigned>(extent), quotient = block / e;
      const int rest = static_cast<int>(block - quotient * e);
      block = quotient;
      return rest;
    };
    column = next(tile.across) * kDirectColumns;
    row = next(tile.down) * kDirectHigh;
    first_chunk = next(tile.chunk_blocks);
    group = next(s.groups);
    n = static_cast<int>(block);
  }
};

/// x's part of the tile to `to` [channels, rows, columns], zeros outside the picture.
template <class T>
GPUNN_DEVICE void load_part(float* to, const Conv2dProblem& p, const Sizes& z, const DirectTile& tile,
                            const Place& at) {
  const Conv2dSizes& s = p.sizes;
  const T* const x = static_cast<const T*>(p.x);
  const int h0 = at.row * static_cast<int>(s.stride_h) - static_cast<int>(s.pad_h);
  const int w0 = at.column * static_cast<int>(s.stride_w) - static_cast<int>(s.pad_w);
  const int lane = static_cast<int>(threadIdx.x) % kDirectColumns;
  for (int i = static_cast<int>(threadIdx.x) / kDirectColumns; i < z.channels * tile.rows;
       i += kDirectWarps) {
    const int c = i / tile.rows, h = h0 + i - c * tile.rows;
    const std::int64_t channel = at.group * z.channels + c;
    const std::int64_t first = s.channels_last
                                   ? (static_cast<std::int64_t>(at.n) * z.H + h) * z.W * z.C + channel
                                   : ((static_cast<std::int64_t>(at.n) * z.C + channel) * z.H + h) * z.W;
    for (int j = lane; j < tile.columns; j += kDirectColumns) {
      const int w = w0 + j;
      const bool valid = h >= 0 && h < z.H && w >= 0 && w < z.W;
      to[i * tile.columns + j] =
          valid ? to_float(x[first + static_cast<std::int64_t>(w) * (s.channels_last ? z.C : 1)]) : 0.0f;
    }
  }
}

/// kDirectFilters filters of the group from `first` on to `to` [channels R S, kDirectFilters], zeros beyond.
template <class T>
GPUNN_DEVICE void load_filters(float* to, const Conv2dProblem& p, const Sizes& z, int group, int first) {
  const int taps = z.channels * z.R * z.S;
  const T* const w = static_cast<const T*>(p.w) + static_cast<std::int64_t>(group) * z.filters * taps;
  for (int i = static_cast<int>(threadIdx.x); i < taps * kDirectFilters; i += kDirectThreads) {
    const int k = i / taps, tap = i - k * taps;
    to[tap * kDirectFilters + k] =
        first + k < z.filters ? to_float(w[static_cast<std::int64_t>(first + k) * taps + tap]) : 0.0f;
  }
}

using Results = float[kDirectRows][kDirectFilters];

/// `part` at the thread's first window; the second one lies `below` further on.
GPUNN_DEVICE void add_windows(const float* part, const float* filters, const Conv2dSizes& s, const Sizes& z,
                              const DirectTile& tile, int below, Results& sum) {
  const int dilation_h = static_cast<int>(s.dilation_h), dilation_w = static_cast<int>(s.dilation_w);
  for (int c = 0; c < z.channels; ++c) {
    for (int r = 0; r < z.R; ++r) {
      const float* x = part + (c * tile.rows + r * dilation_h) * tile.columns;
      for (int tap = 0; tap < z.S; ++tap, x += dilation_w, filters += kDirectFilters) {
        const float upper = x[0], lower = x[below];
        GPUNN_UNROLL
        for (int k = 0; k < kDirectFilters; k += 4) {
          const Vec<float, 4> f = load_vec<4>(filters + k);
          GPUNN_UNROLL
          for (int v = 0; v < 4; ++v) {
            sum[0][k + v] = fmaf(upper, f.v[v], sum[0][k + v]);
            sum[1][k + v] = fmaf(lower, f.v[v], sum[1][k + v]);
          }
        }
      }
    }
  }
}

/// A thread's results; `first` is the first filter's number in its group.
template <class T>
GPUNN_DEVICE void store_results(const Conv2dProblem& p, const Sizes& z, const DirectTile& tile,
                                const Place& at, int first, Results& sum) {
  const int q = at.column + static_cast<int>(threadIdx.x) % kDirectColumns;
  if (q >= z.Q) return;
  const int k0 = at.group * z.filters + first;
  const int filters = z.filters - first;
  GPUNN_UNROLL
  for (int i = 0; i < kDirectRows; ++i) {
    const int row = at.row + static_cast<int>(threadIdx.x) / kDirectColumns + i * kDirectWarps;
    if (row >= z.P) continue;
    GPUNN_UNROLL
    for (int k = 0; k < kDirectFilters; ++k) {
      if (p.has_bias && k < filters) sum[i][k] += to_float(static_cast<const T*>(p.bias)[k0 + k]);
      if (p.relu && sum[i][k] < 0.0f) sum[i][k] = 0.0f;  // keeps NaN
    }
    if (!p.sizes.channels_last) {
      T* const y =
          static_cast<T*>(p.y) + ((static_cast<std::int64_t>(at.n) * z.K + k0) * z.P + row) * z.Q + q;
      GPUNN_UNROLL
      for (int k = 0; k < kDirectFilters; ++k)
        if (k < filters) y[static_cast<std::int64_t>(k) * z.P * z.Q] = from_float<T>(sum[i][k]);
      continue;
    }
    T* const y = static_cast<T*>(p.y) + ((static_cast<std::int64_t>(at.n) * z.P + row) * z.Q + q) * z.K + k0;
    GPUNN_UNROLL
    for (int k = 0; k < kDirectFilters; k += 4) {
      Vec<T, 4> out;
      GPUNN_UNROLL
      for (int v = 0; v < 4; ++v) out.v[v] = from_float<T>(sum[i][k + v]);
      if (tile.vectors && k < filters) {
        store_vec<4>(y + k, out);
        continue;
      }
      GPUNN_UNROLL
      for (int v = 0; v < 4; ++v)
        if (k + v < filters) y[k + v] = out.v[v];
    }
  }
}

template <class T>
GPUNN_KERNEL __launch_bounds__(kDirectThreads)
    conv2d_fwd_direct_kernel(const Conv2dProblem p, const DirectTile tile) {
  GPUNN_DYN_SHARED(memory);
  const Sizes z(p.sizes);
  float* const filters = reinterpret_cast<float*>(memory);                // [taps, kDirectFilters]
  float* const part = filters + z.channels * z.R * z.S * kDirectFilters;  // [channels, rows, columns]
  const Place at(p.sizes, tile, blockIdx.x);
  const int stride_h = static_cast<int>(p.sizes.stride_h), stride_w = static_cast<int>(p.sizes.stride_w);
  const int column = static_cast<int>(threadIdx.x) % kDirectColumns,
            row = static_cast<int>(threadIdx.x) / kDirectColumns;
  const int corner = row * stride_h * tile.columns + column * stride_w;
  const int below = kDirectWarps * stride_h * tile.columns;
  load_part<T>(part, p, z, tile, at);
  for (int chunk = at.first_chunk; chunk < tile.chunks; chunk += tile.chunk_blocks) {
    const int first = chunk * kDirectFilters;
    __syncthreads();  // the previous filters have been read
    load_filters<T>(filters, p, z, at.group, first);
    __syncthreads();  // the filters and x's part are there
    Results sum = {};
    add_windows(part + corner, filters, p.sizes, z, tile, below, sum);
    store_results<T>(p, z, tile, at, first, sum);
  }
}

}  // namespace

void direct_tiles_cuda(const Conv2dProblem& p, const DirectTile& tile, const Exec& exec) {
  const Conv2dSizes& s = p.sizes;
  const std::int64_t blocks = s.N * s.groups * tile.chunk_blocks * tile.across * tile.down;
  const std::int64_t floats =
      s.C / s.groups * (s.R * s.S * kDirectFilters + std::int64_t{tile.rows} * tile.columns);
  for_device_dtype(p.dtype, [&](auto zero) {
    launch("conv2d_fwd_direct_kernel", conv2d_fwd_direct_kernel<decltype(zero)>,
           Grid{dim3(static_cast<unsigned>(blocks)), dim3(kDirectThreads),
                static_cast<std::size_t>(floats) * sizeof(float)},
           exec, p, tile);
  });
}

}  // namespace gpunn
