// Batch norm, forward. Training takes three launches: moments of parts of the channels, their join with what
// follows from it, and the result, so x is read twice and y written once. Evaluation needs no moments.
#include "gpunn/kernels/common/device_dtype.h"
#include "gpunn/kernels/norm/channels.cuh"
#include "gpunn/kernels/norm/moments.cuh"

namespace gpunn {
namespace {

using namespace channels;

/// The element whose value every part of channel c takes off before it sums.
template <class T>
GPUNN_DEVICE float shift_of(const BatchNormProblem& p, std::int64_t c) {
  return to_float(static_cast<const T*>(p.x)[p.sizes.channels_last ? c : c * p.sizes.pixels]);
}

/// partial [parts, C]
template <class T, int kWidth>
GPUNN_KERNEL __launch_bounds__(kThreads)
    batch_norm_fwd_plane_moments_kernel(const __grid_constant__ BatchNormProblem p,
                                        const __grid_constant__ Planes g, Moments* partial) {
  const std::int64_t c = g.channel_of_block();
  const T* const x = static_cast<const T*>(p.x);
  const float quarter = 0.25f * shift_of<T>(p, c);
  Welford<kWidth> own;
  g.for_each_piece(c, [&](std::int64_t, std::int64_t at, std::int64_t length) {
    for_each_of_lane<kWidth>(length, [&](std::int64_t i) {
      float v[kWidth];
      load_floats(x + at + i, v);
      GPUNN_UNROLL
      for (int k = 0; k < kWidth; ++k) v[k] = shifted(v[k], quarter);
      own.add(v);
    });
  });
  const Moments all = block_reduce<MomentsOp, kThreads>(own.joined());
  if (threadIdx.x == 0) partial[g.part_of_block() * g.C + c] = all;
}

template <class T, int kWidth>
GPUNN_KERNEL __launch_bounds__(kThreads)
    batch_norm_fwd_column_moments_kernel(const __grid_constant__ BatchNormProblem p,
                                         const __grid_constant__ Columns g, Moments* partial) {
  GPUNN_SHARED(kept, Moments[kThreads * kWidth]);
  const std::int64_t c = g.vector_index() * kWidth;
  const T* const x = static_cast<const T*>(p.x) + c;
  Welford<kWidth> own;
  if (g.inside()) {
    float quarter[kWidth];
    GPUNN_UNROLL
    for (int k = 0; k < kWidth; ++k) quarter[k] = 0.25f * shift_of<T>(p, c + k);
    g.for_each_row([&](std::int64_t row) {
      float v[kWidth];
      load_floats(x + row * g.C, v);
      GPUNN_UNROLL
      for (int k = 0; k < kWidth; ++k) v[k] = shifted(v[k], quarter[k]);
      own.add(v);
    });
  }
  Moments all[kWidth];
  GPUNN_UNROLL
  for (int k = 0; k < kWidth; ++k) all[k] = own.at(k);
  join_down<MomentsOp>(g, kept, all);
  if (g.row_lane() != 0 || !g.inside()) return;
  GPUNN_UNROLL
  for (int k = 0; k < kWidth; ++k) partial[blockIdx.y * g.C + c + k] = all[k];
}

/// A warp per channel ends the statistics. lines [3, C]: y = (x / 2 - lines[0]) lines[1] + lines[2].
template <class T>
GPUNN_KERNEL __launch_bounds__(kThreads)
    batch_norm_fwd_lines_kernel(const __grid_constant__ BatchNormProblem p, const Moments* partial, int parts,
                                float* lines) {
  const std::int64_t C = p.sizes.C;
  const std::int64_t c = static_cast<std::int64_t>(blockIdx.x) * kWarps + threadIdx.x / kWarpSize;
  if (c >= C) return;  // a whole warp, and no barrier follows
  const int lane = static_cast<int>(threadIdx.x % kWarpSize);
  float mean = 0.0f, rest = 0.0f, var = 0.0f;
  const float eps = static_cast<float>(p.eps), momentum = static_cast<float>(p.momentum);
  if (p.training) {
    Moments all = MomentsOp::identity();
    for (int i = lane; i < parts; i += kWarpSize) all = MomentsOp::combine(all, partial[i * C + c]);
    all = warp_reduce<MomentsOp>(all);
    const ExactMean exact(shift_of<T>(p, c), all.mean);
    const float count = static_cast<float>(p.sizes.per_channel());
    mean = exact.mean, rest = exact.rest, var = variance_of(all.squares, count);
    if (lane != 0) return;
    if (p.has_running) {
      const float unbiased = variance_of(all.squares, count - 1.0f), kept = 1.0f - momentum;
      const float old_mean = load_weight<T>(p.running_mean, p.wide_weights, c);
      const float old_var = load_weight<T>(p.running_var, p.wide_weights, c);
      store_weight<T>(p.running_mean, p.wide_weights, c, kept * old_mean + momentum * mean);
      store_weight<T>(p.running_var, p.wide_weights, c, kept * old_var + momentum * unbiased);
    }
  } else {
    if (lane != 0) return;
    mean = load_weight<T>(p.running_mean, p.wide_weights, c);
    var = load_weight<T>(p.running_var, p.wide_weights, c);
  }
  const float rstd = 1.0f / sqrtf(var + eps);
  const float w = p.has_weight ? load_weight<T>(p.weight, p.wide_weights, c) : 1.0f;
  const float b = p.has_bias ? load_weight<T>(p.bias, p.wide_weights, c) : 0.0f;
  lines[c] = 0.5f * mean;
  lines[C + c] = 2.0f * rstd * w;
  lines[2 * C + c] = b - rest * rstd * w;
  if (!p.save) return;
  static_cast<float*>(p.mean)[c] = mean;
  static_cast<float*>(p.rstd)[c] = rstd;
}

/// kWidth results from element `at` on.
template <class T, int kWidth, class F>
GPUNN_DEVICE void apply_at(const BatchNormProblem& p, std::int64_t at, F line) {
  float v[kWidth], r[kWidth];
  load_floats(static_cast<const T*>(p.x) + at, v);
  GPUNN_UNROLL
  for (int k = 0; k < kWidth; ++k) v[k] = line(k, v[k]);
  if (p.has_residual) {
    load_floats(static_cast<const T*>(p.residual) + at, r);
    GPUNN_UNROLL
    for (int k = 0; k < kWidth; ++k) v[k] += r[k];
  }
  if (p.relu) {
    GPUNN_UNROLL
    for (int k = 0; k < kWidth; ++k) v[k] = v[k] < 0.0f ? 0.0f : v[k];  // NaN stays
  }
  store_floats(static_cast<T*>(p.y) + at, v);
}

template <class T, int kWidth>
GPUNN_KERNEL __launch_bounds__(kThreads)
    batch_norm_fwd_plane_apply_kernel(const __grid_constant__ BatchNormProblem p,
                                      const __grid_constant__ Planes g, const float* lines) {
  g.for_each_piece_of_all([&](std::int64_t c, std::int64_t at, std::int64_t length) {
    const float half_mean = lines[c], factor = lines[g.C + c], shift = lines[2 * g.C + c];
    for_each_of_lane<kWidth>(length, [&](std::int64_t i) {
      apply_at<T, kWidth>(p, at + i,
                          [&](int, float v) { return fmaf(fmaf(v, 0.5f, -half_mean), factor, shift); });
    });
  });
}

template <class T, int kWidth>
GPUNN_KERNEL __launch_bounds__(kThreads)
    batch_norm_fwd_column_apply_kernel(const __grid_constant__ BatchNormProblem p,
                                       const __grid_constant__ Columns g, const float* lines) {
  if (!g.inside()) return;
  const std::int64_t c = g.vector_index() * kWidth;
  float half_mean[kWidth], factor[kWidth], shift[kWidth];
  GPUNN_UNROLL
  for (int k = 0; k < kWidth; ++k)
    half_mean[k] = lines[c + k], factor[k] = lines[g.C + c + k], shift[k] = lines[2 * g.C + c + k];
  g.for_each_row([&](std::int64_t row) {
    apply_at<T, kWidth>(p, row * g.C + c, [&](int k, float v) {
      return fmaf(fmaf(v, 0.5f, -half_mean[k]), factor[k], shift[k]);
    });
  });
}

/// Whether every operand can be moved in vectors; in columns a row is C long.
bool vectors(const BatchNormProblem& p) {
  return in_vectors(p.sizes.channels_last ? p.sizes.C : p.sizes.pixels, size_of(p.dtype), p.x, p.residual,
                    p.y);
}

std::int64_t most_moment_parts(const BatchNormProblem& p) {
  constexpr std::int64_t kMostParts = 512;
  if (!p.sizes.channels_last) return Planes(p.sizes).parts;
  // Whatever the width, which depends on addresses.
  return kMostParts < p.sizes.per_channel() ? kMostParts : p.sizes.per_channel();
}

}  // namespace

std::size_t batch_norm_fwd_cuda_workspace(const BatchNormProblem& p) {
  const auto C = static_cast<std::size_t>(p.sizes.C);
  const std::size_t parts = p.training ? static_cast<std::size_t>(most_moment_parts(p)) : 0;
  return C * (3 * sizeof(float) + parts * sizeof(Moments));
}

void batch_norm_fwd_cuda(const BatchNormProblem& p, const Exec& exec) {
  const ChannelSizes& s = p.sizes;
  auto* const lines = static_cast<float*>(exec.workspace);
  auto* const partial = reinterpret_cast<Moments*>(lines + 3 * s.C);
  for_device_dtype(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    for_width<T>(vectors(p), [&](auto width) {
      constexpr int kWidth = decltype(width)::value;
      const Planes planes(s);
      const Columns sums(s, kWidth, most_moment_parts(p)), all(s, kWidth, 65535);
      if (p.training && s.channels_last)
        launch("batch_norm_fwd_column_moments_kernel", batch_norm_fwd_column_moments_kernel<T, kWidth>,
               sums.grid(), exec, p, sums, partial);
      else if (p.training)
        launch("batch_norm_fwd_plane_moments_kernel", batch_norm_fwd_plane_moments_kernel<T, kWidth>,
               planes.sums_grid(), exec, p, planes, partial);
      const Grid by_channel{dim3(static_cast<unsigned>(divide_up(s.C, kWarps))), dim3(kThreads)};
      launch("batch_norm_fwd_lines_kernel", batch_norm_fwd_lines_kernel<T>, by_channel, exec, p, partial,
             s.channels_last ? sums.parts : planes.parts, lines);
      if (s.channels_last)
        launch("batch_norm_fwd_column_apply_kernel", batch_norm_fwd_column_apply_kernel<T, kWidth>,
               all.grid(), exec, p, all, lines);
      else
        launch("batch_norm_fwd_plane_apply_kernel", batch_norm_fwd_plane_apply_kernel<T, kWidth>,
               planes.map_grid(), exec, p, planes, lines);
    });
  });
}

}  // namespace gpunn
