#include <cmath>
#include <limits>

#include "gpunn/kernels/common/ref_access.h"
#include "gpunn/kernels/cross_entropy/cross_entropy_impl.h"

namespace gpunn {
namespace {

/// Weight of the target at position n: 0 where ignored, NaN for what is no class.
template <class P>
double weight_of(const P& p, std::int64_t n) {
  const std::int64_t t = p.target[n];
  if (t == p.ignore_index) return 0;
  if (t < 0 || t >= p.classes) return std::numeric_limits<double>::quiet_NaN();
  return p.has_weight ? load_ref(p.weight, accumulator_of(p.dtype), t) : 1;
}

/// Where position n keeps class c.
template <class P>
std::int64_t element_of(const P& p, std::int64_t n, std::int64_t c) {
  return (n / p.inner * p.classes + c) * p.inner + n % p.inner;
}

}  // namespace

void nll_fwd_ref(const NllProblem& p, const Exec&) {
  const DType acc = accumulator_of(p.dtype);
  const RefIn x(p.x, p.dtype);
  const RefOut loss(p.loss, acc), counted(p.count, acc);
  double total = 0, count = 0;
  for (std::int64_t n = 0; n < p.outer * p.inner; ++n) {
    const double weight = weight_of(p, n);
    const double value =
        weight == 0 || std::isnan(weight) ? weight : -weight * x[element_of(p, n, p.target[n])];
    total += value;
    count += std::isnan(weight) ? 1 : weight;
    if (p.reduction == Reduction::none) loss.set(n, value);
  }
  if (p.reduction == Reduction::mean) counted.set(0, count);
  if (p.reduction != Reduction::none) loss.set(0, p.reduction == Reduction::mean ? total / count : total);
}

void nll_bwd_ref(const NllBackwardProblem& p, const Exec&) {
  const DType acc = accumulator_of(p.dtype);
  const RefIn count(p.count, acc), dloss(p.dloss, acc);
  const RefOut dx(p.dx, p.dtype);
  for (std::int64_t n = 0; n < p.outer * p.inner; ++n) {
    const double weight = weight_of(p, n);
    double scale = dloss[p.reduction == Reduction::none ? n : 0];
    if (p.reduction == Reduction::mean) scale /= count[0];
    for (std::int64_t c = 0; c < p.classes; ++c) {
      const bool bad = std::isnan(weight), own = c == p.target[n] && weight != 0;
      dx.set(element_of(p, n, c), bad ? weight : own ? -weight * scale : 0);
    }
  }
}

}  // namespace gpunn
