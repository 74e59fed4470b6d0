#pragma once
// Kernels of norms over rows, and their launchers. Up to 1024 columns (512 where they do not move in vectors)
// with one pixel a channel, a warp keeps its row in registers: one read, one write. Longer rows, and those of
// groups, take a block each, which reads the row twice, the second time from a cache.
//
// `Rows` says where rows come from and where their gradients go:
//   Problem           RowNormProblem or one that begins with it; BackwardProblem likewise
//   value<T>(p, at, v)             kWidth elements of the rows as floats, from element `at` on
//   make<T>(p, at, v)              the same, once for each element: what made<T>() reads is written here
//   made<T>(p)                     the rows in memory; a thread reads only what it made itself
//   store_gradient<T>(p, at, g)    takes kWidth elements of the rows' gradients
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
    float v[kSteps][kWidth], mean = 0.0f, squares = 0.0f;
    v[0][0] = 0.0f;
    GPUNN_UNROLL
    for (int s = 0; s < kSteps; ++s)
      if (column_of<kWidth>(s) < cols) Rows::template make<T>(p, r * cols + column_of<kWidth>(s), v[s]);
    const float shift = p.rms ? 0.0f : __shfl_sync(kFullWarp, v[0][0], 0);
    GPUNN_UNROLL
    for (int s = 0; s < kSteps; ++s) {
      if (column_of<kWidth>(s) >= cols) continue;
      GPUNN_UNROLL
      for (int k = 0; k < kWidth; ++k) {
        v[s][k] = shifted(v[s][k], 0.25f * shift);
        mean = fmaf(v[s][k], share, mean);
      }
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
      store_floats(static_cast<T*>(p.y) + r * cols + c, v[s]);
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
    float first[1] = {0.0f};
    if (!p.rms) Rows::template value<T>(p, r * cols, first);
    const float shift = first[0];
    Welford<kWidth> own;
    float powers = 0.0f;
    for_columns<kWidth>(cols, [&](std::int64_t c) {
      float v[kWidth];
      Rows::template make<T>(p, r * cols + c, v);
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
      load_floats(Rows::template made<T>(p) + r * cols + c, v);
      GPUNN_UNROLL
      for (int k = 0; k < kWidth; ++k)
        v[k] = affine<T>(p, channel.at(p.sizes, c + k),
                         (shifted(v[k], line.quarter_shift) - line.mean) * line.scale);
      store_floats(static_cast<T*>(p.y) + r * cols + c, v);
    });
  }
}

/// xh and g of a row in backward, and dx from them and the means of g and g xh.
struct RowGradient {
  float half_mean, rstd;
  bool rms;
  GPUNN_DEVICE RowGradient(const RowNormBackwardProblem& p, std::int64_t r)
      : half_mean(p.rms ? 0.0f : 0.5f * static_cast<const float*>(p.mean)[r]),
        rstd(static_cast<const float*>(p.rstd)[r]),
        rms(p.rms) {}
  GPUNN_DEVICE float normal(float x) const { return fmaf(x, 0.5f, -half_mean) * (2.0f * rstd); }
  GPUNN_DEVICE float dx(float g, float xh, float mean_g, float mean_product) const {
    return rstd * (g - (rms ? 0.0f : mean_g) - xh * mean_product);
  }
};

template <class T>
GPUNN_DEVICE float weighted(const RowNormBackwardProblem& p, std::int64_t channel, float dy) {
  return p.has_weight ? dy * load_weight<T>(p.weight, p.wide_weights, channel) : dy;
}

template <class Rows, class T, int kWidth, int kItems>
GPUNN_KERNEL __launch_bounds__(kWarpRowThreads)
    row_norm_bwd_warp_kernel(const __grid_constant__ typename Rows::BackwardProblem p) {
  constexpr int kSteps = kItems / kWidth;
  const std::int64_t cols = p.sizes.cols;
  const float share = 1.0f / static_cast<float>(cols);
  for (std::int64_t r = first_warp_row(); r < p.sizes.rows; r += warp_row_stride()) {
    const RowGradient row(p, r);
    const std::int64_t channel = r % p.sizes.groups * cols;
    float xh[kSteps][kWidth], g[kSteps][kWidth], sum = 0.0f, product = 0.0f;
    GPUNN_UNROLL
    for (int s = 0; s < kSteps; ++s) {
      const std::int64_t c = column_of<kWidth>(s);
      if (c >= cols) continue;
      load_floats(static_cast<const T*>(p.x) + r * cols + c, xh[s]);
      load_floats(static_cast<const T*>(p.dy) + r * cols + c, g[s]);
      GPUNN_UNROLL
      for (int k = 0; k < kWidth; ++k) {
        xh[s][k] = row.normal(xh[s][k]);
        g[s][k] = weighted<T>(p, channel + c + k, g[s][k]);
        sum += g[s][k];
        product = fmaf(g[s][k], xh[s][k], product);
      }
    }
    sum = warp_reduce<SumOp>(sum) * share;
    product = warp_reduce<SumOp>(product) * share;
    GPUNN_UNROLL
    for (int s = 0; s < kSteps; ++s) {
      if (column_of<kWidth>(s) >= cols) continue;
      GPUNN_UNROLL
      for (int k = 0; k < kWidth; ++k) g[s][k] = row.dx(g[s][k], xh[s][k], sum, product);
      Rows::template store_gradient<T>(p, r * cols + column_of<kWidth>(s), g[s]);
    }
  }
}

template <class Rows, class T, int kWidth>
GPUNN_KERNEL __launch_bounds__(kBlockRowThreads)
    row_norm_bwd_block_kernel(const __grid_constant__ typename Rows::BackwardProblem p) {
  const std::int64_t cols = p.sizes.cols;
  for (std::int64_t r = blockIdx.x; r < p.sizes.rows; r += gridDim.x) {
    const RowGradient row(p, r);
    const RowChannels channel(p.sizes, r);
    /// f(k, xh, g) of the kWidth columns from c on.
    const auto each = [&](std::int64_t c, auto f) {
      float x[kWidth], dy[kWidth];
      load_floats(static_cast<const T*>(p.x) + r * cols + c, x);
      load_floats(static_cast<const T*>(p.dy) + r * cols + c, dy);
      GPUNN_UNROLL
      for (int k = 0; k < kWidth; ++k)
        f(k, row.normal(x[k]), weighted<T>(p, channel.at(p.sizes, c + k), dy[k]));
    };
    float sum = 0.0f, product = 0.0f;
    for_columns<kWidth>(cols, [&](std::int64_t c) {
      each(c, [&](int, float xh, float g) {
        sum += g;
        product = fmaf(g, xh, product);
      });
    });
    sum = block_reduce<SumOp, kBlockRowThreads>(sum) / static_cast<float>(cols);
    product = block_reduce<SumOp, kBlockRowThreads>(product) / static_cast<float>(cols);
    for_columns<kWidth>(cols, [&](std::int64_t c) {
      float out[kWidth];
      each(c, [&](int k, float xh, float g) { out[k] = row.dx(g, xh, sum, product); });
      Rows::template store_gradient<T>(p, r * cols + c, out);
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

template <class Rows, class... P>
void launch_backward(const typename Rows::BackwardProblem& p, const Exec& exec, const P*... pointers) {
  const NormRows& s = p.sizes;
  for_device_dtype(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    channels::for_width<T>(channels::in_vectors(s.cols, sizeof(T), pointers...), [&](auto width) {
      constexpr int kWidth = decltype(width)::value;
      const auto warps = [&](auto items) {
        launch("row_norm_bwd_warp_kernel", row_norm_bwd_warp_kernel<Rows, T, kWidth, decltype(items)::value>,
               warp_row_grid(s.rows), exec, p);
      };
      by_warp_or<kWidth>(s, warps, [&] {
        launch("row_norm_bwd_block_kernel", row_norm_bwd_block_kernel<Rows, T, kWidth>,
               block_row_grid(s.rows), exec, p);
      });
    });
  });
}

}  // namespace gpunn::row_norm
