#include <cmath>
#include <limits>

#include "gpunn/kernels/common/ref_access.h"
#include "gpunn/kernels/cross_entropy/cross_entropy_impl.h"

namespace gpunn {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

}  // namespace

void cross_entropy_fwd_ref(const CrossEntropyProblem& p, const Exec&) {
  const DType acc = accumulator_of(p.dtype);
  const RefIn x(p.logits, p.dtype);
  const RefOut loss(p.loss, acc), stats(p.stats, acc), counted(p.count, acc);
  double total = 0, count = 0;
  for (std::int64_t n = 0; n < p.rows; ++n) {
    double max = 0, sum = 0, row_loss = 0;
    const std::int64_t t = p.target[n];
    if (t != p.ignore_index) {
      max = -std::numeric_limits<double>::infinity();
      for (std::int64_t c = 0; c < p.cols; ++c) max = std::fmax(max, x[n * p.cols + c]);
      for (std::int64_t c = 0; c < p.cols; ++c) sum += std::exp(x[n * p.cols + c] - max);
      row_loss = t >= 0 && t < p.cols ? std::log(sum) - (x[n * p.cols + t] - max) : kNan;
      ++count;
    }
    stats.set(2 * n, max);
    stats.set(2 * n + 1, sum);
    total += row_loss;
    if (p.reduction == Reduction::none) loss.set(n, row_loss);
  }
  if (p.reduction == Reduction::mean) counted.set(0, count);
  if (p.reduction != Reduction::none) loss.set(0, p.reduction == Reduction::mean ? total / count : total);
}

void cross_entropy_bwd_ref(const CrossEntropyBackwardProblem& p, const Exec&) {
  const DType acc = accumulator_of(p.dtype);
  const RefIn x(p.logits, p.dtype), stats(p.stats, acc), count(p.count, acc), dloss(p.dloss, acc);
  const RefOut dx(p.dlogits, p.dtype);
  for (std::int64_t n = 0; n < p.rows; ++n) {
    const std::int64_t t = p.target[n], begin = n * p.cols;
    const bool ignored = t == p.ignore_index, bad = t < 0 || t >= p.cols;
    double scale = dloss[p.reduction == Reduction::none ? n : 0];
    if (p.reduction == Reduction::mean) scale /= count[0];
    for (std::int64_t c = 0; c < p.cols; ++c) {
      const double probability = std::exp(x[begin + c] - stats[2 * n]) / stats[2 * n + 1];
      dx.set(begin + c, ignored ? 0 : bad ? kNan : (probability - (c == t)) * scale);
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
