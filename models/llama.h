#pragma once
// Llama: a decoder with RMS norms, rotary positions, grouped query heads, SwiGLU and no biases.
//
//   x = x + o_proj attention(rotary(q), rotary(k), v) of input_layernorm(x)
//   x = x + down_proj(silu(gate_proj(z)) up_proj(z)),  z = post_attention_layernorm(x)
//   logits = lm_head(norm(x))
//
// H. Touvron et al., "LLaMA: open and efficient foundation language models", 2023; windows: A. Jiang et al.,
// "Mistral 7B", 2023. Keys are those of the published files ("model.layers.0.self_attn.q_proj.weight"), which
// load as they are; pairs of rotary features are (i, i + D / 2), as there.
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "gpunn/layers/embedding.h"
#include "gpunn/layers/functional.h"
#include "gpunn/layers/linear.h"
#include "gpunn/layers/norm.h"
#include "gpunn/models/causal_lm.h"

namespace gpunn {

struct LlamaOptions {
  std::int64_t vocabulary = 32000;
  std::int64_t context = 2048;  // most positions
  std::int64_t features = 4096;
  std::int64_t layers = 32;
  std::int64_t heads = 32;
  std::int64_t kv_heads = 0;   // 0: heads
  std::int64_t inner = 11008;  // of the feed forward part
  std::int64_t window = 0;     // positions that a query sees; 0: all before it
  double rotary_base = 10000;
  double eps = 1e-5;
  bool tied = false;  // lm_head is the embedding
};

/// Keys "q_proj.weight" [H D, E], "k_proj.weight", "v_proj.weight" [Hkv D, E], "o_proj.weight" [E, H D].
class GPUNN_API LlamaAttention : public Module {
 public:
  explicit LlamaAttention(const LlamaOptions& options);
  using Module::forward;
  /// residual + o_proj(attention), x and residual [B, T, E].
  Tensor forward(const Tensor& x, const Tensor& residual, const RotaryTable& table);
  /// The same behind what layer `layer` of the cache holds; positions i64 [B, T].
  Tensor forward(const Tensor& x, const Tensor& residual, const RotaryTable& table, const Tensor& positions,
                 KvCache& cache, std::int64_t layer);

  Linear q_proj, k_proj, v_proj, o_proj;
  GPUNN_MEMBERS(q_proj, k_proj, v_proj, o_proj)

 private:
  struct Heads;
  Heads project(const Tensor& x, const RotaryTable& table, const Tensor& positions);
  std::int64_t heads_, kv_heads_, window_;
};

/// Keys "gate_proj.weight", "up_proj.weight" [inner, E], "down_proj.weight" [E, inner].
class GPUNN_API LlamaMlp : public Module {
 public:
  LlamaMlp(std::int64_t features, std::int64_t inner);
  using Module::forward;
  Tensor forward(const Tensor& x, const Tensor& residual);

  Linear gate_proj, up_proj, down_proj;
  GPUNN_MEMBERS(gate_proj, up_proj, down_proj)
};

class GPUNN_API LlamaLayer : public Module {
 public:
  explicit LlamaLayer(const LlamaOptions& options);
  using Module::forward;
  Tensor forward(const Tensor& x, const RotaryTable& table);
  Tensor forward(const Tensor& x, const RotaryTable& table, const Tensor& positions, KvCache& cache,
                 std::int64_t layer);

  LlamaAttention self_attn;
  LlamaMlp mlp;
  RMSNorm input_layernorm, post_attention_layernorm;
  GPUNN_MEMBERS(self_attn, mlp, input_layernorm, post_attention_layernorm)

 private:
  Tensor feed_forward(const Tensor& x);
};

/// What stands before the output layer: keys "embed_tokens.weight", "layers.0...", "norm.weight".
class GPUNN_API LlamaBody : public Module {
 public:
  explicit LlamaBody(const LlamaOptions& options);

  Embedding embed_tokens;
  std::vector<LlamaLayer> layers;
  RMSNorm norm;
  GPUNN_MEMBERS(embed_tokens, layers, norm)
};

/// Initial values: N(0, 0.02²) for every matrix, norms 1. Throws InvalidArgument for sizes below 1, heads
/// that do not divide the features or give an odd number of them, kv_heads that do not divide heads; in
/// forward as Gpt2.
class GPUNN_API Llama : public CausalLm {
 public:
  explicit Llama(const LlamaOptions& options = {});
  /// Logits [B, T, V] of tokens i64 [B, T].
  Tensor forward(const Tensor& tokens) override;
  Tensor forward(const Tensor& tokens, KvCache& cache, std::span<const std::int64_t> valid) override;
  /// Mean cross-entropy in nats of `targets` i64 [B, T], the tokens that follow.
  Tensor loss(const Tensor& tokens, const Tensor& targets);

  KvCacheOptions cache_options() const override;
  std::int64_t vocabulary() const noexcept override { return options_.vocabulary; }
  std::int64_t context() const noexcept override { return options_.context; }
  const LlamaOptions& options() const noexcept { return options_; }

  LlamaBody model;
  std::optional<Linear> lm_head;  // none when tied
  GPUNN_MEMBERS(model, lm_head)

 private:
  Tensor hidden(const Tensor& tokens);
  Tensor logits(const Tensor& x);
  const RotaryTable& table();

  LlamaOptions options_;
  RotaryTable table_;  // made for the device of the weights when it is first used there
};

/// Options from a published config.json (hidden_size, intermediate_size, num_hidden_layers,
/// num_attention_heads, num_key_value_heads, vocab_size, max_position_embeddings, rms_norm_eps, rope_theta,
/// sliding_window, tie_word_embeddings). Throws DataError naming the file and key for what is missing or
/// absurd, and for another model, activation, head size or scaling of positions and for biases.
GPUNN_API LlamaOptions read_llama_config(const std::string& path);

/// Loads a safetensors file with the published keys; "rotary_emb.inv_freq" is passed over, and
/// "lm_head.weight" of a tied model. Throws DataError naming the file and every key that does not fit; the
/// model is unchanged then.
GPUNN_API void load_llama_weights(const std::string& path, Llama& model);

}  // namespace gpunn
