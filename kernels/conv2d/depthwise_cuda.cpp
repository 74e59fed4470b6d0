// Depthwise convolution on a GPU: which kernels take a problem, and how they share it out.
#include <algorithm>
#include <utility>

#include "gpunn/kernels/common/device_dtype.h"
#include "gpunn/kernels/conv2d/depthwise_impl.h"
#include "gpunn/kernels/conv2d/pieces_impl.h"

namespace gpunn {
namespace {

constexpr std::int64_t kMostInt = 0x7fffffff;
constexpr std::int64_t kSharedFloats = 48 * 1024 / 4;  // of a block, without asking for more
constexpr int kDwWarps = kDepthwiseThreads / 32;
constexpr int kMostLanes = 32;

DepthwiseProblem forward_walk(const Conv2dSizes& s) {
  const auto i = [](std::int64_t v) { return static_cast<int>(v); };
  DepthwiseProblem d{};
  d.h = {i(s.H), i(s.P), i(s.R), i(s.stride_h), i(s.pad_h), i(s.dilation_h), 1};
  d.w = {i(s.W), i(s.Q), i(s.S), i(s.stride_w), i(s.pad_w), i(s.dilation_w), 1};
  d.N = i(s.N), d.source_channels = i(s.C), d.target_channels = i(s.K);
  d.multiplier = i(s.K / s.C);
  return d;
}

DepthwiseAxis backward(const DepthwiseAxis& a) {
  return {a.target, a.source, a.window, 1, a.dilation * (a.window - 1) - a.pad, a.dilation, a.stride};
}

DepthwiseProblem walk_of(const Conv2dProblem& p) {
  DepthwiseProblem d = forward_walk(p.sizes);
  d.dtype = p.dtype, d.source = p.x, d.filter = p.w, d.target = p.y;
  d.bias = p.has_bias ? p.bias : nullptr, d.relu = p.relu;
  return d;
}

DepthwiseProblem walk_of(const Conv2dDxProblem& p) {
  DepthwiseProblem d = forward_walk(p.sizes);
  d.h = backward(d.h), d.w = backward(d.w), d.backward = true;
  std::swap(d.source_channels, d.target_channels);
  d.dtype = p.dtype, d.source = p.dy, d.filter = p.w, d.target = p.dx;
  d.bias = p.has_bias ? p.bias : nullptr;
  return d;
}

DepthwiseProblem walk_of(const Conv2dDwProblem& p) {
  DepthwiseProblem d = forward_walk(p.sizes);
  d.dtype = p.dtype, d.source = p.x, d.target = const_cast<void*>(p.dy);
  return d;
}

int bits_of(int extent, int least, int most) {
  int bits = least;
  while (bits < most && 1 << bits < extent) ++bits;
  return bits;
}

int part_of(int targets, const DepthwiseAxis& a) {
  return (targets - 1) * a.stride + (a.window - 1) * a.dilation + 1;
}

PlaneTile plane_tile(const DepthwiseProblem& p) {
  PlaneTile t{};
  t.column_bits = bits_of(p.w.target, 3, 5);
  t.row_bits = bits_of((p.h.target + kTileRows - 1) / kTileRows, 1, 3);
  t.planes = kDepthwiseThreads >> (t.column_bits + t.row_bits);
  const int high = kTileRows << t.row_bits, wide = 1 << t.column_bits;
  t.rows = part_of(high, p.h), t.columns = part_of(wide, p.w);
  t.across = (p.w.target + wide - 1) / wide, t.down = (p.h.target + high - 1) / high;
  return t;
}

ChannelTile channel_tile(const DepthwiseProblem& p, int width) {
  constexpr std::int64_t kMostRounds = 4;
  ChannelTile t{};
  t.lane_bits = bits_of((p.target_channels + width - 1) / width, 0, 5);
  const int channels = width << t.lane_bits;
  t.channel_blocks = (p.target_channels + channels - 1) / channels;
  t.groups = p.N * p.h.target * ((p.w.target + kGroupColumns - 1) / kGroupColumns);
  // Filters are loaded once for several groups where there are blocks enough.
  const std::int64_t block_groups = kDepthwiseThreads >> t.lane_bits;
  const std::int64_t blocks = (t.groups + block_groups - 1) / block_groups * t.channel_blocks;
  t.rounds = static_cast<int>(std::clamp(blocks / kPieceBlocks, std::int64_t{1}, kMostRounds));
  return t;
}

bool is_empty(const DepthwiseProblem& p) {
  return p.N == 0 || p.h.target == 0 || p.w.target == 0 || p.target_channels == 0;
}

void run(const DepthwiseProblem& p, bool channels_last, const Exec& exec) {
  if (is_empty(p)) return;
  if (!channels_last) return depthwise_planes_cuda(p, plane_tile(p), exec);
  const auto alignment = static_cast<std::uintptr_t>(4 * size_of(p.dtype));
  const auto together =
      reinterpret_cast<std::uintptr_t>(p.source) | reinterpret_cast<std::uintptr_t>(p.target);
  const bool vectors = p.multiplier == 1 && p.target_channels % 4 == 0 && together % alignment == 0;
  depthwise_channels_cuda(p, channel_tile(p, vectors ? 4 : 1), vectors, exec);
}

/// What dw is cut into: tiles of planes times groups of images, or rows.
int dw_parts(const DepthwiseProblem& p, bool channels_last) {
  if (is_empty(p)) return 0;
  if (channels_last) return p.N * p.h.target;
  const PlaneTile t = plane_tile(p);
  return (p.N + t.planes - 1) / t.planes * t.across * t.down;
}

int dw_pieces(const DepthwiseProblem& p, bool channels_last) {
  const int parts = dw_parts(p, channels_last);
  const int units = channels_last ? (parts + kDwWarps - 1) / kDwWarps : parts;
  const int blocks = channels_last ? (p.target_channels + 31) / 32 : p.target_channels;
  return static_cast<int>(piece_count(units, blocks));
}

/// Why not these sizes. Extents are added and multiplied as int in the kernels.
const char* sizes_reason(const Conv2dSizes& s) {
  constexpr std::int64_t kMostExtent = 1 << 24;
  if (!s.depthwise()) return "takes one input channel a group, and several groups";
  for (const std::int64_t extent : {s.H, s.W, s.P, s.Q, s.R, s.S, s.P * s.stride_h, s.Q * s.stride_w, s.pad_h,
                                    s.pad_w, s.R * s.dilation_h, s.S * s.dilation_w})
    if (extent >= kMostExtent) return "takes pictures and windows of fewer than 2^24 rows and columns";
  for (const std::int64_t lines :
       {s.N * s.K * (s.P + 8), s.N * s.C * (s.H + 8), s.N * s.P * (s.Q + 8), s.N * s.H * (s.W + 8)})
    if (lines >= kMostInt) return "takes fewer than 2^31 rows of planes, and pixels of a channel";
  return nullptr;
}

const char* tile_reason(const DepthwiseProblem& p, bool channels_last, bool dw) {
  const char* const reason = "takes windows whose part of a picture fits in 48 KiB";
  if (channels_last) {
    const std::int64_t floats = std::int64_t{p.terms()} * p.taps() * kMostLanes * (p.multiplier == 1 ? 4 : 1);
    return dw || floats <= kSharedFloats ? nullptr : reason;
  }
  const PlaneTile t = plane_tile(p);
  const std::int64_t filters = std::int64_t{dw ? kDwWarps : t.planes} * p.taps();
  return std::int64_t{t.planes} * t.rows * t.columns + filters <= kSharedFloats ? nullptr : reason;
}

/// Planes of one pixel are in both orders, and a block each would be too much for them.
bool are_last(const Conv2dSizes& s) {
  return s.channels_last || (s.H == 1 && s.W == 1 && s.P == 1 && s.Q == 1);
}

template <class P>
const char* reason(const P& p, bool dw) {
  if (const char* const why = device_dtype_reason(p.dtype)) return why;
  if (const char* const why = sizes_reason(p.sizes)) return why;
  return tile_reason(walk_of(p), are_last(p.sizes), dw);
}

}  // namespace

const char* conv2d_depthwise_reason(const Conv2dProblem& p) { return reason(p, false); }
const char* conv2d_dx_depthwise_reason(const Conv2dDxProblem& p) { return reason(p, false); }
const char* conv2d_dw_depthwise_reason(const Conv2dDwProblem& p) { return reason(p, true); }

void conv2d_depthwise_cuda(const Conv2dProblem& p, const Exec& exec) {
  run(walk_of(p), are_last(p.sizes), exec);
}

void conv2d_dx_depthwise_cuda(const Conv2dDxProblem& p, const Exec& exec) {
  run(walk_of(p), are_last(p.sizes), exec);
}

std::size_t conv2d_dw_depthwise_workspace(const Conv2dDwProblem& p) {
  const int pieces = dw_pieces(walk_of(p), are_last(p.sizes));
  return static_cast<std::size_t>(pieces * p.sizes.w_elements()) * sizeof(float);
}

void conv2d_dw_depthwise_cuda(const Conv2dDwProblem& p, const Exec& exec) {
  const DepthwiseProblem walk = walk_of(p);
  const bool last = are_last(p.sizes);
  auto* const partial = static_cast<float*>(exec.workspace);
  const int parts = dw_parts(walk, last), pieces = dw_pieces(walk, last);
  if (pieces > 0 && last) depthwise_dw_channels_cuda(walk, parts, pieces, partial, exec);
  if (pieces > 0 && !last) depthwise_dw_planes_cuda(walk, plane_tile(walk), parts, pieces, partial, exec);
  depthwise_dw_sum_cuda(p, pieces, partial, exec);
}

}  // namespace gpunn
