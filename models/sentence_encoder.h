#pragma once
// A classifier of sentences by attention: embedding and learnt positions, pre-norm encoder layers, the
// largest value of each feature over the sentence, dense.
#include <cstdint>
#include <vector>

#include "gpunn/layers/dropout.h"
#include "gpunn/layers/embedding.h"
#include "gpunn/layers/positions.h"
#include "gpunn/layers/transformer.h"

namespace gpunn {

struct SentenceEncoderOptions {
  std::int64_t words = 1;  // size of the vocabulary; id 0 is padding
  std::int64_t features = 64;
  std::int64_t heads = 4;
  std::int64_t layers = 1;
  std::int64_t context = 64;  // most words of a sentence
  std::int64_t classes = 2;
  double dropout = 0.3;          // of the embedding, in the layers and of the sentence's features
  double embedding_scale = 0.1;  // deviation of the initial embedding and positions
};

/// Word ids i64 [N, T], padded with 0 at the end, to logits [N, classes]. Padding changes nothing: no word
/// looks at it. Lengths are read off the padding on the host: on a CUDA device the host waits for the batch's
/// ids. Throws InvalidArgument for a row of padding only, for more words than the context, and as its layers
/// do.
class GPUNN_API SentenceEncoder final : public Module {
 public:
  explicit SentenceEncoder(const SentenceEncoderOptions& options);
  Tensor forward(const Tensor& tokens) override;
  /// What each word looks at, [N, heads, T, T] for each layer, in evaluation mode and without gradients.
  std::vector<Tensor> attention_maps(const Tensor& tokens);

  Embedding embedding;
  LearnedPositions positions;
  TransformerEncoder encoder;
  Dropout dropout;
  Linear out;
  GPUNN_MEMBERS(embedding, positions, encoder, dropout, out)
};

}  // namespace gpunn
