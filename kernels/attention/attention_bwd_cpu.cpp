// Attention backward, in f32 on the CPU. A task takes the keys of a key head, or a part of them, a block at a
// time, and all rows that read them, a tile at a time: weights are computed again from lse, and the five
// products of a tile and a piece of the block follow each other while its operands are in L1 and L2. dk and
// dv of the block are added up in the order of the rows, dq in the order of the keys; what a task is depends
// on sizes only. Where keys are in parts, each has its own dq, and these are added up in order.
#include <limits>

#include "gpunn/kernels/attention/attention_cpu_impl.h"

namespace gpunn {
namespace {

using namespace detail;

constexpr std::int64_t kTileRows = 60;
constexpr std::int64_t kPiece = 64;       // keys that a tile meets at once
constexpr std::int64_t kTasks = 16;       // wanted at least
constexpr std::int64_t kLeastKeys = 128;  // of a part

struct Plan {
  std::int64_t heads, rows;
  std::int64_t keys, part, parts, block;
  std::int64_t q_width, v_width;  // D and Dv in whole vectors

  std::int64_t tasks() const { return heads * parts; }
};

Plan plan_of(const AttentionBackwardProblem& p) {
  const AttentionSizes& s = p.sizes;
  Plan plan{};
  plan.heads = s.B * s.Hkv;
  plan.rows = AttentionShape(p).rows();
  plan.keys = s.Tk;
  const std::int64_t parts =
      std::clamp<std::int64_t>(attention_ceil(kTasks, plan.heads), 1, attention_ceil(s.Tk, kLeastKeys));
  plan.part = attention_ceil(attention_ceil(s.Tk, parts), kLeastKeys) * kLeastKeys;
  plan.parts = attention_ceil(s.Tk, plan.part);
  plan.block = std::min(kAttentionKeys, plan.part);
  plan.q_width = attention_padded(s.D);
  plan.v_width = attention_padded(s.Dv);
  return plan;
}

/// One thread's memory.
struct Scratch {
  float *keys_turned, *values_turned, *keys, *dk, *dv;  // of a block
  float *q, *dy, *dq, *scores, *products;               // of a tile
  float* delta;                                         // [rows]
  AttentionTileExtras extras;
};

Scratch scratch_of(const AttentionBackwardProblem& p, const Plan& plan, AttentionScratch& from) {
  Scratch s{};
  s.keys_turned = from.take(plan.block * p.sizes.D);
  s.values_turned = from.take(plan.block * p.sizes.Dv);
  s.keys = from.take(plan.block * plan.q_width);
  s.dk = from.take(plan.block * plan.q_width);
  s.dv = from.take(plan.block * plan.v_width);
  s.q = from.take(kTileRows * plan.q_width);
  s.dy = from.take(kTileRows * plan.v_width);
  s.dq = from.take(kTileRows * plan.q_width);
  s.scores = from.take(kTileRows * kPiece);
  s.products = from.take(kTileRows * kPiece);
  s.delta = from.take(plan.rows);
  if (AttentionShape(p).biased()) s.extras.bias = from.take(kTileRows * kPiece);
  if (p.dropout.on) s.extras.factors = from.take(kTileRows * kPiece);
  return s;
}

struct Backward {
  const AttentionBackwardProblem& p;
  AttentionShape shape;
  Plan plan;
  float* dq_parts = nullptr;  // [heads, parts, rows, q_width]
  float* slots;
  std::int64_t slot_floats;

  Backward(const AttentionBackwardProblem& problem, float* workspace);
  std::int64_t floats() const {
    const std::int64_t parts = plan.parts > 1 ? plan.tasks() * plan.rows * plan.q_width : 0;
    return parts + slot_floats * attention_slots(plan.tasks());
  }
  void task(std::int64_t index, std::int64_t slot) const;
  void add_parts(std::int64_t index) const;
  const float* lse(const AttentionHead& head) const {
    return static_cast<const float*>(p.lse) + (head.b * p.sizes.Hq + head.kv * shape.group()) * p.sizes.Tq;
  }
  /// Rows of `cols` numbers are read where they lie: whole vectors, near each other, and nothing is hidden,
  /// so that what is not finite need not be found.
  bool in_place(const AttentionLayout& layout, std::int64_t cols, std::int64_t width) const {
    return cols == width && layout.time == width && p.mask.kind == AttentionMaskKind::none &&
           !p.rule.causal && p.rule.window == 0;
  }
  AttentionTileRows tile_rows(const AttentionHead& head, std::int64_t row) const;
  void make_delta(const AttentionHead& head, float* delta) const;
  /// f(row of the tile, count, rows of dq) for runs of a tile's rows that are in dq; `absent` ones, too.
  template <class F>
  void for_each_dq(const AttentionHead& head, const AttentionTileRows& rows, F&& f) const;
};

Backward::Backward(const AttentionBackwardProblem& problem, float* workspace)
    : p(problem), shape(problem), plan(plan_of(problem)) {
  AttentionScratch all(workspace), slot(nullptr);
  scratch_of(p, plan, slot);
  slot_floats = slot.used();
  if (plan.parts > 1) dq_parts = all.take(plan.tasks() * plan.rows * plan.q_width);
  slots = all.take(slot_floats * attention_slots(plan.tasks()));
}

AttentionTileRows Backward::tile_rows(const AttentionHead& head, std::int64_t row) const {
  AttentionTileRows rows = attention_tile_rows(shape, head, row, std::min(kTileRows, plan.rows - row));
  // The mask may have hidden all that a row could have seen.
  for (std::int64_t t = 0; t < rows.count; ++t)
    if (lse(head)[row + t] == -std::numeric_limits<float>::infinity()) rows.keys[t] = {0, 0};
  return rows;
}

template <class F>
void Backward::for_each_dq(const AttentionHead& head, const AttentionTileRows& rows, F&& f) const {
  for (std::int64_t t = 0; t < rows.count;) {
    std::int64_t run = 1;
    while (t + run < rows.count && rows.head[t + run] == rows.head[t]) ++run;
    const std::int64_t there =
        p.rule.q_first ? std::clamp<std::int64_t>(head.n.queries - rows.query[t], 0, run) : run;
    if (there > 0)
      f(t, there,
        static_cast<float*>(p.dq) +
            attention_row(p.dq_layout, p.rule.q_first, head.b, rows.head[t], rows.query[t]));
    t += run;
  }
}

void Backward::make_delta(const AttentionHead& head, float* delta) const {
  for (std::int64_t r = 0; r < plan.rows; ++r) {
    const std::int64_t h = head.kv * shape.group() + r / p.sizes.Tq, i = r % p.sizes.Tq;
    const auto row = [&](const void* x, const AttentionLayout& layout) {
      return static_cast<const float*>(x) + attention_row(layout, p.rule.q_first, head.b, h, i);
    };
    delta[r] = i < head.n.queries
                   ? attention_kernels().dot(row(p.dy, p.dy_layout), row(p.y, p.y_layout), p.sizes.Dv)
                   : 0.0f;
  }
}

/// Some keys of a task: dk, dv and their part of dq.
class Block {
 public:
  Block(const Backward& f, const AttentionHead& head, const Scratch& scratch, std::int64_t first,
        std::int64_t count)
      : f_(f), head_(head), scratch_(scratch), first_(first), count_(count) {}

  /// A tile of rows: its share of dk and dv is added; true when scratch.dq holds its dq.
  bool add(const AttentionTileRows& rows, std::int64_t row);
  void store() const;

 private:
  void load();
  void load_rows(const AttentionTileRows& rows);
  void add_piece(const AttentionTileRows& rows, std::int64_t row, std::int64_t at, std::int64_t keys);
  void store_rows(const float* from, std::int64_t width, std::int64_t cols, void* to,
                  const AttentionLayout& layout) const;

  const Backward& f_;
  const AttentionHead& head_;
  const Scratch& scratch_;
  std::int64_t first_, count_;
  const float *q_ = nullptr, *dy_ = nullptr, *keys_ = nullptr;  // in whole vectors, copied or in place
  bool loaded_ = false, keys_finite_ = true, q_finite_ = true, dy_finite_ = true, dq_begun_ = false;
};

void Block::load() {
  const AttentionBackwardProblem& p = f_.p;
  const std::int64_t D = p.sizes.D, Dv = p.sizes.Dv, k_ld = p.k_layout.time, width = f_.plan.q_width;
  const bool in_place = f_.in_place(p.k_layout, D, width);
  keys_ = scratch_.keys;
  for_each_key_run(
      p, head_, first_, count_, [&](std::int64_t j, std::int64_t n, const float* k, const float* v) {
        attention_turn(k, k_ld, j, n, {scratch_.keys_turned, D});
        attention_turn(v, p.v_layout.time, j, n, {scratch_.values_turned, Dv});
        if (in_place)
          keys_ = k;  // one run
        else
          keys_finite_ &= attention_kernels().copy(k, k_ld, n, D, scratch_.keys + j * width, width);
      });
  std::fill_n(scratch_.dk, count_ * width, 0.0f);
  std::fill_n(scratch_.dv, count_ * f_.plan.v_width, 0.0f);
  loaded_ = true;
}

void Block::load_rows(const AttentionTileRows& rows) {
  const auto load = [&](const void* from, const AttentionLayout& layout, std::int64_t cols,
                        std::int64_t width, float* to, bool& finite) {
    const float* at = nullptr;
    if (f_.in_place(layout, cols, width)) at = attention_in_place(f_.shape, head_, rows, from, layout);
    finite = at || attention_gather(f_.shape, head_, rows, from, layout, cols, to, width);
    return at ? at : to;
  };
  const AttentionBackwardProblem& p = f_.p;
  q_ = load(p.q, p.q_layout, p.sizes.D, f_.plan.q_width, scratch_.q, q_finite_);
  dy_ = load(p.dy, p.dy_layout, p.sizes.Dv, f_.plan.v_width, scratch_.dy, dy_finite_);
}

bool Block::add(const AttentionTileRows& rows, std::int64_t row) {
  if (attention_seen(rows, first_, count_).all.count() <= 0) return false;
  if (!loaded_) load();
  load_rows(rows);
  dq_begun_ = false;
  for (std::int64_t at = 0; at < count_; at += kPiece)
    add_piece(rows, row, at, std::min(kPiece, count_ - at));
  return dq_begun_;
}

void Block::add_piece(const AttentionTileRows& rows, std::int64_t row, std::int64_t at, std::int64_t keys) {
  const AttentionSeen seen = attention_seen(rows, first_ + at, keys);
  if (seen.all.count() <= 0) return;
  const std::int64_t D = f_.p.sizes.D, Dv = f_.p.sizes.Dv, q_width = f_.plan.q_width,
                     v_width = f_.plan.v_width;
  attention_scores(q_, q_width, rows.count, {scratch_.keys_turned + at * D, D}, seen.all, scratch_.scores,
                   kPiece);
  attention_scores(dy_, v_width, rows.count, {scratch_.values_turned + at * Dv, Dv}, seen.all,
                   scratch_.products, kPiece);
  AttentionTile tile{};
  tile.rows = rows.count;
  tile.ld = kPiece;
  tile.scores = scratch_.scores, tile.products = scratch_.products;
  tile.seen = seen.rows;
  tile.columns = seen.all;
  tile.lse = f_.lse(head_) + row, tile.delta = scratch_.delta + row;
  attention_extras(f_.shape, head_, rows, seen, first_ + at, scratch_.extras, tile);
  attention_kernels().backward(tile);
  // What is hidden has a weight of 0, which does not make up for what is not finite.
  const bool hides = !seen.alike || f_.p.mask.kind != AttentionMaskKind::none;
  const std::int64_t begin = seen.all.begin, count = seen.all.count(), key = at + begin;
  attention_product({count, rows.count, scratch_.scores + begin, kPiece, true, dy_, v_width, v_width,
                     scratch_.dv + key * v_width, v_width, true, hides && !dy_finite_});
  attention_product({count, rows.count, scratch_.products + begin, kPiece, true, q_, q_width, q_width,
                     scratch_.dk + key * q_width, q_width, true, hides && !q_finite_});
  attention_product({rows.count, count, scratch_.products + begin, kPiece, false, keys_ + key * q_width,
                     q_width, q_width, scratch_.dq, q_width, dq_begun_, hides && !keys_finite_});
  dq_begun_ = true;
}

void Block::store_rows(const float* from, std::int64_t width, std::int64_t cols, void* to,
                       const AttentionLayout& layout) const {
  float* const rows =
      static_cast<float*>(to) + attention_row(layout, f_.p.rule.k_first, head_.b, head_.kv, first_);
  if (loaded_) return gemm_kernels().copy(from, width, count_, cols, rows, layout.time);
  for (std::int64_t j = 0; j < count_; ++j) std::fill_n(rows + j * layout.time, cols, 0.0f);
}

void Block::store() const {
  store_rows(scratch_.dk, f_.plan.q_width, f_.p.sizes.D, f_.p.dk, f_.p.dk_layout);
  store_rows(scratch_.dv, f_.plan.v_width, f_.p.sizes.Dv, f_.p.dv, f_.p.dv_layout);
}

void Backward::task(std::int64_t index, std::int64_t slot) const {
  const AttentionHead head = attention_head(shape, index / plan.parts);
  const std::int64_t first = index % plan.parts * plan.part, end = std::min(plan.keys, first + plan.part);
  AttentionScratch memory(slots + slot * slot_floats);
  const Scratch scratch = scratch_of(p, plan, memory);
  const std::int64_t width = plan.q_width, D = p.sizes.D;
  float* const part = dq_parts ? dq_parts + index * plan.rows * width : nullptr;
  make_delta(head, scratch.delta);
  for (std::int64_t key = first; key < end; key += plan.block) {
    const std::int64_t there =
        std::clamp<std::int64_t>(head.n.keys - key, 0, std::min(plan.block, end - key));
    Block block(*this, head, scratch, key, there);
    for (std::int64_t row = 0; row < plan.rows;) {
      const AttentionTileRows rows = tile_rows(head, row);
      const bool some = block.add(rows, row), begins = key == first;
      if (begins && !some) std::fill_n(scratch.dq, rows.count * width, 0.0f);
      const auto put = begins ? gemm_kernels().copy : gemm_kernels().add;
      if (part && (some || begins)) {
        put(scratch.dq, width, rows.count, width, part + row * width, width);
      } else if (some || begins) {
        for_each_dq(head, rows, [&](std::int64_t t, std::int64_t count, float* dq) {
          put(scratch.dq + t * width, width, count, D, dq, p.dq_layout.time);
        });
      }
      row += rows.count;
    }
    if (there > 0) block.store();
    if (p.rule.k_first) continue;
    // Keys behind the length.
    const auto zero = [&](void* to, const AttentionLayout& layout, std::int64_t cols) {
      for (std::int64_t j = key + there; j < std::min(end, key + plan.block); ++j)
        std::fill_n(static_cast<float*>(to) + attention_row(layout, nullptr, head.b, head.kv, j), cols, 0.0f);
    };
    zero(p.dk, p.dk_layout, D);
    zero(p.dv, p.dv_layout, p.sizes.Dv);
  }
}

// dq of a tile of rows from the parts of the keys.
void Backward::add_parts(std::int64_t index) const {
  const std::int64_t tiles = attention_ceil(plan.rows, kTileRows), width = plan.q_width;
  const AttentionHead head = attention_head(shape, index / tiles);
  const std::int64_t end = std::min(plan.rows, (index % tiles + 1) * kTileRows);
  for (std::int64_t row = index % tiles * kTileRows; row < end;) {
    const AttentionTileRows rows = attention_tile_rows(shape, head, row, end - row);
    for_each_dq(head, rows, [&](std::int64_t t, std::int64_t count, float* dq) {
      for (std::int64_t i = 0; i < plan.parts; ++i) {
        const float* const from = dq_parts + ((index / tiles * plan.parts + i) * plan.rows + row + t) * width;
        (i == 0 ? gemm_kernels().copy : gemm_kernels().add)(from, width, count, p.sizes.D, dq,
                                                            p.dq_layout.time);
      }
    });
    row += rows.count;
  }
}

}  // namespace

const char* attention_bwd_cpu_reason(const AttentionBackwardProblem& p) {
  if (p.dtype != DType::f32) return "f32 only";
  return p.rule.pages ? "no backward through pages" : nullptr;
}

std::size_t attention_bwd_cpu_workspace(const AttentionBackwardProblem& p) {
  return static_cast<std::size_t>(Backward(p, nullptr).floats()) * sizeof(float);
}

void attention_bwd_cpu(const AttentionBackwardProblem& p, const Exec& exec) {
  const Backward backward(p, static_cast<float*>(exec.workspace));
  for_each_task(backward.plan.tasks(), *exec.pool,
                [&](std::int64_t task, std::int64_t slot) { backward.task(task, slot); });
  if (backward.plan.parts == 1) return;
  exec.pool->run(backward.plan.heads * attention_ceil(backward.plan.rows, kTileRows),
                 [&](std::int64_t i) { backward.add_parts(i); });
}

}  // namespace gpunn
