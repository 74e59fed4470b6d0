// Decode in f32, on CUDA cores, and the kernel that puts chunks together.
#include "gpunn/kernels/attention/attention_decode.cuh"

namespace gpunn {
namespace {

using namespace attention_tile;

template <class F>
GPUNN_KERNEL __launch_bounds__(F::C::kThreads)
    attention_fwd_decode_simt_kernel(const __grid_constant__ AttentionProblem p,
                                     const __grid_constant__ AttentionForwardLaunch l) {
  forward_block<F>(p, l);
}

inline constexpr int kCombineWarps = 4;

/// A warp per row of y: parts weighted by how far their greatest score is below the greatest of all, in the
/// order of the chunks.
template <class T>
GPUNN_KERNEL __launch_bounds__(kCombineWarps* kWarp)
    attention_fwd_decode_combine_kernel(const __grid_constant__ AttentionProblem p,
                                        const __grid_constant__ AttentionForwardLaunch l) {
  const AttentionSizes& s = p.sizes;
  const std::int64_t rows = s.B * s.Hq * s.Tq;
  const std::int64_t row = std::int64_t{blockIdx.x} * kCombineWarps + warp();
  if (row >= rows) return;
  const std::int64_t i = row % s.Tq, h = row / s.Tq % s.Hq, b = row / s.Tq / s.Hq;
  const bool there = i < attention_lengths(p.rule, s, b).queries;
  float top = -INFINITY;
  for (std::int64_t c = lane(); c < l.chunks; c += kWarp) top = fmaxf(top, l.sums[(c * rows + row) * 2]);
  top = warp_reduce<MaxOp>(top);
  float total = 0.0f;
  for (std::int64_t c = 0; c < l.chunks; ++c) {
    const float* const sums = l.sums + (c * rows + row) * 2;
    if (sums[0] > -INFINITY) total += exp2f(sums[0] - top) * sums[1];
  }
  const bool none = !there || total == 0.0f;
  if (p.lse && lane() == 0) static_cast<float*>(p.lse)[row] = none ? -INFINITY : top * kLn2 + logf(total);
  if (!there && p.rule.q_first) return;  // the row is another sequence's
  T* const y = static_cast<T*>(p.y) + attention_row(p.y_layout, p.rule.q_first, b, h, i);
  for (std::int64_t d = lane(); d < s.Dv; d += kWarp) {
    float sum = 0.0f;
    for (std::int64_t c = 0; c < l.chunks && !none; ++c) {
      const float part = l.sums[(c * rows + row) * 2];  // -inf: the chunk had nothing for this row
      if (part > -INFINITY) sum = fmaf(exp2f(part - top), l.values[(c * rows + row) * s.Dv + d], sum);
    }
    y[d] = from_float<T>(none ? 0.0f : sum / total);
  }
}

}  // namespace

void attention_decode_simt_cuda(const AttentionProblem& p, const AttentionForwardLaunch& l,
                                const Exec& exec) {
  for_dim(p.sizes, [&](auto dim) {
    using F = Forward<DecodeConfig<float, dim.value>, true, true>;
    launch("attention_fwd_decode_simt_kernel", attention_fwd_decode_simt_kernel<F>, decode_grid<F>(p, l),
           exec, p, l);
  });
}

void attention_decode_combine_cuda(const AttentionProblem& p, const AttentionForwardLaunch& l,
                                   const Exec& exec) {
  const std::int64_t rows = p.sizes.B * p.sizes.Hq * p.sizes.Tq;
  const Grid grid{dim3(static_cast<unsigned>((rows + kCombineWarps - 1) / kCombineWarps)),
                  dim3(kCombineWarps * kWarp)};
  for_device_dtype(p.dtype, [&](auto zero) {
    launch("attention_fwd_decode_combine_kernel", attention_fwd_decode_combine_kernel<decltype(zero)>, grid,
           exec, p, l);
  });
}

}  // namespace gpunn
