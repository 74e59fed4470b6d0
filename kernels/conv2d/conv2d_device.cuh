#pragma once
// Geometry of windows over pictures as the device kernels see it, and the copies of what windows see to
// tiles in shared memory.
//
// A product runs over windows (one per pixel of the result) and over taps (one per channel and position of
// the filter). A window has a place in the picture, a tap a distance from the window's place, and what the
// window sees at a tap is at the sum of both, or 0 outside the picture. Within a picture indices have 32 bits
// (the reason functions refuse larger ones), from picture to picture 64.
#include <cstdint>

#include "gpunn/core/kernel_macros.cuh"
#include "gpunn/kernels/common/convert.cuh"
#include "gpunn/kernels/common/device_dtype.h"
#include "gpunn/kernels/common/tile_order.cuh"
#include "gpunn/kernels/conv2d/conv2d_impl.h"
#include "gpunn/kernels/ptx/cp_async.cuh"

namespace gpunn::conv2d_device {

/// Extents of a picture and elements from one index to the next.
struct Picture {
  std::int64_t image;
  int row, column, channel;
  int height, width;
};

inline Picture picture_of(std::int64_t channels, std::int64_t height, std::int64_t width,
                          bool channels_last) {
  const auto row = static_cast<int>(channels_last ? width * channels : width);
  const auto column = static_cast<int>(channels_last ? channels : 1);
  const auto channel = static_cast<int>(channels_last ? 1 : height * width);
  return {channels * height * width, row, column, channel, static_cast<int>(height), static_cast<int>(width)};
}

/// Windows along one side of a picture: window i begins at row i step + origin, its taps are tap_step apart,
/// and its result belongs at row i result_step + result_first.
struct Axis {
  int count, taps;
  int step, origin;
  int tap_step;
  int result_step, result_first;
  int taps_before;  // those of the phases before this one, see conv2d_windows.cuh
};

inline Axis forward_axis(std::int64_t count, std::int64_t taps, std::int64_t stride, std::int64_t pad,
                         std::int64_t dilation) {
  return {static_cast<int>(count),
          static_cast<int>(taps),
          static_cast<int>(stride),
          -static_cast<int>(pad),
          static_cast<int>(dilation),
          1,
          0,
          0};
}

/// Far enough outside for every picture, near enough to add to another.
inline constexpr int kOutside = -(1 << 30);

struct Window {
  std::int64_t offset;  // of its first tap, first channel; may lie outside the picture
  int h, w;
};

struct Tap {
  int h, w, offset;
};

GPUNN_DEVICE bool sees(const Picture& from, const Window& window, const Tap& tap) {
  return static_cast<unsigned>(window.h + tap.h) < static_cast<unsigned>(from.height) &&
         static_cast<unsigned>(window.w + tap.w) < static_cast<unsigned>(from.width);
}

/// Window (n, i, j); `group` is the offset of the group's first channel.
GPUNN_DEVICE Window window_at(const Picture& from, const Axis& h, const Axis& w, std::int64_t group,
                              std::int64_t n, int i, int j) {
  const int top = i * h.step + h.origin, left = j * w.step + w.origin;
  const std::int64_t offset = n * from.image + group + static_cast<std::int64_t>(top) * from.row +
                              static_cast<std::int64_t>(left) * from.column;
  return {offset, top, left};
}

GPUNN_DEVICE Window no_window() { return {0, kOutside, 0}; }

GPUNN_DEVICE Tap tap_at(const Picture& from, const Axis& h, const Axis& w, int r, int s, int c) {
  const int down = r * h.tap_step, right = s * w.tap_step;
  return {down, right, down * from.row + right * from.column + c * from.channel};
}

GPUNN_DEVICE Tap no_tap() { return {kOutside, 0, 0}; }

/// An index as three digits, the inner one running fastest; the outer one has no end.
struct Digits {
  int inner, middle, outer;
};

/// How many values inner and middle digits have: counting on costs no division.
struct Counter {
  int inner, middle;

  GPUNN_DEVICE Digits split(std::int64_t index) const {
    const auto i = static_cast<std::uint64_t>(index);
    const auto n = static_cast<std::uint64_t>(inner), m = static_cast<std::uint64_t>(middle);
    const std::uint64_t outer = i / (n * m), rest = i - outer * n * m;
    return {static_cast<int>(rest % n), static_cast<int>(rest / n), static_cast<int>(outer)};
  }
  /// `by` is split(), too.
  GPUNN_DEVICE void advance(Digits& at, const Digits& by) const {
    at.inner += by.inner;
    at.middle += by.middle;
    at.outer += by.outer;
    if (at.inner >= inner) {
      at.inner -= inner;
      ++at.middle;
    }
    if (at.middle >= middle) {
      at.middle -= middle;
      ++at.outer;
    }
  }
};

/// The taps of a filter in their order: channels run fastest (channel_inner: r, s, c), or positions do (c, r,
/// s).
struct Taps {
  Picture from;
  Axis h, w;
  int channels;
  bool channel_inner;

  GPUNN_DEVICE Counter counter() const {
    // No taps at all is a counter that is never asked.
    const int taps_h = h.taps > 0 ? h.taps : 1, taps_w = w.taps > 0 ? w.taps : 1;
    return channel_inner ? Counter{channels, taps_w} : Counter{taps_w, taps_h};
  }
  GPUNN_DEVICE Tap operator()(const Digits& at) const {
    const int r = channel_inner ? at.outer : at.middle, s = channel_inner ? at.middle : at.inner;
    const int c = channel_inner ? at.inner : at.outer;
    return r < h.taps && c < channels ? tap_at(from, h, w, r, s, c) : no_tap();
  }
};

/// One element to shared memory, 0 if not `valid`. `from` is an address in any case.
template <class T>
GPUNN_DEVICE void copy_element(T* to, const T* from, bool valid) {
  if constexpr (sizeof(T) == 4) {
    ptx::cp_async_4(to, from, valid);
  } else {
    *to = valid ? *from : from_float<T>(0.0f);
  }
}

/// What `window` sees at `tap`, to shared memory.
template <class T>
GPUNN_DEVICE void copy_seen(T* to, const T* data, const Picture& from, const Window& window, const Tap& tap) {
  const bool valid = sees(from, window, tap);
  copy_element(to, valid ? data + window.offset + tap.offset : data, valid);
}

/// Likewise 16 bytes of channels.
template <class T>
GPUNN_DEVICE void copy_seen_16(T* to, const T* data, const Picture& from, const Window& window,
                               const Tap& tap) {
  const bool valid = sees(from, window, tap);
  ptx::cp_async_16(to, valid ? data + window.offset + tap.offset : data, valid);
}

/// Are rows of channels aligned to 16 bytes, those of each group too?
inline bool channels_by_16_bytes(const void* data, std::int64_t channels, DType dtype) {
  const std::int64_t width = 16 / static_cast<std::int64_t>(size_of(dtype));
  return reinterpret_cast<std::uintptr_t>(data) % 16 == 0 && channels % width == 0;
}

/// What the kernels can count: indices within a padded picture and within the filters in 32 bits, with room
/// for sums of two.
inline const char* sizes_reason(const Conv2dSizes& s) {
  constexpr std::int64_t kMost = std::int64_t{1} << 30, kMostTiles = std::int64_t{1} << 31;
  const std::int64_t rows = s.H + 2 * s.pad_h + 2, columns = s.W + 2 * s.pad_w + 2;
  const std::int64_t channels = s.C > s.K ? s.C : s.K;
  if (s.N > kMost || rows > kMost / columns || rows * columns > kMost / channels)
    return "takes padded pictures of up to 2^30 elements each";
  if (s.K * (s.C / s.groups) > kMost / (s.R * s.S)) return "takes filters of up to 2^30 elements";
  if (s.N * rows * columns / 64 + 64 > kMostTiles / (channels / 64 + s.groups))
    return "takes fewer than 2^31 tiles";
  // A block of threads for each channel or two is nearly idle; there are kernels for that.
  return s.groups <= 4096 ? nullptr : "takes up to 4096 groups";
}

/// Why tensor cores do not take a problem.
inline const char* mma_reason(const Conv2dSizes& sizes, DType dtype, bool tf32) {
  if (dtype == DType::f32 && !tf32) return "takes f32 only where TF32 is allowed";
  const char* const reason = device_dtype_reason(dtype);
  return reason ? reason : sizes_reason(sizes);
}

}  // namespace gpunn::conv2d_device
