#include <algorithm>
#include <cmath>

#include "gpunn/kernels/common/ref_access.h"
#include "gpunn/kernels/loss/loss_impl.h"

namespace gpunn {

void pair_fwd_ref(const PairProblem& p, const Exec&) {
  const DType acc = accumulator_of(p.dtype);
  const RefIn a(p.x1, p.dtype), b(p.x2, p.dtype);
  const RefOut y(p.y, acc), norms(p.norms, acc);
  for (std::int64_t n = 0; n < p.rows; ++n) {
    double dot = 0, square1 = 0, square2 = 0, powers = 0;
    for (std::int64_t i = n * p.cols; i < (n + 1) * p.cols; ++i) {
      dot += a[i] * b[i];
      square1 += a[i] * a[i];
      square2 += b[i] * b[i];
      powers += std::pow(std::fabs(a[i] - b[i] + p.eps), p.p);
    }
    if (p.kind == PairKind::distance) {
      y.set(n, std::pow(powers, 1 / p.p));
      continue;
    }
    const double norm1 = std::max(std::sqrt(square1), p.eps), norm2 = std::max(std::sqrt(square2), p.eps);
    y.set(n, dot / (norm1 * norm2));
    norms.set(2 * n, norm1);
    norms.set(2 * n + 1, norm2);
  }
}

void pair_bwd_ref(const PairBackwardProblem& p, const Exec&) {
  const DType acc = accumulator_of(p.dtype);
  const RefIn a(p.x1, p.dtype), b(p.x2, p.dtype), y(p.y, acc), norms(p.norms, acc), dy(p.dy, acc);
  const RefOut da(p.dx1, p.dtype), db(p.dx2, p.dtype);
  for (std::int64_t n = 0; n < p.rows; ++n) {
    for (std::int64_t i = n * p.cols; i < (n + 1) * p.cols; ++i) {
      if (p.kind == PairKind::distance) {
        const double v = a[i] - b[i] + p.eps, size = std::fabs(v) / y[n];
        const double slope = y[n] == 0 || v == 0 ? 0 : dy[n] * std::copysign(std::pow(size, p.p - 1), v);
        da.set(i, slope);
        db.set(i, -slope);
        continue;
      }
      // A norm that eps replaced is a constant.
      const double n1 = norms[2 * n], n2 = norms[2 * n + 1];
      const double own1 = n1 > p.eps ? y[n] * a[i] / (n1 * n1) : 0;
      const double own2 = n2 > p.eps ? y[n] * b[i] / (n2 * n2) : 0;
      da.set(i, dy[n] * (b[i] / (n1 * n2) - own1));
      db.set(i, dy[n] * (a[i] / (n1 * n2) - own2));
    }
  }
}

}  // namespace gpunn
