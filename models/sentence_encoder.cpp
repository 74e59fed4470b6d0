#include "gpunn/models/sentence_encoder.h"

#include <limits>

#include "gpunn/core/autograd.h"
#include "gpunn/layers/functional.h"
#include "gpunn/models/detail/evaluation_scope.h"
#include "gpunn/training/sequence_batches.h"

namespace gpunn {
namespace {

TransformerEncoder make_encoder(const SentenceEncoderOptions& o) {
  TransformerLayerOptions layer;
  layer.dim_feedforward = 2 * o.features;
  layer.dropout = o.dropout;
  layer.activation = FeedForward::gelu;
  layer.batch_first = true;
  layer.norm_first = true;
  return TransformerEncoder(TransformerEncoderLayer(o.features, o.heads, layer), o.layers,
                            LayerNorm(o.features));
}

/// Bool [N, T]: true where no word is. A row without words has nothing to look at.
Tensor padding_of(const Tensor& tokens) {
  padded_lengths(tokens);
  return eq(tokens, 0);
}

}  // namespace

SentenceEncoder::SentenceEncoder(const SentenceEncoderOptions& options)
    : embedding(options.words, options.features, 0),
      positions(options.context, options.features, /*batch_first=*/true),
      encoder(make_encoder(options)),
      dropout(options.dropout),
      out(options.features, options.classes) {
  GPUNN_CHECK(options.embedding_scale > 0, "expected an embedding_scale above 0, got ",
              options.embedding_scale);
  const NoGrad no_grad;
  embedding.weight.copy_(embedding.weight * options.embedding_scale);
  positions.weight.copy_(positions.weight * options.embedding_scale);
}

Tensor SentenceEncoder::forward(const Tensor& tokens) {
  const Tensor padding = padding_of(tokens);
  const Tensor y = encoder(dropout(positions(embedding(tokens))), {.key_padding_mask = padding});
  const Tensor words = masked_fill(y, padding.unsqueeze(2), -std::numeric_limits<double>::infinity());
  return out(dropout(max(words, 1).values));
}

std::vector<Tensor> SentenceEncoder::attention_maps(const Tensor& tokens) {
  const NoGrad no_grad;
  const detail::EvaluationScope evaluation(*this);
  const ModuleScope scope(*this);
  return encoder.inspect(positions(embedding(tokens)), {.key_padding_mask = padding_of(tokens)}).maps.encoder;
}

}  // namespace gpunn
