#include "gpunn/models/sentence_classifier.h"

#include "gpunn/core/autograd.h"
#include "gpunn/layers/functional.h"
#include "gpunn/training/sequence_batches.h"

namespace gpunn {

namespace {
// Below what an LSTM can give, so that padding is never the largest.
constexpr double kNothing = -2;
}  // namespace

SentenceClassifier::SentenceClassifier(const SentenceClassifierOptions& options)
    : embedding(options.words, options.embedding, 0),
      recurrent(options.embedding, options.hidden, {.batch_first = true, .bidirectional = true}),
      dropout(options.dropout),
      out(2 * options.hidden, options.classes) {
  GPUNN_CHECK(options.embedding_scale > 0, "expected an embedding_scale above 0, got ",
              options.embedding_scale);
  // N(0, 1), an Embedding's default, drowns what ten thousand sentences can teach.
  const NoGrad no_grad;
  embedding.weight.copy_(embedding.weight * options.embedding_scale);
}

Tensor SentenceClassifier::forward(const Tensor& tokens) {
  const std::vector<std::int64_t> lengths = padded_lengths(tokens);
  const PackedSequence packed = pack_padded_sequence(dropout(embedding(tokens)), lengths,
                                                     /*batch_first=*/true, /*enforce_sorted=*/false);
  const Tensor y = pad_packed_sequence(recurrent(packed).y, /*batch_first=*/true, kNothing).data;
  return out(dropout(max(y, 1).values));
}

}  // namespace gpunn
