// f32 on the CPU, with Philox in SIMD lanes.
#include <algorithm>
#include <cstdint>

#include "gpunn/core/cpu_pool.h"
#include "gpunn/kernels/random/random_impl.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "gpunn/kernels/random/random_cpu.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"

#include "gpunn/kernels/common/simd_philox-inl.h"
#include "gpunn/kernels/common/simd_rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gpunn {
namespace HWY_NAMESPACE {

void DropoutRange(const DropoutProblem& p, std::int64_t begin, std::int64_t end) {
  const hn::ScalableTag<float> d;
  const hn::RebindToUnsigned<decltype(d)> du;
  const auto* x = static_cast<const float*>(p.x);
  auto* y = static_cast<float*>(p.y);
  const auto greatest = hn::Set(du, p.greatest_kept);
  const auto scale = hn::BitCast(du, hn::Set(d, static_cast<float>(p.scale)));
  ForEachBits(p.seed, p.offset, begin, end, [&](std::int64_t i, auto bits, std::int64_t count) {
    const auto factor = hn::IfThenZeroElse(hn::Gt(bits, greatest), scale);
    StorePart(d, hn::Mul(LoadPart(d, x + i, count), hn::BitCast(d, factor)), y + i, count);
  });
}

void BernoulliRange(const BernoulliProblem& p, std::int64_t begin, std::int64_t end) {
  const hn::ScalableTag<float> d;
  const hn::RebindToSigned<decltype(d)> di;
  const auto* probabilities = static_cast<const float*>(p.p);
  auto* y = static_cast<float*>(p.y);
  const auto one = hn::Set(d, 1.0f), all = hn::Set(d, p.probability);
  ForEachBits(p.seed, p.offset, begin, end, [&](std::int64_t i, auto bits, std::int64_t count) {
    const auto u = hn::Mul(hn::ConvertTo(d, hn::BitCast(di, hn::ShiftRight<8>(bits))), hn::Set(d, 0x1p-24f));
    const auto limit = p.one_for_all ? all : LoadPart(d, probabilities + i, count);
    StorePart(d, hn::IfThenElseZero(hn::Lt(u, limit), one), y + i, count);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace gpunn
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gpunn {

HWY_EXPORT(DropoutRange);
HWY_EXPORT(BernoulliRange);

namespace {
constexpr std::int64_t kChunk = 1 << 15;  // elements, some 20 us of work; a multiple of 4
}

void dropout_cpu(const DropoutProblem& p, const Exec& exec) {
  const auto range = HWY_DYNAMIC_DISPATCH(DropoutRange);
  parallel_for(*exec.pool, p.n, kChunk, [&](std::int64_t begin, std::int64_t end) { range(p, begin, end); });
}

void bernoulli_cpu(const BernoulliProblem& p, const Exec& exec) {
  const auto range = HWY_DYNAMIC_DISPATCH(BernoulliRange);
  parallel_for(*exec.pool, p.n, kChunk, [&](std::int64_t begin, std::int64_t end) { range(p, begin, end); });
}

}  // namespace gpunn
#endif  // HWY_ONCE
