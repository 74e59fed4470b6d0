// Cosines and distances of pairs of rows in f32 on the CPU: SIMD over a row, rows shared out over the pool.
#include <algorithm>
#include <cmath>

#include "gpunn/core/cpu_pool.h"
#include "gpunn/kernels/common/row_chunks.h"
#include "gpunn/kernels/loss/loss_impl.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "gpunn/kernels/loss/pair_cpu.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"

#include "gpunn/kernels/common/simd_rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gpunn {
namespace HWY_NAMESPACE {

/// |v|^p; p is 1, 2 or anything above.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V Power(D d, V v, double p) {
  const V size = hn::Abs(v);
  if (p == 1) return size;
  if (p == 2) return hn::Mul(v, v);
  return Exp(d, hn::Mul(hn::Set(d, static_cast<float>(p)), Log(d, size)));
}

void CosineRow(const PairProblem& p, std::int64_t row) {
  const hn::ScalableTag<float> d;
  const auto* a = static_cast<const float*>(p.x1) + row * p.cols;
  const auto* b = static_cast<const float*>(p.x2) + row * p.cols;
  auto dot = hn::Zero(d), square1 = dot, square2 = dot;
  ForEachVector(d, p.cols, [&](std::int64_t i, std::int64_t n) {
    const auto u = LoadPart(d, a + i, n), v = LoadPart(d, b + i, n);
    dot = hn::MulAdd(u, v, dot);
    square1 = hn::MulAdd(u, u, square1);
    square2 = hn::MulAdd(v, v, square2);
  });
  const auto eps = static_cast<float>(p.eps);
  float* const norms = static_cast<float*>(p.norms) + 2 * row;
  norms[0] = std::max(std::sqrt(hn::GetLane(hn::SumOfLanes(d, square1))), eps);
  norms[1] = std::max(std::sqrt(hn::GetLane(hn::SumOfLanes(d, square2))), eps);
  static_cast<float*>(p.y)[row] = hn::GetLane(hn::SumOfLanes(d, dot)) / (norms[0] * norms[1]);
}

void DistanceRow(const PairProblem& p, std::int64_t row) {
  const hn::ScalableTag<float> d;
  const auto* a = static_cast<const float*>(p.x1) + row * p.cols;
  const auto* b = static_cast<const float*>(p.x2) + row * p.cols;
  const auto eps = hn::Set(d, static_cast<float>(p.eps));
  auto sum = hn::Zero(d);
  ForEachVector(d, p.cols, [&](std::int64_t i, std::int64_t n) {
    const auto v = hn::Add(hn::Sub(LoadPart(d, a + i, n), LoadPart(d, b + i, n)), eps);
    sum = hn::Add(sum, FirstLanes(d, Power(d, v, p.p), n));
  });
  const float total = hn::GetLane(hn::SumOfLanes(d, sum));
  const auto exponent = static_cast<float>(1 / p.p);
  static_cast<float*>(p.y)[row] = p.p == 1 ? total : p.p == 2 ? std::sqrt(total) : std::pow(total, exponent);
}

void CosineBackwardRow(const PairBackwardProblem& p, std::int64_t row) {
  const hn::ScalableTag<float> d;
  const auto* a = static_cast<const float*>(p.x1) + row * p.cols;
  const auto* b = static_cast<const float*>(p.x2) + row * p.cols;
  const float* const norms = static_cast<const float*>(p.norms) + 2 * row;
  const float y = static_cast<const float*>(p.y)[row], dy = static_cast<const float*>(p.dy)[row];
  const auto eps = static_cast<float>(p.eps);
  const auto both = hn::Set(d, dy / (norms[0] * norms[1]));
  const auto own1 = hn::Set(d, norms[0] > eps ? dy * y / (norms[0] * norms[0]) : 0);
  const auto own2 = hn::Set(d, norms[1] > eps ? dy * y / (norms[1] * norms[1]) : 0);
  ForEachVector(d, p.cols, [&](std::int64_t i, std::int64_t n) {
    const auto u = LoadPart(d, a + i, n), v = LoadPart(d, b + i, n);
    const std::int64_t at = row * p.cols + i;
    StorePart(d, hn::NegMulAdd(own1, u, hn::Mul(both, v)), static_cast<float*>(p.dx1) + at, n);
    StorePart(d, hn::NegMulAdd(own2, v, hn::Mul(both, u)), static_cast<float*>(p.dx2) + at, n);
  });
}

void DistanceBackwardRow(const PairBackwardProblem& p, std::int64_t row) {
  const hn::ScalableTag<float> d;
  const auto* a = static_cast<const float*>(p.x1) + row * p.cols;
  const auto* b = static_cast<const float*>(p.x2) + row * p.cols;
  const float y = static_cast<const float*>(p.y)[row], dy = static_cast<const float*>(p.dy)[row];
  const auto eps = hn::Set(d, static_cast<float>(p.eps)), g = hn::Set(d, dy);
  const auto inverse = hn::Set(d, y == 0 ? 0 : 1 / y);
  ForEachVector(d, p.cols, [&](std::int64_t i, std::int64_t n) {
    const auto v = hn::Add(hn::Sub(LoadPart(d, a + i, n), LoadPart(d, b + i, n)), eps);
    const auto size = hn::Mul(hn::Abs(v), inverse);
    const auto power = p.p == 2 ? size : Power(d, size, p.p - 1);
    const auto nothing = hn::Or(hn::Eq(v, hn::Zero(d)), hn::Eq(inverse, hn::Zero(d)));
    const auto one = p.p == 1 ? hn::Set(d, 1.0f) : power;
    const auto slope = hn::IfThenZeroElse(nothing, hn::Mul(g, hn::CopySign(one, v)));
    const std::int64_t at = row * p.cols + i;
    StorePart(d, slope, static_cast<float*>(p.dx1) + at, n);
    StorePart(d, hn::Neg(slope), static_cast<float*>(p.dx2) + at, n);
  });
}

void ForwardRows(const PairProblem& p, std::int64_t begin, std::int64_t end) {
  for (std::int64_t row = begin; row < end; ++row)
    p.kind == PairKind::cosine ? CosineRow(p, row) : DistanceRow(p, row);
}

void BackwardRows(const PairBackwardProblem& p, std::int64_t begin, std::int64_t end) {
  for (std::int64_t row = begin; row < end; ++row)
    p.kind == PairKind::cosine ? CosineBackwardRow(p, row) : DistanceBackwardRow(p, row);
}

}  // namespace HWY_NAMESPACE
}  // namespace gpunn
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gpunn {

HWY_EXPORT(ForwardRows);
HWY_EXPORT(BackwardRows);

void pair_fwd_cpu(const PairProblem& p, const Exec& exec) {
  const auto rows = HWY_DYNAMIC_DISPATCH(ForwardRows);
  parallel_for(*exec.pool, p.rows, rows_per_chunk(p.cols),
               [&](std::int64_t begin, std::int64_t end) { rows(p, begin, end); });
}

void pair_bwd_cpu(const PairBackwardProblem& p, const Exec& exec) {
  const auto rows = HWY_DYNAMIC_DISPATCH(BackwardRows);
  parallel_for(*exec.pool, p.rows, rows_per_chunk(p.cols),
               [&](std::int64_t begin, std::int64_t end) { rows(p, begin, end); });
}

}  // namespace gpunn
#endif  // HWY_ONCE
