// Softmax in f32 on the CPU. Three passes over a row, which stays in L1 up to 8,000 columns. The online form
// would save one pass at the price of a second exponential per element, and that is what takes the time: 0.34
// of 0.55 ns for an element at 512 columns (Xeon, AVX-512, one thread, November 2026).
#include <cmath>
#include <limits>

#include "gpunn/core/cpu_pool.h"
#include "gpunn/kernels/common/row_chunks.h"
#include "gpunn/kernels/softmax/softmax_impl.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "gpunn/kernels/softmax/softmax_cpu.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"

#include "gpunn/kernels/common/simd_rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gpunn {
namespace HWY_NAMESPACE {

void ForwardRow(const float* x, float* y, std::int64_t cols, bool log) {
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
    const auto e = Exp(d, hn::Sub(LoadPart(d, x + i, n, top), max));
    sum = hn::Add(sum, FirstLanes(d, e, n));
    if (!log) StorePart(d, e, y + i, n);
  });
  const float total = hn::GetLane(hn::SumOfLanes(d, sum));
  const auto log_total = hn::Set(d, std::log(total)), inverse = hn::Set(d, 1.0f / total);
  ForEachVector(d, cols, [&](std::int64_t i, std::int64_t n) {
    StorePart(d,
              log ? hn::Sub(hn::Sub(LoadPart(d, x + i, n), max), log_total)
                  : hn::Mul(LoadPart(d, y + i, n), inverse),
              y + i, n);
  });
}

void BackwardRow(const float* y, const float* dy, float* dx, std::int64_t cols, bool log) {
  const hn::ScalableTag<float> d;
  auto lanes = hn::Zero(d);
  ForEachVector(d, cols, [&](std::int64_t i, std::int64_t n) {
    const auto g = LoadPart(d, dy + i, n);
    lanes = log ? hn::Add(lanes, g) : hn::MulAdd(g, LoadPart(d, y + i, n), lanes);
  });
  const auto sum = hn::SumOfLanes(d, lanes);
  ForEachVector(d, cols, [&](std::int64_t i, std::int64_t n) {
    const auto g = LoadPart(d, dy + i, n), v = LoadPart(d, y + i, n);
    StorePart(d, log ? hn::NegMulAdd(Exp(d, v), sum, g) : hn::Mul(v, hn::Sub(g, sum)), dx + i, n);
  });
}

void ForwardRows(const SoftmaxProblem& p, std::int64_t begin, std::int64_t end) {
  const auto* x = static_cast<const float*>(p.x);
  auto* y = static_cast<float*>(p.y);
  for (std::int64_t at = begin * p.cols; at < end * p.cols; at += p.cols)
    ForwardRow(x + at, y + at, p.cols, p.log);
}

void BackwardRows(const SoftmaxBackwardProblem& p, std::int64_t begin, std::int64_t end) {
  const auto* y = static_cast<const float*>(p.y);
  const auto* dy = static_cast<const float*>(p.dy);
  auto* dx = static_cast<float*>(p.dx);
  for (std::int64_t at = begin * p.cols; at < end * p.cols; at += p.cols)
    BackwardRow(y + at, dy + at, dx + at, p.cols, p.log);
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
