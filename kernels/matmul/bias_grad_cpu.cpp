// One pass over dy (and y): activation gradient and column sums. Blocks of rows are summed apart and their
// sums added in order, so that neither threads nor chunks change a bit, and the error grows like that of
// kBlockRows additions.
#include <algorithm>
#include <type_traits>

#include "gpunn/core/cpu_pool.h"
#include "gpunn/kernels/matmul/matmul_impl.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "gpunn/kernels/matmul/bias_grad_cpu.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"

#include "gpunn/kernels/common/simd_rows-inl.h"
#include "gpunn/kernels/elementwise/simd_activations-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gpunn {
namespace HWY_NAMESPACE {

// What the slope is computed from, and how: y, or the preactivation.
enum class Slope : std::uint8_t { one, relu, sigmoid, tanh, sigmoid_of_pre, tanh_of_pre, gelu, gelu_tanh };

template <class D, class V = hn::Vec<D>>
HWY_INLINE V SigmoidSlope(D d, V z) {
  V slope = z;
  SigmoidAndSlope(d, z, slope);
  return slope;
}

template <Slope kSlope, class D, class V = hn::Vec<D>>
HWY_INLINE V Through(D d, V dy, V y) {
  if constexpr (kSlope == Slope::relu) return hn::IfThenElseZero(hn::Gt(y, hn::Zero(d)), dy);
  if constexpr (kSlope == Slope::sigmoid) return hn::Mul(dy, hn::Mul(y, hn::Sub(hn::Set(d, 1.0f), y)));
  if constexpr (kSlope == Slope::tanh) return hn::Mul(dy, hn::NegMulAdd(y, y, hn::Set(d, 1.0f)));
  if constexpr (kSlope == Slope::sigmoid_of_pre) return hn::Mul(dy, SigmoidSlope(d, y));
  if constexpr (kSlope == Slope::tanh_of_pre)
    return hn::Mul(dy, hn::Mul(hn::Set(d, 4.0f), SigmoidSlope(d, hn::Add(y, y))));
  if constexpr (kSlope == Slope::gelu) return GeluGrad(d, dy, y);
  if constexpr (kSlope == Slope::gelu_tanh) return GeluTanhGrad(d, dy, y);
  return dy;
}

// kVectors vectors of columns from c, `n` columns left, over rows [r0, r1).
template <Slope kSlope, int kVectors>
HWY_INLINE void Columns(const BiasGradProblem& p, std::int64_t r0, std::int64_t r1, std::int64_t c,
                        std::int64_t n, float* sums) {
  const hn::ScalableTag<float> d;
  using V = hn::Vec<decltype(d)>;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const auto* const dy = static_cast<const float*>(p.dy) + c;
  const auto* const y =
      kSlope == Slope::one ? nullptr : static_cast<const float*>(p.from_pre ? p.pre : p.y) + c;
  auto* const dz = p.want_dz ? static_cast<float*>(p.dz) + c : nullptr;
  V sum[kVectors];
  HWY_UNROLL(4)
  for (int j = 0; j < kVectors; ++j) sum[j] = hn::Zero(d);
  for (std::int64_t r = r0; r < r1; ++r) {
    HWY_UNROLL(4)
    for (int j = 0; j < kVectors; ++j) {
      const std::int64_t i = r * p.cols + j * lanes, left = n - j * lanes;
      const V g = Through<kSlope>(d, LoadPart(d, dy + i, left), y ? LoadPart(d, y + i, left) : hn::Zero(d));
      if (dz) StorePart(d, g, dz + i, left);
      sum[j] = hn::Add(sum[j], g);
    }
  }
  HWY_UNROLL(4)
  for (int j = 0; j < kVectors; ++j)
    if (sums) StorePart(d, sum[j], sums + j * lanes, n - j * lanes);
}

template <Slope kSlope>
using Is = std::integral_constant<Slope, kSlope>;

template <Slope kSlope>
HWY_INLINE void Block(const BiasGradProblem& p, std::int64_t r0, std::int64_t r1, std::int64_t c0,
                      std::int64_t c1, float* sums) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(hn::ScalableTag<float>()));
  std::int64_t c = c0;
  // Four vectors in flight pay where a slope is a few operations; the others would only be four times as
  // long.
  if constexpr (kSlope < Slope::sigmoid_of_pre)
    for (; c + 4 * lanes <= c1; c += 4 * lanes)
      Columns<kSlope, 4>(p, r0, r1, c, c1 - c, sums ? sums + c : nullptr);
  for (; c < c1; c += lanes) Columns<kSlope, 1>(p, r0, r1, c, c1 - c, sums ? sums + c : nullptr);
}

// Rows [r0, r1) by columns [c0, c1); sums of the columns go to sums[c], unless null.
void bias_grad_block(const BiasGradProblem& p, std::int64_t r0, std::int64_t r1, std::int64_t c0,
                     std::int64_t c1, float* sums) {
  const auto block = [&](auto slope) HWY_ATTR { Block<decltype(slope)::value>(p, r0, r1, c0, c1, sums); };
  switch (p.activation) {
    case Activation::none:
      return block(Is<Slope::one>());
    case Activation::relu:
      return block(Is<Slope::relu>());
    case Activation::sigmoid:
      return p.from_pre ? block(Is<Slope::sigmoid_of_pre>()) : block(Is<Slope::sigmoid>());
    case Activation::tanh:
      return p.from_pre ? block(Is<Slope::tanh_of_pre>()) : block(Is<Slope::tanh>());
    case Activation::gelu:
      return block(Is<Slope::gelu>());
    case Activation::gelu_tanh:
      return block(Is<Slope::gelu_tanh>());
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
