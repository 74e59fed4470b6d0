#pragma once
// The CPU's micro-kernels of convolution. Both read x from planes in which the pixels that one tap sees of
// neighbouring results lie beside each other (conv2d_planes_impl.h), so that no patches are built.
#include <cstdint>

namespace gpunn::detail {

inline constexpr int kConvMaxVectors = 4;
inline constexpr int kConvMaxRows = 8;

/// y[r][pixel] = start[r] + sum over k of weights[r * weight_stride + k] * pixels[offsets[k] + pixel], r
/// being channels of the result and k pairs of an input channel and a tap, added in ascending order.
struct ConvTile {
  std::int64_t vectors;
  const float* weights;
  std::int64_t weight_stride;
  const float* pixels;          // whole vectors are read
  const std::int64_t* offsets;  // [K]
  std::int64_t K;
  const float* start;  // [rows], zeros when null
  float* y;
  std::int64_t y_stride;
  bool relu;
  bool gaps;  // some lanes are not pixels of the result
  // Vector j leaves the lanes whose bit is set in keep[j], `count[j]` of them, side by side from y[at[j]] on.
  std::int64_t at[kConvMaxVectors];
  std::int64_t count[kConvMaxVectors];
  std::uint8_t keep[kConvMaxVectors][8];  // (64 lanes, as a mask is loaded)
};

/// dw[r][k] += sum over p < P and q < Q of x[taps[r] + p * pitch + q] * dy[(p * Q + q) * dy_stride + k].
struct ConvDwTile {
  const float* x;
  const std::int64_t* taps;  // [rows], offsets
  std::int64_t pitch, P, Q;
  const float* dy;  // whole vectors of k are read
  std::int64_t dy_stride;
  float* dw;  // whole vectors are written
  std::int64_t dw_stride;
};

/// One channel: y[p][q] = start + sum over (r, s) of w[r * S + s] * x[p * pitch + offsets[r * S + s] + q] for
/// p < rows and q < columns.
struct DepthwiseTile {
  const float* x;  // whole vectors are read
  std::int64_t pitch;
  const float* w;
  const std::int64_t* offsets;  // [R * S]
  std::int64_t R, S;
  bool stacked;  // the offset of (r, s) is that of (0, s) and r * pitch
  float start;
  bool relu;
  float* y;
  std::int64_t y_pitch;
  std::int64_t rows, columns;
};

/// The code for one SIMD target.
struct ConvKernels {
  int lanes;
  int max_vectors;                                                            // of a tile
  int max_rows[kConvMaxVectors + 1];                                          // of a tile, by its vectors
  void (*tile[kConvMaxVectors + 1][kConvMaxRows + 1])(const ConvTile&);       // [vectors][rows]
  void (*dw_tile[kConvMaxVectors + 1][kConvMaxRows + 1])(const ConvDwTile&);  // [vectors][rows]
  /// to[i] = from[i * step] for i < count
  void (*every)(const float* from, std::int64_t step, std::int64_t count, float* to);
};

/// Those of the best target this machine has.
const ConvKernels& conv_kernels();

/// f(begin, rows) for tiles of nearly equal height, at most `most`, over [0, rows).
template <class F>
void for_each_tile(std::int64_t rows, std::int64_t most, F&& f) {
  const std::int64_t count = (rows + most - 1) / most;
  for (std::int64_t t = 0, begin = 0; t < count; ++t) {
    const std::int64_t height = rows / count + (t < rows % count);
    f(begin, height);
    begin += height;
  }
}

/// f(first vector, vectors) over [0, vectors): panels of `most`, but never one vector beside full panels,
/// which would leave the multiply-add units waiting.
template <class F>
void for_each_panel(std::int64_t vectors, std::int64_t most, F&& f) {
  for (std::int64_t first = 0; first < vectors;) {
    const std::int64_t left = vectors - first;
    const std::int64_t width = left == most + 1 && most > 2 ? most - 1 : left < most ? left : most;
    f(first, width);
    first += width;
  }
}

}  // namespace gpunn::detail
