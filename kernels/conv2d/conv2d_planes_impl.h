#pragma once
// Pictures spread out for the CPU's micro-kernels: planes with their padding, one after the other by channel,
// whatever the order of the tensor, and with a stride one plane for each phase of it. In such planes the
// pixels that a tap (r, s) sees are all at one distance from those of the tap (0, 0), so that a product of
// matrices reads them in place.
//
// Rows are `pitch` apart. With stride 1 the zeros to the right of a row are those to the left of the next. A
// run of pixels that passes the end of a row computes some results that nobody wants (1 of 57 for a row of
// 56): cheaper than vectors that end with the row (8 of 64).
#include <cstdint>
#include <vector>

#include "gpunn/kernels/conv2d/conv2d_impl.h"

namespace gpunn::detail {

/// One dimension of the grids that are taken of the source. Element i of grid g is element first[g] + i *
/// step of the source, zero outside of it; tap t of result i is element i + shift[t] of grid[t].
struct ConvAxis {
  std::int64_t step = 1;
  std::vector<std::int64_t> first;
  std::vector<std::int64_t> grid, shift;  // by tap
  std::int64_t most_shift = 0;
  std::int64_t source = 0;  // elements of the source
};

/// The rows or columns of x as conv2d sees them.
ConvAxis conv_axis(std::int64_t source, std::int64_t taps, std::int64_t stride, std::int64_t pad,
                   std::int64_t dilation);

/// The planes of a band of rows.
struct ConvPlanes {
  const ConvAxis* h = nullptr;
  const ConvAxis* w = nullptr;
  std::int64_t rows = 0;   // of the results in a band
  std::int64_t pitch = 0;  // at least their columns
  std::int64_t tail = 0;   // zeros after the last row
  std::int64_t grid = 0;   // elements of one grid
  std::int64_t plane = 0;  // elements of a channel

  std::int64_t grid_rows() const { return rows + h->most_shift; }
  /// Where tap (r, s) of result (0, 0) is.
  std::int64_t offset(std::int64_t r, std::int64_t s) const {
    return (h->grid[r] * static_cast<std::int64_t>(w->first.size()) + w->grid[s]) * grid +
           h->shift[r] * pitch + w->shift[s];
  }
};

/// Planes for bands of at most `rows` rows of `columns` results each.
ConvPlanes conv_planes(const ConvAxis& h, const ConvAxis& w, std::int64_t rows, std::int64_t columns);

/// The most rows, in bands of about equal height, whose planes of `channels` channels take `floats`.
std::int64_t band_rows(const ConvAxis& h, const ConvAxis& w, std::int64_t rows, std::int64_t columns,
                       std::int64_t channels, std::int64_t floats);

/// Null when planes for the smallest band are of a size that memory has room for, else why not.
/// `back`: planes of y, for results that are pixels of x.
const char* planes_reason(const Conv2dSizes& s, bool back);

/// Elements that `channels` planes take, with what whole vectors read beyond them.
std::int64_t planes_floats(const ConvPlanes& planes, std::int64_t channels);

/// Some channels of one picture.
struct ConvPicture {
  const float* data;      // of the first channel
  std::int64_t channels;  // that are wanted
  std::int64_t H, W;
  std::int64_t all_channels;  // of the tensor
  bool channels_last;
};

/// Fills the planes for results from row `row` on.
void fill_planes(const ConvPlanes& planes, const ConvPicture& picture, std::int64_t row, float* to);

constexpr std::int64_t conv_ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

}  // namespace gpunn::detail
