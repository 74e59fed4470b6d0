// Optimizer steps in f32 on the CPU: Highway vectors, chunks over all tensors together on the pool. A step is
// bound by memory (Adam moves 28 bytes an element), so one pass reads and writes every buffer once.
#include <algorithm>
#include <cstring>

#include "gpunn/kernels/optim/update_functors_impl.h"

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

/// -1, 0 or 1; NaN stays NaN.
HWY_INLINE Vector Sign(Vector x) {
  const Tag d;
  const Vector zero = hn::Zero(d), one = hn::Set(d, 1.0f);
  return hn::IfThenElse(hn::Gt(x, zero), one, hn::IfThenElse(hn::Lt(x, zero), hn::Neg(one), x));
}

/// The states of element i and its neighbours; an absent one is never asked for.
struct States {
  float* const* first;
  std::int64_t i;
  HWY_INLINE float* operator[](int j) const { return first[j] + i; }
};

/// optim::Constants in every lane. Vectors may not be members of a class on targets with scalable vectors, so
/// they are broadcast at their use; the compiler keeps them in registers.
struct Update {
  optim::Constants<float> c;

  static HWY_INLINE Vector All(float x) { return hn::Set(Tag(), x); }
  static HWY_INLINE Vector Load(const float* p) { return hn::LoadU(Tag(), p); }
  static HWY_INLINE void Store(Vector v, float* p) { hn::StoreU(v, Tag(), p); }

  /// scale * *state + rest * x, stored and returned.
  static HWY_INLINE Vector Average(float scale, float rest, Vector x, float* state) {
    const Vector v = hn::MulAdd(All(scale), Load(state), hn::Mul(All(rest), x));
    Store(v, state);
    return v;
  }

  HWY_INLINE Vector Gradient(Vector& w, const float* grad) const {
    Vector g = Load(grad);
    if (c.maximize) g = hn::Neg(g);
    if (c.weight_decay != 0) g = hn::MulAdd(All(c.weight_decay), w, g);
    if (c.l1_decay != 0) g = hn::MulAdd(All(c.l1_decay), Sign(w), g);
    w = hn::Mul(w, All(c.keep));
    return g;
  }

  HWY_INLINE Vector Sgd(Vector w, Vector g, States s) const {
    if (c.momentum) {
      Vector v = g;
      if (c.first_step)
        Store(g, s[0]);
      else
        v = Average(c.beta1, c.rest1, g, s[0]);
      g = c.nesterov ? hn::MulAdd(All(c.beta1), v, g) : v;
    }
    return hn::NegMulAdd(All(c.rate), g, w);
  }

  HWY_INLINE Vector Adagrad(Vector w, Vector g, States s) const {
    const Vector sum = hn::MulAdd(g, g, Load(s[0]));
    Store(sum, s[0]);
    return hn::Sub(w, hn::Div(hn::Mul(All(c.rate), g), hn::Add(hn::Sqrt(sum), All(c.eps))));
  }

  HWY_INLINE Vector Adadelta(Vector w, Vector g, States s) const {
    const Vector square = Average(c.beta2, c.rest2, hn::Mul(g, g), s[0]);
    const Vector root = hn::Sqrt(hn::Add(Load(s[1]), All(c.eps)));
    const Vector delta = hn::Mul(hn::Div(root, hn::Sqrt(hn::Add(square, All(c.eps)))), g);
    Average(c.beta2, c.rest2, hn::Mul(delta, delta), s[1]);
    return hn::NegMulAdd(All(c.rate), delta, w);
  }

  HWY_INLINE Vector Rmsprop(Vector w, Vector g, States s) const {
    Vector variance = Average(c.beta2, c.rest2, hn::Mul(g, g), s[0]);
    if (c.centered) {
      const Vector mean = Average(c.beta2, c.rest2, g, s[2]);
      variance = hn::NegMulAdd(mean, mean, variance);
      variance = hn::IfThenZeroElse(hn::Lt(variance, hn::Zero(Tag())), variance);
    }
    Vector delta = hn::Div(g, hn::Add(hn::Sqrt(variance), All(c.eps)));
    if (c.momentum) delta = Average(c.beta1, 1, delta, s[1]);
    return hn::NegMulAdd(All(c.rate), delta, w);
  }

  HWY_INLINE Vector Denominator(Vector square) const {
    return hn::MulAdd(hn::Sqrt(square), All(c.denominator), All(c.eps));
  }

  HWY_INLINE Vector Adam(Vector w, Vector g, States s) const {
    const Vector mean = Average(c.beta1, c.rest1, g, s[0]);
    Vector square = Average(c.beta2, c.rest2, hn::Mul(g, g), s[1]);
    if (c.amsgrad) {
      const Vector largest = Load(s[2]);
      // The new one where it is larger or NaN.
      const auto newer = hn::Or(hn::Lt(largest, square), hn::Ne(square, square));
      square = hn::IfThenElse(newer, square, largest);
      Store(square, s[2]);
    }
    return hn::Sub(w, hn::Div(hn::Mul(All(c.rate), mean), Denominator(square)));
  }

  HWY_INLINE Vector Nadam(Vector w, Vector g, States s) const {
    const Vector mean = Average(c.beta1, c.rest1, g, s[0]);
    const Vector square = Average(c.beta2, c.rest2, hn::Mul(g, g), s[1]);
    const Vector direction = hn::MulAdd(All(c.rate), mean, hn::Mul(All(c.grad_rate), g));
    return hn::Sub(w, hn::Div(direction, Denominator(square)));
  }

  HWY_INLINE Vector Lion(Vector w, Vector g, States s) const {
    const Vector mean = Load(s[0]);
    const Vector mixed = hn::MulAdd(All(c.beta1), mean, hn::Mul(All(c.rest1), g));
    Store(hn::MulAdd(All(c.beta2), mean, hn::Mul(All(c.rest2), g)), s[0]);
    return hn::NegMulAdd(All(c.rate), Sign(mixed), w);
  }

  template <UpdateRule kRule>
  HWY_INLINE void Run(float* param, const float* grad, States s) const {
    Vector w = Load(param);
    const Vector g = Gradient(w, grad);
    if constexpr (kRule == UpdateRule::sgd) w = Sgd(w, g, s);
    if constexpr (kRule == UpdateRule::adagrad) w = Adagrad(w, g, s);
    if constexpr (kRule == UpdateRule::adadelta) w = Adadelta(w, g, s);
    if constexpr (kRule == UpdateRule::rmsprop) w = Rmsprop(w, g, s);
    if constexpr (kRule == UpdateRule::adam) w = Adam(w, g, s);
    if constexpr (kRule == UpdateRule::nadam) w = Nadam(w, g, s);
    if constexpr (kRule == UpdateRule::lion) w = Lion(w, g, s);
    Store(w, param);
  }
};

/// Elements [begin, end) of one tensor. The tail takes the same vectors through a buffer, so that an
/// element's bits do not depend on where it stands.
template <UpdateRule kRule>
HWY_INLINE void UpdateTensorRange(const Update& update, const UpdateSlot& slot, std::int64_t begin,
                                  std::int64_t end) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(Tag()));
  auto* const param = static_cast<float*>(slot.param);
  const auto* const grad = static_cast<const float*>(slot.grad);
  float* states[kMaxStates];
  for (int j = 0; j < kMaxStates; ++j) states[j] = static_cast<float*>(slot.states[j]);
  std::int64_t i = begin;
  for (; i + lanes <= end; i += lanes) update.template Run<kRule>(param + i, grad + i, States{states, i});
  if (i == end) return;
  constexpr int kBuffers = 2 + kMaxStates;
  HWY_ALIGN float tail[kBuffers][HWY_MAX_BYTES / sizeof(float)] = {};
  const std::size_t bytes = static_cast<std::size_t>(end - i) * sizeof(float);
  std::memcpy(tail[0], param + i, bytes);
  std::memcpy(tail[1], grad + i, bytes);
  float* const tails[kMaxStates] = {tail[2], tail[3], tail[4]};
  for (int j = 0; j < kMaxStates; ++j)
    if (states[j] && !update.c.first_step) std::memcpy(tails[j], states[j] + i, bytes);
  update.template Run<kRule>(tail[0], tail[1], States{tails, 0});
  std::memcpy(param + i, tail[0], bytes);
  for (int j = 0; j < kMaxStates; ++j)
    if (states[j]) std::memcpy(states[j] + i, tails[j], bytes);
}

void UpdateRange(const UpdateProblem& p, int tensor, std::int64_t begin, std::int64_t end) {
  const Update update{optim::constants_of<float>(p.settings, p.values)};
  const UpdateSlot& slot = p.slots[tensor];
  switch (p.settings.rule) {
    case UpdateRule::sgd:
      return UpdateTensorRange<UpdateRule::sgd>(update, slot, begin, end);
    case UpdateRule::adagrad:
      return UpdateTensorRange<UpdateRule::adagrad>(update, slot, begin, end);
    case UpdateRule::adadelta:
      return UpdateTensorRange<UpdateRule::adadelta>(update, slot, begin, end);
    case UpdateRule::rmsprop:
      return UpdateTensorRange<UpdateRule::rmsprop>(update, slot, begin, end);
    case UpdateRule::adam:
      return UpdateTensorRange<UpdateRule::adam>(update, slot, begin, end);
    case UpdateRule::nadam:
      return UpdateTensorRange<UpdateRule::nadam>(update, slot, begin, end);
    case UpdateRule::lion:
      return UpdateTensorRange<UpdateRule::lion>(update, slot, begin, end);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace gpunn
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "gpunn/core/cpu_pool.h"

namespace gpunn {

namespace {
HWY_EXPORT(UpdateRange);
}

void update_cpu(const UpdateProblem& p, const Exec& exec) {
  constexpr std::int64_t kGrain = 1 << 14;
  const auto update = HWY_DYNAMIC_DISPATCH(UpdateRange);
  parallel_for(*exec.pool, numel_of(p), kGrain, [&](std::int64_t begin, std::int64_t end) {
    std::int64_t first = 0;  // of the tensor, among all elements
    for (int t = 0; t < p.count && first < end; first += p.slots[t++].n) {
      const std::int64_t from = std::max(begin - first, std::int64_t{0}),
                         to = std::min(end - first, p.slots[t].n);
      if (from < to) update(p, t, from, to);
    }
  });
}

}  // namespace gpunn
#endif  // HWY_ONCE
