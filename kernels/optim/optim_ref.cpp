// The reference: every element in double.
#include "gpunn/kernels/common/ref_access.h"
#include "gpunn/kernels/optim/sgd_functor_impl.h"

namespace gpunn {

void sgd_ref(const SgdProblem& p, const Exec&) {
  const auto settings = optim::settings_of<double>(p);
  for (int t = 0; t < p.count; ++t) {
    const SgdSlot& slot = p.slots[t];
    const RefOut param(slot.param, p.dtype), momentum(slot.momentum, p.dtype);
    const RefIn grad(slot.grad, p.dtype);
    for (std::int64_t i = 0; i < slot.n; ++i) {
      double value = param[i];
      double buffer = settings.has_momentum && !settings.first_step ? momentum[i] : 0;
      optim::sgd_element(settings, value, grad[i], buffer);
      param.set(i, value);
      if (settings.has_momentum) momentum.set(i, buffer);
    }
  }
}

}  // namespace gpunn
