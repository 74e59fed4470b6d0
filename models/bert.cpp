#include "gpunn/models/bert.h"

#include "gpunn/layers/functional.h"
#include "gpunn/layers/init.h"
#include "gpunn/models/detail/causal.h"

namespace gpunn {
namespace {

constexpr double kDeviation = 0.02;

const BertOptions& checked(const BertOptions& o) {
  GPUNN_CHECK(o.vocabulary >= 1 && o.context >= 1 && o.features >= 1 && o.segments >= 1,
              "expected a vocabulary, a context, features and segments of at least 1, got ", o.vocabulary,
              ", ", o.context, ", ", o.features, " and ", o.segments);
  return o;
}

TransformerEncoder make_encoder(const BertOptions& o) {
  TransformerLayerOptions layer;
  layer.dim_feedforward = o.inner;
  layer.dropout = o.dropout;
  layer.activation = FeedForward::gelu;
  layer.layer_norm_eps = o.eps;
  layer.batch_first = true;
  return TransformerEncoder(TransformerEncoderLayer(o.features, o.heads, layer), o.layers);
}

}  // namespace

Bert::Bert(const BertOptions& options)
    : word(checked(options).vocabulary, options.features),
      position(options.context, options.features),
      segment(options.segments, options.features),
      norm(options.features, {.eps = options.eps}),
      dropout(options.dropout),
      encoder(make_encoder(options)),
      dense(options.features, options.features),
      dense_norm(options.features, {.eps = options.eps}),
      token_bias(zeros({options.vocabulary})),
      pooler(options.features, options.features),
      next(options.features, 2),
      options_(options) {
  // Matrices are drawn, norms stay as they are made; vectors that are left are biases.
  for (const auto& [name, value] : named_parameters()) {
    if (value.dim() == 2) init::normal(value, 0, kDeviation);
    if (value.dim() == 1 && name.ends_with("bias")) init::zeros(value);
  }
}

Tensor Bert::encode(const Tensor& tokens, const Tensor& segments, const Tensor& padding,
                    AttentionMaps* maps) {
  detail::check_tokens(tokens, options_.context);
  Tensor x = word(tokens) + position.weight.narrow(0, 0, tokens.size(1));
  if (segments.defined()) {
    GPUNN_CHECK(segments.shape() == tokens.shape(), "expected segments ", tokens.shape(),
                " like the tokens, got ", segments.shape());
    x = x + segment(segments);
  } else {
    x = x + segment.weight.narrow(0, 0, 1);
  }
  EncoderMasks masks;
  masks.key_padding_mask = padding;
  return encoder(dropout(norm(x)), masks, maps);
}

Tensor Bert::token_logits(const Tensor& rows) {
  const ModuleScope scope(*this);
  return linear(dense_norm(gelu(dense(rows))), word.weight, token_bias);
}

Tensor Bert::next_logits(const Tensor& features) {
  const ModuleScope scope(*this);
  return next(tanh(pooler(features.select(1, 0))));
}

BertOutput Bert::heads(const Tensor& features) { return {token_logits(features), next_logits(features)}; }

}  // namespace gpunn
