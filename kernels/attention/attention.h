#pragma once
// Scaled dot-product attention, without storing the weights.
//
//   s_ij = scale q_i . k_j + bias_ij      over the keys j that query i sees, -inf elsewhere
//   p_ij = exp(s_ij - lse_i),  lse_i = ln sum_j exp(s_ij)
//   y_i  = sum_j d_ij p_ij v_j            d: dropout, 0 or 1 / (1 - p)
//
// Query i sees key j when the mask (bool: true = may be seen; floating: added to s, -inf hides), `causal`,
// `window` and the lengths all allow it. Positions: key j is at j; query i is at i, or with
// AttentionAlign::end at i + keys - queries (of its own sequence), which is what a cache of earlier keys
// wants. causal: keys up to the query's position. window w: keys less than w away (with causal: the last w
// up to the query). alibi: bias -slope_h |position of query - position of key|. A query that sees nothing
// gives y = 0, lse = -inf and no gradient (PyTorch before 2.5: NaN).
//
// Shapes: q [B, Hq, Tq, D], k [B, Hkv, Tk, D], v [B, Hkv, Tk, Dv] -> y [B, Hq, Tq, Dv]; Hq is a multiple of
// Hkv: query head h reads key head h / (Hq / Hkv) (grouped queries; Hkv = 1: multi-query). Any strides whose
// last is 1: heads split off a projection [B, T, H D] are read in place, and y lies in memory as [B, Tq, Hq,
// Dv], so that joining the heads is free. Rank 3 [B, T, D] is one head, and a mask then has no dimension for
// heads either.
// dtypes: f32, f16, bf16 (products of halves and sums in f32, p rounded to the dtype before it meets v), f64
// on the CPU. All tensors of one dtype but bool masks, lengths (i64) and slopes (f32).
//
// Backward keeps q, k, v, y and lse, two numbers a row; weights are computed again. A mask that wants a
// gradient, need_weights, and second derivatives use the composed definition (product, softmax, product), so
// these cost Tq Tk numbers a head.
// Dropout: number ((b Hq + h) Tq + i) Tk' + j of a Philox range, Tk' = Tk rounded up to a multiple of 4: the
// same mask in every implementation, on every device, drawn again in backward.
// Determinism: bitwise, backward too (no atomics).
// Errors: InvalidArgument for ranks, sizes, dtypes, devices and head counts that do not fit, masks that do
// not broadcast to [B, Hq, Tq, Tk], lengths outside [0, T] (checked on the host; on a GPU that waits for them
// unless `check_lengths` is off), p outside [0, 1), window < 0, and masks together with packed rows.
//
// Source: Vaswani et al., "Attention is all you need" (2017); online softmax: Milakov and Gimelshein (2018);
// blocks and the backward pass: Dao et al., "FlashAttention" (2022), Dao, "FlashAttention-2" (2023);
// splitting over keys: Dao et al., "Flash-Decoding" (2023); Shazeer, "Fast transformer decoding" (2019);
// Ainslie et al., "GQA" (2023); Press et al., "Train short, test long" (ALiBi, 2021); Child et al. (2019) and
// Beltagy et al. (2020) for windows.
#include <cstdint>
#include <optional>

#include "gpunn/core/api.h"
#include "gpunn/core/tensor.h"

namespace gpunn {

/// Where the first query stands among the keys: at the first one, or so that the last ones meet.
enum class AttentionAlign : std::uint8_t { start, end };

struct AttentionOptions {
  Tensor mask{};        // bool or q's dtype, broadcasts to [B, Hq, Tq, Tk]
  bool causal = false;  // PyTorch's is_causal with AttentionAlign::start
  AttentionAlign align = AttentionAlign::start;
  std::int64_t window = 0;        // 0: none
  std::optional<double> scale{};  // none: 1 / sqrt(D)
  double dropout_p = 0;           // of the weights; the caller passes 0 in evaluation
  Tensor key_lengths{};           // i64 [B]: keys from here on are not there
  Tensor query_lengths{};         // i64 [B]: rows from here on give 0
  Tensor alibi_slopes{};          // f32 [Hq]
  bool check_lengths = true;      // on a GPU; a bad length is clamped when unchecked
};

/// PyTorch's function of this name (grouped heads need no flag).
GPUNN_API Tensor scaled_dot_product_attention(const Tensor& q, const Tensor& k, const Tensor& v,
                                              const AttentionOptions& options = {});

struct AttentionOutput {
  Tensor y;        // [B, Hq, Tq, Dv]
  Tensor lse;      // f32 (f64 for f64) [B, Hq, Tq]; no gradient
  Tensor weights;  // [B, Hq, Tq, Tk] after softmax, before dropout; only when asked for; differentiable
};
/// The same with what it leaves. With need_weights the composed definition computes all three.
GPUNN_API AttentionOutput attention(const Tensor& q, const Tensor& k, const Tensor& v,
                                    const AttentionOptions& options = {}, bool need_weights = false);

/// Self-attention on the result of one projection: qkv [B, T, (Hq + 2 Hkv) D], the queries' heads first, then
/// the keys', then the values'. y [B, T, Hq D]. One gradient, written in place of three that would be put
/// together. Same options.
GPUNN_API Tensor attention_packed_qkv(const Tensor& qkv, std::int64_t heads, std::int64_t kv_heads,
                                      const AttentionOptions& options = {});

/// Sequences of different lengths one after the other: q [rows, Hq, D], k and v [key rows, Hkv, D], starts
/// i64 [B + 1] rising from 0 to the number of rows; max_queries and max_keys bound the lengths. y [rows, Hq,
/// Dv]. No mask, no lengths in the options. Dropout counts rows as Tq = max_queries, Tk = max_keys.
GPUNN_API Tensor attention_varlen(const Tensor& q, const Tensor& k, const Tensor& v,
                                  const Tensor& query_starts, const Tensor& key_starts,
                                  std::int64_t max_queries, std::int64_t max_keys,
                                  const AttentionOptions& options = {});

/// Keys and values in pages: k, v [pages, page_size, Hkv, D]; page_table i32 [B, pages a sequence]: key j of
/// sequence b is row j % page_size of page page_table[b][j / page_size]. q [B, Hq, Tq, D] stands at the end
/// (AttentionAlign::end is implied); options.key_lengths is required; forward only. Entries of the table
/// behind a sequence's length are not read. Throws InvalidArgument for page numbers outside the pool
/// (checked as lengths are).
GPUNN_API Tensor attention_paged(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& page_table,
                                 const AttentionOptions& options);

/// Writes x [B, T, H, D] behind what a cache [B, capacity, H, D] holds: row t of sequence b at starts[b] + t
/// (i64 [B]); rows at or behind the capacity are refused (checked as lengths are, else left out). In place,
/// outside the graph.
GPUNN_API void kv_append_(Tensor& cache, const Tensor& x, const Tensor& starts, bool check_starts = true);
/// The same into pages [pages, page_size, H, D] by a page_table i32 [B, pages a sequence].
GPUNN_API void kv_append_paged_(Tensor& pages, const Tensor& x, const Tensor& starts,
                                const Tensor& page_table, bool check_starts = true);

}  // namespace gpunn
