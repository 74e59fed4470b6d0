// One pass over dy (and y): activation gradient and column sums. Blocks of rows are summed apart and their
// sums added in order, so that neither threads nor chunks change a bit, and the error grows like that of
// kBlockRows additions.
#include <algorithm>

#include "gpunn/core/cpu_pool.h"
#include "gpunn/kernels/matmul/matmul_impl.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "gpunn/kernels/matmul/bias_grad_cpu.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"

#include "gpunn/kernels/common/simd_rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gpunn {
namespace HWY_NAMESPACE {

template <Activation kActivation, class D, class V = hn::Vec<D>>
HWY_INLINE V Through(D d, V dy, V y) {
  if constexpr (kActivation == Activation::relu) return hn::IfThenElseZero(hn::Gt(y, hn::Zero(d)), dy);
  if constexpr (kActivation == Activation::sigmoid)
    return hn::Mul(dy, hn::Mul(y, hn::Sub(hn::Set(d, 1.0f), y)));
  if constexpr (kActivation == Activation::tanh) return hn::Mul(dy, hn::NegMulAdd(y, y, hn::Set(d, 1.0f)));
  return dy;
}

// kVectors vectors of columns from c, `n` columns left, over rows [r0, r1).
template <Activation kActivation, int kVectors>
HWY_INLINE void Columns(const BiasGradProblem& p, std::int64_t r0, std::int64_t r1, std::int64_t c,
                        std::int64_t n, float* sums) {
  const hn::ScalableTag<float> d;
  using V = hn::Vec<decltype(d)>;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const auto* const dy = static_cast<const float*>(p.dy) + c;
  const auto* const y = kActivation == Activation::none ? nullptr : static_cast<const float*>(p.y) + c;
  auto* const dz = p.want_dz ? static_cast<float*>(p.dz) + c : nullptr;
  V sum[kVectors];
  HWY_UNROLL(4)
  for (int j = 0; j < kVectors; ++j) sum[j] = hn::Zero(d);
  for (std::int64_t r = r0; r < r1; ++r) {
    HWY_UNROLL(4)
    for (int j = 0; j < kVectors; ++j) {
      const std::int64_t i = r * p.cols + j * lanes, left = n - j * lanes;
      const V g =
          Through<kActivation>(d, LoadPart(d, dy + i, left), y ? LoadPart(d, y + i, left) : hn::Zero(d));
      if (dz) StorePart(d, g, dz + i, left);
      sum[j] = hn::Add(sum[j], g);
    }
  }
  HWY_UNROLL(4)
  for (int j = 0; j < kVectors; ++j)
    if (sums) StorePart(d, sum[j], sums + j * lanes, n - j * lanes);
}

template <Activation kActivation>
HWY_INLINE void Block(const BiasGradProblem& p, std::int64_t r0, std::int64_t r1, std::int64_t c0,
                      std::int64_t c1, float* sums) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(hn::ScalableTag<float>()));
  std::int64_t c = c0;
  for (; c + 4 * lanes <= c1; c += 4 * lanes)
    Columns<kActivation, 4>(p, r0, r1, c, c1 - c, sums ? sums + c : nullptr);
  for (; c < c1; c += lanes) Columns<kActivation, 1>(p, r0, r1, c, c1 - c, sums ? sums + c : nullptr);
}

// Rows [r0, r1) by columns [c0, c1); sums of the columns go to sums[c], unless null.
void bias_grad_block(const BiasGradProblem& p, std::int64_t r0, std::int64_t r1, std::int64_t c0,
                     std::int64_t c1, float* sums) {
  switch (p.activation) {
    case Activation::none:
      return Block<Activation::none>(p, r0, r1, c0, c1, sums);
    case Activation::relu:
      return Block<Activation::relu>(p, r0, r1, c0, c1, sums);
    case Activation::sigmoid:
      return Block<Activation::sigmoid>(p, r0, r1, c0, c1, sums);
    case Activation::tanh:
      return Block<Activation::tanh>(p, r0, r1, c0, c1, sums);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace gpunn
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gpunn {
namespace {

HWY_EXPORT(bias_grad_block);

constexpr std::int64_t kBlockRows = 256;
constexpr std::int64_t kBlockColumns = 512;

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

}  // namespace

std::size_t bias_grad_cpu_workspace(const BiasGradProblem& p) {
  const std::int64_t blocks = ceil_div(p.rows, kBlockRows);
  return p.want_db && blocks > 1 ? static_cast<std::size_t>(blocks * p.cols) * sizeof(float) : 0;
}

void bias_grad_cpu(const BiasGradProblem& p, const Exec& exec) {
  const std::int64_t row_blocks = ceil_div(p.rows, kBlockRows),
                     column_blocks = ceil_div(p.cols, kBlockColumns);
  auto* const db = p.want_db ? static_cast<float*>(p.db) : nullptr;
  auto* const partial = row_blocks > 1 ? static_cast<float*>(exec.workspace) : db;
  exec.pool->run(row_blocks * column_blocks, [&](std::int64_t chunk) {
    const std::int64_t r = chunk / column_blocks, c0 = chunk % column_blocks * kBlockColumns;
    HWY_DYNAMIC_DISPATCH(bias_grad_block)
    (p, r * kBlockRows, std::min(p.rows, (r + 1) * kBlockRows), c0, std::min(p.cols, c0 + kBlockColumns),
     db ? partial + r * p.cols : nullptr);
  });
  if (!db || row_blocks == 1) return;
  std::fill_n(db, p.cols, 0.0f);
  for (std::int64_t r = 0; r < row_blocks; ++r)
    for (std::int64_t c = 0; c < p.cols; ++c) db[c] += partial[r * p.cols + c];
}

}  // namespace gpunn
#endif
