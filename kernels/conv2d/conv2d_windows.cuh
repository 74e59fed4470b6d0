#pragma once
// Products of windows and filters, as forward and dx need them.
//
// Forward: y's pixel (p, q) has a window that begins at x's row p stride - pad and sees R rows, dilation
// apart. dx: pixel h of dx is seen by the rows p of dy with p stride = h + pad - r dilation for some r, so it
// has a window over dy, provided that the right r are known. They are the same for all h that leave the same
// remainder by the stride: these are a phase. With g = gcd(stride, dilation) the r of a phase are stride / g
// apart, and their p are dilation / g apart, backwards. So each phase is a dense product of its own, with a
// part of the filter; no element is multiplied with the zeros between the rows of a strided window.
#include <numeric>

#include "gpunn/core/exec.h"
#include "gpunn/kernels/conv2d/conv2d_device.cuh"

namespace gpunn::conv2d_device {

inline constexpr int kMostPhases = 8;  // along each side, of one launch
/// Large tiles from here on: one for each of 132 multiprocessors, which hold one block of them at a time.
inline constexpr std::int64_t kEnoughTiles = 132;

/// result[window, column] = sum over taps of source[window, tap] filters[column, tap], for every phase and
/// group.
struct WindowProduct {
  const void* source;
  const void* filters;  // forward [groups, columns, taps], dx [groups, taps of all phases, columns]
  const void* bias;     // [groups, columns]
  void* result;
  Picture from, to;
  Axis h[kMostPhases], w[kMostPhases];
  int phases_h, phases_w;
  std::int64_t N;
  int channels;  // of a group in the source
  int columns;   // of a group in the result
  int groups;
  int taps_w;          // of all phases
  int filter_taps;     // of all phases, channels included
  std::int64_t tiles;  // of the largest phase of a group
  bool channel_inner;
  bool wide_filters;  // rows of filters allow 16-byte copies
  bool has_bias, relu;
};

/// What a block computes: tile `origin` of one phase of one group.
struct Part {
  Axis h, w;
  int group;
  TileOrigin origin;
  std::int64_t M;          // windows
  int K;                   // taps
  std::int64_t first_tap;  // of this phase in the filters
  bool exists;             // smaller phases have fewer tiles
};

template <int kTileM, int kTileN>
GPUNN_DEVICE Part part_of_block(const WindowProduct& p) {
  const std::int64_t index = blockIdx.x / p.tiles, tile = blockIdx.x - index * p.tiles;
  const int phase = static_cast<int>(index) / p.groups;
  Part part{};
  part.h = p.h[phase / p.phases_w];
  part.w = p.w[phase % p.phases_w];
  part.group = static_cast<int>(index) % p.groups;
  part.M = p.N * part.h.count * part.w.count;
  part.K = part.h.taps * part.w.taps * p.channels;
  part.first_tap = (static_cast<std::int64_t>(part.h.taps_before) * p.taps_w +
                    static_cast<std::int64_t>(part.h.taps) * part.w.taps_before) *
                   p.channels;
  part.exists = tile < (part.M + kTileM - 1) / kTileM * ((p.columns + kTileN - 1) / kTileN);
  if (part.exists) part.origin = tile_origin<kTileM, kTileN>(part.M, p.columns, tile);
  return part;
}

/// Fills in the windows of the tile's rows and the places of their results; -1 beyond the last window.
template <int kTileM>
GPUNN_DEVICE void note_rows(const WindowProduct& p, const Part& part, Window (&windows)[kTileM],
                            std::int64_t (&places)[kTileM]) {
  const int t = static_cast<int>(threadIdx.x);
  if (t >= kTileM) return;
  windows[t] = no_window();
  places[t] = -1;
  if (part.origin.m + t >= part.M) return;
  const Digits at = Counter{part.w.count, part.h.count}.split(part.origin.m + t);
  const std::int64_t first = static_cast<std::int64_t>(part.group) * p.channels * p.from.channel;
  windows[t] = window_at(p.from, part.h, part.w, first, at.outer, at.middle, at.inner);
  places[t] = at.outer * p.to.image +
              static_cast<std::int64_t>(at.middle * part.h.result_step + part.h.result_first) * p.to.row +
              static_cast<std::int64_t>(at.inner * part.w.result_step + part.w.result_first) * p.to.column +
              static_cast<std::int64_t>(part.group) * p.columns * p.to.channel;
}

GPUNN_DEVICE Taps taps_of(const WindowProduct& p, const Part& part) {
  return {p.from, part.h, part.w, p.channels, p.channel_inner};
}

/// Where a thread stands in the taps, and how it goes on.
struct TapWalk {
  Taps taps;
  Counter counter;
  Digits at, one, rest;

  GPUNN_DEVICE Tap tap() const { return taps(at); }
  GPUNN_DEVICE void next_tap() { counter.advance(at, one); }
  GPUNN_DEVICE void next_tile() { counter.advance(at, rest); }
};
GPUNN_DEVICE TapWalk walk_taps(const Taps& taps, int first, int rest) {
  const Counter counter = taps.counter();
  return {taps, counter, counter.split(first), counter.split(1), counter.split(rest)};
}

/// Copies what a window sees at the next kPart taps, elements kLd apart, and goes on to the next tile.
template <int kPart, int kLd, class T>
GPUNN_DEVICE void copy_part(T* to, const T* source, const Window& window, TapWalk& walk) {
  GPUNN_UNROLL
  for (int i = 0; i < kPart; ++i) {
    copy_seen(to + i * kLd, source, walk.taps.from, window, walk.tap());
    walk.next_tap();
  }
  walk.next_tile();
}

/// Writes the result of a window and a column from its sum of products.
template <class T>
GPUNN_DEVICE void deliver(const WindowProduct& p, const Part& part, std::int64_t place, std::int64_t column,
                          float sum) {
  if (place < 0 || column >= p.columns) return;
  if (p.has_bias)
    sum +=
        to_float(static_cast<const T*>(p.bias)[static_cast<std::int64_t>(part.group) * p.columns + column]);
  if (p.relu && sum < 0.0f) sum = 0.0f;  // keeps NaN
  static_cast<T*>(p.result)[place + column * p.to.channel] = from_float<T>(sum);
}

/// The filters' order has r, s, c (forward), or the taps of a phase together and columns fastest (dx). They
/// are rearranged in the workspace, or stay where they are if that is their order already.
constexpr bool rearranges_filters(const Conv2dProblem& p) {
  return p.sizes.channels_last && p.sizes.R * p.sizes.S > 1;
}
constexpr bool rearranges_filters(const Conv2dDxProblem& p) { return p.sizes.R * p.sizes.S > 1; }

/// Returns the filters in the order that the products want.
const void* arrange_filters(const Conv2dProblem& p, const Exec& exec);
const void* arrange_filters(const Conv2dDxProblem& p, const Exec& exec);

/// Row r of the filter among the rows of its phase, and the rows of lower phases. dx's row h is in phase
/// h mod stride.
struct PhaseRow {
  int before, taps, index;
};
GPUNN_HD PhaseRow phase_row(int r, int taps, int stride, int pad, int dilation) {
  PhaseRow row{0, 0, 0};
  if (stride == 1) return {0, taps, r};
  const auto phase = [=](int tap) {
    const std::int64_t h = (static_cast<std::int64_t>(tap) * dilation - pad) % stride;
    return static_cast<int>(h < 0 ? h + stride : h);
  };
  const int own = phase(r);
  for (int q = 0; q < taps; ++q) {
    const int other = phase(q);
    row.before += other < own;
    row.taps += other == own;
    row.index += other == own && q < r;
  }
  return row;
}

/// Phase `phase` of dx: its rows, and the windows over dy that they have.
inline Axis dx_axis(int phase, std::int64_t extent, std::int64_t taps, std::int64_t stride, std::int64_t pad,
                    std::int64_t dilation) {
  Axis axis{};
  axis.count = static_cast<int>((extent - phase + stride - 1) / stride);
  axis.step = 1;
  axis.tap_step = -static_cast<int>(dilation / std::gcd(stride, dilation));
  axis.result_step = static_cast<int>(stride);
  axis.result_first = phase;
  for (std::int64_t r = 0; r < taps; ++r) {
    if ((phase + pad - r * dilation) % stride != 0) continue;
    const PhaseRow row = phase_row(static_cast<int>(r), static_cast<int>(taps), static_cast<int>(stride),
                                   static_cast<int>(pad), static_cast<int>(dilation));
    axis.taps = row.taps;
    axis.taps_before = row.before;
    axis.origin = static_cast<int>((phase + pad - r * dilation) / stride);
    break;
  }
  return axis;
}

/// Forward as one product with one phase.
inline WindowProduct windows_of(const Conv2dProblem& p, const void* filters) {
  const Conv2dSizes& s = p.sizes;
  WindowProduct product{};
  product.source = p.x, product.filters = filters, product.bias = p.bias, product.result = p.y;
  product.from = picture_of(s.C, s.H, s.W, s.channels_last);
  product.to = picture_of(s.K, s.P, s.Q, s.channels_last);
  product.h[0] = forward_axis(s.P, s.R, s.stride_h, s.pad_h, s.dilation_h);
  product.w[0] = forward_axis(s.Q, s.S, s.stride_w, s.pad_w, s.dilation_w);
  product.phases_h = product.phases_w = 1;
  product.N = s.N;
  product.channels = static_cast<int>(s.C / s.groups), product.columns = static_cast<int>(s.K / s.groups);
  product.groups = static_cast<int>(s.groups);
  product.taps_w = static_cast<int>(s.S);
  product.filter_taps = static_cast<int>(s.R * s.S) * product.channels;
  product.channel_inner = s.channels_last;
  product.wide_filters = channels_by_16_bytes(filters, product.filter_taps, p.dtype);
  product.has_bias = p.has_bias, product.relu = p.relu;
  return product;
}

/// dx without its phases.
inline WindowProduct windows_of(const Conv2dDxProblem& p, const void* filters) {
  const Conv2dSizes& s = p.sizes;
  WindowProduct product{};
  product.source = p.dy, product.filters = filters, product.bias = p.bias, product.result = p.dx;
  product.from = picture_of(s.K, s.P, s.Q, s.channels_last);
  product.to = picture_of(s.C, s.H, s.W, s.channels_last);
  product.N = s.N;
  product.channels = static_cast<int>(s.K / s.groups), product.columns = static_cast<int>(s.C / s.groups);
  product.groups = static_cast<int>(s.groups);
  product.taps_w = static_cast<int>(s.S);
  product.filter_taps = static_cast<int>(s.R * s.S) * product.channels;
  product.channel_inner = true;
  product.wide_filters = channels_by_16_bytes(filters, product.columns, p.dtype);
  product.has_bias = p.has_bias;
  return product;
}

/// Calls f(product) with every phase of dx, up to kMostPhases x kMostPhases of them at a time.
template <class F>
void for_phases(const Conv2dDxProblem& p, const void* filters, F f) {
  const Conv2dSizes& s = p.sizes;
  const auto phases_h = static_cast<int>(s.stride_h < s.H ? s.stride_h : s.H);
  const auto phases_w = static_cast<int>(s.stride_w < s.W ? s.stride_w : s.W);
  WindowProduct product = windows_of(p, filters);
  for (int i = 0; i < phases_h; i += kMostPhases)
    for (int j = 0; j < phases_w; j += kMostPhases) {
      product.phases_h = phases_h - i < kMostPhases ? phases_h - i : kMostPhases;
      product.phases_w = phases_w - j < kMostPhases ? phases_w - j : kMostPhases;
      for (int a = 0; a < product.phases_h; ++a)
        product.h[a] = dx_axis(i + a, s.H, s.R, s.stride_h, s.pad_h, s.dilation_h);
      for (int b = 0; b < product.phases_w; ++b)
        product.w[b] = dx_axis(j + b, s.W, s.S, s.stride_w, s.pad_w, s.dilation_w);
      f(product);
    }
}

/// Tiles of the first phase, the largest one.
inline std::int64_t tiles_of(const WindowProduct& p, std::int64_t tile_m, std::int64_t tile_n) {
  const std::int64_t M = p.N * p.h[0].count * p.w[0].count;
  return (M + tile_m - 1) / tile_m * ((p.columns + tile_n - 1) / tile_n);
}
inline std::int64_t parts_of(const WindowProduct& p) {
  return static_cast<std::int64_t>(p.groups) * p.phases_h * p.phases_w;
}

}  // namespace gpunn::conv2d_device
