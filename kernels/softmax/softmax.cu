// Softmax and log-softmax by rows. Up to kWarpColumns columns a warp keeps its row in registers: one read,
// one write. Longer rows take a block each and two reads: the first gathers maximum and sum in one pass.
#include "gpunn/kernels/common/device_dtype.h"
#include "gpunn/kernels/common/max_sum.cuh"
#include "gpunn/kernels/common/rows.cuh"
#include "gpunn/kernels/common/vec.cuh"
#include "gpunn/kernels/softmax/softmax_impl.h"

namespace gpunn {
namespace {

/// Elements lane, lane + 32, … of a row; `rest` beyond its end.
template <int kItems, class T>
GPUNN_DEVICE void load_row(const T* row, std::int64_t cols, float rest, float (&v)[kItems]) {
  const int lane = lane_index();
  GPUNN_UNROLL
  for (int i = 0; i < kItems; ++i) {
    const int c = lane + i * kWarpSize;
    v[i] = c < cols ? to_float(row[c]) : rest;
  }
}

template <int kItems, class T>
GPUNN_DEVICE void store_row(const float (&v)[kItems], std::int64_t cols, T* row) {
  const int lane = lane_index();
  GPUNN_UNROLL
  for (int i = 0; i < kItems; ++i) {
    const int c = lane + i * kWarpSize;
    if (c < cols) row[c] = from_float<T>(v[i]);
  }
}

template <class T, int kItems>
GPUNN_KERNEL __launch_bounds__(kWarpRowThreads)
    softmax_fwd_warp_kernel(const T* x, T* y, std::int64_t rows, std::int64_t cols, bool log) {
  for (std::int64_t row = first_warp_row(); row < rows; row += warp_row_stride()) {
    float v[kItems];
    load_row(x + row * cols, cols, -INFINITY, v);
    float max = -INFINITY;
    GPUNN_UNROLL
    for (int i = 0; i < kItems; ++i) max = fmaxf(max, v[i]);
    max = warp_reduce<MaxOp>(max);
    float sum = 0.0f;
    GPUNN_UNROLL
    for (int i = 0; i < kItems; ++i) sum += expf(v[i] - max);
    sum = warp_reduce<SumOp>(sum);
    const float log_sum = logf(sum), inverse = 1.0f / sum;
    GPUNN_UNROLL
    for (int i = 0; i < kItems; ++i) v[i] = log ? v[i] - max - log_sum : expf(v[i] - max) * inverse;
    store_row(v, cols, y + row * cols);
  }
}

template <class T>
GPUNN_KERNEL __launch_bounds__(kBlockRowThreads)
    softmax_fwd_block_kernel(const T* x, T* y, std::int64_t rows, std::int64_t cols, bool log) {
  for (std::int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    const T* const in = x + row * cols;
    MaxSum own = MaxSumOp::identity();
    for_each_in_row<kBlockRowThreads>(in, cols, [&](std::int64_t, float v) { own.add(v); });
    const MaxSum all = block_reduce<MaxSumOp, kBlockRowThreads>(own).of_row();
    const float log_sum = logf(all.sum), inverse = 1.0f / all.sum;
    map_row<kBlockRowThreads>(in, y + row * cols, cols, [&](std::int64_t, float v) {
      return log ? v - all.max - log_sum : expf(v - all.max) * inverse;
    });
  }
}

template <class T, int kItems>
GPUNN_KERNEL __launch_bounds__(kWarpRowThreads)
    softmax_bwd_warp_kernel(const T* y, const T* dy, T* dx, std::int64_t rows, std::int64_t cols, bool log) {
  for (std::int64_t row = first_warp_row(); row < rows; row += warp_row_stride()) {
    float v[kItems], g[kItems];
    load_row(y + row * cols, cols, 0.0f, v);
    load_row(dy + row * cols, cols, 0.0f, g);
    float sum = 0.0f;
    GPUNN_UNROLL
    for (int i = 0; i < kItems; ++i) sum += log ? g[i] : g[i] * v[i];
    sum = warp_reduce<SumOp>(sum);
    GPUNN_UNROLL
    for (int i = 0; i < kItems; ++i) v[i] = log ? g[i] - expf(v[i]) * sum : v[i] * (g[i] - sum);
    store_row(v, cols, dx + row * cols);
  }
}

template <class T>
GPUNN_KERNEL __launch_bounds__(kBlockRowThreads)
    softmax_bwd_block_kernel(const T* y, const T* dy, T* dx, std::int64_t rows, std::int64_t cols, bool log) {
  for (std::int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    const T* const value = y + row * cols;
    const T* const grad = dy + row * cols;
    float sum = 0.0f;
    for_each_in_row<kBlockRowThreads>(
        grad, cols, [&](std::int64_t i, float g) { sum += log ? g : g * to_float(value[i]); });
    sum = block_reduce<SumOp, kBlockRowThreads>(sum);
    map_row<kBlockRowThreads>(grad, dx + row * cols, cols, [&](std::int64_t i, float g) {
      const float v = to_float(value[i]);
      return log ? g - expf(v) * sum : v * (g - sum);
    });
  }
}

/// Calls f with the least of 1, 2, 4, … 32 elements per lane that holds a row, as a constant.
template <class F>
void for_items(std::int64_t cols, F f) {
  if (cols <= 1 * kWarpSize) return f(std::integral_constant<int, 1>{});
  if (cols <= 2 * kWarpSize) return f(std::integral_constant<int, 2>{});
  if (cols <= 4 * kWarpSize) return f(std::integral_constant<int, 4>{});
  if (cols <= 8 * kWarpSize) return f(std::integral_constant<int, 8>{});
  if (cols <= 16 * kWarpSize) return f(std::integral_constant<int, 16>{});
  f(std::integral_constant<int, 32>{});
}

}  // namespace

void softmax_fwd_cuda(const SoftmaxProblem& p, const Exec& exec) {
  for_device_dtype(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const auto* x = static_cast<const T*>(p.x);
    auto* y = static_cast<T*>(p.y);
    if (p.cols > kWarpColumns)
      return launch("softmax_fwd_block_kernel", softmax_fwd_block_kernel<T>, block_row_grid(p.rows), exec, x,
                    y, p.rows, p.cols, p.log);
    for_items(p.cols, [&](auto items) {
      launch("softmax_fwd_warp_kernel", softmax_fwd_warp_kernel<T, decltype(items)::value>,
             warp_row_grid(p.rows), exec, x, y, p.rows, p.cols, p.log);
    });
  });
}

void softmax_bwd_cuda(const SoftmaxBackwardProblem& p, const Exec& exec) {
  for_device_dtype(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const auto* y = static_cast<const T*>(p.y);
    const auto* dy = static_cast<const T*>(p.dy);
    auto* dx = static_cast<T*>(p.dx);
    if (p.cols > kWarpColumns)
      return launch("softmax_bwd_block_kernel", softmax_bwd_block_kernel<T>, block_row_grid(p.rows), exec, y,
                    dy, dx, p.rows, p.cols, p.log);
    for_items(p.cols, [&](auto items) {
      launch("softmax_bwd_warp_kernel", softmax_bwd_warp_kernel<T, decltype(items)::value>,
             warp_row_grid(p.rows), exec, y, dy, dx, p.rows, p.cols, p.log);
    });
  });
}

}  // namespace gpunn
