#pragma once
// The pieces of the CPU's attention: a tile of queries meets a block of keys. Products are the micro-kernels
// of the CPU's matrix product, what happens to the scores between them is code by SIMD target.
//
// A task is a (sequence, key head) with some rows or some keys. Rows are the queries of all heads that read
// the key head: row r is query r % Tq of head r / Tq of the group.
#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "gpunn/core/cpu_pool.h"
#include "gpunn/kernels/attention/attention_impl.h"
#include "gpunn/kernels/matmul/gemm_impl.h"

namespace gpunn::detail {

inline constexpr std::int64_t kAttentionKeys = 256;  // of a block at most; blocks begin at multiples of it
inline constexpr std::int64_t kAttentionRows = 64;   // of a tile at most
inline constexpr std::int64_t kAttentionPad = 64;  // floats that a buffer of scores is longer than it need be

/// Columns [begin, end) of a block.
struct AttentionColumns {
  std::int64_t begin = 0, end = 0;
  std::int64_t count() const { return end - begin; }
};

/// Scores of a tile's queries for a block of keys, on their way to weights. Buffers have a row for each
/// query, `ld` apart.
struct AttentionTile {
  std::int64_t rows, ld;
  float* scores;                 // q . k, which become weights
  const AttentionColumns* seen;  // [rows] what each row sees
  AttentionColumns columns;      // of the tile: what a row does not see of them becomes 0
  const float* bias;             // added to the scaled scores; null: none
  std::int64_t bias_ld;          // 0: one row for all
  const float* factors;          // of dropout, or null
  float scale;
  bool
      transformed;  // scale and bias are applied first and the scores replaced: needed for bias and scale < 0
  // Forward, [rows]: largest score and sum of weights so far, and what earlier sums are to be multiplied by.
  float* max;
  float* sum;
  float* rescale;
  // Backward.
  const float* lse;    // [rows]
  const float* delta;  // [rows] dy . y
  float* products;     // dy . v, which become scale times the gradients of the scaled scores
};

/// What is added to a row's scaled scores for the keys from `key` on.
struct AttentionBias {
  const AttentionMask* mask;
  std::int64_t mask_at;  // element of the row's first key
  float slope;           // of alibi; 0: none
  std::int64_t position;
  std::int64_t key;  // of column 0
};

/// The end of a tile: rows of sums to rows of y and lse.
struct AttentionFinish {
  std::int64_t rows, cols;
  const float* sums;  // [rows, ld]
  std::int64_t ld;
  const float *max, *sum;  // [rows]
  float scale;             // of max
  float* const* y;         // [rows], null: the row is not there
  float* lse;              // [rows]
};

/// The code for one SIMD target.
struct AttentionKernels {
  void (*forward)(const AttentionTile&);
  void (*backward)(const AttentionTile&);
  void (*bias)(const AttentionBias&, AttentionColumns columns, float* out);
  /// Dropout's factors of columns, whose numbers in the range are first + column; columns from the multiple
  /// of 4 below `columns.begin` are written. first is a multiple of 4.
  void (*factors)(const AttentionDropout&, std::int64_t first, AttentionColumns columns, float* out);
  void (*finish)(const AttentionFinish&);
  /// to[rows, to_ld] = from[rows, cols], zeros behind; false when something is not finite.
  bool (*copy)(const float* from, std::int64_t from_ld, std::int64_t rows, std::int64_t cols, float* to,
               std::int64_t to_ld);
  float (*dot)(const float* a, const float* b, std::int64_t n);
};
const AttentionKernels& attention_kernels();

/// Forward's and backward's problem alike.
struct AttentionShape {
  const AttentionSizes& sizes;
  const AttentionRule& rule;
  const AttentionMask& mask;
  const AttentionDropout& dropout;
  float scale;
  template <class P>
  explicit AttentionShape(const P& p)
      : sizes(p.sizes), rule(p.rule), mask(p.mask), dropout(p.dropout), scale(static_cast<float>(p.scale)) {}
  std::int64_t group() const { return sizes.Hq / sizes.Hkv; }
  std::int64_t rows() const { return group() * sizes.Tq; }
  bool biased() const { return mask.kind != AttentionMaskKind::none || rule.alibi; }
};

/// One sequence and key head.
struct AttentionHead {
  std::int64_t b, kv;
  AttentionLengths n;
};
AttentionHead attention_head(const AttentionShape& shape, std::int64_t index);

/// The rows of a tile.
struct AttentionTileRows {
  std::int64_t count = 0;
  std::int64_t head[kAttentionRows], query[kAttentionRows];  // head of all query heads
  KeyRange keys[kAttentionRows];  // seen, but for the mask; empty behind the length
  KeyRange all{0, 0};             // from the first to the last that a row sees
  bool present(const AttentionHead& h, std::int64_t t) const { return query[t] < h.n.queries; }
};
/// Rows [row, row + most) of the head, fewer at the end of a query head unless the heads are short.
AttentionTileRows attention_tile_rows(const AttentionShape& shape, const AttentionHead& head,
                                      std::int64_t row, std::int64_t most);

/// Rows of q, y or dy to to[count, ld]; absent ones become 0. False when something is not finite.
bool attention_gather(const AttentionShape& shape, const AttentionHead& head, const AttentionTileRows& rows,
                      const void* from, const AttentionLayout& layout, std::int64_t cols, float* to,
                      std::int64_t ld);

/// The same where they lie, `layout.time` apart; null unless all are there and of one head.
const float* attention_in_place(const AttentionShape& shape, const AttentionHead& head,
                                const AttentionTileRows& rows, const void* from,
                                const AttentionLayout& layout);

/// A tile at a block of keys.
struct AttentionSeen {
  AttentionColumns rows[kAttentionRows];
  AttentionColumns all;  // empty: nothing to do
  bool alike = true;     // every row sees all of it, but for the mask
};
AttentionSeen attention_seen(const AttentionTileRows& rows, std::int64_t first_key, std::int64_t keys);

/// Room for what a tile adds to its scores; null where a problem has none.
struct AttentionTileExtras {
  float* bias = nullptr;
  float* factors = nullptr;
};
/// Fills in bias and factors and points `tile` at them. Scores have `tile.ld` columns.
void attention_extras(const AttentionShape& shape, const AttentionHead& head, const AttentionTileRows& rows,
                      const AttentionSeen& seen, std::int64_t first_key, const AttentionTileExtras& room,
                      AttentionTile& tile);

/// c[rows, width] = a b, or c + a b; width is whole vectors.
struct AttentionProduct {
  std::int64_t rows, K;
  const float* a;  // element (r, k) at a[r * a_ld + k], turned: a[k * a_ld + r]
  std::int64_t a_ld;
  bool turned;
  const float* b;  // element (k, n) at b[k * b_ld + n]
  std::int64_t b_ld;
  std::int64_t width;
  float* c;
  std::int64_t c_ld;
  bool accumulate;
  bool skip_zeros;  // rows of b that meet a 0 do not count, whatever they hold
};
void attention_product(const AttentionProduct& p);

/// Rows of keys, turned: panels [D, panel()] one after the other.
struct AttentionPanels {
  float* data;
  std::int64_t D;
  static std::int64_t panel() { return gemm_kernels().max_vectors * gemm_kernels().lanes; }
};
/// Scores of rows [rows, D] with the columns: scores[r * ld + column] for all vectors that hold one.
void attention_scores(const float* rows, std::int64_t row_ld, std::int64_t count,
                      const AttentionPanels& panels, AttentionColumns columns, float* scores,
                      std::int64_t ld);
/// Turns rows from[count, D] into columns [at, at + count), at a multiple of the panel but for pages.
void attention_turn(const float* from, std::int64_t from_ld, std::int64_t at, std::int64_t count,
                    const AttentionPanels& panels);

/// f(column, count, row of k, row of v) for runs of keys [first, first + count) that lie evenly.
template <class P, class F>
void for_each_key_run(const P& p, const AttentionHead& head, std::int64_t first, std::int64_t count, F&& f) {
  for (std::int64_t j = 0; j < count;) {
    std::int64_t run = count - j;
    if (p.rule.pages) run = std::min(run, p.rule.page_size - (first + j) % p.rule.page_size);
    f(j, run,
      static_cast<const float*>(p.k) + attention_key_row(p.k_layout, p.rule, head.b, head.kv, first + j),
      static_cast<const float*>(p.v) + attention_key_row(p.v_layout, p.rule, head.b, head.kv, first + j));
    j += run;
  }
}

inline std::int64_t attention_ceil(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
/// `n` rounded up to whole vectors.
inline std::int64_t attention_padded(std::int64_t n) {
  return attention_ceil(n, gemm_kernels().lanes) * gemm_kernels().lanes;
}

/// Hands out pieces of a workspace, or counts them.
class AttentionScratch {
 public:
  explicit AttentionScratch(float* at) : at_(at) {}
  float* take(std::int64_t floats) {
    float* const piece = at_ ? at_ + used_ : nullptr;
    used_ += attention_ceil(floats, 16) * 16;
    return piece;
  }
  std::int64_t used() const { return used_; }

 private:
  float* at_;
  std::int64_t used_ = 0;
};

/// Threads that can work at once, each in a scratch of its own.
inline constexpr std::int64_t kAttentionSlots = 32;
inline std::int64_t attention_slots(std::int64_t tasks) { return std::min(tasks, kAttentionSlots); }

/// f(task, slot) for all tasks; a slot is one thread's at a time.
template <class F>
void for_each_task(std::int64_t tasks, CpuPool& pool, F&& f) {
  std::atomic<std::int64_t> next{0};
  pool.run(std::min<std::int64_t>(attention_slots(tasks), pool.threads()), [&](std::int64_t slot) {
    for (std::int64_t task; (task = next.fetch_add(1, std::memory_order_relaxed)) < tasks;) f(task, slot);
  });
}

}  // namespace gpunn::detail
