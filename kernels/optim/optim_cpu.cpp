// SGD in f32 on the CPU: Highway vectors, chunks over all tensors together on the pool.
#include <algorithm>
#include <cstring>

#include "gpunn/kernels/optim/optim_impl.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "gpunn/kernels/optim/optim_cpu.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace gpunn {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using Tag = hn::ScalableTag<float>;
using Vector = hn::Vec<Tag>;

/// The same formula as optim::sgd_element, on vectors.
struct Update {
  explicit Update(const SgdProblem& p)
      : lr(hn::Set(Tag(), static_cast<float>(p.lr))),
        momentum(hn::Set(Tag(), static_cast<float>(p.momentum))),
        keep(hn::Set(Tag(), static_cast<float>(1 - p.dampening))),
        weight_decay(hn::Set(Tag(), static_cast<float>(p.weight_decay))),
        has_momentum(p.momentum != 0),
        decays(p.weight_decay != 0),
        nesterov(p.nesterov),
        maximize(p.maximize),
        first_step(p.first_step) {}

  HWY_INLINE void operator()(float* param, const float* grad, float* buffer) const {
    const Tag d;
    const Vector w = hn::LoadU(d, param);
    Vector g = hn::LoadU(d, grad);
    if (maximize) g = hn::Neg(g);
    if (decays) g = hn::MulAdd(weight_decay, w, g);
    if (has_momentum) {
      const Vector v = first_step ? g : hn::MulAdd(momentum, hn::LoadU(d, buffer), hn::Mul(keep, g));
      hn::StoreU(v, d, buffer);
      g = nesterov ? hn::MulAdd(momentum, v, g) : v;
    }
    hn::StoreU(hn::NegMulAdd(lr, g, w), d, param);
  }

  Vector lr, momentum, keep, weight_decay;
  bool has_momentum, decays, nesterov, maximize, first_step;
};

void StepRange(const SgdProblem& p, int tensor, std::int64_t begin, std::int64_t end) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(Tag()));
  const Update update(p);
  auto* param = static_cast<float*>(p.slots[tensor].param);
  const auto* grad = static_cast<const float*>(p.slots[tensor].grad);
  auto* buffer = static_cast<float*>(p.slots[tensor].momentum);
  std::int64_t i = begin;
  for (; i + lanes <= end; i += lanes)
    update(param + i, grad + i, update.has_momentum ? buffer + i : nullptr);
  if (i == end) return;
  HWY_ALIGN float tail[3][HWY_MAX_BYTES / sizeof(float)] = {};
  const std::size_t bytes = static_cast<std::size_t>(end - i) * sizeof(float);
  std::memcpy(tail[0], param + i, bytes);
  std::memcpy(tail[1], grad + i, bytes);
  if (update.has_momentum && !update.first_step) std::memcpy(tail[2], buffer + i, bytes);
  update(tail[0], tail[1], tail[2]);
  std::memcpy(param + i, tail[0], bytes);
  if (update.has_momentum) std::memcpy(buffer + i, tail[2], bytes);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace gpunn
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "gpunn/core/cpu_pool.h"

namespace gpunn {

namespace {
HWY_EXPORT(StepRange);
}

void sgd_cpu(const SgdProblem& p, const Exec& exec) {
  constexpr std::int64_t kGrain = 1 << 14;
  const auto step = HWY_DYNAMIC_DISPATCH(StepRange);
  parallel_for(*exec.pool, numel_of(p), kGrain, [&](std::int64_t begin, std::int64_t end) {
    std::int64_t first = 0;  // of the tensor, among all elements
    for (int t = 0; t < p.count && first < end; first += p.slots[t++].n) {
      const std::int64_t from = std::max(begin - first, std::int64_t{0}),
                         to = std::min(end - first, p.slots[t].n);
      if (from < to) step(p, t, from, to);
    }
  });
}

}  // namespace gpunn
#endif  // HWY_ONCE
