#pragma once
// What sentiment reads, trains and finds out.
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "gpunn/layers/module.h"
#include "gpunn/models/recipes/recipe.h"
#include "gpunn/training/sequence_batches.h"
#include "gpunn/training/text_data.h"
#include "gpunn/training/trainer.h"

namespace gpunn::detail {

struct SentimentSettings : AdamSettings {
  std::string model = "lstm";
  std::int64_t embedding = 64, hidden = 64;
  std::int64_t layers = 1, heads = 4;
  double dropout = 0.3;
  std::int64_t min_count = 2;
  std::int64_t max_length = 50;
  double band = 0.2;
  SentimentSettings() { epochs = 3; }
  std::vector<Field> fields() override;
};

/// A sentence with its class: 0 negative, 1 positive.
struct Review {
  std::string text;
  std::int64_t label = 0;
};

/// Sentences of both classes, a tenth of each for testing; the vocabulary knows the others only.
struct SentimentData {
  std::vector<Review> train, test;
  std::vector<TokenSequence> train_ids, test_ids;
  WordVocab vocab;
};
/// Throws DataError for files that are missing or hold fewer than ten sentences.
SentimentData load_sentiment(const SentimentSettings& settings);
/// Ids of a sentence. One without words gets the unknown word: a classifier needs something to read.
TokenSequence encode_review(const WordVocab& vocab, const std::string& text);

/// What the model says of sentences, in their order.
std::vector<double> positive_probabilities(Module& model, const std::vector<TokenSequence>& ids,
                                           std::int64_t max_length, Device device);

/// Probabilities within (1 - band) / 2 and (1 + band) / 2 are neutral.
struct Confidence {
  std::int64_t sure = 0, right = 0, all = 0;
  double accuracy() const { return sure > 0 ? static_cast<double>(right) / static_cast<double>(sure) : 0; }
  double neutral() const { return all > 0 ? static_cast<double>(all - sure) / static_cast<double>(all) : 0; }
};
const char* verdict(double positive, double band);
Confidence confidence(const std::vector<double>& positive, const std::vector<Review>& reviews, double band);

/// Shown in every run; of no file.
struct SampleReview {
  const char* text;
  double positive = 0;
};
/// What the words of a sample look at, by layer; none of a recurrent model.
struct SampleAttention {
  std::vector<std::string> words{};
  std::vector<Tensor> maps{};  // [1, heads, words, words] each
};

void write_sentiment_report(RecipeContext& context, const SentimentData& data,
                            const std::vector<double>& positive, const std::vector<SampleReview>& samples,
                            const SampleAttention& attention, const TrainResult& trained,
                            const RecipeResult& result);

}  // namespace gpunn::detail
