// Softmax in f32 on the CPU. Forward reads a row from memory once: block by block, maximum and exponentials
// are taken while the block is in L1, the exponentials relative to the largest value so far; a second pass
// over the result brings all blocks to one scale. No exponential is taken twice. (The textbook's online form
// takes two per element, and that is what costs: 0.34 of 0.55 ns at 512 columns; Xeon, AVX-512, one thread,
// November 2026.)
#include <algorithm>
#include <cmath>

#include "gpunn/core/cpu_pool.h"
#include "gpunn/kernels/common/row_chunks.h"
#include "gpunn/kernels/softmax/softmax_impl.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "gpunn/kernels/softmax/softmax_cpu.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"

#include "gpunn/kernels/common/simd_softmax-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gpunn {
namespace HWY_NAMESPACE {

/// A row that one vector holds: it stays in a register.
void ShortRow(const float* x, float* y, std::int64_t cols, bool log) {
  const hn::ScalableTag<float> d;
  const auto v = LoadPart(d, x, cols, kLeastLogit);
  const auto shifted = hn::Sub(v, hn::MaxOfLanes(d, hn::Max(v, hn::Set(d, kLeastLogit))));
  const auto e = ExpNonPositive(d, shifted);
  const auto sum = hn::SumOfLanes(d, FirstLanes(d, e, cols));
  StorePart(d, log ? hn::Sub(shifted, hn::Set(d, std::log(hn::GetLane(sum)))) : hn::Div(e, sum), y, cols);
}

void LogRow(const float* x, float* y, std::int64_t cols, bool past_cache) {
  const hn::ScalableTag<float> d;
  const RunningSum all = MaxAndSum(x, cols);
  const auto max = hn::Set(d, all.max), log_sum = hn::Set(d, std::log(all.total()));
  StoreRow(d, y, cols, past_cache, [&](std::int64_t i, std::int64_t n) {
    return hn::Sub(hn::Sub(LoadPart(d, x + i, n), max), log_sum);
  });
}

/// A row whose exponentials a buffer in L1 holds, so that the result is written once, around the cache.
void BufferedRow(const float* x, float* y, std::int64_t cols) {
  const hn::ScalableTag<float> d;
  HWY_ALIGN float e[kSoftmaxBlock];
  RunningSum all;
  all.Add<true>(x, e, cols);
  const auto factor = hn::Set(d, 1.0f / all.total());
  StoreRow(d, y, cols, true,
           [&](std::int64_t i, std::int64_t n) { return hn::Mul(LoadPart(d, e + i, n), factor); });
}

void Row(const float* x, float* y, std::int64_t cols) {
  constexpr std::int64_t kMostBlocks = 64;
  const hn::ScalableTag<float> d;
  // Beyond 64 blocks each gets longer, and the pass for the sum reads from L2.
  const std::int64_t block = std::max(kSoftmaxBlock, (cols + kMostBlocks - 1) / kMostBlocks);
  float shifts[kMostBlocks];
  RunningSum all;
  for (std::int64_t b = 0; b * block < cols; ++b) {
    const std::int64_t begin = b * block;
    all.Add<true>(x + begin, y + begin, std::min(block, cols - begin));
    shifts[b] = all.shift();
  }
  const float total = all.total(), last = all.shift();
  for (std::int64_t b = 0; b * block < cols; ++b) {
    float* const out = y + b * block;
    const auto factor = hn::Set(d, (shifts[b] == last ? 1.0f : std::exp(shifts[b] - last)) / total);
    ForEachVector(d, std::min(block, cols - b * block), [&](std::int64_t i, std::int64_t n) {
      StorePart(d, hn::Mul(LoadPart(d, out + i, n), factor), out + i, n);
    });
  }
}

void BackwardRow(const float* y, const float* dy, float* dx, std::int64_t cols, bool log, bool past_cache) {
  const hn::ScalableTag<float> d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  auto a = hn::Zero(d), b = a;
  const auto add = [&](auto& to, std::int64_t i) {
    prefetch_ahead(dy + i);
    prefetch_ahead(y + i);
    const auto g = LoadPart(d, dy + i, cols - i);
    to = log ? hn::Add(to, g) : hn::MulAdd(g, LoadPart(d, y + i, cols - i), to);
  };
  std::int64_t i = 0;
  for (; i + lanes < cols; i += 2 * lanes) {
    add(a, i);
    add(b, i + lanes);
  }
  if (i < cols) add(a, i);
  const auto sum = hn::SumOfLanes(d, hn::Add(a, b));
  StoreRow(d, dx, cols, past_cache, [&](std::int64_t at, std::int64_t n) {
    const auto g = LoadPart(d, dy + at, n), v = LoadPart(d, y + at, n);
    return log ? hn::NegMulAdd(ExpNonPositive(d, v), sum, g) : hn::Mul(v, hn::Sub(g, sum));
  });
}

void ForwardRows(const SoftmaxProblem& p, std::int64_t begin, std::int64_t end) {
  const auto* x = static_cast<const float*>(p.x);
  auto* y = static_cast<float*>(p.y);
  const bool past_cache = p.rows * p.cols >= kPastCacheElements;
  const bool is_short = p.cols <= static_cast<std::int64_t>(hn::Lanes(hn::ScalableTag<float>()));
  for (std::int64_t at = begin * p.cols; at < end * p.cols; at += p.cols) {
    if (is_short)
      ShortRow(x + at, y + at, p.cols, p.log);
    else if (p.log)
      LogRow(x + at, y + at, p.cols, past_cache);
    else if (past_cache && p.cols <= kSoftmaxBlock)
      BufferedRow(x + at, y + at, p.cols);
    else
      Row(x + at, y + at, p.cols);
  }
  if (past_cache) hwy::FlushStream();
}

void BackwardRows(const SoftmaxBackwardProblem& p, std::int64_t begin, std::int64_t end) {
  const auto* y = static_cast<const float*>(p.y);
  const auto* dy = static_cast<const float*>(p.dy);
  auto* dx = static_cast<float*>(p.dx);
  const bool past_cache = p.rows * p.cols >= kPastCacheElements;
  for (std::int64_t at = begin * p.cols; at < end * p.cols; at += p.cols)
    BackwardRow(y + at, dy + at, dx + at, p.cols, p.log, past_cache);
  if (past_cache) hwy::FlushStream();
}

}  // namespace HWY_NAMESPACE
}  // namespace gpunn
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gpunn {

HWY_EXPORT(ForwardRows);
HWY_EXPORT(BackwardRows);

void softmax_fwd_cpu(const SoftmaxProblem& p, const Exec& exec) {
  const auto rows = HWY_DYNAMIC_DISPATCH(ForwardRows);
  parallel_for(*exec.pool, p.rows, rows_per_chunk(p.cols),
               [&](std::int64_t begin, std::int64_t end) { rows(p, begin, end); });
}

void softmax_bwd_cpu(const SoftmaxBackwardProblem& p, const Exec& exec) {
  const auto rows = HWY_DYNAMIC_DISPATCH(BackwardRows);
  parallel_for(*exec.pool, p.rows, rows_per_chunk(p.cols),
               [&](std::int64_t begin, std::int64_t end) { rows(p, begin, end); });
}

}  // namespace gpunn
#endif  // HWY_ONCE
