// Batch norm, backward: sums of parts of the channels (channel_sums.cu), their join, and dx. In training x,
// dy and with relu y are read twice; a gradient of the residual is written in the same pass as dx.
#include "gpunn/kernels/common/device_dtype.h"
#include "gpunn/kernels/norm/channel_sums_impl.h"
#include "gpunn/kernels/norm/channels.cuh"

namespace gpunn {
namespace {

using namespace channels;

/// A warp per channel. lines [4, C]: dx = g lines[1] + (x / 2 - lines[0]) lines[2] + lines[3].
template <class T>
GPUNN_KERNEL __launch_bounds__(kThreads)
    batch_norm_bwd_lines_kernel(const __grid_constant__ BatchNormBackwardProblem p, const float* partial,
                                int parts, float* lines) {
  const std::int64_t C = p.sizes.C;
  const std::int64_t c = static_cast<std::int64_t>(blockIdx.x) * kWarps + threadIdx.x / kWarpSize;
  if (c >= C) return;  // a whole warp, and no barrier follows
  const int lane = static_cast<int>(threadIdx.x % kWarpSize);
  float sum = 0.0f, product = 0.0f;
  for (int i = lane; i < parts; i += kWarpSize) {
    sum += partial[2 * i * C + c];
    product += partial[(2 * i + 1) * C + c];
  }
  sum = warp_reduce<SumOp>(sum);
  product = warp_reduce<SumOp>(product);
  if (lane != 0) return;
  if (p.want_dw) {
    store_weight<T>(p.dw, p.wide_weights, c, product);
    store_weight<T>(p.db, p.wide_weights, c, sum);
  }
  const float rstd = static_cast<const float*>(p.rstd)[c];
  const float w = p.has_weight ? load_weight<T>(p.weight, p.wide_weights, c) : 1.0f;
  const float factor = rstd * w, count = static_cast<float>(p.sizes.per_channel());
  lines[c] = 0.5f * static_cast<const float*>(p.mean)[c];
  lines[C + c] = factor;
  lines[2 * C + c] = p.training ? -2.0f * factor * rstd * (product / count) : 0.0f;
  lines[3 * C + c] = p.training ? -factor * (sum / count) : 0.0f;
}

/// kWidth results from element `at` on.
template <class T, int kWidth, class F>
GPUNN_DEVICE void gradient_at(const BatchNormBackwardProblem& p, std::int64_t at, F line) {
  float x[kWidth], v[kWidth];
  load_floats(static_cast<const T*>(p.x) + at, x);
  load_floats(static_cast<const T*>(p.dy) + at, v);
  if (p.relu) {
    float y[kWidth];
    load_floats(static_cast<const T*>(p.y) + at, y);
    GPUNN_UNROLL
    for (int k = 0; k < kWidth; ++k) v[k] = y[k] <= 0.0f ? 0.0f : v[k];
  }
  if (p.want_dz) store_floats(static_cast<T*>(p.dz) + at, v);
  GPUNN_UNROLL
  for (int k = 0; k < kWidth; ++k) v[k] = line(k, v[k], x[k]);
  store_floats(static_cast<T*>(p.dx) + at, v);
}

template <class T, int kWidth>
GPUNN_KERNEL __launch_bounds__(kThreads)
    batch_norm_bwd_plane_kernel(const __grid_constant__ BatchNormBackwardProblem p,
                                const __grid_constant__ Planes g, const float* lines) {
  g.for_each_piece_of_all([&](std::int64_t c, std::int64_t at, std::int64_t length) {
    const float half_mean = lines[c], factor = lines[g.C + c], slope = lines[2 * g.C + c],
                shift = lines[3 * g.C + c];
    for_each_of_lane<kWidth>(length, [&](std::int64_t i) {
      gradient_at<T, kWidth>(p, at + i, [&](int, float v, float x) {
        return fmaf(v, factor, fmaf(fmaf(x, 0.5f, -half_mean), slope, shift));
      });
    });
  });
}

template <class T, int kWidth>
GPUNN_KERNEL __launch_bounds__(kThreads)
    batch_norm_bwd_column_kernel(const __grid_constant__ BatchNormBackwardProblem p,
                                 const __grid_constant__ Columns g, const float* lines) {
  if (!g.inside()) return;
  const std::int64_t c = g.vector_index() * kWidth;
  float half_mean[kWidth], factor[kWidth], slope[kWidth], shift[kWidth];
  GPUNN_UNROLL
  for (int k = 0; k < kWidth; ++k) {
    half_mean[k] = lines[c + k], factor[k] = lines[g.C + c + k];
    slope[k] = lines[2 * g.C + c + k], shift[k] = lines[3 * g.C + c + k];
  }
  g.for_each_row([&](std::int64_t row) {
    gradient_at<T, kWidth>(p, row * g.C + c, [&](int k, float v, float x) {
      return fmaf(v, factor[k], fmaf(fmaf(x, 0.5f, -half_mean[k]), slope[k], shift[k]));
    });
  });
}

}  // namespace

std::size_t batch_norm_bwd_cuda_workspace(const BatchNormBackwardProblem& p) {
  return static_cast<std::size_t>(p.sizes.C * (4 + 2 * channel_sums_most_parts(p.sizes))) * sizeof(float);
}

void batch_norm_bwd_cuda(const BatchNormBackwardProblem& p, const Exec& exec) {
  const ChannelSizes& s = p.sizes;
  auto* const lines = static_cast<float*>(exec.workspace);
  float* const partial = lines + 4 * s.C;
  int parts = 0;
  if (p.training || p.want_dw)
    parts = channel_sums_cuda({p.dtype, p.x, p.y, p.dy, static_cast<const float*>(p.mean),
                               static_cast<const float*>(p.rstd), partial, s, 0, p.relu},
                              exec);
  for_device_dtype(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const Grid by_channel{dim3(static_cast<unsigned>(divide_up(s.C, kWarps))), dim3(kThreads)};
    launch("batch_norm_bwd_lines_kernel", batch_norm_bwd_lines_kernel<T>, by_channel, exec, p, partial, parts,
           lines);
    const bool vectors = in_vectors(s.channels_last ? s.C : s.pixels, sizeof(T), p.x, p.y, p.dy, p.dx, p.dz);
    for_width<T>(vectors, [&](auto width) {
      constexpr int kWidth = decltype(width)::value;
      const Planes planes(s);
      const Columns columns(s, kWidth, 65535);
      if (s.channels_last)
        launch("batch_norm_bwd_column_kernel", batch_norm_bwd_column_kernel<T, kWidth>, columns.grid(), exec,
               p, columns, lines);
      else
        launch("batch_norm_bwd_plane_kernel", batch_norm_bwd_plane_kernel<T, kWidth>, planes.map_grid(), exec,
               p, planes, lines);
    });
  });
}

}  // namespace gpunn
