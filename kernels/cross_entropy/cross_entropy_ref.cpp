#include <cmath>
#include <limits>

#include "gpunn/kernels/common/ref_access.h"
#include "gpunn/kernels/cross_entropy/cross_entropy_impl.h"

namespace gpunn {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

/// q_nc of cross_entropy_impl.h.
class Weights {
 public:
  Weights(const CrossEntropyTargets& t, DType dtype, std::int64_t cols)
      : t_(t), dtype_(dtype), acc_(accumulator_of(dtype)), cols_(cols) {}
  double class_weight(std::int64_t c) const { return t_.has_weight ? load_ref(t_.weight, acc_, c) : 1; }
  double operator()(std::int64_t n, std::int64_t c) const {
    const double y = t_.has_soft ? load_ref(t_.soft, dtype_, n * cols_ + c) : c == t_.classes[n];
    return class_weight(c) * ((1 - t_.smoothing) * y + t_.smoothing / static_cast<double>(cols_));
  }
  bool bad(std::int64_t n) const { return !t_.has_soft && (t_.classes[n] < 0 || t_.classes[n] >= cols_); }
  /// What a row counts in a mean.
  double counted(std::int64_t n) const {
    if (t_.has_soft) return 1;
    if (t_.ignores(n)) return 0;
    return bad(n) ? 1 : class_weight(t_.classes[n]);
  }

 private:
  const CrossEntropyTargets& t_;
  DType dtype_, acc_;
  std::int64_t cols_;
};

}  // namespace

void cross_entropy_fwd_ref(const CrossEntropyProblem& p, const Exec&) {
  const DType acc = accumulator_of(p.dtype);
  const RefIn x(p.logits, p.dtype);
  const RefOut loss(p.loss, acc), stats(p.stats, acc), counted(p.count, acc);
  const Weights q(p.targets, p.dtype, p.cols);
  double total = 0, count = 0;
  for (std::int64_t n = 0; n < p.rows; ++n) {
    double max = 0, sum = 0, weights = 0, row_loss = 0;
    if (!p.targets.ignores(n)) {
      max = -std::numeric_limits<double>::infinity();
      for (std::int64_t c = 0; c < p.cols; ++c) max = std::fmax(max, x[n * p.cols + c]);
      for (std::int64_t c = 0; c < p.cols; ++c) sum += std::exp(x[n * p.cols + c] - max);
      for (std::int64_t c = 0; c < p.cols; ++c) {
        const double weight = q(n, c);
        weights += weight;
        if (weight != 0) row_loss += weight * (std::log(sum) - (x[n * p.cols + c] - max));
      }
      if (q.bad(n)) weights = kNan;
      if (q.bad(n) || std::isnan(sum)) row_loss = kNan;
    }
    stats.set(3 * n, max);
    stats.set(3 * n + 1, sum);
    stats.set(3 * n + 2, weights);
    total += row_loss;
    count += q.counted(n);
    if (p.reduction == Reduction::none) loss.set(n, row_loss);
  }
  if (p.reduction == Reduction::mean) counted.set(0, count);
  if (p.reduction != Reduction::none) loss.set(0, p.reduction == Reduction::mean ? total / count : total);
}

void cross_entropy_bwd_ref(const CrossEntropyBackwardProblem& p, const Exec&) {
  const DType acc = accumulator_of(p.dtype);
  const RefIn x(p.logits, p.dtype), stats(p.stats, acc), count(p.count, acc), dloss(p.dloss, acc);
  const RefOut dx(p.dlogits, p.dtype), dsoft(p.dsoft, p.dtype);
  const Weights q(p.targets, p.dtype, p.cols);
  for (std::int64_t n = 0; n < p.rows; ++n) {
    const double max = stats[3 * n], sum = stats[3 * n + 1], weights = stats[3 * n + 2];
    double scale = dloss[p.reduction == Reduction::none ? n : 0];
    if (p.reduction == Reduction::mean) scale /= count[0];
    for (std::int64_t c = 0; c < p.cols; ++c) {
      const double shifted = x[n * p.cols + c] - max;
      const double slope = scale * (std::exp(shifted) / sum * weights - q(n, c));
      dx.set(n * p.cols + c, p.targets.ignores(n) ? 0 : q.bad(n) ? kNan : slope);
      if (!p.want_dsoft) continue;
      const double factor = scale * (1 - p.targets.smoothing) * q.class_weight(c);
      dsoft.set(n * p.cols + c, factor == 0 ? 0 : factor * (std::log(sum) - shifted));
    }
  }
}

void cross_entropy_targets_ref(const TargetCheckProblem& p, const Exec&) {
  *p.bad_row = -1;
  for (std::int64_t n = 0; n < p.rows; ++n) {
    const std::int64_t t = p.target[n];
    if (t == p.ignore_index || (t >= 0 && t < p.classes)) continue;
    *p.bad_row = n;
    return;
  }
}

}  // namespace gpunn
