#include "gpunn/kernels/conv2d/conv2d_planes_impl.h"

#include <algorithm>

#include "gpunn/kernels/conv2d/conv2d_tiles_impl.h"
#include "gpunn/kernels/matmul/gemm_impl.h"

namespace gpunn::detail {
namespace {

constexpr std::int64_t kLine = 16;           // floats of a cache line
constexpr std::int64_t kMostOverread = 128;  // a panel of vectors, and one vector more

// Elements [begin, end) of a grid's row or column that lie in the source.
struct Inside {
  std::int64_t begin, end;
};

Inside inside(std::int64_t first, std::int64_t step, std::int64_t count, std::int64_t source) {
  const std::int64_t begin = first < 0 ? std::min(count, conv_ceil_div(-first, step)) : 0;
  const std::int64_t end = first < source ? std::min(count, conv_ceil_div(source - first, step)) : 0;
  return {begin, std::max(begin, end)};
}

struct Grid {
  std::int64_t first_h, step_h, first_w, step_w;
  std::int64_t rows, pitch, tail;
  std::int64_t plane;  // from channel to channel
};

void clear_outside(const Grid& g, const Inside& h, const Inside& w, std::int64_t channels, float* to) {
  for (std::int64_t c = 0; c < channels; ++c, to += g.plane) {
    std::fill(to, to + h.begin * g.pitch, 0.0f);
    for (std::int64_t i = h.begin; i < h.end; ++i) {
      float* const row = to + i * g.pitch;
      for (std::int64_t j = 0; j < w.begin; ++j) row[j] = 0.0f;
      for (std::int64_t j = w.end; j < g.pitch; ++j) row[j] = 0.0f;
    }
    std::fill(to + h.end * g.pitch, to + g.rows * g.pitch + g.tail, 0.0f);
  }
}

void fill_grid(const Grid& g, const ConvPicture& p, float* to) {
  const Inside h = inside(g.first_h, g.step_h, g.rows, p.H), w = inside(g.first_w, g.step_w, g.pitch, p.W);
  clear_outside(g, h, w, p.channels, to);
  const std::int64_t columns = w.end - w.begin;
  if (columns == 0 || h.begin == h.end) return;
  const std::int64_t column = g.first_w + w.begin * g.step_w;
  const std::int64_t first = (g.first_h + h.begin * g.step_h) * p.W + column;  // pixel
  float* const start = to + h.begin * g.pitch + w.begin;
  for (std::int64_t i = 0; p.channels_last && i < h.end - h.begin; ++i)
    gemm_kernels().transpose(p.data + (first + i * g.step_h * p.W) * p.all_channels,
                             g.step_w * p.all_channels, columns, p.channels, start + i * g.pitch, g.plane,
                             columns);
  for (std::int64_t c = 0; !p.channels_last && c < p.channels; ++c) {
    const float* const from = p.data + c * p.H * p.W + first;
    if (g.step_w == 1) {
      gemm_kernels().copy(from, g.step_h * p.W, h.end - h.begin, columns, start + c * g.plane, g.pitch);
      continue;
    }
    for (std::int64_t i = 0; i < h.end - h.begin; ++i)
      conv_kernels().every(from + i * g.step_h * p.W, g.step_w, columns, start + c * g.plane + i * g.pitch);
  }
}

}  // namespace

ConvAxis conv_axis(std::int64_t source, std::int64_t taps, std::int64_t stride, std::int64_t pad,
                   std::int64_t dilation) {
  ConvAxis axis;
  axis.step = stride;
  axis.source = source;
  std::vector<std::int64_t> grid_of(static_cast<std::size_t>(std::min(stride, taps * dilation)), -1);
  for (std::int64_t t = 0; t < taps; ++t) {
    const std::int64_t phase = t * dilation % stride;
    std::int64_t& grid = grid_of[static_cast<std::size_t>(phase)];
    if (grid < 0) {
      grid = static_cast<std::int64_t>(axis.first.size());
      axis.first.push_back(phase - pad);
    }
    axis.grid.push_back(grid);
    axis.shift.push_back(t * dilation / stride);
  }
  axis.most_shift = axis.shift.back();
  return axis;
}

ConvPlanes conv_planes(const ConvAxis& h, const ConvAxis& w, std::int64_t rows, std::int64_t columns) {
  ConvPlanes planes;
  planes.h = &h;
  planes.w = &w;
  planes.rows = rows;
  const std::int64_t seen = columns + w.most_shift;  // columns of a grid
  planes.pitch = seen;
  if (w.first.size() == 1 && w.step == 1) {
    const std::int64_t left = std::max<std::int64_t>(0, -w.first[0]),
                       right = std::max<std::int64_t>(0, w.first[0] + seen - w.source);
    planes.pitch = std::max(columns, seen - std::min(left, right));
    planes.tail = seen - planes.pitch;
  }
  planes.grid = planes.grid_rows() * planes.pitch + planes.tail;
  const auto grids = static_cast<std::int64_t>(h.first.size() * w.first.size());
  // An odd number of cache lines, so that channels do not meet in the same sets of the cache.
  planes.plane = (conv_ceil_div(grids * planes.grid, kLine) | 1) * kLine;
  return planes;
}

std::int64_t band_rows(const ConvAxis& h, const ConvAxis& w, std::int64_t rows, std::int64_t columns,
                       std::int64_t channels, std::int64_t floats) {
  const auto grids = static_cast<std::int64_t>(h.first.size() * w.first.size());
  const std::int64_t row = channels * grids * (columns + w.most_shift);
  const std::int64_t most = std::clamp<std::int64_t>(floats / row - h.most_shift, 1, rows);
  return conv_ceil_div(rows, conv_ceil_div(rows, most));
}

const char* planes_reason(const Conv2dSizes& s, bool back) {
  constexpr double kMostFloats = 1 << 26;
  const auto lines = [](std::int64_t results, std::int64_t taps, std::int64_t stride, std::int64_t dilation) {
    return static_cast<double>(results) + static_cast<double>((taps - 1) * dilation / stride + 1);
  };
  const auto grids = static_cast<double>(std::min(s.R, s.stride_h) * std::min(s.S, s.stride_w));
  const double floats = static_cast<double>((back ? s.K : s.C) / s.groups) * (back ? 1 : grids) *
                        lines(1, s.R, s.stride_h, s.dilation_h) *
                        lines(back ? conv_ceil_div(s.W, s.stride_w) : s.Q, s.S, s.stride_w, s.dilation_w);
  return floats <= kMostFloats ? nullptr : "planes with this padding and dilation would take 256 MiB";
}

std::int64_t planes_floats(const ConvPlanes& planes, std::int64_t channels) {
  return channels * planes.plane + kMostOverread;
}

void fill_planes(const ConvPlanes& planes, const ConvPicture& picture, std::int64_t row, float* to) {
  Grid g{};
  g.step_h = planes.h->step;
  g.step_w = planes.w->step;
  g.rows = planes.grid_rows();
  g.pitch = planes.pitch;
  g.tail = planes.tail;
  g.plane = planes.plane;
  std::fill_n(to + picture.channels * planes.plane, kMostOverread, 0.0f);
  float* grid = to;
  for (const std::int64_t first_h : planes.h->first)
    for (const std::int64_t first_w : planes.w->first) {
      g.first_h = first_h + row * g.step_h;
      g.first_w = first_w;
      fill_grid(g, picture, grid);
      grid += planes.grid;
    }
}

}  // namespace gpunn::detail
