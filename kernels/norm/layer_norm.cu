// Layer, RMS and group norm: the kernels of row_norm_grad.cuh on rows as they are. The weights' gradients are
// sums over channels (channel_sums.cu) and their join.
#include "gpunn/kernels/norm/channel_sums_impl.h"
#include "gpunn/kernels/norm/row_norm_grad.cuh"

namespace gpunn {
namespace {

using channels::divide_up;
using channels::kWarps;
using channels::store_weight;

struct OwnRows {
  using Problem = RowNormProblem;
  using BackwardProblem = RowNormBackwardProblem;

  static constexpr bool kMade = false;

  template <class T>
  static GPUNN_DEVICE const T* made(const Problem& p) {
    return static_cast<const T*>(p.x);
  }
  template <class T, int kWidth>
  static GPUNN_DEVICE void store_gradient(const BackwardProblem& p, std::int64_t row, std::int64_t c,
                                          const float (&g)[kWidth]) {
    channels::store_floats(static_cast<T*>(p.dx) + row + c, g);
  }
};

/// A warp per channel joins the parts' sums.
template <class T>
GPUNN_KERNEL __launch_bounds__(channels::kThreads)
    row_norm_bwd_weights_kernel(const __grid_constant__ RowNormBackwardProblem p, const float* partial,
                                int parts) {
  const std::int64_t C = p.sizes.channels();
  const std::int64_t c = static_cast<std::int64_t>(blockIdx.x) * kWarps + threadIdx.x / kWarpSize;
  if (c >= C) return;  // a whole warp, and no barrier follows
  float sum = 0.0f, product = 0.0f;
  for (int i = lane_index(); i < parts; i += kWarpSize) {
    sum += partial[2 * i * C + c];
    product += partial[(2 * i + 1) * C + c];
  }
  sum = warp_reduce<SumOp>(sum);
  product = warp_reduce<SumOp>(product);
  if (lane_index() != 0) return;
  if (p.want_dw) store_weight<T>(p.dw, p.wide_weights, c, product);
  if (p.want_db) store_weight<T>(p.db, p.wide_weights, c, sum);
}

ChannelSizes sums_sizes(const NormRows& s) {
  return {s.rows / s.groups, s.channels(), s.pixels, s.pixels == 1};
}

}  // namespace

void row_norm_weights_cuda(const RowNormBackwardProblem& p, const Exec& exec) {
  if (!p.want_dw && !p.want_db) return;
  auto* const partial = static_cast<float*>(exec.workspace);
  const int parts = channel_sums_cuda(
      {p.dtype, p.x, nullptr, p.dy, p.rms ? nullptr : static_cast<const float*>(p.mean),
       static_cast<const float*>(p.rstd), partial, sums_sizes(p.sizes), p.sizes.groups, false},
      exec);
  const Grid by_channel{dim3(static_cast<unsigned>(divide_up(p.sizes.channels(), kWarps))),
                        dim3(channels::kThreads)};
  for_device_dtype(p.dtype, [&](auto zero) {
    launch("row_norm_bwd_weights_kernel", row_norm_bwd_weights_kernel<decltype(zero)>, by_channel, exec, p,
           partial, parts);
  });
}

void row_norm_fwd_cuda(const RowNormProblem& p, const Exec& exec) {
  row_norm::launch_forward<OwnRows>(p, exec, p.x, p.y);
}

std::size_t row_norm_bwd_cuda_workspace(const RowNormBackwardProblem& p) {
  if (!p.want_dw && !p.want_db) return 0;
  const ChannelSizes s = sums_sizes(p.sizes);
  return static_cast<std::size_t>(s.C * 2 * channel_sums_most_parts(s)) * sizeof(float);
}

void row_norm_bwd_cuda(const RowNormBackwardProblem& p, const Exec& exec) {
  row_norm_weights_cuda(p, exec);  // before dx, which may be dy
  row_norm::launch_backward<OwnRows>(p, exec, p.x, p.dy, p.dx);
}

}  // namespace gpunn
