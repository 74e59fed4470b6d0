// f32 on the CPU, accumulated in double: the additions of a row wait for each other, and a double costs no
// more waiting than a float. Long rows are cut into segments: first the segments' totals, then what comes
// before each, then the segments themselves.
#include <algorithm>

#include "gpunn/core/cpu_pool.h"
#include "gpunn/kernels/scan/scan_impl.h"

namespace gpunn {

namespace {

constexpr std::int64_t kTile = 256;       // columns that are scanned together
constexpr std::int64_t kGrain = 1 << 15;  // elements per chunk
constexpr std::int64_t kFewItems = 16;    // below so many independent pieces, long rows are cut

struct Sum {
  static constexpr double kIdentity = 0;
  static double combine(double a, double b) { return a + b; }
};
struct Prod {
  static constexpr double kIdentity = 1;
  static double combine(double a, double b) { return a * b; }
};

/// How the work is cut; a function of the problem's sizes alone.
struct Plan {
  std::int64_t tile, tiles;        // columns side by side, tiles of them in all
  std::int64_t segment, segments;  // elements of a piece along the row, pieces of a row
};

Plan plan_for(const ScanProblem& p) {
  Plan plan;
  plan.tile = std::max<std::int64_t>(1, std::min(p.inner, kTile));
  plan.tiles = p.outer * ((p.inner + kTile - 1) / kTile);
  plan.segment = std::max<std::int64_t>(1, kGrain / plan.tile);
  if (plan.tiles >= kFewItems || p.length <= 2 * plan.segment)
    plan.segment = std::max<std::int64_t>(1, p.length);
  plan.segments = (p.length + plan.segment - 1) / plan.segment;
  return plan;
}

/// A tile within one segment: `x` and `y` are its first elements in the direction of the scan.
struct Piece {
  const float* x;
  float* y;
  std::int64_t length, step, width;  // step: to the next element of a row, negative in reverse
};

Piece piece_at(const ScanProblem& p, const Plan& plan, std::int64_t tile, std::int64_t segment) {
  const std::int64_t per_row = (p.inner + kTile - 1) / kTile;
  const std::int64_t column = tile % per_row * kTile, from = segment * plan.segment;
  const std::int64_t k = p.reverse ? p.length - 1 - from : from;
  const std::int64_t at = (tile / per_row * p.length + k) * p.inner + column;
  return {static_cast<const float*>(p.x) + at, static_cast<float*>(p.y) + at,
          std::min(plan.segment, p.length - from), p.reverse ? -p.inner : p.inner,
          std::min(kTile, p.inner - column)};
}

/// One row: four elements at a time, so that only one operation in four waits for the one before.
template <class Op>
double scan_row(const Piece& r, double carry) {
  std::int64_t i = 0;
  for (; i + 4 <= r.length; i += 4) {
    const float* x = r.x + i * r.step;
    const double a = x[0], b = Op::combine(a, x[r.step]), c = x[2 * r.step],
                 d = Op::combine(c, x[3 * r.step]);
    float* y = r.y + i * r.step;
    y[0] = static_cast<float>(Op::combine(carry, a));
    y[r.step] = static_cast<float>(Op::combine(carry, b));
    y[2 * r.step] = static_cast<float>(Op::combine(carry, Op::combine(b, c)));
    carry = Op::combine(carry, Op::combine(b, d));
    y[3 * r.step] = static_cast<float>(carry);
  }
  for (; i < r.length; ++i) {
    carry = Op::combine(carry, r.x[i * r.step]);
    r.y[i * r.step] = static_cast<float>(carry);
  }
  return carry;
}

/// A tile of columns; acc has what comes before, and then all.
template <class Op>
void scan_columns(const Piece& r, double* acc) {
  for (std::int64_t i = 0; i < r.length; ++i) {
    const float* x = r.x + i * r.step;
    float* y = r.y + i * r.step;
    for (std::int64_t c = 0; c < r.width; ++c) {
      acc[c] = Op::combine(acc[c], x[c]);
      y[c] = static_cast<float>(acc[c]);
    }
  }
}

template <class Op>
double total_of_row(const Piece& r) {
  double a[4] = {Op::kIdentity, Op::kIdentity, Op::kIdentity, Op::kIdentity};
  std::int64_t i = 0;
  for (; i + 4 <= r.length; i += 4)
    for (std::int64_t j = 0; j < 4; ++j) a[j] = Op::combine(a[j], r.x[(i + j) * r.step]);
  for (; i < r.length; ++i) a[0] = Op::combine(a[0], r.x[i * r.step]);
  return Op::combine(Op::combine(a[0], a[1]), Op::combine(a[2], a[3]));
}

template <class Op>
void total_of(const Piece& r, double* acc) {
  if (r.width == 1) {
    *acc = total_of_row<Op>(r);
    return;
  }
  std::fill(acc, acc + r.width, Op::kIdentity);
  for (std::int64_t i = 0; i < r.length; ++i)
    for (std::int64_t c = 0; c < r.width; ++c) acc[c] = Op::combine(acc[c], r.x[i * r.step + c]);
}

template <class Op>
void run(const ScanProblem& p, const Exec& exec) {
  const Plan plan = plan_for(p);
  auto* const before = static_cast<double*>(exec.workspace);  // [segments, tiles, tile] if there are several
  const std::int64_t per_segment = plan.tiles * plan.tile, items = plan.tiles * plan.segments;
  const std::int64_t grain = std::max<std::int64_t>(1, kGrain / (plan.segment * plan.tile));
  const auto of = [&](std::int64_t item) {
    return before + item / plan.tiles * per_segment + item % plan.tiles * plan.tile;
  };
  if (plan.segments > 1) {
    parallel_for(*exec.pool, items - plan.tiles, grain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t item = begin; item < end; ++item)
        total_of<Op>(piece_at(p, plan, item % plan.tiles, item / plan.tiles), of(item + plan.tiles));
    });
    std::fill(before, before + per_segment, Op::kIdentity);
    for (std::int64_t i = per_segment; i < plan.segments * per_segment; ++i)
      before[i] = Op::combine(before[i - per_segment], before[i]);
  }
  parallel_for(*exec.pool, items, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t item = begin; item < end; ++item) {
      const Piece piece = piece_at(p, plan, item % plan.tiles, item / plan.tiles);
      double acc[kTile];
      if (plan.segments > 1)
        std::copy_n(of(item), piece.width, acc);
      else
        std::fill(acc, acc + piece.width, Op::kIdentity);
      if (p.inner == 1)
        scan_row<Op>(piece, acc[0]);
      else
        scan_columns<Op>(piece, acc);
    }
  });
}

}  // namespace

std::size_t scan_cpu_workspace(const ScanProblem& p) {
  const Plan plan = plan_for(p);
  if (plan.segments == 1) return 0;
  return static_cast<std::size_t>(plan.segments * plan.tiles * plan.tile) * sizeof(double);
}

void scan_cpu(const ScanProblem& p, const Exec& exec) {
  if (p.function == ScanFunction::sum)
    run<Sum>(p, exec);
  else
    run<Prod>(p, exec);
}

}  // namespace gpunn
