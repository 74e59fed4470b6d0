// Norms and rescaling in f32 on the CPU: Highway vectors, the chunks of the problem on the pool.
#include <algorithm>
#include <cstring>

#include "gpunn/kernels/optim/clip_functors_impl.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "gpunn/kernels/optim/clip_cpu.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace gpunn {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using Tag = hn::ScalableTag<float>;
using Vector = hn::Vec<Tag>;

HWY_INLINE Vector Join(NormKind kind, Vector sum, Vector x) {
  if (kind == NormKind::two) return hn::MulAdd(x, x, sum);
  const Vector size = hn::Abs(x);
  if (kind == NormKind::one) return hn::Add(sum, size);
  // The larger one; a NaN on either side wins.
  const auto keeps = hn::Or(hn::Gt(sum, size), hn::Ne(sum, sum));
  return hn::IfThenElse(keeps, sum, size);
}

/// The norm's sum over n elements: four chains of vectors, then the lanes one after the other in double.
double NormRange(NormKind kind, const float* x, std::int64_t n) {
  const Tag d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  Vector a = hn::Zero(d), b = hn::Zero(d), c = hn::Zero(d), e = hn::Zero(d);
  std::int64_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    a = Join(kind, a, hn::LoadU(d, x + i));
    b = Join(kind, b, hn::LoadU(d, x + i + lanes));
    c = Join(kind, c, hn::LoadU(d, x + i + 2 * lanes));
    e = Join(kind, e, hn::LoadU(d, x + i + 3 * lanes));
  }
  for (; i + lanes <= n; i += lanes) a = Join(kind, a, hn::LoadU(d, x + i));
  HWY_ALIGN float sums[4][HWY_MAX_BYTES / sizeof(float)];
  hn::Store(a, d, sums[0]);
  hn::Store(b, d, sums[1]);
  hn::Store(c, d, sums[2]);
  hn::Store(e, d, sums[3]);
  double sum = 0;
  for (const auto& chain : sums)
    for (std::int64_t l = 0; l < lanes; ++l)
      sum = optim::join_norms(kind, sum, static_cast<double>(chain[l]));
  for (; i < n; ++i)
    sum = optim::join_norms(kind, sum, optim::norm_term(kind, static_cast<double>(x[i]), 0.0));
  return sum;
}

/// One vector scaled, or clamped so that NaN stays.
HWY_INLINE Vector Rescaled(bool clamps, Vector x, Vector factor) {
  if (!clamps) return hn::Mul(x, factor);
  const Vector low = hn::Neg(factor);
  x = hn::IfThenElse(hn::Gt(x, factor), factor, x);
  return hn::IfThenElse(hn::Lt(x, low), low, x);
}

/// `factor` is the bound where `clamps`.
void RescaleRange(bool clamps, float factor, float* x, std::int64_t n) {
  const Tag d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const Vector all = hn::Set(d, factor);
  std::int64_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(Rescaled(clamps, hn::LoadU(d, x + i), all), d, x + i);
  if (i == n) return;
  HWY_ALIGN float tail[HWY_MAX_BYTES / sizeof(float)] = {};
  const std::size_t bytes = static_cast<std::size_t>(n - i) * sizeof(float);
  std::memcpy(tail, x + i, bytes);
  hn::Store(Rescaled(clamps, hn::Load(d, tail), all), d, tail);
  std::memcpy(x + i, tail, bytes);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace gpunn
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "gpunn/core/cpu_pool.h"

namespace gpunn {

namespace {

HWY_EXPORT(NormRange);
HWY_EXPORT(RescaleRange);

constexpr std::int64_t kChunksPerTask = 4;  // 32,768 elements: handing a task over does not show

/// f(tensor, chunk of the problem, begin, n) for every chunk of every tensor, shared out over the pool.
template <class P, class F>
void for_each_chunk(const P& p, CpuPool& pool, F&& f) {
  std::int64_t chunks = 0;
  for (int t = 0; t < p.count; ++t) chunks += chunks_of(p.slots[t].n);
  parallel_for(pool, chunks, kChunksPerTask, [&](std::int64_t from, std::int64_t to) {
    std::int64_t first = 0;  // chunk of the tensor, among all
    for (int t = 0; t < p.count && first < to; first += chunks_of(p.slots[t++].n)) {
      const std::int64_t last = first + chunks_of(p.slots[t].n);
      for (std::int64_t c = std::max(from, first); c < std::min(to, last); ++c) {
        const std::int64_t begin = (c - first) * kNormChunk;
        f(t, c, begin, std::min(kNormChunk, p.slots[t].n - begin));
      }
    }
  });
}

}  // namespace

void norm_partials_cpu(const NormProblem& p, const Exec& exec) {
  const auto norm = HWY_DYNAMIC_DISPATCH(NormRange);
  for_each_chunk(p, *exec.pool, [&](int t, std::int64_t chunk, std::int64_t begin, std::int64_t n) {
    const float* x = static_cast<const float*>(p.slots[t].x);
    static_cast<float*>(p.partials)[chunk] = static_cast<float>(norm(p.kind, x + begin, n));
  });
}

void rescale_cpu(const RescaleProblem& p, const Exec& exec) {
  const auto rescale = HWY_DYNAMIC_DISPATCH(RescaleRange);
  const float factor = p.clamps ? static_cast<float>(p.bound) : *static_cast<const float*>(p.scale);
  for_each_chunk(p, *exec.pool, [&](int t, std::int64_t, std::int64_t begin, std::int64_t n) {
    rescale(p.clamps, factor, static_cast<float*>(p.slots[t].x) + begin, n);
  });
}

}  // namespace gpunn
#endif  // HWY_ONCE
