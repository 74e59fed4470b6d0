#include <cmath>

#include "gpunn/kernels/common/ref_access.h"
#include "gpunn/kernels/loss/loss_functors_impl.h"

namespace gpunn {
namespace {

/// What both directions read.
template <class P>
class Elements {
 public:
  explicit Elements(const P& p)
      : p_(p), x_(p.x, p.dtype), y_(p.y, p.dtype), weight_(p.weight, p.dtype), pos_(p.pos_weight, p.dtype) {}
  LossElement<double> operator[](std::int64_t i) const {
    return {x_[i], y_[i], p_.parameter, p_.has_pos_weight ? pos_[i] : 1};
  }
  double weight(std::int64_t i) const { return p_.has_weight ? weight_[i] : 1; }

 private:
  const P& p_;
  RefIn x_, y_, weight_, pos_;
};

}  // namespace

void loss_fwd_ref(const LossProblem& p, const Exec&) {
  const Elements elements(p);
  const RefOut loss(p.loss, accumulator_of(p.dtype));
  double total = 0;
  for (std::int64_t i = 0; i < p.n; ++i) {
    const double value = elements.weight(i) * loss_value(p.kind, elements[i]);
    total += value;
    if (p.reduction == Reduction::none) loss.set(i, value);
  }
  if (p.reduction == Reduction::none) return;
  loss.set(0, p.reduction == Reduction::mean ? total / static_cast<double>(p.n) : total);
}

void loss_bwd_ref(const LossBackwardProblem& p, const Exec&) {
  const Elements elements(p);
  const RefIn dloss(p.dloss, accumulator_of(p.dtype));
  const RefOut dx(p.dx, p.dtype), dy(p.dy, p.dtype);
  for (std::int64_t i = 0; i < p.n; ++i) {
    double g = elements.weight(i) * dloss[p.reduction == Reduction::none ? i : 0];
    if (p.reduction == Reduction::mean) g /= static_cast<double>(p.n);
    if (p.want_dx) dx.set(i, loss_slope_x(p.kind, elements[i]) * g);
    if (p.want_dy) dy.set(i, loss_slope_y(p.kind, elements[i]) * g);
  }
}

}  // namespace gpunn
