#pragma once
// Forward kernels of norms over rows, and their launcher; backward's are in row_norm_grad.cuh. Up to 1024
// columns (512 where they do not move in vectors) with one pixel a channel, a warp keeps its row in
// registers: one read, one write. Longer rows, and those of groups, take a block each, which reads the row
// twice, the second time from a cache.
//
// `Rows` says where rows come from and where their gradients go. `row` is a row's first element, c a column:
//   Problem           RowNormProblem or one that begins with it; BackwardProblem likewise
//   made<T>(p)                         the rows in memory
//   kMade                              they are written on the way, by the two that follow
//   value<T>(p, row, c, v)             kWidth elements as floats, from column c on
//   make<T>(p, row, c, v)              the same, once for each element, written for made<T>(), where a thread
//                                      reads only its own
//   store_gradient<T>(p, row, c, g)    takes kWidth elements of the rows' gradients
#include "gpunn/kernels/common/device_dtype.h"
#include "gpunn/kernels/common/rows.cuh"
#include "gpunn/kernels/norm/channels.cuh"
#include "gpunn/kernels/norm/moments.cuh"
#include "gpunn/kernels/norm/norm_impl.h"

namespace gpunn::row_norm {

using channels::load_floats;
using channels::load_weight;
using channels::store_floats;

/// Channels of the columns of row r.
struct RowChannels {
  std::int64_t first;
  unsigned pixels;
  bool one_pixel, small;
  GPUNN_DEVICE RowChannels(const NormRows& s, std::int64_t r)
      : first(r % s.groups * (s.cols / s.pixels)),
        pixels(static_cast<unsigned>(s.pixels)),
        one_pixel(s.pixels == 1),
        small(s.cols <= 0xffffffffll) {}
  GPUNN_DEVICE std::int64_t at(const NormRows& s, std::int64_t column) const {
    if (one_pixel) return first + column;
    return first + (small ? static_cast<unsigned>(column) / pixels : column / s.pixels);
  }
};

/// What a row is normalised with: y = (v - mean) scale w + b for v = (x - shift) / 4.
struct RowLine {
  float quarter_shift, mean, scale;
};

/// Ends the statistics of a row; `writes` on one thread of it.
GPUNN_DEVICE RowLine finish_row(const RowNormProblem& p, std::int64_t r, float shift, float mean,
                                float squares, bool writes) {
  const float rstd =
      1.0f / sqrtf(variance_of(squares, static_cast<float>(p.sizes.cols)) + static_cast<float>(p.eps));
  if (p.save && writes) {
    if (!p.rms) static_cast<float*>(p.mean)[r] = ExactMean(shift, mean).mean;
    static_cast<float*>(p.rstd)[r] = rstd;
  }
  return {0.25f * shift, mean, 4.0f * rstd};
}

template <class T>
GPUNN_DEVICE float affine(const RowNormProblem& p, std::int64_t channel, float v) {
  if (p.has_weight) v *= load_weight<T>(p.weight, p.wide_weights, channel);
  return p.has_bias ? v + load_weight<T>(p.bias, p.wide_weights, channel) : v;
}

/// Element k of step s of this lane.
template <int kWidth>
GPUNN_DEVICE std::int64_t column_of(int s) {
  return (static_cast<std::int64_t>(s) * kWarpSize + lane_index()) * kWidth;
}

template <class Rows, class T, int kWidth, int kItems>
GPUNN_KERNEL __launch_bounds__(kWarpRowThreads)
    row_norm_fwd_warp_kernel(const __grid_constant__ typename Rows::Problem p) {
  constexpr int kSteps = kItems / kWidth;
  const std::int64_t cols = p.sizes.cols;
  const float share = 1.0f / static_cast<float>(cols);
  for (std::int64_t r = first_warp_row(); r < p.sizes.rows; r += warp_row_stride()) {
    const std::int64_t row = r * cols;
    float v[kSteps][kWidth], mean = 0.0f, squares = 0.0f;
    float shift = 0.0f;
    if constexpr (!Rows::kMade)
      shift = p.rms ? 0.0f : to_float(Rows::template made<T>(p)[row]);
    else
      v[0][0] = 0.0f;  // of lanes beyond the row, for the shuffle
    const auto shift_and_add = [&](int s) {
      GPUNN_UNROLL
      for (int k = 0; k < kWidth; ++k) {
        v[s][k] = shifted(v[s][k], 0.25f * shift);
        mean = fmaf(v[s][k], share, mean);
      }
    };
    GPUNN_UNROLL
    for (int s = 0; s < kSteps; ++s) {
      if (column_of<kWidth>(s) >= cols) continue;
      if constexpr (Rows::kMade) {
        Rows::template make<T>(p, row, column_of<kWidth>(s), v[s]);
      } else {
        load_floats(Rows::template made<T>(p) + row + column_of<kWidth>(s), v[s]);
        shift_and_add(s);
      }
    }
    if constexpr (Rows::kMade) {
      shift = p.rms ? 0.0f : __shfl_sync(kFullWarp, v[0][0], 0);
      GPUNN_UNROLL
      for (int s = 0; s < kSteps; ++s)
        if (column_of<kWidth>(s) < cols) shift_and_add(s);
    }
    mean = p.rms ? 0.0f : warp_reduce<SumOp>(mean);
    GPUNN_UNROLL
    for (int s = 0; s < kSteps; ++s) {
      if (column_of<kWidth>(s) >= cols) continue;
      GPUNN_UNROLL
      for (int k = 0; k < kWidth; ++k) squares = fmaf(v[s][k] - mean, v[s][k] - mean, squares);
    }
    squares = warp_reduce<SumOp>(squares);
    const RowLine line = finish_row(p, r, shift, mean, squares, lane_index() == 0);
    const std::int64_t channel = r % p.sizes.groups * cols;
    GPUNN_UNROLL
    for (int s = 0; s < kSteps; ++s) {
      const std::int64_t c = column_of<kWidth>(s);
      if (c >= cols) continue;
      GPUNN_UNROLL
      for (int k = 0; k < kWidth; ++k) v[s][k] = affine<T>(p, channel + c + k, (v[s][k] - mean) * line.scale);
      store_floats(static_cast<T*>(p.y) + row + c, v[s]);
    }
  }
}

/// f(column) for the first of each kWidth columns of this thread.
template <int kWidth, class F>
GPUNN_DEVICE void for_columns(std::int64_t cols, F f) {
  for (std::int64_t c = static_cast<std::int64_t>(threadIdx.x) * kWidth; c < cols;
       c += kBlockRowThreads * kWidth)
    f(c);
}

template <class Rows, class T, int kWidth>
GPUNN_KERNEL __launch_bounds__(kBlockRowThreads)
    row_norm_fwd_block_kernel(const __grid_constant__ typename Rows::Problem p) {
  const std::int64_t cols = p.sizes.cols;
  for (std::int64_t r = blockIdx.x; r < p.sizes.rows; r += gridDim.x) {
    const T* const x = Rows::template made<T>(p) + r * cols;
    float first[1] = {0.0f};
    if constexpr (!Rows::kMade)
      first[0] = p.rms ? 0.0f : to_float(x[0]);
    else if (!p.rms)
      Rows::template value<T>(p, r * cols, 0, first);
    const float shift = first[0];
    Welford<kWidth> own;
    float powers = 0.0f;
    for_columns<kWidth>(cols, [&](std::int64_t c) {
      float v[kWidth];
      if constexpr (Rows::kMade)
        Rows::template make<T>(p, r * cols, c, v);
      else
        load_floats(x + c, v);
      GPUNN_UNROLL
      for (int k = 0; k < kWidth; ++k) v[k] = shifted(v[k], 0.25f * shift);
      if (!p.rms) return own.add(v);
      GPUNN_UNROLL
      for (int k = 0; k < kWidth; ++k) powers = fmaf(v[k], v[k], powers);
    });
    Moments all = MomentsOp::identity();
    if (p.rms)
      all.squares = block_reduce<SumOp, kBlockRowThreads>(powers);
    else
      all = block_reduce<MomentsOp, kBlockRowThreads>(own.joined());
    const RowLine line = finish_row(p, r, shift, all.mean, all.squares, threadIdx.x == 0);
    const RowChannels channel(p.sizes, r);
    for_columns<kWidth>(cols, [&](std::int64_t c) {
      float v[kWidth];
      load_floats(x + c, v);
      GPUNN_UNROLL
      for (int k = 0; k < kWidth; ++k)
        v[k] = affine<T>(p, channel.at(p.sizes, c + k),
                         (shifted(v[k], line.quarter_shift) - line.mean) * line.scale);
      store_floats(static_cast<T*>(p.y) + r * cols + c, v);
    });
  }
}

/// Calls f with the elements that a lane of a warp holds of a row, or `otherwise` for rows that no warp
/// holds. 32 elements of one at a time would take all registers in backward.
template <int kWidth, class F, class G>
void by_warp_or(const NormRows& s, F f, G otherwise) {
  constexpr int kMost = kWidth == 1 ? 16 : 32;
  if (s.pixels > 1 || s.cols > kMost * kWarpSize) return otherwise();
  if (s.cols <= 8 * kWarpSize)
    f(std::integral_constant<int, 8>{});
  else
    f(std::integral_constant<int, kMost>{});
}

/// `pointers`: the rows that move, null ones aside.
template <class Rows, class... P>
void launch_forward(const typename Rows::Problem& p, const Exec& exec, const P*... pointers) {
  const NormRows& s = p.sizes;
  for_device_dtype(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    channels::for_width<T>(channels::in_vectors(s.cols, sizeof(T), pointers...), [&](auto width) {
      constexpr int kWidth = decltype(width)::value;
      const auto warps = [&](auto items) {
        launch("row_norm_fwd_warp_kernel", row_norm_fwd_warp_kernel<Rows, T, kWidth, decltype(items)::value>,
               warp_row_grid(s.rows), exec, p);
      };
      by_warp_or<kWidth>(s, warps, [&] {
        launch("row_norm_fwd_block_kernel", row_norm_fwd_block_kernel<Rows, T, kWidth>,
               block_row_grid(s.rows), exec, p);
      });
    });
  });
}

}  // namespace gpunn::row_norm
