// Cross-entropy in f32 on the CPU, SIMD over the row. Forward reads a row from memory once for maximum and
// sum (and once more where every class has a say: label smoothing, soft targets); backward once.
#include <algorithm>
#include <cmath>

#include "gpunn/core/cpu_pool.h"
#include "gpunn/kernels/common/row_chunks.h"
#include "gpunn/kernels/cross_entropy/cross_entropy_impl.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "gpunn/kernels/cross_entropy/cross_entropy_cpu.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"

#include "gpunn/kernels/common/simd_softmax-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gpunn {
namespace HWY_NAMESPACE {

/// q_c = w_c (keep y_c + share) for the classes of one row, hard targets' own class left out.
struct Weights {
  const float* weight;  // null: ones
  const float* soft;    // the row's, null for hard targets
  float keep, share;

  template <class D>
  HWY_INLINE hn::Vec<D> operator()(D d, std::int64_t i, std::int64_t n) const {
    auto q = hn::Set(d, share);
    if (soft) q = hn::MulAdd(hn::Set(d, keep), LoadPart(d, soft + i, n), q);
    return weight ? hn::Mul(q, LoadPart(d, weight + i, n)) : q;
  }
};

Weights WeightsOf(const CrossEntropyTargets& t, std::int64_t row, std::int64_t cols) {
  const auto* soft = static_cast<const float*>(t.soft);
  return {static_cast<const float*>(t.weight), soft ? soft + row * cols : nullptr,
          static_cast<float>(1 - t.smoothing), static_cast<float>(t.smoothing / static_cast<double>(cols))};
}

float ClassWeight(const CrossEntropyTargets& t, std::int64_t c) {
  return t.weight ? static_cast<const float*>(t.weight)[c] : 1.0f;
}

/// Loss of one row; `stats` receives maximum, sum of exponentials and sum of q.
float ForwardRow(const CrossEntropyProblem& p, std::int64_t row, float* stats) {
  const hn::ScalableTag<float> d;
  const float* const x = static_cast<const float*>(p.logits) + row * p.cols;
  const RunningSum all = MaxAndSum(x, p.cols);
  const float log_sum = std::log(all.total());
  stats[0] = all.max;
  stats[1] = all.total();
  float weights = 0, loss = 0;
  if (p.targets.every_class()) {
    const Weights q = WeightsOf(p.targets, row, p.cols);
    const auto shift = hn::Set(d, all.max), log_total = hn::Set(d, log_sum);
    auto sum = hn::Zero(d), dot = sum;
    ForEachVector(d, p.cols, [&](std::int64_t i, std::int64_t n) {
      const auto v = FirstLanes(d, q(d, i, n), n);
      const auto nll = hn::Sub(log_total, hn::Sub(LoadPart(d, x + i, n, all.max), shift));
      sum = hn::Add(sum, v);
      // What weighs nothing adds nothing, also where the logit is -inf.
      dot = hn::Add(dot, hn::IfThenZeroElse(hn::Eq(v, hn::Zero(d)), hn::Mul(v, nll)));
    });
    weights = hn::GetLane(hn::SumOfLanes(d, sum));
    loss = hn::GetLane(hn::SumOfLanes(d, dot));
  }
  if (!p.targets.has_soft) {
    const std::int64_t t = p.targets.classes[row];
    if (t < 0 || t >= p.cols) return stats[2] = kNotANumber;
    const float own = static_cast<float>(1 - p.targets.smoothing) * ClassWeight(p.targets, t);
    weights += own;
    if (own != 0) loss += own * (log_sum - (x[t] - all.max));
  }
  stats[2] = weights;
  // A row without a maximum has no loss, whatever weighs.
  return all.total() == all.total() ? loss : kNotANumber;
}

void ForwardRows(const CrossEntropyProblem& p, float* row_loss, std::int64_t begin, std::int64_t end) {
  auto* stats = static_cast<float*>(p.stats);
  for (std::int64_t n = begin; n < end; ++n) {
    if (p.targets.ignores(n))
      row_loss[n] = stats[3 * n] = stats[3 * n + 1] = stats[3 * n + 2] = 0;
    else
      row_loss[n] = ForwardRow(p, n, stats + 3 * n);
  }
}

/// Gradients of one row, `scale` being what arrives for its loss.
void BackwardRow(const CrossEntropyBackwardProblem& p, std::int64_t row, float scale) {
  const hn::ScalableTag<float> d;
  const float* const x = static_cast<const float*>(p.logits) + row * p.cols;
  float* const dx = static_cast<float*>(p.dlogits) + row * p.cols;
  const float* const stats = static_cast<const float*>(p.stats) + 3 * row;
  const auto max = hn::Set(d, stats[0]), factor = hn::Set(d, scale * stats[2] / stats[1]);
  if (p.targets.every_class()) {
    const Weights q = WeightsOf(p.targets, row, p.cols);
    const auto g = hn::Set(d, scale);
    ForEachVector(d, p.cols, [&](std::int64_t i, std::int64_t n) {
      const auto e = ExpNonPositive(d, hn::Sub(LoadPart(d, x + i, n, stats[0]), max));
      StorePart(d, hn::NegMulAdd(q(d, i, n), g, hn::Mul(e, factor)), dx + i, n);
    });
  } else {
    StoreRow(d, dx, p.cols, p.rows * p.cols > kPastCacheElements, [&](std::int64_t i, std::int64_t n) {
      return hn::Mul(ExpNonPositive(d, hn::Sub(LoadPart(d, x + i, n, stats[0]), max)), factor);
    });
  }
  if (p.targets.has_soft) return;
  const std::int64_t t = p.targets.classes[row];
  if (t < 0 || t >= p.cols) return;
  dx[t] -= scale * static_cast<float>(1 - p.targets.smoothing) * ClassWeight(p.targets, t);
}

/// Gradient of the soft targets of one row: scale * keep * w_c (log of the sum - (x_c - maximum)).
void SoftBackwardRow(const CrossEntropyBackwardProblem& p, std::int64_t row, float scale) {
  const hn::ScalableTag<float> d;
  const float* const x = static_cast<const float*>(p.logits) + row * p.cols;
  const auto* const weight = static_cast<const float*>(p.targets.weight);
  float* const out = static_cast<float*>(p.dsoft) + row * p.cols;
  const float* const stats = static_cast<const float*>(p.stats) + 3 * row;
  const auto top = hn::Set(d, stats[0]), log_sum = hn::Set(d, std::log(stats[1]));
  const auto g = hn::Set(d, scale * static_cast<float>(1 - p.targets.smoothing));
  ForEachVector(d, p.cols, [&](std::int64_t i, std::int64_t n) {
    const auto w = weight ? hn::Mul(g, LoadPart(d, weight + i, n)) : g;
    const auto slope = hn::Mul(w, hn::Sub(log_sum, hn::Sub(LoadPart(d, x + i, n), top)));
    StorePart(d, hn::IfThenZeroElse(hn::Eq(w, hn::Zero(d)), slope), out + i, n);
  });
}

void BackwardRows(const CrossEntropyBackwardProblem& p, std::int64_t begin, std::int64_t end) {
  const auto* dloss = static_cast<const float*>(p.dloss);
  auto* dx = static_cast<float*>(p.dlogits);
  const float divisor = p.reduction == Reduction::mean ? *static_cast<const float*>(p.count) : 1.0f;
  for (std::int64_t r = begin; r < end; ++r) {
    if (p.targets.ignores(r)) {
      std::fill_n(dx + r * p.cols, p.cols, 0.0f);
      continue;
    }
    const float scale = dloss[p.reduction == Reduction::none ? r : 0] / divisor;
    BackwardRow(p, r, scale);
    if (p.want_dsoft) SoftBackwardRow(p, r, scale);
  }
  if (p.rows * p.cols > kPastCacheElements) hwy::FlushStream();
}

}  // namespace HWY_NAMESPACE
}  // namespace gpunn
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gpunn {

HWY_EXPORT(ForwardRows);
HWY_EXPORT(BackwardRows);

void cross_entropy_fwd_cpu(const CrossEntropyProblem& p, const Exec& exec) {
  const auto forward_rows = HWY_DYNAMIC_DISPATCH(ForwardRows);
  auto* loss = static_cast<float*>(p.loss);
  float* const row_loss = p.reduction == Reduction::none ? loss : static_cast<float*>(exec.workspace);
  parallel_for(*exec.pool, p.rows, rows_per_chunk(p.cols),
               [&](std::int64_t begin, std::int64_t end) { forward_rows(p, row_loss, begin, end); });
  if (p.reduction == Reduction::none) return;
  double total = 0, count = 0;
  for (std::int64_t n = 0; n < p.rows; ++n) {
    total += static_cast<double>(row_loss[n]);
    count += p.targets.row_weight<float>(n, p.cols);
  }
  const bool mean = p.reduction == Reduction::mean;
  if (mean) *static_cast<float*>(p.count) = static_cast<float>(count);
  *loss = static_cast<float>(mean ? total / count : total);
}

void cross_entropy_bwd_cpu(const CrossEntropyBackwardProblem& p, const Exec& exec) {
  const auto backward_rows = HWY_DYNAMIC_DISPATCH(BackwardRows);
  parallel_for(*exec.pool, p.rows, rows_per_chunk(p.cols),
               [&](std::int64_t begin, std::int64_t end) { backward_rows(p, begin, end); });
}

}  // namespace gpunn
#endif  // HWY_ONCE
