#include "gpunn/models/llama.h"

#include "gpunn/core/autograd.h"
#include "gpunn/layers/functional.h"
#include "gpunn/layers/init.h"
#include "gpunn/layers/positions.h"
#include "gpunn/models/detail/causal.h"

namespace gpunn {
namespace {

constexpr double kDeviation = 0.02;

const LlamaOptions& checked(const LlamaOptions& o) {
  GPUNN_CHECK(o.vocabulary >= 1 && o.context >= 1 && o.layers >= 1 && o.inner >= 1,
              "expected a vocabulary, a context, layers and inner features of at least 1, got ", o.vocabulary,
              ", ", o.context, ", ", o.layers, " and ", o.inner);
  GPUNN_CHECK(o.heads >= 1 && o.features >= 1 && o.features % o.heads == 0,
              "expected heads that divide the features, got ", o.heads, " and ", o.features);
  GPUNN_CHECK(o.features / o.heads % 2 == 0, "expected an even number of features a head, got ",
              o.features / o.heads);
  GPUNN_CHECK(o.kv_heads >= 0 && (o.kv_heads == 0 || o.heads % o.kv_heads == 0),
              "expected kv_heads that divide the heads, got ", o.kv_heads, " and ", o.heads);
  GPUNN_CHECK(o.window >= 0, "expected a window of at least 0, got ", o.window);
  return o;
}

std::int64_t kv_heads_of(const LlamaOptions& o) { return o.kv_heads == 0 ? o.heads : o.kv_heads; }

std::vector<LlamaLayer> make_layers(const LlamaOptions& options) {
  std::vector<LlamaLayer> layers;
  layers.reserve(static_cast<std::size_t>(options.layers));
  for (std::int64_t i = 0; i < options.layers; ++i) layers.emplace_back(options);
  return layers;
}

/// residual + layer(x), the sum in the product's epilogue.
Tensor add_projected(Linear& layer, const Tensor& x, const Tensor& residual) {
  const ModuleScope scope(layer);
  return linear(x, layer.weight, {}, Activation::none, residual);
}

}  // namespace

struct LlamaAttention::Heads {
  Tensor q, k, v;  // [B, T, heads, D]; q and k turned
};

LlamaAttention::LlamaAttention(const LlamaOptions& o)
    : q_proj(o.features, o.features, false),
      k_proj(o.features, o.features / o.heads * kv_heads_of(o), false),
      v_proj(o.features, o.features / o.heads * kv_heads_of(o), false),
      o_proj(o.features, o.features, false),
      heads_(o.heads),
      kv_heads_(kv_heads_of(o)),
      window_(o.window) {}

LlamaAttention::Heads LlamaAttention::project(const Tensor& x, const RotaryTable& table,
                                              const Tensor& positions) {
  const std::int64_t B = x.size(0), T = x.size(1), D = x.size(2) / heads_;
  // Positions come from our own count: nothing to be looked at on a device.
  const RotaryOptions options{.positions = positions, .check_positions = false};
  return {rotary(q_proj(x).view({B, T, heads_, D}), table, options),
          rotary(k_proj(x).view({B, T, kv_heads_, D}), table, options), v_proj(x).view({B, T, kv_heads_, D})};
}

Tensor LlamaAttention::forward(const Tensor& x, const Tensor& residual, const RotaryTable& table) {
  const Heads in = project(x, table, {});
  AttentionOptions options;
  options.causal = true;
  options.window = window_;
  const Tensor y =
      scaled_dot_product_attention(in.q.transpose(1, 2), in.k.transpose(1, 2), in.v.transpose(1, 2), options);
  return add_projected(o_proj, y.transpose(1, 2).reshape(x.shape()), residual);
}

Tensor LlamaAttention::forward(const Tensor& x, const Tensor& residual, const RotaryTable& table,
                               const Tensor& positions, KvCache& cache, std::int64_t layer) {
  const Heads in = project(x, table, positions);
  cache.append(layer, in.k, in.v);
  const Tensor y = cache.attend(layer, in.q.transpose(1, 2), window_);
  return add_projected(o_proj, y.transpose(1, 2).reshape(x.shape()), residual);
}

LlamaMlp::LlamaMlp(std::int64_t features, std::int64_t inner)
    : gate_proj(features, inner, false), up_proj(features, inner, false), down_proj(inner, features, false) {}

Tensor LlamaMlp::forward(const Tensor& x, const Tensor& residual) {
  return add_projected(down_proj, swiglu(gate_proj(x), up_proj(x)), residual);
}

LlamaLayer::LlamaLayer(const LlamaOptions& o)
    : self_attn(o),
      mlp(o.features, o.inner),
      input_layernorm(o.features, {.eps = o.eps}),
      post_attention_layernorm(o.features, {.eps = o.eps}) {}

Tensor LlamaLayer::feed_forward(const Tensor& x) {
  const Tensor normed = post_attention_layernorm(x);
  const ModuleScope scope(mlp);
  return mlp.forward(normed, x);
}

Tensor LlamaLayer::forward(const Tensor& x, const RotaryTable& table) {
  const Tensor normed = input_layernorm(x);
  return feed_forward([&] {
    const ModuleScope scope(self_attn);
    return self_attn.forward(normed, x, table);
  }());
}

Tensor LlamaLayer::forward(const Tensor& x, const RotaryTable& table, const Tensor& positions, KvCache& cache,
                           std::int64_t layer) {
  const Tensor normed = input_layernorm(x);
  return feed_forward([&] {
    const ModuleScope scope(self_attn);
    return self_attn.forward(normed, x, table, positions, cache, layer);
  }());
}

LlamaBody::LlamaBody(const LlamaOptions& o)
    : embed_tokens(o.vocabulary, o.features), layers(make_layers(o)), norm(o.features, {.eps = o.eps}) {}

Llama::Llama(const LlamaOptions& options)
    : model(checked(options)),
      lm_head(options.tied
                  ? std::nullopt
                  : std::optional<Linear>(std::in_place, options.features, options.vocabulary, false)),
      options_(options) {
  for (const Tensor& weight : parameters())
    if (weight.dim() == 2) init::normal(weight, 0, kDeviation);
}

const RotaryTable& Llama::table() {
  const Tensor& weight = model.embed_tokens.weight;
  const DType dtype = weight.dtype() == DType::f64 ? DType::f64 : DType::f32;
  if (!table_.cos.defined() || table_.cos.device() != weight.device() || table_.cos.dtype() != dtype)
    table_ = rotary_table(options_.context, options_.features / options_.heads, options_.rotary_base,
                          {.dtype = dtype, .device = weight.device()});
  return table_;
}

Tensor Llama::hidden(const Tensor& tokens) {
  detail::check_tokens(tokens, options_.context);
  const ModuleScope scope(model);
  Tensor x = model.embed_tokens(tokens);
  for (LlamaLayer& layer : model.layers) {
    const ModuleScope inner(layer);
    x = layer.forward(x, table());
  }
  return model.norm(x);
}

Tensor Llama::logits(const Tensor& x) {
  return lm_head ? (*lm_head)(x) : linear(x, model.embed_tokens.weight);
}

Tensor Llama::forward(const Tensor& tokens) { return logits(hidden(tokens)); }

Tensor Llama::forward(const Tensor& tokens, KvCache& cache, std::span<const std::int64_t> valid) {
  const NoGrad no_grad;
  detail::check_cache_call(tokens, cache, valid, options_.context);
  const Tensor positions =
      positions_behind(cache.lengths(), tokens.size(1), options_.context, tokens.device());
  cache.begin(tokens.size(1), valid);
  const Tensor x = [&] {
    const ModuleScope scope(model);
    Tensor inner = model.embed_tokens(tokens);
    for (std::size_t i = 0; i < model.layers.size(); ++i) {
      const ModuleScope layer(model.layers[i]);
      inner = model.layers[i].forward(inner, table(), positions, cache, static_cast<std::int64_t>(i));
    }
    return model.norm(inner);
  }();
  cache.commit();
  return logits(x);
}

Tensor Llama::loss(const Tensor& tokens, const Tensor& targets) {
  GPUNN_CHECK(targets.defined() && tokens.defined() && targets.shape() == tokens.shape(),
              "expected a target for each token");
  const ModuleScope scope(*this);
  return linear_cross_entropy(hidden(tokens), lm_head ? lm_head->weight : model.embed_tokens.weight, targets);
}

KvCacheOptions Llama::cache_options() const {
  const Tensor& weight = model.embed_tokens.weight;
  KvCacheOptions o;
  o.capacity = options_.context;
  o.layers = options_.layers;
  o.kv_heads = kv_heads_of(options_);
  o.head_dim = options_.features / options_.heads;
  o.dtype = weight.dtype();
  o.device = weight.device();
  return o;
}

}  // namespace gpunn
