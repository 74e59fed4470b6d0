// Softmax and log-softmax by rows. Up to kWarpColumns columns a warp keeps its row in registers: one read,
// one write. Longer rows take a block each: up to 48 KB a row is kept in shared memory and read once; beyond,
// it is read twice, the first time for maximum and sum in one pass. Long rows that are too few to fill a GPU
// are cut into parts (row_parts.h), a block each: one kernel for the parts' statistics, one for the result.
#include "gpunn/kernels/common/device_dtype.h"
#include "gpunn/kernels/common/max_sum.cuh"
#include "gpunn/kernels/common/row_parts.h"
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

/// One element of the result, given what its row adds up to.
struct RowResult {
  float max, log_sum, inverse;
  bool log;
  GPUNN_DEVICE RowResult(MaxSum all, bool as_log)
      : max(all.max), log_sum(logf(all.sum)), inverse(1.0f / all.sum), log(as_log) {}
  GPUNN_DEVICE float operator()(float v) const { return log ? v - max - log_sum : expf(v - max) * inverse; }
};

/// A block's share of a row. Blocks beyond the end of a row get nothing.
struct Share {
  std::int64_t row, begin, size;
  GPUNN_DEVICE Share(std::int64_t task, std::int64_t cols, int parts, std::int64_t part_cols)
      : row(task / parts), begin(task % parts * part_cols) {
    const std::int64_t left = cols - begin > 0 ? cols - begin : 0;
    size = left < part_cols ? left : part_cols;
  }
};

/// Rows of up to kStagedBytes, kept in shared memory between the passes.
template <class T>
GPUNN_KERNEL __launch_bounds__(kBlockRowThreads)
    softmax_fwd_staged_kernel(const T* x, T* y, std::int64_t rows, std::int64_t cols, bool log) {
  GPUNN_DYN_SHARED(memory);
  T* const kept = reinterpret_cast<T*>(memory);  // [cols]
  for (std::int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    MaxSum own = MaxSumOp::identity();
    __syncthreads();  // the previous row may still be read
    for_each_in_row<kBlockRowThreads>(x + row * cols, cols, [&](std::int64_t c, float v) {
      kept[c] = from_float<T>(v);  // exact: it was a T
      own.add(v);
    });
    const RowResult result(block_reduce<MaxSumOp, kBlockRowThreads>(own).of_row(), log);
    map_row<kBlockRowThreads>(kept, y + row * cols, cols, [&](std::int64_t, float v) { return result(v); });
  }
}

template <class T>
GPUNN_KERNEL __launch_bounds__(kBlockRowThreads)
    softmax_fwd_block_kernel(const T* x, T* y, std::int64_t rows, std::int64_t cols, bool log) {
  for (std::int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    const T* const in = x + row * cols;
    MaxSum own = MaxSumOp::identity();
    for_each_in_row<kBlockRowThreads>(in, cols, [&](std::int64_t, float v) { own.add(v); });
    const RowResult result(block_reduce<MaxSumOp, kBlockRowThreads>(own).of_row(), log);
    map_row<kBlockRowThreads>(in, y + row * cols, cols, [&](std::int64_t, float v) { return result(v); });
  }
}

/// partial [rows, parts]: maximum and sum of each part.
template <class T>
GPUNN_KERNEL __launch_bounds__(kBlockRowThreads)
    softmax_fwd_parts_kernel(const T* x, MaxSum* partial, std::int64_t cols, int parts,
                             std::int64_t part_cols) {
  const Share share(blockIdx.x, cols, parts, part_cols);
  MaxSum own = MaxSumOp::identity();
  if (share.size > 0)
    for_each_in_row<kBlockRowThreads>(x + share.row * cols + share.begin, share.size,
                                      [&](std::int64_t, float v) { own.add(v); });
  own = block_reduce<MaxSumOp, kBlockRowThreads>(own);
  if (threadIdx.x == 0) partial[blockIdx.x] = own;
}

template <class T>
GPUNN_KERNEL __launch_bounds__(kBlockRowThreads)
    softmax_fwd_join_kernel(const T* x, T* y, const MaxSum* partial, std::int64_t cols, bool log, int parts,
                            std::int64_t part_cols) {
  const Share share(blockIdx.x, cols, parts, part_cols);
  if (share.size == 0) return;
  MaxSum all = MaxSumOp::identity();
  for (int i = 0; i < parts; ++i) all = MaxSumOp::combine(all, partial[share.row * parts + i]);
  const RowResult result(all.of_row(), log);
  const std::int64_t at = share.row * cols + share.begin;
  map_row<kBlockRowThreads>(x + at, y + at, share.size, [&](std::int64_t, float v) { return result(v); });
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

/// partial [rows, parts]: sum of each part, of dy for log-softmax and of dy y else.
template <class T>
GPUNN_KERNEL __launch_bounds__(kBlockRowThreads)
    softmax_bwd_parts_kernel(const T* y, const T* dy, float* partial, std::int64_t cols, bool log, int parts,
                             std::int64_t part_cols) {
  const Share share(blockIdx.x, cols, parts, part_cols);
  const std::int64_t at = share.row * cols + share.begin;
  float sum = 0.0f;
  if (share.size > 0)
    for_each_in_row<kBlockRowThreads>(
        dy + at, share.size, [&](std::int64_t i, float g) { sum += log ? g : g * to_float(y[at + i]); });
  sum = block_reduce<SumOp, kBlockRowThreads>(sum);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

template <class T>
GPUNN_KERNEL __launch_bounds__(kBlockRowThreads)
    softmax_bwd_join_kernel(const T* y, const T* dy, T* dx, const float* partial, std::int64_t cols, bool log,
                            int parts, std::int64_t part_cols) {
  const Share share(blockIdx.x, cols, parts, part_cols);
  if (share.size == 0) return;
  float sum = 0.0f;
  for (int i = 0; i < parts; ++i) sum += partial[share.row * parts + i];
  const std::int64_t at = share.row * cols + share.begin;
  map_row<kBlockRowThreads>(dy + at, dx + at, share.size, [&](std::int64_t i, float g) {
    const float v = to_float(y[at + i]);
    return log ? g - expf(v) * sum : v * (g - sum);
  });
}

/// Shared memory that every kernel may use without asking.
constexpr std::int64_t kStagedBytes = 48 * 1024;

template <class T>
void forward_long(const T* x, T* y, const SoftmaxProblem& p, const Exec& exec) {
  const int parts = row_parts(p.rows, p.cols);
  const std::int64_t part_cols = part_columns(p.cols, parts),
                     bytes = p.cols * static_cast<std::int64_t>(sizeof(T));
  if (parts > 1) {
    auto* partial = static_cast<MaxSum*>(exec.workspace);
    const Grid grid = block_row_grid(p.rows * parts);
    launch("softmax_fwd_parts_kernel", softmax_fwd_parts_kernel<T>, grid, exec, x, partial, p.cols, parts,
           part_cols);
    launch("softmax_fwd_join_kernel", softmax_fwd_join_kernel<T>, grid, exec, x, y, partial, p.cols, p.log,
           parts, part_cols);
  } else if (bytes <= kStagedBytes) {
    Grid grid = block_row_grid(p.rows);
    grid.shared_bytes = static_cast<size_t>(bytes);
    launch("softmax_fwd_staged_kernel", softmax_fwd_staged_kernel<T>, grid, exec, x, y, p.rows, p.cols,
           p.log);
  } else {
    launch("softmax_fwd_block_kernel", softmax_fwd_block_kernel<T>, block_row_grid(p.rows), exec, x, y,
           p.rows, p.cols, p.log);
  }
}

template <class T>
void backward_long(const T* y, const T* dy, T* dx, const SoftmaxBackwardProblem& p, const Exec& exec) {
  const int parts = row_parts(p.rows, p.cols);
  if (parts == 1)
    return launch("softmax_bwd_block_kernel", softmax_bwd_block_kernel<T>, block_row_grid(p.rows), exec, y,
                  dy, dx, p.rows, p.cols, p.log);
  auto* partial = static_cast<float*>(exec.workspace);
  const Grid grid = block_row_grid(p.rows * parts);
  const std::int64_t part_cols = part_columns(p.cols, parts);
  launch("softmax_bwd_parts_kernel", softmax_bwd_parts_kernel<T>, grid, exec, y, dy, partial, p.cols, p.log,
         parts, part_cols);
  launch("softmax_bwd_join_kernel", softmax_bwd_join_kernel<T>, grid, exec, y, dy, dx, partial, p.cols, p.log,
         parts, part_cols);
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

std::size_t softmax_fwd_cuda_workspace(const SoftmaxProblem& p) {
  const int parts = row_parts(p.rows, p.cols);
  return parts > 1 ? static_cast<std::size_t>(p.rows * parts) * sizeof(MaxSum) : 0;
}

std::size_t softmax_bwd_cuda_workspace(const SoftmaxBackwardProblem& p) {
  const int parts = row_parts(p.rows, p.cols);
  return parts > 1 ? static_cast<std::size_t>(p.rows * parts) * sizeof(float) : 0;
}

void softmax_fwd_cuda(const SoftmaxProblem& p, const Exec& exec) {
  for_device_dtype(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const auto* x = static_cast<const T*>(p.x);
    auto* y = static_cast<T*>(p.y);
    if (p.cols > kWarpColumns) return forward_long(x, y, p, exec);
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
    if (p.cols > kWarpColumns) return backward_long(y, dy, dx, p, exec);
    for_items(p.cols, [&](auto items) {
      launch("softmax_bwd_warp_kernel", softmax_bwd_warp_kernel<T, decltype(items)::value>,
             warp_row_grid(p.rows), exec, y, dy, dx, p.rows, p.cols, p.log);
    });
  });
}

}  // namespace gpunn
