// f32 on the CPU. Sums and maxima are trees over the flat index of the reduced dimensions: leaves of some
// hundred elements by vectors, halves joined above them, so that the error of a sum grows like log(K)·eps and
// the tree depends on sizes only.
//
// Two shapes of leaf: along a row (the reduced dimensions are contiguous, or gathered), and across rows for a
// tile of columns (the kept dimension is contiguous: bias gradients). Few large outputs are cut into segments
// whose results go through the workspace.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "gpunn/kernels/reduce/reduce_impl.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "gpunn/kernels/reduce/reduce_cpu.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#ifndef GPUNN_REDUCE_LEAVES_
#define GPUNN_REDUCE_LEAVES_
namespace gpunn {
/// What a target offers, for addition or maximum.
struct ReduceLeaves {
  float (*row)(const float* x, std::size_t n);
  /// acc[c] = x[offsets[0] + c] op … op x[offsets[rows - 1] + c], rows >= 1
  void (*columns)(const float* x, const std::int64_t* offsets, std::size_t rows, float* acc,
                  std::size_t width);
  /// acc[c] = acc[c] op other[c]
  void (*merge)(float* acc, const float* other, std::size_t width);
  float (*combine)(float a, float b);
};
}  // namespace gpunn
#endif

HWY_BEFORE_NAMESPACE();
namespace gpunn {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using Tag = hn::ScalableTag<float>;
using Vector = hn::Vec<Tag>;
constexpr std::size_t kMaxLanes = HWY_MAX_BYTES / sizeof(float);

struct SumLeaf {
  static constexpr float kIdentity = 0.0f;
  static HWY_INLINE Vector combine(Vector a, Vector b) { return hn::Add(a, b); }
  static float combine(float a, float b) { return a + b; }
};
/// NaN wins, whichever side it is on.
struct MaxLeaf {
  static constexpr float kIdentity = -HUGE_VALF;
  static HWY_INLINE Vector combine(Vector a, Vector b) {
    return hn::IfThenElse(hn::Or(hn::Gt(b, a), hn::IsNaN(b)), b, a);
  }
  static float combine(float a, float b) { return b > a || b != b ? b : a; }
};

template <class Op>
float Row(const float* x, std::size_t n) {
  const Tag d;
  const std::size_t lanes = hn::Lanes(d);
  const Vector identity = hn::Set(d, Op::kIdentity);
  Vector a0 = identity, a1 = identity, a2 = identity, a3 = identity;
  std::size_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    a0 = Op::combine(a0, hn::LoadU(d, x + i));
    a1 = Op::combine(a1, hn::LoadU(d, x + i + lanes));
    a2 = Op::combine(a2, hn::LoadU(d, x + i + 2 * lanes));
    a3 = Op::combine(a3, hn::LoadU(d, x + i + 3 * lanes));
  }
  for (; i + lanes <= n; i += lanes) a0 = Op::combine(a0, hn::LoadU(d, x + i));
  HWY_ALIGN float lane[kMaxLanes];
  if (i < n) {
    hn::Store(identity, d, lane);
    std::memcpy(lane, x + i, (n - i) * sizeof(float));
    a1 = Op::combine(a1, hn::Load(d, lane));
  }
  hn::Store(Op::combine(Op::combine(a0, a1), Op::combine(a2, a3)), d, lane);
  for (std::size_t half = lanes / 2; half > 0; half /= 2)
    for (std::size_t j = 0; j < half; ++j) lane[j] = Op::combine(lane[j], lane[j + half]);
  return lane[0];
}

template <class Op>
void Columns(const float* x, const std::int64_t* offsets, std::size_t rows, float* acc, std::size_t width) {
  const Tag d;
  const std::size_t lanes = hn::Lanes(d);
  std::memcpy(acc, x + offsets[0], width * sizeof(float));
  std::size_t r = 1;
  for (; r + 4 <= rows; r += 4) {
    const float* x0 = x + offsets[r];
    const float* x1 = x + offsets[r + 1];
    const float* x2 = x + offsets[r + 2];
    const float* x3 = x + offsets[r + 3];
    std::size_t c = 0;
    for (; c + lanes <= width; c += lanes) {
      const Vector low = Op::combine(hn::LoadU(d, x0 + c), hn::LoadU(d, x1 + c));
      const Vector high = Op::combine(hn::LoadU(d, x2 + c), hn::LoadU(d, x3 + c));
      hn::StoreU(Op::combine(hn::LoadU(d, acc + c), Op::combine(low, high)), d, acc + c);
    }
    for (; c < width; ++c)
      acc[c] = Op::combine(acc[c], Op::combine(Op::combine(x0[c], x1[c]), Op::combine(x2[c], x3[c])));
  }
  for (; r < rows; ++r)
    for (std::size_t c = 0; c < width; ++c)
      acc[c] = Op::combine(acc[c], x[offsets[r] + static_cast<std::int64_t>(c)]);
}

template <class Op>
void Merge(float* acc, const float* other, std::size_t width) {
  const Tag d;
  const std::size_t lanes = hn::Lanes(d);
  std::size_t c = 0;
  for (; c + lanes <= width; c += lanes)
    hn::StoreU(Op::combine(hn::LoadU(d, acc + c), hn::LoadU(d, other + c)), d, acc + c);
  for (; c < width; ++c) acc[c] = Op::combine(acc[c], other[c]);
}

template <class Op>
constexpr ReduceLeaves kLeaves{Row<Op>, Columns<Op>, Merge<Op>, Op::combine};

ReduceLeaves ChooseLeaves(bool maximum) { return maximum ? kLeaves<MaxLeaf> : kLeaves<SumLeaf>; }

/// Index of the first element that is `value`, or the first NaN; one of them exists.
std::int64_t FindFirst(const float* x, std::int64_t n, float value) {
  const Tag d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const Vector wanted = hn::Set(d, value);
  std::int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const Vector v = hn::LoadU(d, x + i);
    const auto found = hn::FindFirstTrue(d, hn::Or(hn::Eq(v, wanted), hn::IsNaN(v)));
    if (found >= 0) return i + static_cast<std::int64_t>(found);
  }
  while (i < n - 1 && !(x[i] == value || x[i] != x[i])) ++i;
  return i;
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace gpunn
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "gpunn/core/cpu_pool.h"
#include "gpunn/core/detail/strided.h"

namespace gpunn {

namespace {

HWY_EXPORT(ChooseLeaves);
HWY_EXPORT(FindFirst);

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
               std::int64_t n) {
  if (n > kRowLeaf) {
    const std::int64_t half = first_half(n, kRowLeaf);
    const float low = row_tree(leaves, x, d, begin, half);
    return leaves.combine(low, row_tree(leaves, x, d, begin + half, n - half));
  }
  if (d.rank == 1 && d.strides[0] == 1) return leaves.row(x + begin, static_cast<std::size_t>(n));
  float buffer[kRowLeaf];
  float* out = buffer;
  const std::int64_t stride = d.strides[d.rank - 1];
  detail::walk<1>(d.rank, d.shape, {d.strides}, begin, begin + n,
                  [&](std::int64_t m, const std::int64_t(&at)[1]) {
                    for (std::int64_t i = 0; i < m; ++i) *out++ = x[at[0] + i * stride];
                  });
  return leaves.row(buffer, static_cast<std::size_t>(n));
}

/// The same for `width` <= kTile neighbouring columns at once.
void column_tree(const ReduceLeaves& leaves, const float* x, const ReduceDims& d, std::int64_t begin,
                 std::int64_t n, float* acc, std::int64_t width) {
  if (n > kColumnLeaf) {
    const std::int64_t half = first_half(n, kColumnLeaf);
    column_tree(leaves, x, d, begin, half, acc, width);
    float other[kTile];
    column_tree(leaves, x, d, begin + half, n - half, other, width);
    leaves.merge(acc, other, static_cast<std::size_t>(width));
    return;
  }
  std::int64_t offsets[kColumnLeaf];
  for (std::int64_t r = 0; r < n; ++r) offsets[r] = offset_of(d, begin + r);
  leaves.columns(x, offsets, static_cast<std::size_t>(n), acc, static_cast<std::size_t>(width));
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

void reduce_values(const ReduceProblem& p, const Plan& plan, const Exec& exec) {
  const bool adds = p.function == ReduceFunction::sum || p.function == ReduceFunction::mean;
  const ReduceLeaves leaves = HWY_DYNAMIC_DISPATCH(ChooseLeaves)(!adds);
  const auto* x = static_cast<const float*>(p.x);
  auto* y = static_cast<float*>(p.y);
  // [segments, outputs] while there are several segments
  float* out = plan.segments > 1 ? static_cast<float*>(exec.workspace) : y;
  const float divisor = p.function == ReduceFunction::mean ? static_cast<float>(plan.length) : 1.0f;
  const float first_divisor = plan.segments > 1 ? 1.0f : divisor;
  const std::int64_t items = plan.tiles * plan.segments;
  const std::int64_t per_item = plan.segment * (plan.columns ? std::min(plan.width, kTile) : 1);
  parallel_for(*exec.pool, items, items_per_chunk(per_item), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t item = begin; item < end; ++item) {
      const std::int64_t segment = item / plan.tiles, from = segment * plan.segment;
      const std::int64_t n = std::min(plan.segment, plan.length - from);
      const Tile tile = plan.columns ? tile_at(plan, item % plan.tiles) : Tile{item % plan.tiles, 1};
      const float* base = x + offset_of(p.kept, tile.output);
      float* to = out + segment * plan.outputs + tile.output;
      if (!plan.columns) {
        *to = row_tree(leaves, base, p.reduced, from, n) / first_divisor;
        continue;
      }
      float acc[kTile];
      column_tree(leaves, base, p.reduced, from, n, acc, tile.width);
      for (std::int64_t c = 0; c < tile.width; ++c) to[c] = acc[c] / first_divisor;
    }
  });
  if (plan.segments == 1) return;
  const ReduceDims segments{1, {plan.segments}, {plan.outputs}};
  for (std::int64_t o = 0; o < plan.outputs; ++o)
    y[o] = row_tree(leaves, out + o, segments, 0, plan.segments) / divisor;
}

/// Best values and their positions for a tile of columns, row after row.
void columns_with_indices(const ReduceProblem& p, const float* base, Tile tile, std::int64_t length,
                          float* values, std::int64_t* indices) {
  std::memcpy(values, base, static_cast<std::size_t>(tile.width) * sizeof(float));
  std::fill(indices, indices + tile.width, 0);
  for (std::int64_t r = 1; r < length; ++r) {
    const float* row = base + offset_of(p.reduced, r);
    for (std::int64_t c = 0; c < tile.width; ++c) {
      if (!(row[c] > values[c] || (row[c] != row[c] && values[c] == values[c]))) continue;
      values[c] = row[c];
      indices[c] = r;
    }
  }
}

/// Value and position along one row of any strides.
float row_with_index(const ReduceProblem& p, const ReduceLeaves& leaves, const float* base,
                     std::int64_t length, std::int64_t& index) {
  if (p.reduced.rank == 1 && p.reduced.strides[0] == 1) {
    const float best = row_tree(leaves, base, p.reduced, 0, length);
    index = HWY_DYNAMIC_DISPATCH(FindFirst)(base, length, best);
    return best;
  }
  float best = 0;
  index = -1;
  std::int64_t i = 0;
  const std::int64_t stride = p.reduced.strides[p.reduced.rank - 1];
  detail::walk<1>(p.reduced.rank, p.reduced.shape, {p.reduced.strides}, 0, length,
                  [&](std::int64_t n, const std::int64_t(&at)[1]) {
                    for (std::int64_t j = 0; j < n; ++j, ++i) {
                      const float v = base[at[0] + j * stride];
                      if (index < 0 || v > best || (v != v && best == best)) best = v, index = i;
                    }
                  });
  return best;
}

void reduce_indices(const ReduceProblem& p, const Plan& plan, const Exec& exec) {
  const ReduceLeaves leaves = HWY_DYNAMIC_DISPATCH(ChooseLeaves)(true);
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
  return plan.segments > 1 ? static_cast<std::size_t>(plan.segments * plan.outputs) * sizeof(float) : 0;
}

void reduce_cpu(const ReduceProblem& p, const Exec& exec) {
  const Plan plan = plan_for(p);
  if (gives_indices(p.function))
    reduce_indices(p, plan, exec);
  else
    reduce_values(p, plan, exec);
}

}  // namespace gpunn
#endif  // HWY_ONCE
