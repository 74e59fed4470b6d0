// Softmax cross-entropy. Forward reads the logits once for maximum and sum together, and a second time where
// every class has a say (label smoothing, soft targets); backward reads them once and writes the gradient. A
// warp per row up to kWarpColumns classes, a block per row beyond; long rows that are too few to fill a GPU
// are cut into parts (row_parts.h), a block each.
#include "gpunn/kernels/common/device_dtype.h"
#include "gpunn/kernels/common/max_sum.cuh"
#include "gpunn/kernels/common/row_parts.h"
#include "gpunn/kernels/common/rows.cuh"
#include "gpunn/kernels/common/vec.cuh"
#include "gpunn/kernels/cross_entropy/target_reduce.cuh"

namespace gpunn {
namespace {

constexpr int kReduceThreads = 256;

/// The problem as kernels take it. Pointers as in cross_entropy_impl.h, row_loss [rows].
template <class T>
struct Forward {
  const T* logits;
  CrossEntropyTargets targets;
  float* row_loss;
  float* stats;
  std::int64_t rows, cols;
};

template <class T>
struct Backward {
  const T* logits;
  CrossEntropyTargets targets;
  const float* stats;
  const float* count;  // null: 1
  const float* dloss;
  bool dloss_by_row;
  T* dlogits;
  T* dsoft;  // null unless wanted
  std::int64_t rows, cols;
};

/// q_c of cross_entropy_impl.h for one row.
template <class T>
struct Weights {
  const float* weight;  // null: ones
  const T* soft;        // the row's, null for hard targets
  std::int64_t own;     // class of a hard target
  float keep, share;

  GPUNN_DEVICE Weights(const CrossEntropyTargets& t, std::int64_t row, std::int64_t cols)
      : weight(t.has_weight ? static_cast<const float*>(t.weight) : nullptr),
        soft(t.has_soft ? static_cast<const T*>(t.soft) + row * cols : nullptr),
        own(t.has_soft ? -1 : t.classes[row]),
        keep(static_cast<float>(1 - t.smoothing)),
        share(static_cast<float>(t.smoothing / static_cast<double>(cols))) {}
  GPUNN_DEVICE float of_class(std::int64_t c) const { return weight ? weight[c] : 1.0f; }
  GPUNN_DEVICE float operator()(std::int64_t c) const {
    const float y = soft ? to_float(soft[c]) : c == own ? 1.0f : 0.0f;
    return of_class(c) * (keep * y + share);
  }
};

/// What a row, or a part of one, adds up to: `dot` is the sum of q (x - max).
struct Part {
  float max, sum, weight, dot;
};

/// Brings a part to the row's maximum. Without a weight there is nothing to shift (max may be -inf).
GPUNN_DEVICE float shifted_dot(const Part& p, float max) {
  return p.weight == 0.0f ? p.dot : p.dot + p.weight * (p.max - max);
}

/// Writes loss and statistics of a row; one thread does.
template <class T>
GPUNN_DEVICE void finish_row(const Forward<T>& p, std::int64_t row, Part all) {
  float loss;
  if (p.targets.every_class()) {
    loss = all.weight * logf(all.sum) - all.dot;
  } else {
    const Weights<T> q(p.targets, row, p.cols);
    all.weight = q.own >= 0 && q.own < p.cols ? q.of_class(q.own) : 0.0f;
    loss = logf(all.sum) - (all.weight == 0.0f ? 0.0f : to_float(p.logits[row * p.cols + q.own]) - all.max);
    loss = all.weight == 0.0f ? 0.0f : all.weight * loss;
  }
  const bool valid = p.targets.has_soft || (p.targets.classes[row] >= 0 && p.targets.classes[row] < p.cols);
  p.row_loss[row] = valid && all.sum == all.sum ? loss : NAN;
  p.stats[3 * row] = all.max;
  p.stats[3 * row + 1] = all.sum;
  p.stats[3 * row + 2] = valid ? all.weight : NAN;
}

template <class T>
GPUNN_DEVICE void skip_row(const Forward<T>& p, std::int64_t row) {
  p.row_loss[row] = p.stats[3 * row] = p.stats[3 * row + 1] = p.stats[3 * row + 2] = 0.0f;
}

/// Adds class c to `weight` and `dot`. What weighs nothing adds nothing, also where the logit is -inf.
GPUNN_DEVICE void add_class(float q, float shifted, Part& own) {
  own.weight += q;
  if (q != 0.0f) own.dot += q * shifted;
}

template <class T>
GPUNN_KERNEL __launch_bounds__(kWarpRowThreads) cross_entropy_fwd_warp_kernel(Forward<T> p) {
  for (std::int64_t row = first_warp_row(); row < p.rows; row += warp_row_stride()) {
    const bool ignored = p.targets.ignores(row);
    const T* const x = p.logits + row * p.cols;
    MaxSum own = MaxSumOp::identity();
    if (!ignored)
      for (std::int64_t c = lane_index(); c < p.cols; c += kWarpSize) own.add(to_float(x[c]));
    const MaxSum all = warp_reduce<MaxSumOp>(own).of_row();
    Part part{all.max, all.sum, 0.0f, 0.0f};
    if (p.targets.every_class() && !ignored) {
      const Weights<T> q(p.targets, row, p.cols);
      for (std::int64_t c = lane_index(); c < p.cols; c += kWarpSize)
        add_class(q(c), to_float(x[c]) - all.max, part);
    }
    part.weight = warp_reduce<SumOp>(part.weight);
    part.dot = warp_reduce<SumOp>(part.dot);
    if (lane_index() != 0) continue;
    if (ignored)
      skip_row(p, row);
    else
      finish_row(p, row, part);
  }
}

/// A block's part of a row. The grid covers rows * parts; with one part the row is finished here.
template <class T>
GPUNN_KERNEL __launch_bounds__(kBlockRowThreads)
    cross_entropy_fwd_block_kernel(Forward<T> p, Part* partial, int parts, std::int64_t part_cols) {
  for (std::int64_t task = blockIdx.x; task < p.rows * parts; task += gridDim.x) {
    const std::int64_t row = task / parts, begin = task % parts * part_cols;
    const std::int64_t left = p.cols - begin, size = left < part_cols ? left : part_cols;
    const bool ignored = p.targets.ignores(row);
    const T* const x = p.logits + row * p.cols + begin;
    MaxSum own = MaxSumOp::identity();
    if (!ignored && size > 0)
      for_each_in_row<kBlockRowThreads>(x, size, [&](std::int64_t, float v) { own.add(v); });
    const MaxSum all = block_reduce<MaxSumOp, kBlockRowThreads>(own);
    Part part{all.max, all.sum, 0.0f, 0.0f};
    const float shift = all.max == -INFINITY ? 0.0f : all.max;  // logits of -inf stay -inf
    if (p.targets.every_class() && !ignored && size > 0) {
      const Weights<T> q(p.targets, row, p.cols);
      for_each_in_row<kBlockRowThreads>(
          x, size, [&](std::int64_t c, float v) { add_class(q(begin + c), v - shift, part); });
    }
    part.weight = block_reduce<SumOp, kBlockRowThreads>(part.weight);
    part.dot = block_reduce<SumOp, kBlockRowThreads>(part.dot);
    if (threadIdx.x != 0) continue;
    if (parts > 1) {
      partial[task] = part;
    } else if (ignored) {
      skip_row(p, row);
    } else {
      part.sum = all.of_row().sum;
      finish_row(p, row, part);
    }
  }
}

/// Puts the parts of each row together, one thread per row: there are few rows.
template <class T>
GPUNN_KERNEL __launch_bounds__(kReduceThreads)
    cross_entropy_fwd_parts_kernel(Forward<T> p, const Part* partial, int parts) {
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * kReduceThreads + threadIdx.x;
  if (row >= p.rows) return;
  if (p.targets.ignores(row)) return skip_row(p, row);
  MaxSum all = MaxSumOp::identity();
  for (int i = 0; i < parts; ++i) {
    const Part& one = partial[row * parts + i];
    all = MaxSumOp::combine(all, {one.max, one.sum});
  }
  Part part{all.max, all.of_row().sum, 0.0f, 0.0f};
  for (int i = 0; i < parts; ++i) {
    part.dot += shifted_dot(partial[row * parts + i], all.max);
    part.weight += partial[row * parts + i].weight;
  }
  finish_row(p, row, part);
}

/// Gradients at one class of a row, given what the row's threads share.
template <class T>
struct RowGradient {
  Weights<T> q;
  float max, factor, scale, log_sum;
  T* dsoft;  // the row's, or null
  bool every_class, ignored;

  GPUNN_DEVICE RowGradient(const Backward<T>& p, std::int64_t row)
      : q(p.targets, row, p.cols),
        max(p.stats[3 * row]),
        dsoft(p.dsoft ? p.dsoft + row * p.cols : nullptr),
        every_class(p.targets.every_class()),
        ignored(p.targets.ignores(row)) {
    const float divisor = p.count ? *p.count : 1.0f;
    scale = p.dloss[p.dloss_by_row ? row : 0] / divisor;
    // A bad target has NaN for its weights, and so for all its gradients.
    factor = scale * p.stats[3 * row + 2] / p.stats[3 * row + 1];
    log_sum = logf(p.stats[3 * row + 1]);
  }
  GPUNN_DEVICE float operator()(std::int64_t c, float x) const {
    if (ignored) return 0.0f;
    if (dsoft) {
      const float w = scale * q.keep * q.of_class(c);
      dsoft[c] = from_float<T>(w == 0.0f ? 0.0f : w * (log_sum - (x - max)));
    }
    const float weight = every_class ? q(c) : c == q.own ? q.of_class(c) : 0.0f;
    return expf(x - max) * factor - scale * weight;
  }
};

template <class T>
GPUNN_KERNEL __launch_bounds__(kWarpRowThreads) cross_entropy_bwd_warp_kernel(Backward<T> p) {
  for (std::int64_t row = first_warp_row(); row < p.rows; row += warp_row_stride()) {
    const RowGradient<T> gradient(p, row);
    const T* const x = p.logits + row * p.cols;
    T* const dx = p.dlogits + row * p.cols;
    for (std::int64_t c = lane_index(); c < p.cols; c += kWarpSize)
      dx[c] = from_float<T>(gradient(c, to_float(x[c])));
  }
}

template <class T>
GPUNN_KERNEL __launch_bounds__(kBlockRowThreads)
    cross_entropy_bwd_block_kernel(Backward<T> p, int parts, std::int64_t part_cols) {
  for (std::int64_t task = blockIdx.x; task < p.rows * parts; task += gridDim.x) {
    const std::int64_t row = task / parts, begin = task % parts * part_cols;
    const std::int64_t left = p.cols - begin, size = left < part_cols ? left : part_cols;
    if (size <= 0) continue;
    const RowGradient<T> gradient(p, row);
    map_row<kBlockRowThreads>(p.logits + row * p.cols + begin, p.dlogits + row * p.cols + begin, size,
                              [&](std::int64_t c, float x) { return gradient(begin + c, x); });
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

/// Rows' losses in the workspace, rounded up so that parts behind them are aligned.
std::size_t row_loss_bytes(const CrossEntropyProblem& p) {
  if (p.reduction == Reduction::none) return 0;
  return (static_cast<std::size_t>(p.rows) * sizeof(float) + 15) / 16 * 16;
}

template <class T>
void forward_rows(const Forward<T>& f, Part* partial, const Exec& exec) {
  if (f.cols <= kWarpColumns) {
    launch("cross_entropy_fwd_warp_kernel", cross_entropy_fwd_warp_kernel<T>, warp_row_grid(f.rows), exec, f);
    return;
  }
  const int parts = row_parts(f.rows, f.cols);
  launch("cross_entropy_fwd_block_kernel", cross_entropy_fwd_block_kernel<T>, block_row_grid(f.rows * parts),
         exec, f, partial, parts, part_columns(f.cols, parts));
  if (parts > 1)
    launch("cross_entropy_fwd_parts_kernel", cross_entropy_fwd_parts_kernel<T>,
           {dim3(row_blocks(f.rows, kReduceThreads)), dim3(kReduceThreads)}, exec, f, partial, parts);
}

}  // namespace

std::size_t cross_entropy_fwd_cuda_workspace(const CrossEntropyProblem& p) {
  const int parts = row_parts(p.rows, p.cols);
  const std::size_t partial = parts > 1 ? static_cast<std::size_t>(p.rows * parts) * sizeof(Part) : 0;
  return row_loss_bytes(p) + partial;
}

void cross_entropy_fwd_cuda(const CrossEntropyProblem& p, const Exec& exec) {
  const bool by_row = p.reduction == Reduction::none;
  auto* loss = static_cast<float*>(p.loss);
  float* const row_loss = by_row ? loss : static_cast<float*>(exec.workspace);
  auto* const partial = reinterpret_cast<Part*>(static_cast<char*>(exec.workspace) + row_loss_bytes(p));
  for_device_dtype(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    forward_rows<T>(
        {static_cast<const T*>(p.logits), p.targets, row_loss, static_cast<float*>(p.stats), p.rows, p.cols},
        partial, exec);
  });
  if (by_row) return;
  launch("target_reduce_kernel", target_reduce_kernel, {dim3(1), dim3(kTargetReduceThreads)}, exec, row_loss,
         p.targets, loss, static_cast<float*>(p.count), p.rows, p.cols);
}

void cross_entropy_bwd_cuda(const CrossEntropyBackwardProblem& p, const Exec& exec) {
  for_device_dtype(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const Backward<T> b{static_cast<const T*>(p.logits),
                        p.targets,
                        static_cast<const float*>(p.stats),
                        static_cast<const float*>(p.count),
                        static_cast<const float*>(p.dloss),
                        p.reduction == Reduction::none,
                        static_cast<T*>(p.dlogits),
                        static_cast<T*>(p.dsoft),
                        p.rows,
                        p.cols};
    if (p.cols <= kWarpColumns)
      return launch("cross_entropy_bwd_warp_kernel", cross_entropy_bwd_warp_kernel<T>, warp_row_grid(p.rows),
                    exec, b);
    const int parts = row_parts(p.rows, p.cols);
    launch("cross_entropy_bwd_block_kernel", cross_entropy_bwd_block_kernel<T>,
           block_row_grid(p.rows * parts), exec, b, parts, part_columns(p.cols, parts));
  });
}

void cross_entropy_targets_cuda(const TargetCheckProblem& p, const Exec& exec) {
  launch("cross_entropy_targets_kernel", cross_entropy_targets_kernel, {dim3(1), dim3(kReduceThreads)}, exec,
         p.target, p.bad_row, p.rows, p.classes, p.ignore_index);
}

}  // namespace gpunn
