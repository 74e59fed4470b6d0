#pragma once
// The product for dw: rows are the filters of a group, columns the taps, and the sum runs over the pixels of
// dy. It is long where the result is small, so it is cut into pieces that blocks take side by side; a second
// kernel adds them in order.
#include "gpunn/core/exec.h"
#include "gpunn/kernels/conv2d/conv2d_device.cuh"

namespace gpunn::conv2d_device {

/// How the pixels are cut: `count` pieces of `pixels` (the last may be shorter), and the side of the tiles
/// that the result is cut into. Depends on sizes alone.
struct Pieces {
  std::int64_t count, pixels;
  int tile;
};
inline Pieces pieces_of(const Conv2dSizes& s) {
  constexpr std::int64_t kWanted = 528, kLeast = 512;  // blocks, four on each of 132 multiprocessors; pixels
  const std::int64_t rows = s.K / s.groups, columns = s.C / s.groups * s.R * s.S, pixels = s.N * s.P * s.Q;
  const std::int64_t tile = rows > 64 && columns > 64 ? 128 : 64;
  const std::int64_t tiles = (rows + tile - 1) / tile * ((columns + tile - 1) / tile) * s.groups;
  std::int64_t count = kWanted / tiles;
  if (count > pixels / kLeast) count = pixels / kLeast;
  if (count < 1) count = 1;
  const std::int64_t each = ((pixels + count - 1) / count + 31) / 32 * 32;  // whole steps of every kernel
  return {(pixels + each - 1) / each, each, static_cast<int>(tile)};
}

/// dw[filter, tap] = sum over pixels of dy[pixel, filter] (what the pixel's window sees at the tap).
struct PixelProduct {
  const void* x;
  const void* dy;
  void* dw;
  float* partial;    // [pieces, K, columns] in the order of the taps; null with one piece
  Picture from, to;  // x; dy
  Axis h, w;
  std::int64_t pixels, piece;              // in all; of each piece
  std::int64_t tiles;                      // of a group
  int filters, channels, columns, groups;  // of a group: K, C, taps
  int positions;                           // R S
  bool channel_inner;
  bool wide_dy;  // rows of dy allow 16-byte copies
};

inline PixelProduct pixels_of(const Conv2dDwProblem& p, const Exec& exec) {
  const Conv2dSizes& s = p.sizes;
  const Pieces pieces = pieces_of(s);
  PixelProduct product{};
  product.x = p.x, product.dy = p.dy, product.dw = p.dw;
  product.partial = pieces.count > 1 ? static_cast<float*>(exec.workspace) : nullptr;
  product.from = picture_of(s.C, s.H, s.W, s.channels_last);
  product.to = picture_of(s.K, s.P, s.Q, s.channels_last);
  product.h = forward_axis(s.P, s.R, s.stride_h, s.pad_h, s.dilation_h);
  product.w = forward_axis(s.Q, s.S, s.stride_w, s.pad_w, s.dilation_w);
  product.pixels = s.N * s.P * s.Q, product.piece = pieces.pixels;
  product.filters = static_cast<int>(s.K / s.groups), product.channels = static_cast<int>(s.C / s.groups);
  product.positions = static_cast<int>(s.R * s.S);
  product.columns = product.channels * product.positions;
  product.groups = static_cast<int>(s.groups);
  product.tiles = static_cast<std::int64_t>((product.filters + pieces.tile - 1) / pieces.tile) *
                  ((product.columns + pieces.tile - 1) / pieces.tile);
  product.channel_inner = s.channels_last;
  product.wide_dy = channels_by_16_bytes(p.dy, product.filters, p.dtype);
  return product;
}

/// Blocks over tiles and groups, and over pieces.
inline dim3 pixel_grid(const PixelProduct& p, const Conv2dSizes& sizes) {
  return dim3(static_cast<unsigned>(p.tiles * p.groups), static_cast<unsigned>(pieces_of(sizes).count));
}

/// Adds up the pieces, if there are several.
void sum_pieces(const Conv2dDwProblem& p, const PixelProduct& product, const Exec& exec);

/// What a block computes: a tile of one group, from a piece of the pixels.
struct DwPart {
  int group;
  TileOrigin origin;
  std::int64_t begin, end;
};
template <int kTileM, int kTileN>
GPUNN_DEVICE DwPart dw_part_of_block(const PixelProduct& p) {
  const std::int64_t group = blockIdx.x / p.tiles, begin = blockIdx.y * p.piece;
  return {static_cast<int>(group),
          tile_origin<kTileM, kTileN>(p.filters, p.columns, blockIdx.x - group * p.tiles), begin,
          begin + p.piece < p.pixels ? begin + p.piece : p.pixels};
}

/// Fills in the taps of the tile's columns.
template <int kTileN>
GPUNN_DEVICE void note_columns(const PixelProduct& p, const DwPart& part, Tap (&columns)[kTileN]) {
  const int t = static_cast<int>(threadIdx.x);
  if (t >= kTileN) return;
  const Taps taps{p.from, p.h, p.w, p.channels, p.channel_inner};
  const std::int64_t n = part.origin.n + t;
  columns[t] = n < p.columns ? taps(taps.counter().split(n)) : no_tap();
}

/// Where a thread stands among the pixels.
struct PixelWalk {
  Counter counter;
  Digits at;
  std::int64_t pixel, end;

  /// Goes `pixels` on, which `by` says in digits.
  GPUNN_DEVICE void advance(int pixels, const Digits& by) {
    pixel += pixels;
    counter.advance(at, by);
  }
};
GPUNN_DEVICE PixelWalk walk_pixels(const PixelProduct& p, const DwPart& part, int first) {
  const Counter counter{p.w.count, p.h.count};
  return {counter, counter.split(part.begin + first), part.begin + first, part.end};
}
GPUNN_DEVICE Window window_of(const PixelProduct& p, const DwPart& part, const PixelWalk& walk) {
  if (walk.pixel >= walk.end) return no_window();
  const std::int64_t first = static_cast<std::int64_t>(part.group) * p.channels * p.from.channel;
  return window_at(p.from, p.h, p.w, first, walk.at.outer, walk.at.middle, walk.at.inner);
}

/// The sum of a filter and a column goes to dw, or to where the pieces are added up.
template <class T>
GPUNN_DEVICE void store_dw(const PixelProduct& p, std::int64_t filter, int column, float sum) {
  const int position = p.channel_inner ? column / p.channels : 0;
  const int tap = p.channel_inner ? (column - position * p.channels) * p.positions + position : column;
  static_cast<T*>(p.dw)[filter * p.columns + tap] = from_float<T>(sum);
}
template <class T>
GPUNN_DEVICE void deliver(const PixelProduct& p, const DwPart& part, std::int64_t m, std::int64_t n,
                          float sum) {
  if (m >= p.filters || n >= p.columns) return;
  const std::int64_t filter = static_cast<std::int64_t>(part.group) * p.filters + m;
  if (!p.partial) return store_dw<T>(p, filter, static_cast<int>(n), sum);
  const std::int64_t K = static_cast<std::int64_t>(p.groups) * p.filters;
  p.partial[(blockIdx.y * K + filter) * p.columns + n] = sum;
}

// Tiles of neighbouring pixels, for pictures in planes: a thread stays with one pixel of a step.

/// Copies what the window sees at kCount columns.
template <int kThreads, int kTileK, int kCount, int kStrideK, int kStrideN, class T>
GPUNN_DEVICE void copy_columns(T* to, const PixelProduct& p, const Window& window,
                               const Tap (&columns)[kCount]) {
  const int k = static_cast<int>(threadIdx.x) % kTileK;
  GPUNN_UNROLL
  for (int i = 0; i < kCount * kTileK / kThreads; ++i) {
    const int n = static_cast<int>(threadIdx.x) / kTileK + i * (kThreads / kTileK);
    copy_seen(to + k * kStrideK + n * kStrideN, static_cast<const T*>(p.x), p.from, window, columns[n]);
  }
}

/// Copies the pixel's gradients of kCount filters.
template <int kThreads, int kTileK, int kCount, int kStrideK, int kStrideM, class T>
GPUNN_DEVICE void copy_filters(T* to, const PixelProduct& p, const DwPart& part, const PixelWalk& walk) {
  const int k = static_cast<int>(threadIdx.x) % kTileK;
  const std::int64_t filter = static_cast<std::int64_t>(part.group) * p.filters + part.origin.m;
  const std::int64_t place = walk.at.outer * p.to.image +
                             static_cast<std::int64_t>(walk.at.middle) * p.to.row +
                             static_cast<std::int64_t>(walk.at.inner) * p.to.column + filter * p.to.channel;
  const T* const dy = static_cast<const T*>(p.dy);
  GPUNN_UNROLL
  for (int i = 0; i < kCount * kTileK / kThreads; ++i) {
    const int m = static_cast<int>(threadIdx.x) / kTileK + i * (kThreads / kTileK);
    const bool valid = walk.pixel < walk.end && part.origin.m + m < p.filters;
    copy_element(to + k * kStrideK + m * kStrideM,
                 valid ? dy + place + static_cast<std::int64_t>(m) * p.to.channel : dy, valid);
  }
}

/// Tiles of neighbouring columns, for channels-last order: a thread stays with one column and takes every
/// kThreads / kCount-th pixel of a step. [kTileK, kLd]
template <int kThreads, int kTileK, int kCount, int kLd, class T>
GPUNN_DEVICE void copy_pixels(T* to, const PixelProduct& p, const DwPart& part, const Tap (&columns)[kCount],
                              PixelWalk& walk) {
  constexpr int kApart = kThreads / kCount;
  const int n = static_cast<int>(threadIdx.x) % kCount, first = static_cast<int>(threadIdx.x) / kCount;
  const Tap tap = columns[n];
  const Digits by = walk.counter.split(kApart);
  GPUNN_ROLLED
  for (int i = 0; i < kTileK / kApart; ++i) {
    copy_seen(to + (first + i * kApart) * kLd + n, static_cast<const T*>(p.x), p.from,
              window_of(p, part, walk), tap);
    walk.advance(kApart, by);
  }
}

}  // namespace gpunn::conv2d_device
