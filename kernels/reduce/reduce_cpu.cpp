// f32 on the CPU. Sums and maxima are trees over the flat index of the reduced dimensions: leaves of some
// hundred elements by vectors, halves joined above them, so that the error of a sum grows like log(K)·eps and
// the tree depends on sizes only.
//
// Two shapes of leaf: along a row (the reduced dimensions are contiguous, or gathered), and across rows for a
// tile of columns (the kept dimension is contiguous: bias gradients). Few large outputs are cut into segments
// whose results go through the workspace. Variances and logsumexp read x twice: first for what to subtract.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "gpunn/core/cpu_pool.h"
#include "gpunn/core/detail/strided.h"
#include "gpunn/kernels/reduce/reduce_impl.h"
#include "gpunn/kernels/reduce/reduce_leaves_impl.h"

namespace gpunn {

namespace {

constexpr std::int64_t kRowLeaf = 1024;   // elements
constexpr std::int64_t kColumnLeaf = 32;  // rows
constexpr std::int64_t kTile = 256;       // columns; its accumulators take 1 KiB per level of the tree
constexpr std::int64_t kGrain = 1 << 15;  // elements per chunk
constexpr int kFewItems = 16;             // below so many independent pieces, long reductions are cut

std::int64_t offset_of(const ReduceDims& d, std::int64_t flat) {
  std::int64_t offset = 0;
  for (int i = d.rank - 1; i > 0; --i) {
    offset += flat % d.shape[i] * d.strides[i];
    flat /= d.shape[i];
  }
  return offset + flat * d.strides[0];
}

/// How the work is cut; a function of the problem's sizes alone.
struct Plan {
  bool columns;
  std::int64_t outputs, length;  // length: elements per output
  std::int64_t width,
      tiles;  // extent of the contiguous kept dimension, its tiles (1, outputs without columns)
  std::int64_t segments, segment;  // pieces per output and their length
};

Plan plan_for(const ReduceProblem& p) {
  Plan plan{};
  plan.outputs = numel_of(p.kept);
  plan.length = numel_of(p.reduced);
  const int last = p.kept.rank - 1;
  plan.columns =
      p.kept.strides[last] == 1 && p.kept.shape[last] >= 8 && p.reduced.strides[p.reduced.rank - 1] != 1;
  plan.width = plan.columns ? p.kept.shape[last] : 1;
  plan.tiles = plan.columns ? plan.outputs / plan.width * ((plan.width + kTile - 1) / kTile) : plan.outputs;
  plan.segment = 2 * kGrain / std::min(plan.width, kTile);
  if (plan.tiles >= kFewItems || plan.length <= plan.segment) plan.segment = plan.length;
  plan.segments = (plan.length + plan.segment - 1) / plan.segment;
  return plan;
}

/// The first half of a tree over n elements: a whole number of leaves.
std::int64_t first_half(std::int64_t n, std::int64_t leaf) { return (n / 2 + leaf - 1) / leaf * leaf; }

/// Reduces flat elements [begin, begin + n) of the reduced dimensions, n >= 1.
float row_tree(const ReduceLeaves& leaves, const float* x, const ReduceDims& d, std::int64_t begin,
               std::int64_t n, ReduceShift s) {
  if (n > kRowLeaf) {
    const std::int64_t half = first_half(n, kRowLeaf);
    const float low = row_tree(leaves, x, d, begin, half, s);
    return leaves.combine(low, row_tree(leaves, x, d, begin + half, n - half, s));
  }
  if (d.rank == 1 && d.strides[0] == 1) return leaves.row(x + begin, static_cast<std::size_t>(n), s);
  float buffer[kRowLeaf];
  float* out = buffer;
  const std::int64_t stride = d.strides[d.rank - 1];
  detail::walk<1>(d.rank, d.shape, {d.strides}, begin, begin + n,
                  [&](std::int64_t m, const std::int64_t(&at)[1]) {
                    for (std::int64_t i = 0; i < m; ++i) *out++ = x[at[0] + i * stride];
                  });
  return leaves.row(buffer, static_cast<std::size_t>(n), s);
}

/// The same for `width` <= kTile neighbouring columns at once.
void column_tree(const ReduceLeaves& leaves, const float* x, const ReduceDims& d, std::int64_t begin,
                 std::int64_t n, ReduceShift s, float* acc, std::int64_t width) {
  if (n > kColumnLeaf) {
    const std::int64_t half = first_half(n, kColumnLeaf);
    column_tree(leaves, x, d, begin, half, s, acc, width);
    float other[kTile];
    column_tree(leaves, x, d, begin + half, n - half, s, other, width);
    leaves.merge(acc, other, static_cast<std::size_t>(width));
    return;
  }
  std::int64_t offsets[kColumnLeaf];
  for (std::int64_t r = 0; r < n; ++r) offsets[r] = offset_of(d, begin + r);
  leaves.columns(x, offsets, static_cast<std::size_t>(n), s, acc, static_cast<std::size_t>(width));
}

/// A tile of columns: where it starts among the outputs, and how wide it is.
struct Tile {
  std::int64_t output, width;
};
Tile tile_at(const Plan& plan, std::int64_t index) {
  const std::int64_t per_row = (plan.width + kTile - 1) / kTile;
  const std::int64_t column = index % per_row * kTile;
  return {index / per_row * plan.width + column, std::min(kTile, plan.width - column)};
}

std::int64_t items_per_chunk(std::int64_t elements_per_item) {
  return std::max<std::int64_t>(1, kGrain / std::max<std::int64_t>(1, elements_per_item));
}

bool in_two_passes(ReduceFunction f) {
  return f == ReduceFunction::var || f == ReduceFunction::std || f == ReduceFunction::logsumexp;
}

/// One reduction of all of x: `leaf` over its elements, `join` over the results of segments.
struct Pass {
  ReduceLeaf leaf, join;
  const float* shift;  // [outputs] or null
  float* segments;     // [plan.segments, outputs] while there are several segments
  float* y;            // [outputs]
};

/// y[o] = finish(o, the reduction)
template <class Finish>
void run_pass(const ReduceProblem& p, const Plan& plan, const Exec& exec, const Pass& pass, Finish finish) {
  const ReduceLeaves leaves = reduce_leaves(pass.leaf);
  const auto* x = static_cast<const float*>(p.x);
  const bool whole = plan.segments == 1;
  float* out = whole ? pass.y : pass.segments;
  const std::int64_t items = plan.tiles * plan.segments;
  const std::int64_t per_item = plan.segment * (plan.columns ? std::min(plan.width, kTile) : 1);
  parallel_for(*exec.pool, items, items_per_chunk(per_item), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t item = begin; item < end; ++item) {
      const std::int64_t segment = item / plan.tiles, from = segment * plan.segment;
      const std::int64_t n = std::min(plan.segment, plan.length - from);
      const Tile tile = plan.columns ? tile_at(plan, item % plan.tiles) : Tile{item % plan.tiles, 1};
      const float* base = x + offset_of(p.kept, tile.output);
      const ReduceShift shift{base, pass.shift ? pass.shift + tile.output : nullptr};
      float* to = out + segment * plan.outputs + tile.output;
      float acc[kTile];
      if (plan.columns)
        column_tree(leaves, base, p.reduced, from, n, shift, acc, tile.width);
      else
        acc[0] = row_tree(leaves, base, p.reduced, from, n, shift);
      for (std::int64_t c = 0; c < tile.width; ++c) to[c] = whole ? finish(tile.output + c, acc[c]) : acc[c];
    }
  });
  if (whole) return;
  const ReduceLeaves join = reduce_leaves(pass.join);
  const ReduceDims segments{1, {plan.segments}, {plan.outputs}};
  for (std::int64_t o = 0; o < plan.outputs; ++o)
    pass.y[o] = finish(o, row_tree(join, out + o, segments, 0, plan.segments, {}));
}

/// var, std, logsumexp: the mean or the maximum first, then what lies around it. The mean is relative to the
/// first element, because its own rounding would show in a small variance around a large mean.
void reduce_in_two_passes(const ReduceProblem& p, const Plan& plan, const Exec& exec) {
  float* const shift = static_cast<float*>(exec.workspace);
  float* const segments = shift + plan.outputs;
  auto* y = static_cast<float*>(p.y);
  if (p.function == ReduceFunction::logsumexp) {
    // inf - inf would be NaN
    run_pass(p, plan, exec, {ReduceLeaf::max, ReduceLeaf::max, nullptr, segments, shift},
             [](std::int64_t, float most) { return std::isinf(most) ? 0 : most; });
    return run_pass(p, plan, exec, {ReduceLeaf::sum_exponential, ReduceLeaf::sum, shift, segments, y},
                    [&](std::int64_t o, float total) { return shift[o] + std::log(total); });
  }
  const auto length = static_cast<float>(plan.length);
  const auto divisor = static_cast<float>(variance_divisor(plan.length, p.parameter));
  const bool root = p.function == ReduceFunction::std;
  run_pass(p, plan, exec, {ReduceLeaf::sum_offset, ReduceLeaf::sum, nullptr, segments, shift},
           [&](std::int64_t, float total) { return total / length; });
  run_pass(p, plan, exec, {ReduceLeaf::sum_deviation, ReduceLeaf::sum, shift, segments, y},
           [&](std::int64_t, float total) { return root ? std::sqrt(total / divisor) : total / divisor; });
}

void reduce_in_one_pass(const ReduceProblem& p, const Plan& plan, const Exec& exec) {
  Pass pass{ReduceLeaf::sum, ReduceLeaf::sum, nullptr, static_cast<float*>(exec.workspace),
            static_cast<float*>(p.y)};
  const auto plain = [](std::int64_t, float v) { return v; };
  if (p.function == ReduceFunction::mean) {
    const auto length = static_cast<float>(plan.length);
    return run_pass(p, plan, exec, pass, [length](std::int64_t, float total) { return total / length; });
  }
  if (p.function == ReduceFunction::prod) pass.leaf = pass.join = ReduceLeaf::prod;
  if (p.function == ReduceFunction::max) pass.leaf = pass.join = ReduceLeaf::max;
  if (p.function == ReduceFunction::min) pass.leaf = pass.join = ReduceLeaf::min;
  if (p.function == ReduceFunction::norm) {
    const NormTerm term = norm_term(p.parameter);
    if (term == NormTerm::magnitude) pass.leaf = ReduceLeaf::sum_magnitude;
    if (term == NormTerm::largest) pass.leaf = ReduceLeaf::max_magnitude, pass.join = ReduceLeaf::max;
    if (term == NormTerm::least) pass.leaf = ReduceLeaf::min_magnitude, pass.join = ReduceLeaf::min;
    if (term == NormTerm::square) {
      pass.leaf = ReduceLeaf::sum_square;
      return run_pass(p, plan, exec, pass, [](std::int64_t, float total) { return std::sqrt(total); });
    }
  }
  run_pass(p, plan, exec, pass, plain);
}

/// NaN is better than everything else.
bool better(float v, float best, bool least) {
  return (least ? v < best : v > best) || (v != v && best == best);
}

/// Best values and their positions for a tile of columns, row after row.
void columns_with_indices(const ReduceProblem& p, const float* base, Tile tile, std::int64_t length,
                          float* values, std::int64_t* indices) {
  const bool least = wants_least(p.function);
  std::memcpy(values, base, static_cast<std::size_t>(tile.width) * sizeof(float));
  std::fill(indices, indices + tile.width, 0);
  for (std::int64_t r = 1; r < length; ++r) {
    const float* row = base + offset_of(p.reduced, r);
    for (std::int64_t c = 0; c < tile.width; ++c) {
      if (!better(row[c], values[c], least)) continue;
      values[c] = row[c];
      indices[c] = r;
    }
  }
}

/// Value and position along one row of any strides.
float row_with_index(const ReduceProblem& p, const ReduceLeaves& leaves, const float* base,
                     std::int64_t length, std::int64_t& index) {
  if (p.reduced.rank == 1 && p.reduced.strides[0] == 1) {
    const float best = row_tree(leaves, base, p.reduced, 0, length, {});
    index = find_first(base, length, best);
    return best;
  }
  const bool least = wants_least(p.function);
  float best = 0;
  index = -1;
  std::int64_t i = 0;
  const std::int64_t stride = p.reduced.strides[p.reduced.rank - 1];
  detail::walk<1>(p.reduced.rank, p.reduced.shape, {p.reduced.strides}, 0, length,
                  [&](std::int64_t n, const std::int64_t(&at)[1]) {
                    for (std::int64_t j = 0; j < n; ++j, ++i) {
                      const float v = base[at[0] + j * stride];
                      if (index < 0 || better(v, best, least)) best = v, index = i;
                    }
                  });
  return best;
}

void reduce_indices(const ReduceProblem& p, const Plan& plan, const Exec& exec) {
  const ReduceLeaves leaves = reduce_leaves(wants_least(p.function) ? ReduceLeaf::min : ReduceLeaf::max);
  const auto* x = static_cast<const float*>(p.x);
  auto* y = gives_values(p.function) ? static_cast<float*>(p.y) : nullptr;
  const std::int64_t per_item = plan.length * (plan.columns ? std::min(plan.width, kTile) : 1);
  parallel_for(*exec.pool, plan.tiles, items_per_chunk(per_item), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t item = begin; item < end; ++item) {
      const Tile tile = plan.columns ? tile_at(plan, item) : Tile{item, 1};
      const float* base = x + offset_of(p.kept, tile.output);
      float values[kTile];
      std::int64_t* indices = p.indices + tile.output;
      if (plan.columns)
        columns_with_indices(p, base, tile, plan.length, values, indices);
      else
        values[0] = row_with_index(p, leaves, base, plan.length, *indices);
      if (y) std::copy(values, values + tile.width, y + tile.output);
    }
  });
}

}  // namespace

std::size_t reduce_cpu_workspace(const ReduceProblem& p) {
  if (gives_indices(p.function)) return 0;
  const Plan plan = plan_for(p);
  const std::int64_t segments = plan.segments > 1 ? plan.segments : 0;
  return static_cast<std::size_t>((segments + in_two_passes(p.function)) * plan.outputs) * sizeof(float);
}

void reduce_cpu(const ReduceProblem& p, const Exec& exec) {
  const Plan plan = plan_for(p);
  if (gives_indices(p.function))
    reduce_indices(p, plan, exec);
  else if (in_two_passes(p.function))
    reduce_in_two_passes(p, plan, exec);
  else
    reduce_in_one_pass(p, plan, exec);
}

}  // namespace gpunn
