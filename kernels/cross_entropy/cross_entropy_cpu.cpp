// Cross-entropy in f32 on the CPU: two passes over a row forward, one backward, SIMD over the row.
#include <cmath>
#include <limits>

#include "gpunn/core/cpu_pool.h"
#include "gpunn/kernels/common/row_chunks.h"
#include "gpunn/kernels/cross_entropy/cross_entropy_impl.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "gpunn/kernels/cross_entropy/cross_entropy_cpu.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"

#include "gpunn/kernels/common/simd_rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gpunn {
namespace HWY_NAMESPACE {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

/// Loss of one row; `stats` receives maximum and sum.
float ForwardRow(const float* x, std::int64_t target, std::int64_t cols, float* stats) {
  const hn::ScalableTag<float> d;
  constexpr float kLeast = -std::numeric_limits<float>::infinity();
  auto max = hn::Set(d, kLeast);
  ForEachVector(d, cols,
                [&](std::int64_t i, std::int64_t n) { max = hn::Max(LoadPart(d, x + i, n, kLeast), max); });
  max = hn::MaxOfLanes(d, max);
  const float top = hn::GetLane(max);
  // Lanes after the end of the row hold exp(0) and are cut off; exp(-inf) would cost 70 ns by underflow.
  auto sum = hn::Zero(d);
  ForEachVector(d, cols, [&](std::int64_t i, std::int64_t n) {
    sum = hn::Add(sum, FirstLanes(d, Exp(d, hn::Sub(LoadPart(d, x + i, n, top), max)), n));
  });
  stats[0] = top;
  stats[1] = hn::GetLane(hn::SumOfLanes(d, sum));
  return target >= 0 && target < cols ? std::log(stats[1]) - (x[target] - stats[0]) : kNan;
}

void ForwardRows(const CrossEntropyProblem& p, float* row_loss, std::int64_t begin, std::int64_t end) {
  const auto* x = static_cast<const float*>(p.logits);
  auto* stats = static_cast<float*>(p.stats);
  for (std::int64_t n = begin; n < end; ++n) {
    if (p.target[n] == p.ignore_index)
      row_loss[n] = stats[2 * n] = stats[2 * n + 1] = 0;
    else
      row_loss[n] = ForwardRow(x + n * p.cols, p.target[n], p.cols, stats + 2 * n);
  }
}

void BackwardRows(const CrossEntropyBackwardProblem& p, std::int64_t begin, std::int64_t end) {
  const hn::ScalableTag<float> d;
  const auto* x = static_cast<const float*>(p.logits);
  const auto* stats = static_cast<const float*>(p.stats);
  const auto* dloss = static_cast<const float*>(p.dloss);
  auto* dx = static_cast<float*>(p.dlogits);
  const float divisor = p.reduction == Reduction::mean ? *static_cast<const float*>(p.count) : 1.0f;
  for (std::int64_t r = begin; r < end; ++r) {
    const std::int64_t target = p.target[r];
    const bool ignored = target == p.ignore_index, good = target >= 0 && target < p.cols;
    const float scale = ignored ? 0 : good ? dloss[p.reduction == Reduction::none ? r : 0] / divisor : kNan;
    const float* const in = x + r * p.cols;
    float* const out = dx + r * p.cols;
    const auto max = hn::Set(d, stats[2 * r]), factor = hn::Set(d, scale / stats[2 * r + 1]);
    ForEachVector(d, p.cols, [&](std::int64_t i, std::int64_t n) {
      const auto e = Exp(d, hn::Sub(LoadPart(d, in + i, n, stats[2 * r]), max));
      StorePart(d, ignored ? hn::Zero(d) : hn::Mul(e, factor), out + i, n);
    });
    if (good && !ignored) out[target] -= scale;
  }
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
  double total = 0;
  std::int64_t count = 0;
  for (std::int64_t n = 0; n < p.rows; ++n) {
    total += static_cast<double>(row_loss[n]);
    count += p.target[n] != p.ignore_index;
  }
  const bool mean = p.reduction == Reduction::mean;
  if (mean) *static_cast<float*>(p.count) = static_cast<float>(count);
  *loss = static_cast<float>(mean ? total / static_cast<double>(count) : total);
}

void cross_entropy_bwd_cpu(const CrossEntropyBackwardProblem& p, const Exec& exec) {
  const auto backward_rows = HWY_DYNAMIC_DISPATCH(BackwardRows);
  parallel_for(*exec.pool, p.rows, rows_per_chunk(p.cols),
               [&](std::int64_t begin, std::int64_t end) { backward_rows(p, begin, end); });
}

}  // namespace gpunn
#endif  // HWY_ONCE
