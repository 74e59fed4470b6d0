#include <cmath>

#include "gpunn/kernels/common/ref_access.h"
#include "gpunn/kernels/loss/loss_functors_impl.h"

namespace gpunn {

void loss_fwd_ref(const LossProblem& p, const Exec&) {
  const RefIn x(p.x, p.dtype), y(p.y, p.dtype);
  const RefOut loss(p.loss, accumulator_of(p.dtype));
  double total = 0;
  for (std::int64_t i = 0; i < p.n; ++i) {
    const double value = loss_value(p.kind, x[i], y[i]);
    total += value;
    if (p.reduction == Reduction::none) loss.set(i, value);
  }
  if (p.reduction == Reduction::none) return;
  loss.set(0, p.reduction == Reduction::mean ? total / static_cast<double>(p.n) : total);
}

void loss_bwd_ref(const LossBackwardProblem& p, const Exec&) {
  const RefIn x(p.x, p.dtype), y(p.y, p.dtype), dloss(p.dloss, accumulator_of(p.dtype));
  const RefOut dx(p.dx, p.dtype), dy(p.dy, p.dtype);
  for (std::int64_t i = 0; i < p.n; ++i) {
    double g = dloss[p.reduction == Reduction::none ? i : 0];
    if (p.reduction == Reduction::mean) g /= static_cast<double>(p.n);
    if (p.want_dx) dx.set(i, loss_slope_x(p.kind, x[i], y[i]) * g);
    if (p.want_dy) dy.set(i, loss_slope_y(p.kind, x[i], y[i]) * g);
  }
}

}  // namespace gpunn
