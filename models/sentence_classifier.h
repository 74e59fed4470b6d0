#pragma once
// A classifier of sentences: embedding, a recurrent layer in both directions, the largest value of each
// feature over the sentence, dense.
#include <cstdint>

#include "gpunn/layers/dropout.h"
#include "gpunn/layers/embedding.h"
#include "gpunn/layers/linear.h"
#include "gpunn/layers/recurrent.h"

namespace gpunn {

struct SentenceClassifierOptions {
  std::int64_t words = 1;  // size of the vocabulary; id 0 is padding
  std::int64_t embedding = 64;
  std::int64_t hidden = 64;  // of each direction
  std::int64_t classes = 2;
  double dropout = 0.3;          // of the embedding and of the sentence's features
  double embedding_scale = 0.1;  // deviation of the initial embedding
};

/// Word ids i64 [N, T], padded with 0 at the end, to logits [N, classes]. Padding changes nothing: the
/// recurrent layer runs on the packed sequence. Lengths are read off the padding on the host: on a CUDA
/// device the host waits for the batch's ids. Throws InvalidArgument for a row of padding only, and as its
/// layers do.
class GPUNN_API SentenceClassifier final : public Module {
 public:
  explicit SentenceClassifier(const SentenceClassifierOptions& options);
  Tensor forward(const Tensor& tokens) override;

  Embedding embedding;
  LSTM recurrent;
  Dropout dropout;
  Linear out;
  GPUNN_MEMBERS(embedding, recurrent, dropout, out)
};

}  // namespace gpunn
