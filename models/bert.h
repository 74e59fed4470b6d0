#pragma once
// BERT: an encoder that reads in both directions and guesses the tokens that were hidden from it, and whether
// the second of two texts follows the first.
//
//   x = norm(word[token] + position[i] + segment[s]);  post-norm encoder layers with GELU
//   hidden tokens: norm(gelu(dense(x))) word' + bias;  next text: two logits of tanh(pooler(x_0))
//
// J. Devlin et al., "BERT: pre-training of deep bidirectional transformers for language understanding", 2019.
#include <cstdint>
#include <vector>

#include "gpunn/layers/dropout.h"
#include "gpunn/layers/embedding.h"
#include "gpunn/layers/transformer.h"

namespace gpunn {

/// The defaults are those of BERT-base.
struct BertOptions {
  std::int64_t vocabulary = 30522;
  std::int64_t context = 512;  // most positions
  std::int64_t features = 768;
  std::int64_t layers = 12;
  std::int64_t heads = 12;
  std::int64_t inner = 3072;  // of the feed forward part
  std::int64_t segments = 2;  // texts in a row
  double dropout = 0.1;
  double eps = 1e-12;
};

struct BertOutput {
  Tensor tokens;  // logits [B, T, V] of each place
  Tensor next;    // logits [B, 2]: does the second text follow? 1: yes
};

/// Initial values N(0, 0.02²), biases 0, norms 1 and 0. Throws InvalidArgument for sizes below 1, heads that
/// do not divide the features, dropout outside [0, 1); in forward for tokens of another rank or outside the
/// vocabulary, segments of another shape, and more positions than context.
class GPUNN_API Bert : public Module {
 public:
  explicit Bert(const BertOptions& options = {});

  /// Features [B, T, E] of tokens i64 [B, T] in one segment.
  Tensor forward(const Tensor& tokens) override { return encode(tokens); }
  /// segments i64 [B, T] (undefined: 0), padding bool [B, T] (true: no token there; undefined: none). With
  /// `maps` the weights of every head are kept.
  Tensor encode(const Tensor& tokens, const Tensor& segments = {}, const Tensor& padding = {},
                AttentionMaps* maps = nullptr);
  /// Both heads on features of encode().
  BertOutput heads(const Tensor& features);
  /// Logits [n, V] of n places: rows of features [n, E].
  Tensor token_logits(const Tensor& rows);
  /// Logits [B, 2] of features [B, T, E].
  Tensor next_logits(const Tensor& features);
  const BertOptions& options() const noexcept { return options_; }

  Embedding word, position, segment;
  LayerNorm norm;
  Dropout dropout;
  TransformerEncoder encoder;
  Linear dense;  // of the head for hidden tokens
  LayerNorm dense_norm;
  Parameter token_bias;  // [V]; its matrix is the embedding of words
  Linear pooler, next;
  GPUNN_MEMBERS(word, position, segment, norm, dropout, encoder, dense, dense_norm, token_bias, pooler, next)

 private:
  BertOptions options_;
};

}  // namespace gpunn
