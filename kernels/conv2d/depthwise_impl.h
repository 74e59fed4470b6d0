#pragma once
// What host and kernels of the depthwise convolution share. Forward and dx are the same walk of a window over
// planes: dx moves the filter, turned by 180 degrees, over dy with stride - 1 zeros between its pixels.
//
// Outside a plane the source is taken as 0 and multiplied, so that a filter that is not finite there gives
// NaN, as products of matrices do.
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "gpunn/core/hd.h"
#include "gpunn/kernels/conv2d/conv2d_impl.h"

namespace gpunn {

inline constexpr int kDepthwiseThreads = 256;

/// A window's walk along one axis.
struct DepthwiseAxis {
  int source, target;  // pixels
  int window;          // taps
  int stride, pad, dilation;
  int spread;  // source pixel i stands at i * spread, zeros between

  /// The source pixel at the walk's position `at`; -1 where there is a zero.
  GPUNN_HD int source_at(int at) const {
    if (at < 0) return -1;
    if (spread != 1) {
      if (at % spread != 0) return -1;
      at /= spread;
    }
    return at < source ? at : -1;
  }
};

struct DepthwiseProblem {
  DType dtype;
  const void* source;  // [N, source_channels, h.source, w.source], or with the channels last
  const void* filter;  // [K, R, S]
  const void* bias;    // [target_channels], or null
  void* target;        // [N, target_channels, h.target, w.target], or with the channels last
  DepthwiseAxis h, w;
  int N, source_channels, target_channels;
  int multiplier;  // filters of a channel
  bool backward;   // dx: the filters are turned, and the terms of a channel's filters are added up
  bool relu;

  GPUNN_HD int taps() const { return h.window * w.window; }
  GPUNN_HD int terms() const { return backward ? multiplier : 1; }
  /// The source's channel for term j of a target's channel, and its filter.
  GPUNN_HD int source_channel(int target_channel, int j) const {
    return backward ? target_channel * multiplier + j : target_channel / multiplier;
  }
  GPUNN_HD int filter_of(int target_channel, int j) const {
    return backward ? target_channel * multiplier + j : target_channel;
  }
  GPUNN_HD float end(float sum, float bias_value) const {
    sum += bias_value;
    return relu && sum < 0.0f ? 0.0f : sum;  // keeps NaN
  }
};

/// Calls f(size, stride) with the constants of a window that has kernels of its own, or (0, 0).
template <class F>
void with_window(const DepthwiseAxis& h, const DepthwiseAxis& w, F&& f) {
  const auto is = [&](int size, int stride) {
    return h.window == size && w.window == size && h.stride == stride && w.stride == stride &&
           h.dilation == 1 && w.dilation == 1;
  };
  using std::integral_constant;
  if (is(3, 1)) return f(integral_constant<int, 3>{}, integral_constant<int, 1>{});
  if (is(3, 2)) return f(integral_constant<int, 3>{}, integral_constant<int, 2>{});
  if (is(5, 1)) return f(integral_constant<int, 5>{}, integral_constant<int, 1>{});
  if (is(7, 1)) return f(integral_constant<int, 7>{}, integral_constant<int, 1>{});
  f(integral_constant<int, 0>{}, integral_constant<int, 0>{});
}

/// A block's part of planes that follow each other: the source's part of it, with its border, lies in shared
/// memory; a thread has kTileRows targets above each other.
inline constexpr int kTileRows = 4;
struct PlaneTile {
  int column_bits;    // 1 << column_bits targets side by side, a thread each
  int row_bits;       // 1 << row_bits threads above each other
  int planes;         // in the tile
  int rows, columns;  // of the source's part
  int across, down;   // tiles of a plane
  GPUNN_HD int source_floats() const { return planes * rows * columns; }
};

/// How a block shares out channels that lie side by side: 1 << lane_bits threads along them, each with a
/// vector, the other threads along the targets.
inline constexpr int kGroupColumns = 4;  // targets of a thread, side by side
struct ChannelTile {
  int lane_bits;
  int channel_blocks;
  int groups;  // of kGroupColumns targets, in all images
  int rounds;  // groups that a thread takes, one after the other
};

// Forward and dx; dtypes and sizes are checked.
void depthwise_planes_cuda(const DepthwiseProblem& p, const PlaneTile& tile, const Exec& exec);
/// Vectors of 4 channels where `vectors`, which takes a multiplier of 1 and aligned pointers.
void depthwise_channels_cuda(const DepthwiseProblem& p, const ChannelTile& tile, bool vectors,
                             const Exec& exec);
// dw of the forward walk `p` (its target is dy) to partial [pieces, K, R S], a piece being some of `parts`:
// tiles of planes times groups of images; rows of all images where the channels are last.
void depthwise_dw_planes_cuda(const DepthwiseProblem& p, const PlaneTile& tile, int parts, int pieces,
                              float* partial, const Exec& exec);
void depthwise_dw_channels_cuda(const DepthwiseProblem& p, int parts, int pieces, float* partial,
                                const Exec& exec);
/// dw = the sums of the pieces.
void depthwise_dw_sum_cuda(const Conv2dDwProblem& p, int pieces, const float* partial, const Exec& exec);

}  // namespace gpunn
