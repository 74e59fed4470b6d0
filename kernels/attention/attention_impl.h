#pragma once
// Problems and entry points of scaled dot-product attention.
#include <cstddef>
#include <cstdint>
#include <vector>

#include "gpunn/core/hd.h"
#include "gpunn/core/implementation.h"

namespace gpunn {

class TuningKey;

/// All at least 1 in a problem; Hq is a multiple of Hkv. Tq and Tk bound the lengths of varying sequences.
struct AttentionSizes {
  std::int64_t B, Hq, Hkv, Tq, Tk, D, Dv;
  bool operator==(const AttentionSizes&) const = default;
};

/// Element (b, h, t, d) is at b batch + h head + t time + d; with first rows at (first[b] + t) time + h head
/// + d. In elements; 16-byte alignment of rows is not promised.
struct AttentionLayout {
  std::int64_t batch, head, time;
};

enum class AttentionMaskKind : std::uint8_t { none, boolean, additive };

/// Element (b, h, i, j) is at b batch + h head + i query + j key; strides of 0 broadcast.
struct AttentionMask {
  const void* data;  // bool, or the problem's dtype
  AttentionMaskKind kind;
  std::int64_t batch, head, query, key;
};

struct AttentionDropout {
  std::uint64_t seed, offset;   // Philox; offset: block of numbers 0 to 3
  std::uint32_t greatest_kept;  // a weight stays when its 32 bits are at most this
  float scale;                  // 1 / (1 - p)
  bool on;
};

/// Which keys a query sees but for the mask.
struct AttentionRule {
  const std::int64_t* q_first;   // [B + 1] first row of each sequence and the end, or null: by layout
  const std::int64_t* k_first;   // [B + 1], or null; both or none
  const std::int64_t* q_length;  // [B], or null: Tq, or what the first rows say. Clamped to [0, Tq]
  const std::int64_t* k_length;  // [B], or null: Tk likewise. Clamped to [0, Tk]
  const std::int32_t* pages;     // [B, table_width], or null: keys lie by layout. Forward only
  const float* alibi;            // [Hq] slopes, or null
  std::int64_t q_rows, k_rows;   // of the packed tensors, with first rows
  std::int64_t page_size, table_width, pool;  // pool: number of pages
  std::int64_t window;                        // 0: none
  bool causal, align_end;
};

struct AttentionProblem {
  DType dtype;
  const void* q;  // [B, Hq, Tq, D] by q_layout
  const void* k;  // [B, Hkv, Tk, D] by k_layout; with pages row r of the pool at r k_layout.time
  const void* v;  // [B, Hkv, Tk, Dv] by v_layout; likewise
  void* y;  // [B, Hq, Tq, Dv] by y_layout; overlaps nothing. Rows behind q_length become 0 (not with q_first)
  void* lse;  // acc [B, Hq, Tq], contiguous; null when not kept. With q_first rows behind the length: -inf
  AttentionLayout q_layout, k_layout, v_layout, y_layout;
  AttentionMask mask;
  AttentionRule rule;
  AttentionDropout dropout;
  AttentionSizes sizes;
  double scale;
  // Extents of the buffers in elements, strides included (first rows and pages make them unguessable).
  std::int64_t q_elements, k_elements, v_elements, y_elements, mask_elements;
  bool tf32;  // f32 products may be rounded to TF32
};

/// dq, dk, dv from dy: delta_i = dy_i . y_i, ds_ij = p_ij (d_ij dy_i . v_j - delta_i),
/// dq_i = scale sum_j ds_ij k_j, dk_j = scale sum_i ds_ij q_i, dv_j = sum_i d_ij p_ij dy_i, the latter two
/// summed over the query heads of a group. No pages, no gradient of masks and slopes.
struct AttentionBackwardProblem {
  DType dtype;
  const void* q;
  const void* k;
  const void* v;
  const void* y;
  const void* dy;   // by dy_layout
  const void* lse;  // acc [B, Hq, Tq] from forward
  void* dq;         // by dq_layout; rows behind the lengths become 0 in all three (not with first rows)
  void* dk;
  void* dv;
  AttentionLayout q_layout, k_layout, v_layout, y_layout, dy_layout, dq_layout, dk_layout, dv_layout;
  AttentionMask mask;
  AttentionRule rule;
  AttentionDropout dropout;
  AttentionSizes sizes;
  double scale;
  std::int64_t q_elements, k_elements, v_elements, y_elements, dy_elements;
  std::int64_t dq_elements, dk_elements, dv_elements, mask_elements;
  bool tf32;
};

// ---- what host and device share

// Whatever lengths, first rows and page numbers say, no address outside the tensors comes of them.

GPUNN_HD std::int64_t attention_within(std::int64_t x, std::int64_t most) {
  return x < 0 ? 0 : x > most ? most : x;
}
GPUNN_HD std::int64_t attention_length(const std::int64_t* first, const std::int64_t* length,
                                       std::int64_t rows, std::int64_t most, std::int64_t b) {
  if (!first) return length ? attention_within(length[b], most) : most;
  const std::int64_t begin = first[b];
  if (begin < 0 || begin >= rows) return 0;
  const std::int64_t end = length ? begin + attention_within(length[b], most) : first[b + 1];
  return end <= begin ? 0 : attention_within((end < rows ? end : rows) - begin, most);
}

/// Queries and keys of sequence b.
struct AttentionLengths {
  std::int64_t queries, keys;
};
GPUNN_HD AttentionLengths attention_lengths(const AttentionRule& rule, const AttentionSizes& s,
                                            std::int64_t b) {
  return {attention_length(rule.q_first, rule.q_length, rule.q_rows, s.Tq, b),
          attention_length(rule.k_first, rule.k_length, rule.k_rows, s.Tk, b)};
}

/// Position of query i among the keys.
GPUNN_HD std::int64_t attention_position(const AttentionRule& rule, const AttentionLengths& n,
                                         std::int64_t i) {
  return rule.align_end ? i + n.keys - n.queries : i;
}

/// Keys [begin, end) that query i may see but for the mask; begin = end: none.
struct KeyRange {
  std::int64_t begin, end;
};
GPUNN_HD KeyRange attention_keys(const AttentionRule& rule, const AttentionLengths& n, std::int64_t i) {
  const std::int64_t at = attention_position(rule, n, i);
  std::int64_t begin = 0, end = n.keys;
  if (rule.causal && end > at + 1) end = at + 1;
  if (rule.window > 0) {
    if (begin < at - rule.window + 1) begin = at - rule.window + 1;
    if (end > at + rule.window) end = at + rule.window;
  }
  if (end < begin) end = begin;
  return {begin, end};
}

/// Offset of row t of head h of sequence b, in elements.
GPUNN_HD std::int64_t attention_row(const AttentionLayout& l, const std::int64_t* first, std::int64_t b,
                                    std::int64_t h, std::int64_t t) {
  return first ? (first[b] + t) * l.time + h * l.head : b * l.batch + h * l.head + t * l.time;
}
/// The same of a key or value, which may lie in pages.
GPUNN_HD std::int64_t attention_key_row(const AttentionLayout& l, const AttentionRule& rule, std::int64_t b,
                                        std::int64_t h, std::int64_t j) {
  if (!rule.pages) return attention_row(l, rule.k_first, b, h, j);
  const std::int64_t page =
      attention_within(rule.pages[b * rule.table_width + j / rule.page_size], rule.pool - 1);
  return (page * rule.page_size + j % rule.page_size) * l.time + h * l.head;
}

/// Number of weight (b, h, i, j) in the range of random numbers.
GPUNN_HD std::uint64_t attention_number(const AttentionSizes& s, std::int64_t b, std::int64_t h,
                                        std::int64_t i, std::int64_t j) {
  const std::uint64_t width = (static_cast<std::uint64_t>(s.Tk) + 3) / 4 * 4;
  return static_cast<std::uint64_t>((b * s.Hq + h) * s.Tq + i) * width + static_cast<std::uint64_t>(j);
}

std::vector<Operand> operands(AttentionProblem& p);
std::vector<Operand> operands(AttentionBackwardProblem& p);
Cost cost(const AttentionProblem& p);
Cost cost(const AttentionBackwardProblem& p);
void describe(const AttentionProblem& p, TuningKey& key);
void describe(const AttentionBackwardProblem& p, TuningKey& key);

/// Best first: cudnn, mma, decode (few queries: before mma), simt | cpu | ref.
extern const ImplementationList<AttentionProblem> kAttentionForward;           // "attention", "forward"
extern const ImplementationList<AttentionBackwardProblem> kAttentionBackward;  // "attention", "backward"

// Any floating dtype, host memory.
void attention_fwd_ref(const AttentionProblem& p, const Exec& exec);
void attention_bwd_ref(const AttentionBackwardProblem& p, const Exec& exec);
// f32, host memory.
const char* attention_fwd_cpu_reason(const AttentionProblem& p);
const char* attention_bwd_cpu_reason(const AttentionBackwardProblem& p);
std::size_t attention_fwd_cpu_workspace(const AttentionProblem& p);
std::size_t attention_bwd_cpu_workspace(const AttentionBackwardProblem& p);
void attention_fwd_cpu(const AttentionProblem& p, const Exec& exec);
void attention_bwd_cpu(const AttentionBackwardProblem& p, const Exec& exec);
// Device memory. mma: f16, bf16 on tensor cores. simt: f32 (and TF32 where allowed may come later).
// decode: few queries over many keys, all dtypes, split over the keys, pages too.
const char* attention_fwd_mma_reason(const AttentionProblem& p);
const char* attention_fwd_simt_reason(const AttentionProblem& p);
const char* attention_fwd_decode_reason(const AttentionProblem& p);
const char* attention_bwd_mma_reason(const AttentionBackwardProblem& p);
const char* attention_bwd_simt_reason(const AttentionBackwardProblem& p);
std::size_t attention_fwd_decode_workspace(const AttentionProblem& p);
std::size_t attention_bwd_mma_workspace(const AttentionBackwardProblem& p);
std::size_t attention_bwd_simt_workspace(const AttentionBackwardProblem& p);
void attention_fwd_mma_cuda(const AttentionProblem& p, const Exec& exec);
void attention_fwd_simt_cuda(const AttentionProblem& p, const Exec& exec);
void attention_fwd_decode_cuda(const AttentionProblem& p, const Exec& exec);
void attention_bwd_mma_cuda(const AttentionBackwardProblem& p, const Exec& exec);
void attention_bwd_simt_cuda(const AttentionBackwardProblem& p, const Exec& exec);

}  // namespace gpunn
