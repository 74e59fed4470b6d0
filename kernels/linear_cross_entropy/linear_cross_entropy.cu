// What happens to a tile of logits: a block per row, one read for maximum and sum together (a second one for
// label smoothing), one read and one write for the gradient. Tiles have hundreds of rows and more, so rows
// are not cut into parts.
#include "gpunn/kernels/common/device_dtype.h"
#include "gpunn/kernels/common/max_sum.cuh"
#include "gpunn/kernels/common/rows.cuh"
#include "gpunn/kernels/common/vec.cuh"
#include "gpunn/kernels/linear_cross_entropy/linear_cross_entropy_impl.h"

namespace gpunn {
namespace {

constexpr int kThreads = 256;
constexpr std::int64_t kScaled = 8192;  // elements of y that a block takes at a time

/// The problems as kernels take them. Pointers as in linear_cross_entropy_impl.h.
template <class T>
struct Stats {
  const T* logits;
  const std::int64_t* target;
  float* stats;
  LogitTile tile;
  std::int64_t ignore_index;
  bool want_sum;
};

template <class T>
struct Grad {
  T* logits;
  const std::int64_t* target;
  const float* stats;
  const float* count;  // null: 1
  const float* dloss;  // null: 1
  bool dloss_by_row;
  LogitTile tile;
  std::int64_t classes, ignore_index;
  float keep, share;  // q of the label's class is keep + share, of the others share
};

struct Loss {
  const float* stats;
  const std::int64_t* target;
  float* loss;
  float* count;  // null unless mean
  std::int64_t rows, classes, ignore_index;
  float keep, smoothing;
  bool count_only;
};

template <class T>
GPUNN_KERNEL __launch_bounds__(kBlockRowThreads) linear_cross_entropy_stats_kernel(Stats<T> p) {
  for (std::int64_t row = blockIdx.x; row < p.tile.rows; row += gridDim.x) {
    const T* const z = p.logits + row * p.tile.ld;
    float* const stats = p.stats + 4 * row;
    const std::int64_t t = p.target[row];
    const bool joins = p.tile.first > 0, ignored = t == p.ignore_index;
    // All threads read what was there before the barriers below, thread 0 overwrites it behind them.
    const MaxSum before = joins ? MaxSum{stats[0], stats[1]} : MaxSumOp::identity();
    MaxSum own = MaxSumOp::identity();
    if (!ignored)
      for_each_in_row<kBlockRowThreads>(z, p.tile.cols, [&](std::int64_t, float v) { own.add(v); });
    const MaxSum all = MaxSumOp::combine(before, block_reduce<MaxSumOp, kBlockRowThreads>(own));
    float shifted = 0.0f;
    if (p.want_sum && !ignored) {
      const float shift = all.max == -INFINITY ? 0.0f : all.max;
      for_each_in_row<kBlockRowThreads>(z, p.tile.cols, [&](std::int64_t, float v) { shifted += v - shift; });
    }
    shifted = block_reduce<SumOp, kBlockRowThreads>(shifted);
    if (threadIdx.x != 0) continue;
    if (joins && p.want_sum) {
      shifted += stats[3];
      if (before.max != all.max) shifted += static_cast<float>(p.tile.first) * (before.max - all.max);
    }
    const bool here = t >= p.tile.first && t - p.tile.first < p.tile.cols;
    const float label = here ? to_float(z[t - p.tile.first]) : joins ? stats[2] : 0.0f;
    stats[0] = ignored ? 0.0f : all.max;
    stats[1] = ignored ? 0.0f : all.sum;
    stats[2] = ignored ? 0.0f : label;
    stats[3] = ignored ? 0.0f : shifted;
  }
}

template <class T>
GPUNN_KERNEL __launch_bounds__(kBlockRowThreads) linear_cross_entropy_grad_kernel(Grad<T> p) {
  for (std::int64_t row = blockIdx.x; row < p.tile.rows; row += gridDim.x) {
    T* const z = p.logits + row * p.tile.ld;
    const std::int64_t t = p.target[row], label = t - p.tile.first;
    const bool ignored = t == p.ignore_index, bad = t < 0 || t >= p.classes;
    const float max = p.stats[4 * row];
    const float scale = (p.dloss ? p.dloss[p.dloss_by_row ? row : 0] : 1.0f) / (p.count ? *p.count : 1.0f);
    const float factor = bad ? NAN : scale / p.stats[4 * row + 1];
    map_row<kBlockRowThreads>(z, z, p.tile.cols, [&](std::int64_t c, float v) {
      const float q = c == label ? p.keep + p.share : p.share;
      return ignored ? 0.0f : expf(v - max) * factor - scale * q;
    });
  }
}

/// Loss of a row that is not ignored.
GPUNN_DEVICE float loss_of(const Loss& p, std::int64_t row) {
  const float* const stats = p.stats + 4 * row;
  const std::int64_t t = p.target[row];
  const bool valid = t >= 0 && t < p.classes && stats[0] != -INFINITY;
  const float log_sum = valid ? logf(stats[1]) : NAN;
  float loss = 0.0f;
  if (p.keep > 0.0f) loss += p.keep * (log_sum - (stats[2] - stats[0]));
  if (p.smoothing > 0.0f) loss += p.smoothing * (log_sum - stats[3] / static_cast<float>(p.classes));
  return loss;
}

GPUNN_KERNEL __launch_bounds__(kThreads) linear_cross_entropy_row_loss_kernel(Loss p) {
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (row >= p.rows) return;
  p.loss[row] = p.target[row] == p.ignore_index ? 0.0f : loss_of(p, row);
}

/// Sum or mean of all rows, or only their number. One block.
GPUNN_KERNEL __launch_bounds__(kThreads) linear_cross_entropy_loss_kernel(Loss p) {
  float sum = 0.0f;
  long long counted = 0;
  for (std::int64_t row = threadIdx.x; row < p.rows; row += kThreads) {
    if (p.target[row] == p.ignore_index) continue;
    ++counted;
    if (!p.count_only) sum += loss_of(p, row);
  }
  sum = block_reduce<SumOp, kThreads>(sum);
  counted = block_reduce<CountOp, kThreads>(counted);
  if (threadIdx.x != 0) return;
  const float count = static_cast<float>(counted);
  if (p.count) *p.count = count;
  if (!p.count_only) *p.loss = p.count ? sum / count : sum;
}

template <class T>
GPUNN_KERNEL __launch_bounds__(kThreads)
    linear_cross_entropy_scale_kernel(T* y, const float* factor, std::int64_t n) {
  const float by = *factor;
  if (by == 1.0f) return;
  for (std::int64_t begin = blockIdx.x * kScaled; begin < n; begin += gridDim.x * kScaled) {
    const std::int64_t size = n - begin < kScaled ? n - begin : kScaled;
    map_row<kThreads>(y + begin, y + begin, size, [&](std::int64_t, float v) { return v * by; });
  }
}

}  // namespace

void logit_stats_cuda(const LogitStatsProblem& p, const Exec& exec) {
  if (p.tile.rows == 0) return;
  for_device_dtype(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const Stats<T> s{static_cast<const T*>(p.logits),
                     p.target,
                     static_cast<float*>(p.stats),
                     p.tile,
                     p.ignore_index,
                     p.want_sum};
    launch("linear_cross_entropy_stats_kernel", linear_cross_entropy_stats_kernel<T>,
           block_row_grid(p.tile.rows), exec, s);
  });
}

void logit_grad_cuda(const LogitGradProblem& p, const Exec& exec) {
  if (p.tile.rows == 0) return;
  for_device_dtype(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const Grad<T> g{static_cast<T*>(p.logits),
                    p.target,
                    static_cast<const float*>(p.stats),
                    p.has_count ? static_cast<const float*>(p.count) : nullptr,
                    p.has_dloss ? static_cast<const float*>(p.dloss) : nullptr,
                    p.dloss_by_row,
                    p.tile,
                    p.classes,
                    p.ignore_index,
                    static_cast<float>(1 - p.smoothing),
                    static_cast<float>(p.smoothing / static_cast<double>(p.classes))};
    launch("linear_cross_entropy_grad_kernel", linear_cross_entropy_grad_kernel<T>,
           block_row_grid(p.tile.rows), exec, g);
  });
}

void row_loss_cuda(const RowLossProblem& p, const Exec& exec) {
  const Loss loss{static_cast<const float*>(p.stats),
                  p.target,
                  static_cast<float*>(p.loss),
                  p.reduction == Reduction::mean ? static_cast<float*>(p.count) : nullptr,
                  p.rows,
                  p.classes,
                  p.ignore_index,
                  static_cast<float>(1 - p.smoothing),
                  static_cast<float>(p.smoothing),
                  p.count_only};
  if (p.reduction == Reduction::none && p.rows == 0) return;
  if (p.reduction == Reduction::none)
    launch("linear_cross_entropy_row_loss_kernel", linear_cross_entropy_row_loss_kernel,
           {dim3(row_blocks(p.rows, kThreads)), dim3(kThreads)}, exec, loss);
  else
    launch("linear_cross_entropy_loss_kernel", linear_cross_entropy_loss_kernel, {dim3(1), dim3(kThreads)},
           exec, loss);
}

void scale_grad_cuda(const ScaleGradProblem& p, const Exec& exec) {
  if (p.n == 0) return;
  const std::int64_t blocks = (p.n + kScaled - 1) / kScaled;
  const Grid grid{dim3(static_cast<unsigned>(blocks < 2048 ? blocks : 2048)), dim3(kThreads)};
  for_device_dtype(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    launch("linear_cross_entropy_scale_kernel", linear_cross_entropy_scale_kernel<T>, grid, exec,
           static_cast<T*>(p.y), static_cast<const float*>(p.factor), p.n);
  });
}

}  // namespace gpunn
