#pragma once
// Backward kernels of norms over rows, and their launcher: the rows' gradients. `Rows` as in row_norm.cuh.
#include "gpunn/kernels/norm/row_norm.cuh"

namespace gpunn::row_norm {

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
      Rows::template store_gradient<T>(p, r * cols, column_of<kWidth>(s), g[s]);
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
      Rows::template store_gradient<T>(p, r * cols, c, out);
    });
  }
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
