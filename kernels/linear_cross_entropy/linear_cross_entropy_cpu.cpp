// What happens to a tile of logits in f32 on the CPU, SIMD over the row. The tile was just written by the
// product and is read from a cache.
#include <algorithm>
#include <cmath>

#include "gpunn/core/cpu_pool.h"
#include "gpunn/kernels/common/row_chunks.h"
#include "gpunn/kernels/linear_cross_entropy/linear_cross_entropy_impl.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "gpunn/kernels/linear_cross_entropy/linear_cross_entropy_cpu.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"

#include "gpunn/kernels/common/simd_softmax-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gpunn {
namespace HWY_NAMESPACE {

/// Sum of z - shift.
float SumShifted(const float* z, std::int64_t cols, float shift) {
  const hn::ScalableTag<float> d;
  auto sum = hn::Zero(d);
  const auto by = hn::Set(d, shift);
  ForEachVector(d, cols, [&](std::int64_t i, std::int64_t n) {
    sum = hn::Add(sum, hn::Sub(LoadPart(d, z + i, n, shift), by));
  });
  return hn::GetLane(hn::SumOfLanes(d, sum));
}

void StatsRow(const LogitStatsProblem& p, std::int64_t row, float* stats) {
  const LogitTile& tile = p.tile;
  const float* const z = static_cast<const float*>(p.logits) + row * tile.ld;
  const bool joins = tile.first > 0;
  RunningSum all;
  if (joins) all.max = stats[0], all.sum = stats[1];
  for (std::int64_t i = 0; i < tile.cols; i += kSoftmaxBlock)
    all.Add<false>(z + i, nullptr, std::min(kSoftmaxBlock, tile.cols - i));
  float shifted = 0;
  if (p.want_sum) {
    if (joins) shifted = stats[3];
    if (joins && stats[0] != all.max) shifted += static_cast<float>(tile.first) * (stats[0] - all.max);
    shifted += SumShifted(z, tile.cols, all.shift());
  }
  const std::int64_t t = p.target[row];
  const bool here = t >= tile.first && t - tile.first < tile.cols;
  stats[2] = here ? z[t - tile.first] : joins ? stats[2] : 0;
  stats[0] = all.max;
  stats[1] = all.sum;
  stats[3] = shifted;
}

void StatsRows(const LogitStatsProblem& p, std::int64_t begin, std::int64_t end) {
  for (std::int64_t n = begin; n < end; ++n) {
    float* const stats = static_cast<float*>(p.stats) + 4 * n;
    if (p.target[n] == p.ignore_index)
      std::fill_n(stats, 4, 0.0f);
    else
      StatsRow(p, n, stats);
  }
}

void GradRow(const LogitGradProblem& p, std::int64_t row, float scale) {
  const hn::ScalableTag<float> d;
  float* const z = static_cast<float*>(p.logits) + row * p.tile.ld;
  const float* const stats = static_cast<const float*>(p.stats) + 4 * row;
  const float share = scale * static_cast<float>(p.smoothing / static_cast<double>(p.classes));
  const auto max = hn::Set(d, stats[0]), factor = hn::Set(d, scale / stats[1]), less = hn::Set(d, share);
  ForEachVector(d, p.tile.cols, [&](std::int64_t i, std::int64_t n) {
    const auto e = ExpNonPositive(d, hn::Sub(LoadPart(d, z + i, n, stats[0]), max));
    StorePart(d, hn::MulSub(e, factor, less), z + i, n);
  });
  const std::int64_t t = p.target[row];
  if (t >= p.tile.first && t - p.tile.first < p.tile.cols)
    z[t - p.tile.first] -= scale * static_cast<float>(1 - p.smoothing);
}

void GradRows(const LogitGradProblem& p, std::int64_t begin, std::int64_t end) {
  const auto* dloss = static_cast<const float*>(p.dloss);
  const float divisor = p.has_count ? *static_cast<const float*>(p.count) : 1.0f;
  for (std::int64_t n = begin; n < end; ++n) {
    const std::int64_t t = p.target[n];
    float* const z = static_cast<float*>(p.logits) + n * p.tile.ld;
    if (t == p.ignore_index)
      std::fill_n(z, p.tile.cols, 0.0f);
    else if (t < 0 || t >= p.classes)
      std::fill_n(z, p.tile.cols, kNotANumber);
    else
      GradRow(p, n, (p.has_dloss ? dloss[p.dloss_by_row ? n : 0] : 1.0f) / divisor);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace gpunn
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gpunn {

HWY_EXPORT(StatsRows);
HWY_EXPORT(GradRows);

void logit_stats_cpu(const LogitStatsProblem& p, const Exec& exec) {
  const auto stats_rows = HWY_DYNAMIC_DISPATCH(StatsRows);
  parallel_for(*exec.pool, p.tile.rows, rows_per_chunk(p.tile.cols),
               [&](std::int64_t begin, std::int64_t end) { stats_rows(p, begin, end); });
}

void logit_grad_cpu(const LogitGradProblem& p, const Exec& exec) {
  const auto grad_rows = HWY_DYNAMIC_DISPATCH(GradRows);
  parallel_for(*exec.pool, p.tile.rows, rows_per_chunk(p.tile.cols),
               [&](std::int64_t begin, std::int64_t end) { grad_rows(p, begin, end); });
}

void scale_grad_cpu(const ScaleGradProblem& p, const Exec& exec) {
  const float factor = *static_cast<const float*>(p.factor);
  auto* const y = static_cast<float*>(p.y);
  if (factor == 1.0f) return;
  parallel_for(*exec.pool, p.n, rows_per_chunk(1), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) y[i] *= factor;
  });
}

}  // namespace gpunn
#endif  // HWY_ONCE
