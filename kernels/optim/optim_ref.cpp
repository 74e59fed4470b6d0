// The reference: every element in double.
#include "gpunn/kernels/common/ref_access.h"
#include "gpunn/kernels/optim/update_functors_impl.h"

namespace gpunn {

namespace {

template <UpdateRule kRule>
void update_slot(const UpdateProblem& p, const UpdateSlot& slot) {
  const auto constants = optim::constants_of<double>(p.settings, p.values);
  const DType state = state_dtype(p);
  const RefOut param(slot.param, p.dtype), weights = p.master ? RefOut(slot.master, state) : param;
  const RefIn grad(slot.grad, p.dtype);
  for (std::int64_t i = 0; i < slot.n; ++i) {
    double w = weights[i], s[kMaxStates] = {};
    for (int j = 0; j < kMaxStates; ++j)
      if (slot.states[j] && !p.settings.first_step) s[j] = load_ref(slot.states[j], state, i);
    optim::update_element<kRule>(constants, w, grad[i], s);
    weights.set(i, w);
    if (p.master) param.set(i, w);
    for (int j = 0; j < kMaxStates; ++j)
      if (slot.states[j]) store_ref(slot.states[j], state, i, s[j]);
  }
}

}  // namespace

void update_ref(const UpdateProblem& p, const Exec&) {
  optim::for_rule(p.settings.rule, [&]<class Rule>(Rule) {
    for (int t = 0; t < p.count; ++t) update_slot<Rule::kValue>(p, p.slots[t]);
  });
}

}  // namespace gpunn
