#pragma once
// GPT-2: a decoder of pre-norm blocks with learned positions and the embedding as its output layer.
//
//   x = wte[token] + wpe[position]
//   x = x + attention(ln_1(x));  x = x + mlp(ln_2(x)), mlp = c_proj gelu_tanh(c_fc)     for each block
//   logits = ln_f(x) wte'
//
// A. Radford et al., "Language models are unsupervised multitask learners", 2019. Keys are those of the
// published files ("wte.weight", "h.0.attn.c_attn.weight", "ln_f.bias"); matrices are [out, in] here and
// [in, out] there: load_gpt2_weights() turns them round.
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "gpunn/layers/dropout.h"
#include "gpunn/layers/embedding.h"
#include "gpunn/layers/linear.h"
#include "gpunn/layers/norm.h"
#include "gpunn/models/causal_lm.h"

namespace gpunn {

/// The defaults are the model of 124 million parameters.
struct Gpt2Options {
  std::int64_t vocabulary = 50257;
  std::int64_t context = 1024;  // most positions
  std::int64_t features = 768;
  std::int64_t layers = 12;
  std::int64_t heads = 12;
  double dropout = 0.1;  // of the embedding, the attention weights and what each block adds, while training
  double eps = 1e-5;
};

/// Causal self-attention, one projection for queries, keys and values. Keys "c_attn.weight" [3 E, E],
/// "c_attn.bias", "c_proj.weight" [E, E], "c_proj.bias".
class GPUNN_API Gpt2Attention : public Module {
 public:
  Gpt2Attention(std::int64_t features, std::int64_t heads, double dropout);
  /// residual + dropout(c_proj(attention of x)), x and residual [B, T, E].
  Tensor forward(const Tensor& x, const Tensor& residual);
  /// The same behind what layer `layer` of the cache holds.
  Tensor forward(const Tensor& x, const Tensor& residual, KvCache& cache, std::int64_t layer);
  /// Weights [B, heads, T, T], without gradients.
  Tensor weights(const Tensor& x);

  Linear c_attn, c_proj;
  Dropout dropout;
  GPUNN_MEMBERS(c_attn, c_proj, dropout)

 private:
  std::int64_t heads_;
};

/// Two layers with GELU (tanh form) between. Keys "c_fc.weight" [4 E, E], "c_fc.bias", "c_proj.weight" [E,
/// 4 E], "c_proj.bias".
class GPUNN_API Gpt2Mlp : public Module {
 public:
  Gpt2Mlp(std::int64_t features, double dropout);
  using Module::forward;
  /// residual + dropout(c_proj(gelu(c_fc(x)))).
  Tensor forward(const Tensor& x, const Tensor& residual);

  Linear c_fc, c_proj;
  Dropout dropout;
  GPUNN_MEMBERS(c_fc, c_proj, dropout)
};

class GPUNN_API Gpt2Block : public Module {
 public:
  explicit Gpt2Block(const Gpt2Options& options);
  Tensor forward(const Tensor& x) override;
  Tensor forward(const Tensor& x, KvCache& cache, std::int64_t layer);
  /// forward(), and the attention weights [B, heads, T, T] without gradients in `weights`.
  Tensor forward(const Tensor& x, Tensor& weights);

  LayerNorm ln_1;
  Gpt2Attention attn;
  LayerNorm ln_2;
  Gpt2Mlp mlp;
  GPUNN_MEMBERS(ln_1, attn, ln_2, mlp)
};

/// Initial values: N(0, 0.02²), for the projections that end a branch N(0, (0.02 / sqrt(2 layers))²), biases
/// 0, norms 1 and 0. Throws InvalidArgument for sizes below 1, heads that do not divide the features and
/// dropout outside [0, 1); in forward for tokens of another rank or outside the vocabulary and more positions
/// than context.
class GPUNN_API Gpt2 : public CausalLm {
 public:
  explicit Gpt2(const Gpt2Options& options = {});
  /// Logits [B, T, V] of tokens i64 [B, T].
  Tensor forward(const Tensor& tokens) override;
  Tensor forward(const Tensor& tokens, KvCache& cache, std::span<const std::int64_t> valid) override;
  /// Mean cross-entropy in nats of `targets` i64 [B, T], the tokens that follow.
  Tensor loss(const Tensor& tokens, const Tensor& targets);
  /// ln_f(x): what the output layer sees, [B, T, E].
  Tensor hidden(const Tensor& tokens);
  /// Attention weights of each layer, [B, heads, T, T], in evaluation mode and without gradients.
  std::vector<Tensor> attention_maps(const Tensor& tokens);

  KvCacheOptions cache_options() const override;
  std::int64_t vocabulary() const noexcept override { return options_.vocabulary; }
  std::int64_t context() const noexcept override { return options_.context; }
  const Gpt2Options& options() const noexcept { return options_; }

  Embedding wte, wpe;
  Dropout drop;
  std::vector<Gpt2Block> h;
  LayerNorm ln_f;
  GPUNN_MEMBERS(wte, wpe, drop, h, ln_f)

 private:
  Tensor embed(const Tensor& tokens);

  Gpt2Options options_;
};

/// 124 M (the defaults), 355 M, 774 M and 1.5 G parameters.
GPUNN_API Gpt2Options gpt2_medium_options();
GPUNN_API Gpt2Options gpt2_large_options();
GPUNN_API Gpt2Options gpt2_xl_options();

/// Options from a published config.json (n_embd, n_layer, n_head, n_positions, vocab_size,
/// layer_norm_epsilon, resid_pdrop). Throws DataError naming the file and key for what is missing or absurd,
/// and for another model, activation, inner size or scaling of scores.
GPUNN_API Gpt2Options read_gpt2_config(const std::string& path);

/// Loads a safetensors file with the published keys, with or without "transformer." before them, and with
/// matrices as [in, out]. Buffers of the mask ("h.0.attn.bias") are passed over; "lm_head.weight" must equal
/// "wte.weight". Throws DataError naming the file and every key that is missing, unexpected or of another
/// shape; the model is unchanged then.
GPUNN_API void load_gpt2_weights(const std::string& path, Gpt2& model);
/// Writes such a file, which other libraries read.
GPUNN_API void save_gpt2_weights(const std::string& path, Gpt2& model);

}  // namespace gpunn
