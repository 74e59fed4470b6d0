// Attention forward, in f32 on the CPU. A task takes some rows of a key head through blocks of its keys: a
// block is turned once for the products with q, and copied, so that both products read whole lines; then,
// tile of rows by tile, scores, weights and sums of values follow each other while the scores are in L1.
// Few rows read keys and values as they lie. What a task's rows and keys are depends on sizes only; where
// keys are split between tasks (few rows, many keys), parts are added up in order.
#include <cmath>
#include <limits>

#include "gpunn/kernels/attention/attention_cpu_impl.h"

namespace gpunn {
namespace {

using namespace detail;

constexpr float kLeast = -std::numeric_limits<float>::infinity();
constexpr std::int64_t kTileRows = 24;     // 24 x 256 scores: 24 KiB
constexpr std::int64_t kDirectRows = 8;    // up to here keys are not worth turning
constexpr std::int64_t kTasks = 32;        // wanted at least
constexpr std::int64_t kLeastRows = 96;    // of a task, so that turning keys stays cheap
constexpr std::int64_t kMostRows = 768;    // of a task, so that its sums stay in L2
constexpr std::int64_t kLeastKeys = 1024;  // of a part

struct Plan {
  std::int64_t heads, rows, chunk, chunks;  // chunks of rows
  std::int64_t keys, part, parts;           // parts of keys
  std::int64_t block;                       // keys
  std::int64_t width, q_ld;
  bool direct;

  std::int64_t tasks() const { return heads * chunks * parts; }
  bool one_block() const { return std::min(part, keys) <= block; }
};

Plan plan_of(const AttentionProblem& p) {
  const AttentionShape shape(p);
  const AttentionSizes& s = p.sizes;
  Plan plan{};
  plan.heads = s.B * s.Hkv;
  plan.rows = shape.rows();
  plan.direct = plan.rows <= kDirectRows;
  const std::int64_t wanted = attention_ceil(kTasks, plan.heads);
  const std::int64_t chunk = std::clamp(attention_ceil(plan.rows, wanted), kLeastRows, kMostRows);
  plan.chunk = attention_ceil(chunk, kTileRows) * kTileRows;
  plan.chunks = attention_ceil(plan.rows, plan.chunk);
  plan.keys = s.Tk;
  const std::int64_t parts =
      std::clamp<std::int64_t>(attention_ceil(wanted, plan.chunks), 1, attention_ceil(s.Tk, kLeastKeys));
  plan.part = attention_ceil(attention_ceil(s.Tk, parts), kAttentionKeys) * kAttentionKeys;
  plan.parts = attention_ceil(s.Tk, plan.part);
  const std::int64_t panel = AttentionPanels::panel();
  plan.block = std::min(kAttentionKeys, attention_ceil(s.Tk, panel) * panel);
  plan.width = attention_padded(s.Dv);
  plan.q_ld = attention_padded(s.D);
  return plan;
}

/// One thread's memory.
struct Scratch {
  float *keys, *values, *q, *scores, *sums, *max, *sum;
  AttentionTileExtras extras;
};

Scratch scratch_of(const AttentionProblem& p, const Plan& plan, AttentionScratch& from) {
  const std::int64_t tile = plan.direct ? kDirectRows : kTileRows;
  const std::int64_t chunk = std::min(plan.chunk, attention_ceil(plan.rows, tile) * tile);
  Scratch s{};
  if (!plan.direct) s.keys = from.take(plan.block * p.sizes.D);
  s.values = from.take(plan.block * plan.width);
  s.q = from.take(tile * plan.q_ld);
  s.scores = from.take(tile * plan.block);
  s.sums = from.take((plan.one_block() ? tile : chunk) * plan.width);
  s.max = from.take(chunk);
  s.sum = from.take(chunk);
  if (AttentionShape(p).biased()) s.extras.bias = from.take(tile * plan.block);
  if (p.dropout.on) s.extras.factors = from.take(tile * plan.block);
  return s;
}

/// What tasks leave of a row when the keys are in parts: [heads, parts, rows].
struct Parts {
  float *sums, *max, *sum;
};

Parts parts_of(const Plan& plan, AttentionScratch& from) {
  if (plan.parts == 1) return {};
  const std::int64_t rows = plan.heads * plan.parts * plan.rows;
  return {from.take(rows * plan.width), from.take(rows), from.take(rows)};
}

struct Forward {
  const AttentionProblem& p;
  AttentionShape shape;
  Plan plan;
  Parts parts;
  float* slots;
  std::int64_t slot_floats;

  Forward(const AttentionProblem& problem, float* workspace);
  void task(std::int64_t index, std::int64_t slot) const;
  void add_parts(std::int64_t index) const;
  void finish(const AttentionHead& head, const AttentionTileRows& rows, std::int64_t row, const float* sums,
              const float* max, const float* sum) const;
};

Forward::Forward(const AttentionProblem& problem, float* workspace)
    : p(problem), shape(problem), plan(plan_of(problem)) {
  AttentionScratch all(workspace), slot(nullptr);
  parts = parts_of(plan, all);
  scratch_of(p, plan, slot);
  slot_floats = slot.used();
  slots = all.take(slot_floats * attention_slots(plan.tasks()));
}

/// A task's keys, a block at a time.
class Block {
 public:
  Block(const Forward& f, const AttentionHead& head, const Scratch& scratch, std::int64_t first,
        std::int64_t count)
      : f_(f), head_(head), scratch_(scratch), first_(first), count_(count) {}

  /// Sums of the weighted values of a tile's rows are added to `sums`, or put there.
  void add(const AttentionTileRows& rows, float* sums, float* max, float* sum);

 private:
  void load_keys();
  void load_values();
  void scores(const AttentionTileRows& rows, const AttentionSeen& seen);
  void direct_scores(const float* q, std::int64_t q_ld, std::int64_t rows, AttentionColumns columns);
  void add_values(std::int64_t rows, const AttentionSeen& seen, float* sums);

  const Forward& f_;
  const AttentionHead& head_;
  const Scratch& scratch_;
  std::int64_t first_, count_;
  bool keys_loaded_ = false, values_loaded_ = false, values_finite_ = true;
};

void Block::load_keys() {
  const AttentionPanels panels{scratch_.keys, f_.p.sizes.D};
  for_each_key_run(f_.p, head_, first_, count_,
                   [&](std::int64_t j, std::int64_t n, const float* k, const float*) {
                     attention_turn(k, f_.p.k_layout.time, j, n, panels);
                   });
  keys_loaded_ = true;
}

void Block::load_values() {
  const std::int64_t width = f_.plan.width;
  for_each_key_run(f_.p, head_, first_, count_,
                   [&](std::int64_t j, std::int64_t n, const float*, const float* v) {
                     values_finite_ &= attention_kernels().copy(v, f_.p.v_layout.time, n, f_.p.sizes.Dv,
                                                                scratch_.values + j * width, width);
                   });
  values_loaded_ = true;
}

void Block::direct_scores(const float* q, std::int64_t q_ld, std::int64_t rows, AttentionColumns columns) {
  constexpr std::int64_t kKeys = 64;
  const std::int64_t D = f_.p.sizes.D, k_ld = f_.p.k_layout.time;
  float dots[kKeys * kDotSide];
  for_each_key_run(f_.p, head_, first_ + columns.begin, columns.count(),
                   [&](std::int64_t j, std::int64_t n, const float* k, const float*) {
                     for (std::int64_t at = 0; at < n; at += kKeys)
                       for (std::int64_t r = 0; r < rows; r += kDotSide) {
                         const std::int64_t keys = std::min(n - at, kKeys);
                         const int side = static_cast<int>(std::min<std::int64_t>(rows - r, kDotSide));
                         gemm_kernels().dot(k + at * k_ld, k_ld, keys, q + r * q_ld, q_ld, side, D, dots);
                         for (int s = 0; s < side; ++s) {
                           float* const row =
                               scratch_.scores + (r + s) * f_.plan.block + columns.begin + j + at;
                           for (std::int64_t i = 0; i < keys; ++i) row[i] = dots[i * kDotSide + s];
                         }
                       }
                   });
}

void Block::scores(const AttentionTileRows& rows, const AttentionSeen& seen) {
  const AttentionProblem& p = f_.p;
  const float* q = attention_in_place(f_.shape, head_, rows, p.q, p.q_layout);
  const std::int64_t q_ld = q ? p.q_layout.time : f_.plan.q_ld;
  if (!q) {
    attention_gather(f_.shape, head_, rows, p.q, p.q_layout, p.sizes.D, scratch_.q, q_ld);
    q = scratch_.q;
  }
  if (f_.plan.direct) return direct_scores(q, q_ld, rows.count, seen.all);
  if (!keys_loaded_) load_keys();
  attention_scores(q, q_ld, rows.count, {scratch_.keys, p.sizes.D}, seen.all, scratch_.scores, f_.plan.block);
}

void Block::add_values(std::int64_t rows, const AttentionSeen& seen, float* sums) {
  const std::int64_t width = f_.plan.width;
  const bool hides = !seen.alike || f_.p.mask.kind != AttentionMaskKind::none || f_.p.dropout.on;
  AttentionProduct product{};
  product.rows = rows;
  product.a_ld = f_.plan.block;
  product.width = product.c_ld = width;
  product.c = sums;
  product.accumulate = !f_.plan.one_block();
  // A value that is hidden and not finite would count: those are looked for while they are copied. For many
  // rows, values that are far apart are copied, too: their lines would meet in few places of L1.
  const bool near = f_.plan.direct || f_.p.v_layout.time == width;
  if (near && !hides && width == f_.p.sizes.Dv) {
    for_each_key_run(f_.p, head_, first_ + seen.all.begin, seen.all.count(),
                     [&](std::int64_t j, std::int64_t n, const float*, const float* v) {
                       product.K = n;
                       product.a = scratch_.scores + seen.all.begin + j;
                       product.b = v, product.b_ld = f_.p.v_layout.time;
                       attention_product(product);
                       product.accumulate = true;
                     });
    return;
  }
  if (!values_loaded_) load_values();
  product.K = seen.all.count();
  product.a = scratch_.scores + seen.all.begin;
  product.b = scratch_.values + seen.all.begin * width, product.b_ld = width;
  product.skip_zeros = hides && !values_finite_;
  attention_product(product);
}

void Block::add(const AttentionTileRows& rows, float* sums, float* max, float* sum) {
  const AttentionSeen seen = attention_seen(rows, first_, count_);
  if (seen.all.count() <= 0) return;
  float rescale[kAttentionRows];
  scores(rows, seen);
  AttentionTile tile{};
  tile.rows = rows.count;
  tile.ld = f_.plan.block;
  tile.scores = scratch_.scores;
  tile.seen = seen.rows;
  tile.columns = seen.all;
  tile.max = max, tile.sum = sum, tile.rescale = rescale;
  attention_extras(f_.shape, head_, rows, seen, first_, scratch_.extras, tile);
  attention_kernels().forward(tile);
  const std::int64_t width = f_.plan.width;
  for (std::int64_t t = 0; t < rows.count && !f_.plan.one_block(); ++t)
    if (rescale[t] != 1)
      for (std::int64_t i = 0; i < width; ++i) sums[t * width + i] *= rescale[t];
  add_values(rows.count, seen, sums);
}

void Forward::task(std::int64_t index, std::int64_t slot) const {
  const AttentionHead head = attention_head(shape, index / (plan.chunks * plan.parts));
  const std::int64_t part = index % plan.parts, chunk = index / plan.parts % plan.chunks;
  const std::int64_t row0 = chunk * plan.chunk, rows_end = std::min(plan.rows, row0 + plan.chunk);
  AttentionScratch memory(slots + slot * slot_floats);
  Scratch scratch = scratch_of(p, plan, memory);
  if (plan.parts > 1) {
    const std::int64_t at = (index / (plan.chunks * plan.parts) * plan.parts + part) * plan.rows + row0;
    scratch.sums = parts.sums + at * plan.width;
    scratch.max = parts.max + at;
    scratch.sum = parts.sum + at;
  }
  std::fill_n(scratch.max, rows_end - row0, kLeast);
  std::fill_n(scratch.sum, rows_end - row0, 0.0f);
  const bool one_block = plan.one_block();
  if (!one_block) std::fill_n(scratch.sums, (rows_end - row0) * plan.width, 0.0f);
  const std::int64_t first = part * plan.part, keys = std::min(head.n.keys, first + plan.part) - first;
  const std::int64_t blocks = std::max<std::int64_t>(1, attention_ceil(keys, plan.block));
  for (std::int64_t i = 0; i < blocks; ++i) {
    Block block(*this, head, scratch, first + i * plan.block, std::min(plan.block, keys - i * plan.block));
    for (std::int64_t row = row0; row < rows_end;) {
      const AttentionTileRows rows =
          attention_tile_rows(shape, head, row, std::min(kTileRows, rows_end - row));
      float* const sums = scratch.sums + (one_block ? 0 : (row - row0) * plan.width);
      float *const max = scratch.max + (row - row0), *const sum = scratch.sum + (row - row0);
      block.add(rows, sums, max, sum);
      if (i + 1 == blocks && plan.parts == 1) finish(head, rows, row, sums, max, sum);
      row += rows.count;
    }
  }
}

void Forward::finish(const AttentionHead& head, const AttentionTileRows& rows, std::int64_t row,
                     const float* sums, const float* max, const float* sum) const {
  float* y[kAttentionRows];
  for (std::int64_t t = 0; t < rows.count; ++t) {
    const bool there = rows.present(head, t) || !p.rule.q_first;
    y[t] = there ? static_cast<float*>(p.y) +
                       attention_row(p.y_layout, p.rule.q_first, head.b, rows.head[t], rows.query[t])
                 : nullptr;
  }
  AttentionFinish end{};
  end.rows = rows.count, end.cols = p.sizes.Dv;
  end.sums = sums, end.ld = plan.width;
  end.max = max, end.sum = sum;
  end.scale = shape.biased() || !(shape.scale > 0) ? 1.0f : shape.scale;
  end.y = y;
  if (p.lse)
    end.lse = static_cast<float*>(p.lse) + (head.b * p.sizes.Hq + head.kv * shape.group()) * p.sizes.Tq + row;
  attention_kernels().finish(end);
}

// The rows of a chunk from the parts of their keys.
void Forward::add_parts(std::int64_t index) const {
  const AttentionHead head = attention_head(shape, index / plan.chunks);
  const std::int64_t row0 = index % plan.chunks * plan.chunk;
  const double exponent = shape.biased() || !(shape.scale > 0) ? 1 : static_cast<double>(shape.scale);
  for (std::int64_t row = row0; row < std::min(plan.rows, row0 + plan.chunk);) {
    const AttentionTileRows one = attention_tile_rows(shape, head, row, 1);
    const std::int64_t at = index / plan.chunks * plan.parts * plan.rows + row;
    float weights[kTasks], max = kLeast, sum = 0;
    for (std::int64_t i = 0; i < plan.parts; ++i) max = std::max(max, parts.max[at + i * plan.rows]);
    for (std::int64_t i = 0; i < plan.parts; ++i) {
      const float part_sum = parts.sum[at + i * plan.rows], part_max = parts.max[at + i * plan.rows];
      weights[i] = part_sum == 0 ? 0.0f
                   : part_max == max
                       ? 1.0f
                       : static_cast<float>(
                             std::exp((static_cast<double>(part_max) - static_cast<double>(max)) * exponent));
      sum += weights[i] * part_sum;
    }
    float* const sums = parts.sums + at * plan.width;  // of part 0, whose weight is applied first
    for (std::int64_t n = 0; n < plan.width; ++n) {
      float total = 0;
      for (std::int64_t i = 0; i < plan.parts; ++i)
        if (weights[i] != 0) total += weights[i] * sums[i * plan.rows * plan.width + n];
      sums[n] = total;
    }
    finish(head, one, row, sums, &max, &sum);
    row += 1;
  }
}

}  // namespace

const char* attention_fwd_cpu_reason(const AttentionProblem& p) {
  return p.dtype == DType::f32 ? nullptr : "f32 only";
}

std::size_t attention_fwd_cpu_workspace(const AttentionProblem& p) {
  const Plan plan = plan_of(p);
  AttentionScratch all(nullptr), slot(nullptr);
  parts_of(plan, all);
  scratch_of(p, plan, slot);
  all.take(slot.used() * attention_slots(plan.tasks()));
  return static_cast<std::size_t>(all.used()) * sizeof(float);
}

void attention_fwd_cpu(const AttentionProblem& p, const Exec& exec) {
  const Forward forward(p, static_cast<float*>(exec.workspace));
  for_each_task(forward.plan.tasks(), *exec.pool,
                [&](std::int64_t task, std::int64_t slot) { forward.task(task, slot); });
  if (forward.plan.parts == 1) return;
  exec.pool->run(forward.plan.heads * forward.plan.chunks, [&](std::int64_t i) { forward.add_parts(i); });
}

}  // namespace gpunn
