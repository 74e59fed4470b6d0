#pragma once
// Multi-head attention: projections around the op (kernels/attention/attention.h), with PyTorch's names,
// defaults, keys, initial values and masks.
//
//   head_h = attention(q W_q[h], k W_k[h], v W_v[h]),  y = [head_1 ... head_H] W_o + b_o
//
// Determinism: bitwise, dropout included (by the Runtime's generator).
// Source: Vaswani et al., "Attention is all you need" (2017); fewer key heads: Ainslie et al., "GQA" (2023).
#include <cstdint>
#include <memory>

#include "gpunn/layers/layer_cost.h"
#include "gpunn/layers/linear.h"
#include "gpunn/layers/module.h"

namespace gpunn {

class KvCache;

struct MultiheadAttentionOptions {
  double dropout = 0;          // of the weights while training, in [0, 1)
  bool bias = true;            // in_proj_bias and out_proj.bias
  bool add_bias_kv = false;    // one more key and value, learnt, seen by every query
  bool add_zero_attn = false;  // one more of zeros, likewise
  std::int64_t kdim = 0;       // features of keys, of values; 0: embed_dim
  std::int64_t vdim = 0;
  bool batch_first = false;       // of queries, keys, values and y
  std::int64_t num_kv_heads = 0;  // heads of keys and values, a divisor of num_heads; 0: num_heads
};

/// Masks of one call, as PyTorch's module takes them: bool true means NOT allowed (the function's masks mean
/// the opposite), a floating mask of the queries' dtype is added to the scores. L queries, S keys, N
/// sequences. The learnt key and that of zeros are never hidden.
struct MultiheadAttentionCall {
  Tensor key_padding_mask{};  // [N, S] ([S] without a batch)
  Tensor attn_mask{};         // [L, S] or [N * num_heads, L, S]
  bool is_causal = false;     // hides keys behind the query's own place, beside the masks; no mask is needed
  /// PyTorch's default is true. Weights are stored then (N H L S numbers), otherwise nowhere.
  bool need_weights = false;
  bool average_attn_weights = true;  // over the heads
};

struct MultiheadAttentionOutput {
  Tensor y;        // as the queries, [..., embed_dim]
  Tensor weights;  // [N, L, S'] averaged, else [N, num_heads, L, S']; before dropout (PyTorch: after it). No
                   // N without a batch. S' counts the keys that the layer adds. Undefined unless asked for
};

/// Queries [L, N, embed_dim], keys [S, N, kdim], values [S, N, vdim]; N first with batch_first; [L, E] is one
/// sequence. Self-attention is one projection whose result is read in place. Keys: "in_proj_weight" [E + 2
/// num_kv_heads D, E], D = E / num_heads (with kdim or vdim of their own "q_proj_weight", "k_proj_weight",
/// "v_proj_weight"), "in_proj_bias", "bias_k", "bias_v" [1, 1, num_kv_heads D], "out_proj.weight",
/// "out_proj.bias". Initial values and the order of drawing: out_proj as Linear's, then the projections
/// Xavier-uniform, bias_k and bias_v Xavier-normal; the other biases 0.
/// A query whose keys are all hidden gives out_proj's bias (PyTorch before 2.5: NaN).
/// Throws InvalidArgument for sizes below 1, num_heads that does not divide embed_dim, num_kv_heads that does
/// not divide num_heads, dropout outside [0, 1); in forward for ranks, sizes, batches, dtypes and masks that
/// do not fit.
class GPUNN_API MultiheadAttention : public Module, public LayerCost {
 public:
  MultiheadAttention(std::int64_t embed_dim, std::int64_t num_heads,
                     const MultiheadAttentionOptions& options = {});

  /// Self-attention without masks.
  Tensor forward(const Tensor& x) override { return forward(x, x, x).y; }
  MultiheadAttentionOutput forward(const Tensor& query, const Tensor& key, const Tensor& value,
                                   const MultiheadAttentionCall& call = {});
  /// Causal self-attention of x [N, T, E] (batch first whatever the options say) on what `layer` of the cache
  /// holds and on x itself, between the cache's begin() and commit(). Without gradients and dropout; the
  /// layer must add no keys of its own.
  Tensor forward(const Tensor& x, KvCache& cache, std::int64_t layer);
  using Module::operator();
  MultiheadAttentionOutput operator()(const Tensor& query, const Tensor& key, const Tensor& value,
                                      const MultiheadAttentionCall& call = {});
  Tensor operator()(const Tensor& x, KvCache& cache, std::int64_t layer);

  /// Draws the initial values of the projections again, not those of out_proj.
  void reset_parameters();
  /// Of self-attention: projections, scores and sums, masks or not. summary() counts of attention on other
  /// keys what it calls, out_proj.
  double flops(const Shape& x, const Shape& y) const override;
  int sample_rank() const override { return 2; }
  std::int64_t embed_dim() const noexcept { return E_; }
  std::int64_t num_heads() const noexcept { return heads_; }
  std::int64_t num_kv_heads() const noexcept { return kv_heads_; }
  std::int64_t head_dim() const noexcept { return E_ / heads_; }
  const MultiheadAttentionOptions& options() const noexcept { return options_; }

  Parameter q_proj_weight, k_proj_weight, v_proj_weight;  // defined with kdim or vdim of their own
  Parameter in_proj_weight;                               // defined otherwise
  Parameter in_proj_bias, bias_k, bias_v;
  Linear out_proj;
  GPUNN_MEMBERS(in_proj_weight, q_proj_weight, k_proj_weight, v_proj_weight, in_proj_bias, bias_k, bias_v,
                out_proj)

 private:
  struct Projected;
  void check_input(const Tensor& query, const Tensor& key, const Tensor& value) const;
  MultiheadAttentionOutput run(const Tensor& q, const Tensor& k, const Tensor& v,
                               const MultiheadAttentionCall& call) const;
  Projected project(const Tensor& query, const Tensor& key, const Tensor& value) const;
  void add_keys(Tensor& k, Tensor& v) const;
  Tensor mask_of(const MultiheadAttentionCall& call, std::int64_t N, std::int64_t L, std::int64_t S,
                 const Tensor& like) const;

  std::int64_t E_, heads_, kv_heads_;
  MultiheadAttentionOptions options_;
};

}  // namespace gpunn
