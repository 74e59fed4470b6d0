#include "gpunn/models/gpt2.h"

#include <cmath>
#include <optional>

#include "gpunn/core/autograd.h"
#include "gpunn/layers/functional.h"
#include "gpunn/layers/init.h"
#include "gpunn/layers/positions.h"
#include "gpunn/models/detail/causal.h"

namespace gpunn {
namespace {

const Gpt2Options& checked(const Gpt2Options& o) {
  GPUNN_CHECK(o.vocabulary >= 1 && o.context >= 1 && o.layers >= 1,
              "expected a vocabulary, a context and layers of at least 1, got ", o.vocabulary, ", ",
              o.context, " and ", o.layers);
  GPUNN_CHECK(o.heads >= 1 && o.features >= 1 && o.features % o.heads == 0,
              "expected heads that divide the features, got ", o.heads, " and ", o.features);
  GPUNN_CHECK(o.dropout >= 0 && o.dropout < 1, "expected dropout in [0, 1), got ", o.dropout);
  return o;
}

/// residual + dropout(linear(x)): without dropout the sum is the product's epilogue.
Tensor add_projected(Linear& layer, Dropout& dropout, const Tensor& x, const Tensor& residual) {
  const ModuleScope scope(layer);
  if (dropout.is_training() && dropout.p() > 0)
    return residual + dropout(linear(x, layer.weight, layer.bias));
  return linear(x, layer.weight, layer.bias, Activation::none, residual);
}

struct Heads {
  Tensor q, k, v;  // [B, T, H, D], views
};
Heads split_heads(const Tensor& qkv, std::int64_t heads) {
  const std::int64_t features = qkv.size(2) / 3;
  const Tensor parts = qkv.view({qkv.size(0), qkv.size(1), 3, heads, features / heads});
  return {parts.select(2, 0), parts.select(2, 1), parts.select(2, 2)};
}

std::vector<Gpt2Block> make_blocks(const Gpt2Options& options) {
  std::vector<Gpt2Block> blocks;
  blocks.reserve(static_cast<std::size_t>(options.layers));
  for (std::int64_t i = 0; i < options.layers; ++i) blocks.emplace_back(options);
  return blocks;
}

constexpr double kDeviation = 0.02;

void draw(Linear& layer, double deviation) {
  init::normal(layer.weight, 0, deviation);
  init::zeros(layer.bias);
}

}  // namespace

Gpt2Attention::Gpt2Attention(std::int64_t features, std::int64_t heads, double p)
    : c_attn(features, 3 * features), c_proj(features, features), dropout(p), heads_(heads) {}

Tensor Gpt2Attention::forward(const Tensor& x, const Tensor& residual) {
  AttentionOptions options;
  options.causal = true;
  options.dropout_p = is_training() ? dropout.p() : 0;
  return add_projected(c_proj, dropout, attention_packed_qkv(c_attn(x), heads_, heads_, options), residual);
}

Tensor Gpt2Attention::forward(const Tensor& x, const Tensor& residual, KvCache& cache, std::int64_t layer) {
  const Heads in = split_heads(c_attn(x), heads_);
  cache.append(layer, in.k, in.v);
  const Tensor y = cache.attend(layer, in.q.transpose(1, 2)).transpose(1, 2);
  return add_projected(c_proj, dropout, y.reshape(x.shape()), residual);
}

Tensor Gpt2Attention::weights(const Tensor& x) {
  const NoGrad no_grad;
  const Heads in = split_heads(c_attn(x), heads_);
  AttentionOptions options;
  options.causal = true;
  return attention(in.q.transpose(1, 2), in.k.transpose(1, 2), in.v.transpose(1, 2), options, true).weights;
}

Gpt2Mlp::Gpt2Mlp(std::int64_t features, double p)
    : c_fc(features, 4 * features), c_proj(4 * features, features), dropout(p) {}

Tensor Gpt2Mlp::forward(const Tensor& x, const Tensor& residual) {
  const Tensor inner = [&] {
    const ModuleScope scope(c_fc);
    return c_fc.forward(x, Activation::gelu_tanh);
  }();
  return add_projected(c_proj, dropout, inner, residual);
}

Gpt2Block::Gpt2Block(const Gpt2Options& o)
    : ln_1(o.features, {.eps = o.eps}),
      attn(o.features, o.heads, o.dropout),
      ln_2(o.features, {.eps = o.eps}),
      mlp(o.features, o.dropout) {}

Tensor Gpt2Block::forward(const Tensor& x) {
  const Tensor y = [&] {
    const Tensor normed = ln_1(x);
    const ModuleScope scope(attn);
    return attn.forward(normed, x);
  }();
  const Tensor normed = ln_2(y);
  const ModuleScope scope(mlp);
  return mlp.forward(normed, y);
}

Tensor Gpt2Block::forward(const Tensor& x, KvCache& cache, std::int64_t layer) {
  const Tensor y = [&] {
    const Tensor normed = ln_1(x);
    const ModuleScope scope(attn);
    return attn.forward(normed, x, cache, layer);
  }();
  const Tensor normed = ln_2(y);
  const ModuleScope scope(mlp);
  return mlp.forward(normed, y);
}

Tensor Gpt2Block::forward(const Tensor& x, Tensor& weights) {
  weights = attn.weights(ln_1(x));
  return forward(x);
}

Gpt2::Gpt2(const Gpt2Options& options)
    : wte(checked(options).vocabulary, options.features),
      wpe(options.context, options.features),
      drop(options.dropout),
      h(make_blocks(options)),
      ln_f(options.features, {.eps = options.eps}),
      options_(options) {
  init::normal(wte.weight, 0, kDeviation);
  init::normal(wpe.weight, 0, kDeviation);
  // The variance of the sum over branches does not grow with their number.
  const double last = kDeviation / std::sqrt(2.0 * static_cast<double>(options.layers));
  for (Gpt2Block& block : h) {
    draw(block.attn.c_attn, kDeviation);
    draw(block.attn.c_proj, last);
    draw(block.mlp.c_fc, kDeviation);
    draw(block.mlp.c_proj, last);
  }
}

Tensor Gpt2::embed(const Tensor& tokens) {
  detail::check_tokens(tokens, options_.context);
  return drop(wte(tokens) + wpe.weight.narrow(0, 0, tokens.size(1)));
}

Tensor Gpt2::hidden(const Tensor& tokens) {
  Tensor x = embed(tokens);
  for (Gpt2Block& block : h) x = block(x);
  return ln_f(x);
}

Tensor Gpt2::forward(const Tensor& tokens) { return linear(hidden(tokens), wte.weight); }

Tensor Gpt2::forward(const Tensor& tokens, KvCache& cache, std::span<const std::int64_t> valid) {
  const NoGrad no_grad;
  detail::check_cache_call(tokens, cache, valid, options_.context);
  const Tensor positions =
      positions_behind(cache.lengths(), tokens.size(1), options_.context, tokens.device());
  std::optional<detail::EvaluationScope> evaluation;  // no dropout
  if (is_training()) evaluation.emplace(*this);
  cache.begin(tokens.size(1), valid);
  Tensor x = wte(tokens) + wpe(positions);
  for (std::size_t i = 0; i < h.size(); ++i) {
    const ModuleScope scope(h[i]);
    x = h[i].forward(x, cache, static_cast<std::int64_t>(i));
  }
  cache.commit();
  return linear(ln_f(x), wte.weight);
}

Tensor Gpt2::loss(const Tensor& tokens, const Tensor& targets) {
  GPUNN_CHECK(targets.defined() && tokens.defined() && targets.shape() == tokens.shape(),
              "expected a target for each token");
  const ModuleScope scope(*this);
  return linear_cross_entropy(hidden(tokens), wte.weight, targets);
}

std::vector<Tensor> Gpt2::attention_maps(const Tensor& tokens) {
  const NoGrad no_grad;
  const detail::EvaluationScope evaluation(*this);
  const ModuleScope scope(*this);
  std::vector<Tensor> maps(h.size());
  Tensor x = embed(tokens);
  for (std::size_t i = 0; i < h.size(); ++i) {
    const ModuleScope block(h[i]);
    x = h[i].forward(x, maps[i]);
  }
  return maps;
}

KvCacheOptions Gpt2::cache_options() const {
  KvCacheOptions o;
  o.capacity = options_.context;
  o.layers = options_.layers;
  o.kv_heads = options_.heads;
  o.head_dim = options_.features / options_.heads;
  o.dtype = wte.weight.dtype();
  o.device = wte.weight.device();
  return o;
}

Gpt2Options gpt2_medium_options() { return {.features = 1024, .layers = 24, .heads = 16}; }
Gpt2Options gpt2_large_options() { return {.features = 1280, .layers = 36, .heads = 20}; }
Gpt2Options gpt2_xl_options() { return {.features = 1600, .layers = 48, .heads = 25}; }

}  // namespace gpunn
