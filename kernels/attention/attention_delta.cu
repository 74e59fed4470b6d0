// Sums that backward needs of every query: delta = dy . y.
#include "gpunn/core/launch.cuh"
#include "gpunn/kernels/attention/attention_device_impl.h"
#include "gpunn/kernels/common/convert.cuh"
#include "gpunn/kernels/common/device_dtype.h"
#include "gpunn/kernels/common/reduce.cuh"

namespace gpunn {
namespace {

constexpr int kWarps = 4;

/// A warp per row; rows behind the end of their sequence get 0.
template <class T>
GPUNN_KERNEL __launch_bounds__(kWarps* kWarpSize)
    attention_bwd_delta_kernel(const __grid_constant__ AttentionBackwardProblem p, float* deltas) {
  const AttentionSizes& s = p.sizes;
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  const std::int64_t row = std::int64_t{blockIdx.x} * kWarps + threadIdx.x / kWarpSize;
  if (row >= s.B * s.Hq * s.Tq) return;
  const std::int64_t i = row % s.Tq, h = row / s.Tq % s.Hq, b = row / s.Tq / s.Hq;
  float sum = 0.0f;
  if (i < attention_lengths(p.rule, s, b).queries) {
    const T* const y = static_cast<const T*>(p.y) + attention_row(p.y_layout, p.rule.q_first, b, h, i);
    const T* const dy = static_cast<const T*>(p.dy) + attention_row(p.dy_layout, p.rule.q_first, b, h, i);
    for (std::int64_t d = lane; d < s.Dv; d += kWarpSize) sum = fmaf(to_float(y[d]), to_float(dy[d]), sum);
  }
  sum = warp_reduce<SumOp>(sum);
  if (lane == 0) deltas[row] = sum;
}

}  // namespace

void attention_delta_cuda(const AttentionBackwardProblem& p, float* deltas, const Exec& exec) {
  const std::int64_t rows = p.sizes.B * p.sizes.Hq * p.sizes.Tq;
  const Grid grid{dim3(static_cast<unsigned>((rows + kWarps - 1) / kWarps)), dim3(kWarps * kWarpSize)};
  for_device_dtype(p.dtype, [&](auto zero) {
    launch("attention_bwd_delta_kernel", attention_bwd_delta_kernel<decltype(zero)>, grid, exec, p, deltas);
  });
}

}  // namespace gpunn
