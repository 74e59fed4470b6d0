// Softmax cross-entropy. Forward reads the logits once (maximum and sum together), backward once more and
// writes the gradient: a warp per row up to kWarpColumns classes, a block per row beyond.
#include "gpunn/kernels/common/device_dtype.h"
#include "gpunn/kernels/common/max_sum.cuh"
#include "gpunn/kernels/common/rows.cuh"
#include "gpunn/kernels/common/vec.cuh"
#include "gpunn/kernels/cross_entropy/cross_entropy_impl.h"

namespace gpunn {
namespace {

constexpr int kReduceThreads = 256;

/// The problem as kernels take it. Pointers as in cross_entropy_impl.h, row_loss [rows].
template <class T>
struct Forward {
  const T* logits;
  const std::int64_t* target;
  float* row_loss;
  float* stats;
  std::int64_t rows, cols, ignore_index;
};

template <class T>
struct Backward {
  const T* logits;
  const std::int64_t* target;
  const float* stats;
  const float* count;  // null: 1
  const float* dloss;
  bool dloss_by_row;
  T* dlogits;
  std::int64_t rows, cols, ignore_index;
};

/// Writes loss and statistics of a row; one thread does.
template <class T>
GPUNN_DEVICE void finish_row(const Forward<T>& p, std::int64_t row, std::int64_t target, MaxSum all) {
  const bool valid = target >= 0 && target < p.cols;
  p.row_loss[row] = valid ? logf(all.sum) - (to_float(p.logits[row * p.cols + target]) - all.max) : NAN;
  p.stats[2 * row] = all.max;
  p.stats[2 * row + 1] = all.sum;
}

template <class T>
GPUNN_DEVICE void skip_row(const Forward<T>& p, std::int64_t row) {
  p.row_loss[row] = p.stats[2 * row] = p.stats[2 * row + 1] = 0.0f;
}

template <class T>
GPUNN_KERNEL __launch_bounds__(kWarpRowThreads) cross_entropy_fwd_warp_kernel(Forward<T> p) {
  for (std::int64_t row = first_warp_row(); row < p.rows; row += warp_row_stride()) {
    const std::int64_t target = p.target[row];
    MaxSum own = MaxSumOp::identity();
    if (target != p.ignore_index)
      for (std::int64_t c = lane_index(); c < p.cols; c += kWarpSize)
        own.add(to_float(p.logits[row * p.cols + c]));
    const MaxSum all = warp_reduce<MaxSumOp>(own).of_row();
    if (lane_index() != 0) continue;
    if (target == p.ignore_index)
      skip_row(p, row);
    else
      finish_row(p, row, target, all);
  }
}

template <class T>
GPUNN_KERNEL __launch_bounds__(kBlockRowThreads) cross_entropy_fwd_block_kernel(Forward<T> p) {
  for (std::int64_t row = blockIdx.x; row < p.rows; row += gridDim.x) {
    const std::int64_t target = p.target[row];
    MaxSum own = MaxSumOp::identity();
    if (target != p.ignore_index)
      for_each_in_row<kBlockRowThreads>(p.logits + row * p.cols, p.cols,
                                        [&](std::int64_t, float v) { own.add(v); });
    const MaxSum all = block_reduce<MaxSumOp, kBlockRowThreads>(own).of_row();
    if (threadIdx.x != 0) continue;
    if (target == p.ignore_index)
      skip_row(p, row);
    else
      finish_row(p, row, target, all);
  }
}

/// loss[0] = sum of row_loss, divided by the number of rows not ignored where `count` is not null. One block.
GPUNN_KERNEL __launch_bounds__(kReduceThreads)
    cross_entropy_fwd_reduce_kernel(const float* row_loss, const std::int64_t* target, float* loss,
                                    float* count, std::int64_t rows, std::int64_t ignore_index) {
  float sum = 0.0f;
  long long counted = 0;
  for (std::int64_t n = threadIdx.x; n < rows; n += kReduceThreads) {
    sum += row_loss[n];
    counted += target[n] != ignore_index;
  }
  sum = block_reduce<SumOp, kReduceThreads>(sum);
  counted = block_reduce<CountOp, kReduceThreads>(counted);
  if (threadIdx.x != 0) return;
  if (count) *count = static_cast<float>(counted);
  *loss = count ? sum / static_cast<float>(counted) : sum;
}

/// Gradient of one logit of a row, given what the row's threads share.
struct RowGradient {
  float max, factor, scale;
  std::int64_t target;

  GPUNN_DEVICE float operator()(std::int64_t c, float x) const {
    return expf(x - max) * factor - (c == target ? scale : 0.0f);
  }
};

template <class T>
GPUNN_DEVICE RowGradient row_gradient(const Backward<T>& p, std::int64_t row) {
  const std::int64_t target = p.target[row];
  const bool valid = target >= 0 && target < p.cols;
  const float divisor = p.count ? *p.count : 1.0f;
  const float scale = valid ? p.dloss[p.dloss_by_row ? row : 0] / divisor : NAN;
  return {p.stats[2 * row], scale / p.stats[2 * row + 1], scale, target};
}

template <class T>
GPUNN_KERNEL __launch_bounds__(kWarpRowThreads) cross_entropy_bwd_warp_kernel(Backward<T> p) {
  for (std::int64_t row = first_warp_row(); row < p.rows; row += warp_row_stride()) {
    const bool ignored = p.target[row] == p.ignore_index;
    const RowGradient gradient = row_gradient(p, row);
    const T* const x = p.logits + row * p.cols;
    T* const dx = p.dlogits + row * p.cols;
    for (std::int64_t c = lane_index(); c < p.cols; c += kWarpSize)
      dx[c] = from_float<T>(ignored ? 0.0f : gradient(c, to_float(x[c])));
  }
}

template <class T>
GPUNN_KERNEL __launch_bounds__(kBlockRowThreads) cross_entropy_bwd_block_kernel(Backward<T> p) {
  for (std::int64_t row = blockIdx.x; row < p.rows; row += gridDim.x) {
    const bool ignored = p.target[row] == p.ignore_index;
    const RowGradient gradient = row_gradient(p, row);
    map_row<kBlockRowThreads>(p.logits + row * p.cols, p.dlogits + row * p.cols, p.cols,
                              [&](std::int64_t c, float x) { return ignored ? 0.0f : gradient(c, x); });
  }
}

/// bad_row[0] = first row with a target that is neither a class nor ignore_index, or -1. One block.
GPUNN_KERNEL __launch_bounds__(kReduceThreads)
    cross_entropy_targets_kernel(const std::int64_t* target, std::int64_t* bad_row, std::int64_t rows,
                                 std::int64_t classes, std::int64_t ignore_index) {
  long long first = FirstOp::identity();
  for (std::int64_t n = threadIdx.x; n < rows; n += kReduceThreads) {
    const std::int64_t t = target[n];
    if (t != ignore_index && (t < 0 || t >= classes)) first = FirstOp::combine(first, n);
  }
  first = block_reduce<FirstOp, kReduceThreads>(first);
  if (threadIdx.x == 0) *bad_row = first == FirstOp::identity() ? -1 : first;
}

}  // namespace

void cross_entropy_fwd_cuda(const CrossEntropyProblem& p, const Exec& exec) {
  const bool by_row = p.reduction == Reduction::none;
  auto* loss = static_cast<float*>(p.loss);
  float* const row_loss = by_row ? loss : static_cast<float*>(exec.workspace);
  for_device_dtype(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const Forward<T> f{static_cast<const T*>(p.logits),
                       p.target,
                       row_loss,
                       static_cast<float*>(p.stats),
                       p.rows,
                       p.cols,
                       p.ignore_index};
    if (p.cols <= kWarpColumns)
      launch("cross_entropy_fwd_warp_kernel", cross_entropy_fwd_warp_kernel<T>, warp_row_grid(p.rows), exec,
             f);
    else
      launch("cross_entropy_fwd_block_kernel", cross_entropy_fwd_block_kernel<T>, block_row_grid(p.rows),
             exec, f);
  });
  if (by_row) return;
  launch("cross_entropy_fwd_reduce_kernel", cross_entropy_fwd_reduce_kernel, {dim3(1), dim3(kReduceThreads)},
         exec, row_loss, p.target, loss, static_cast<float*>(p.count), p.rows, p.ignore_index);
}

void cross_entropy_bwd_cuda(const CrossEntropyBackwardProblem& p, const Exec& exec) {
  for_device_dtype(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const Backward<T> b{static_cast<const T*>(p.logits),
                        p.target,
                        static_cast<const float*>(p.stats),
                        static_cast<const float*>(p.count),
                        static_cast<const float*>(p.dloss),
                        p.reduction == Reduction::none,
                        static_cast<T*>(p.dlogits),
                        p.rows,
                        p.cols,
                        p.ignore_index};
    if (p.cols <= kWarpColumns)
      launch("cross_entropy_bwd_warp_kernel", cross_entropy_bwd_warp_kernel<T>, warp_row_grid(p.rows), exec,
             b);
    else
      launch("cross_entropy_bwd_block_kernel", cross_entropy_bwd_block_kernel<T>, block_row_grid(p.rows),
             exec, b);
  });
}

void cross_entropy_targets_cuda(const TargetCheckProblem& p, const Exec& exec) {
  launch("cross_entropy_targets_kernel", cross_entropy_targets_kernel, {dim3(1), dim3(kReduceThreads)}, exec,
         p.target, p.bad_row, p.rows, p.classes, p.ignore_index);
}

}  // namespace gpunn
