#include <cmath>
#include <limits>

#include "gpunn/kernels/common/ref_access.h"
#include "gpunn/kernels/linear_cross_entropy/linear_cross_entropy_impl.h"

namespace gpunn {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

/// What a sum of exp(z - from) becomes when `to` takes the place of `from`.
double rescaled(double sum, double from, double to) {
  return from == to || sum == 0 ? sum : sum * std::exp(from - to);
}

}  // namespace

void logit_stats_ref(const LogitStatsProblem& p, const Exec&) {
  const DType acc = accumulator_of(p.dtype);
  const RefIn z(p.logits, p.dtype);
  const RefOut stats(p.stats, acc);
  const LogitTile& tile = p.tile;
  for (std::int64_t n = 0; n < tile.rows; ++n) {
    const bool joins = tile.first > 0, ignored = p.target[n] == p.ignore_index;
    double max = joins ? stats[4 * n] : -kInfinity, sum = joins ? stats[4 * n + 1] : 0;
    double own = joins ? stats[4 * n + 2] : 0, shifted = joins && p.want_sum ? stats[4 * n + 3] : 0;
    const double before = max;
    if (ignored) {
      max = sum = own = shifted = 0;
    } else {
      for (std::int64_t c = 0; c < tile.cols; ++c) max = std::fmax(max, z[n * tile.ld + c]);
      const double shift = max == -kInfinity ? 0 : max;
      sum = rescaled(sum, before, max);
      if (joins && p.want_sum && before != max) shifted += static_cast<double>(tile.first) * (before - max);
      for (std::int64_t c = 0; c < tile.cols; ++c) {
        sum += std::exp(z[n * tile.ld + c] - shift);
        if (p.want_sum) shifted += z[n * tile.ld + c] - shift;
      }
      const std::int64_t t = p.target[n] - tile.first;
      if (p.target[n] >= tile.first && t < tile.cols) own = z[n * tile.ld + t];
    }
    stats.set(4 * n, max);
    stats.set(4 * n + 1, sum);
    stats.set(4 * n + 2, own);
    stats.set(4 * n + 3, shifted);
  }
}

void logit_grad_ref(const LogitGradProblem& p, const Exec&) {
  const DType acc = accumulator_of(p.dtype);
  const RefOut z(p.logits, p.dtype);
  const RefIn stats(p.stats, acc), count(p.count, acc), dloss(p.dloss, acc);
  const LogitTile& tile = p.tile;
  for (std::int64_t n = 0; n < tile.rows; ++n) {
    const std::int64_t t = p.target[n];
    const bool ignored = t == p.ignore_index, bad = t < 0 || t >= p.classes;
    double scale = p.has_dloss ? dloss[p.dloss_by_row ? n : 0] : 1;
    if (p.has_count) scale /= count[0];
    for (std::int64_t c = 0; c < tile.cols; ++c) {
      const std::int64_t i = n * tile.ld + c;
      const double q =
          (1 - p.smoothing) * (tile.first + c == t) + p.smoothing / static_cast<double>(p.classes);
      const double slope = scale * (std::exp(z[i] - stats[4 * n]) / stats[4 * n + 1] - q);
      z.set(i, ignored ? 0 : bad ? kNan : slope);
    }
  }
}

void row_loss_ref(const RowLossProblem& p, const Exec&) {
  const DType acc = accumulator_of(p.dtype);
  const RefIn stats(p.stats, acc);
  const RefOut loss(p.loss, acc), counted(p.count, acc);
  double total = 0, count = 0;
  for (std::int64_t n = 0; n < p.rows; ++n) {
    const std::int64_t t = p.target[n];
    count += t != p.ignore_index;
    if (p.count_only) continue;
    double value = 0;
    if (t != p.ignore_index) {
      const double max = stats[4 * n], sum = stats[4 * n + 1], own = stats[4 * n + 2] - max;
      const double log_sum = max == -kInfinity || t < 0 || t >= p.classes ? kNan : std::log(sum);
      if (p.smoothing < 1) value += (1 - p.smoothing) * (log_sum - own);
      if (p.smoothing > 0)
        value += p.smoothing * (log_sum - stats[4 * n + 3] / static_cast<double>(p.classes));
    }
    total += value;
    if (p.reduction == Reduction::none) loss.set(n, value);
  }
  if (p.reduction == Reduction::mean) counted.set(0, count);
  if (!p.count_only && p.reduction != Reduction::none)
    loss.set(0, p.reduction == Reduction::mean ? total / count : total);
}

void scale_grad_ref(const ScaleGradProblem& p, const Exec&) {
  const double factor = load_ref(p.factor, accumulator_of(p.dtype), 0);
  const RefOut y(p.y, p.dtype);
  if (factor == 1) return;
  for (std::int64_t i = 0; i < p.n; ++i) y.set(i, y[i] * factor);
}

}  // namespace gpunn
