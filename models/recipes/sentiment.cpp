// sentiment: whether a sentence about a film is praise. Embedding and an LSTM in both directions, or a
// transformer's encoder, with a neutral verdict where the model is not sure.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>

#include "gpunn/core/autograd.h"
#include "gpunn/core/random.h"
#include "gpunn/io/file.h"
#include "gpunn/layers/functional.h"
#include "gpunn/layers/losses.h"
#include "gpunn/models/recipes/detail/batch_run.h"
#include "gpunn/models/recipes/detail/catalogue.h"
#include "gpunn/models/recipes/detail/sentiment_run.h"
#include "gpunn/models/sentence_classifier.h"
#include "gpunn/models/sentence_encoder.h"
#include "gpunn/training/data_paths.h"
#include "gpunn/training/metrics.h"

namespace gpunn {

using detail::Confidence;
using detail::Review;
using detail::SampleAttention;
using detail::SampleReview;
using detail::SentimentData;
using detail::SentimentSettings;

namespace {

constexpr double kAccuracy = 0.73;
constexpr std::int64_t kTestBatch = 256;
// Which sentences test does not depend on the run's seed.
constexpr std::uint64_t kSplitSeed = 0, kSplitStream = std::uint64_t{0x5350} << 48;

constexpr const char* kSamples[] = {
    "a warm , funny and beautifully acted film that stays with you for days",
    "the plot makes no sense and the jokes are dull and tired",
    "one of the most moving and inventive pictures of the year",
    "a tedious , lifeless bore with nothing to say",
    "the actors do what they can , but the script gives them little",
    "it opens at noon and runs for two hours",
};

}  // namespace

namespace detail {

std::vector<Field> SentimentSettings::fields() {
  std::vector<Field> all = AdamSettings::fields();
  all.push_back({.name = "model",
                 .value = &model,
                 .help = "recurrent, or an encoder of attention",
                 .choices = {"lstm", "transformer"}});
  all.push_back({"embedding", &embedding, "numbers for each word", 1, 4096});
  all.push_back({"hidden", &hidden, "hidden units of each direction of the LSTM", 1, 4096});
  all.push_back({"layers", &layers, "layers of the transformer", 1, 96});
  all.push_back({"heads", &heads, "heads of the transformer, a divisor of the embedding", 1, 256});
  all.push_back({"dropout", &dropout, "part of the features left out in training", 0, 1});
  all.push_back({"min_count", &min_count, "rarer words are unknown", 1});
  all.push_back({"max_length", &max_length, "words of a sentence that are read", 1, 1000});
  all.push_back({"band", &band, "width of the neutral verdict's probabilities", 0, 1});
  return all;
}

TokenSequence encode_review(const WordVocab& vocab, const std::string& text) {
  TokenSequence ids = vocab.encode(split_words(text, "review"));
  if (ids.empty()) ids.push_back(WordVocab::kUnknown);
  return ids;
}

SentimentData load_sentiment(const SentimentSettings& settings) {
  const std::vector<std::string> paths = find_data(data_set_info("rt-polarity"), settings.data);
  std::vector<Review> train, test;
  for (std::int64_t label = 0; label < 2; ++label) {
    const std::string& path = paths[static_cast<std::size_t>(label)];
    std::vector<std::string> lines = load_lines(path);
    if (lines.size() < 10) throw_data(concat(path, ": expected at least ten sentences, got ", lines.size()));
    PhiloxStream random(kSplitSeed, kSplitStream + static_cast<std::uint64_t>(label));
    for (std::size_t i = lines.size(); i > 1; --i)
      std::swap(lines[i - 1], lines[static_cast<std::size_t>(random.below(i))]);
    const std::size_t cut = lines.size() - lines.size() / 10;
    for (std::size_t i = 0; i < lines.size(); ++i)
      (i < cut ? train : test).push_back({std::move(lines[i]), label});
  }
  std::vector<std::vector<std::string>> words;
  for (const Review& review : train) words.push_back(split_words(review.text, "review"));
  SentimentData data{std::move(train),
                     std::move(test),
                     {},
                     {},
                     WordVocab::from_sentences(words, {.min_count = settings.min_count})};
  for (const Review& review : data.train) data.train_ids.push_back(encode_review(data.vocab, review.text));
  for (const Review& review : data.test) data.test_ids.push_back(encode_review(data.vocab, review.text));
  return data;
}

std::vector<double> positive_probabilities(Module& model, const std::vector<TokenSequence>& ids,
                                           std::int64_t max_length, Device device) {
  const NoGrad no_grad;
  const bool was_training = model.is_training();
  model.eval();
  std::vector<double> out;
  for (std::size_t first = 0; first < ids.size(); first += kTestBatch) {
    const std::span rows(ids.data() + first, std::min<std::size_t>(kTestBatch, ids.size() - first));
    const Tensor tokens = pad_tokens(rows, {.max_length = max_length}).tokens.to(device);
    for (const float p : softmax(model(tokens), 1).select(1, 1).contiguous().to_vector<float>())
      out.push_back(static_cast<double>(p));
  }
  model.train(was_training);
  return out;
}

const char* verdict(double positive, double band) {
  if (std::abs(2 * positive - 1) <= band) return "neutral";
  return positive > 0.5 ? "positive" : "negative";
}

Confidence confidence(const std::vector<double>& positive, const std::vector<Review>& reviews, double band) {
  Confidence c;
  for (std::size_t i = 0; i < positive.size(); ++i) {
    ++c.all;
    if (std::abs(2 * positive[i] - 1) <= band) continue;
    ++c.sure;
    c.right += (positive[i] > 0.5) == (reviews[i].label == 1) ? 1 : 0;
  }
  return c;
}

}  // namespace detail

namespace {

std::vector<std::int64_t> labels_of(const std::vector<Review>& reviews) {
  std::vector<std::int64_t> labels;
  for (const Review& review : reviews) labels.push_back(review.label);
  return labels;
}

std::vector<SampleReview> judge_samples(RecipeContext& context, Module& model, const WordVocab& vocab) {
  const auto& settings = static_cast<const SentimentSettings&>(context.settings());
  std::vector<TokenSequence> ids;
  for (const char* text : kSamples) ids.push_back(detail::encode_review(vocab, text));
  const std::vector<double> positive =
      detail::positive_probabilities(model, ids, settings.max_length, context.device());
  std::vector<SampleReview> samples;
  for (std::size_t i = 0; i < positive.size(); ++i) {
    samples.push_back({kSamples[i], positive[i]});
    char text[200];
    std::snprintf(text, sizeof text, "%5.1f %% positive  %-8s  %s", 100 * positive[i],
                  detail::verdict(positive[i], settings.band), kSamples[i]);
    context.say(text);
  }
  return samples;
}

std::unique_ptr<Module> make_model(const SentimentSettings& settings, std::int64_t words) {
  if (settings.model == "transformer")
    return std::make_unique<SentenceEncoder>(SentenceEncoderOptions{.words = words,
                                                                    .features = settings.embedding,
                                                                    .heads = settings.heads,
                                                                    .layers = settings.layers,
                                                                    .context = settings.max_length,
                                                                    .dropout = settings.dropout});
  return std::make_unique<SentenceClassifier>(SentenceClassifierOptions{.words = words,
                                                                        .embedding = settings.embedding,
                                                                        .hidden = settings.hidden,
                                                                        .dropout = settings.dropout});
}

SampleAttention attention_of(Module& model, const SentimentSettings& settings, const WordVocab& vocab,
                             Device device) {
  auto* const encoder = dynamic_cast<SentenceEncoder*>(&model);
  if (!encoder) return {};
  SampleAttention attention{.words = split_words(kSamples[0], "review")};
  attention.words.resize(std::min(attention.words.size(), static_cast<std::size_t>(settings.max_length)));
  const TokenSequence ids = vocab.encode(attention.words);
  attention.maps = encoder->attention_maps(Tensor::from(ids, {1, std::ssize(ids)}, {.device = device}));
  return attention;
}

RecipeResult run(RecipeContext& context) {
  const auto& settings = static_cast<const SentimentSettings&>(context.settings());
  const SentimentData data = detail::load_sentiment(settings);
  const std::unique_ptr<Module> made = make_model(settings, data.vocab.size());
  Module& model = *made;
  const auto train_rows = std::make_shared<LabelledSequences>(
      data.train_ids, labels_of(data.train),
      LabelledSequencesOptions{
          .max_length = settings.max_length, .bucket_batch = settings.batch_size, .seed = settings.seed});
  const auto test_rows = std::make_shared<LabelledSequences>(
      data.test_ids, labels_of(data.test), LabelledSequencesOptions{.max_length = settings.max_length});
  const DataLoader test(test_rows, {.batch_size = kTestBatch, .device = context.device()});
  CrossEntropyLoss loss({.check_targets = false});
  // Weights mean nothing without their words.
  write_file_atomic(context.folder().file("vocabulary.txt"), data.vocab.state());
  const TrainResult trained = detail::train_batches(
      context, {.model = model,
                .data = train_rows,
                .loss = [&](const Batch& batch) { return loss(model(batch.inputs), batch.targets); },
                .test = [&] { return evaluate(model, loss, test); },
                .shuffle = false,
                .checkpoint = "checkpoint.safetensors",
                .resume = context.hooks().resume});
  RecipeResult result = detail::batch_result(context, trained, model);
  const std::vector<double> positive =
      detail::positive_probabilities(model, data.test_ids, settings.max_length, context.device());
  const Confidence all = detail::confidence(positive, data.test, -1),
                   sure = detail::confidence(positive, data.test, settings.band);
  result.metric("test_accuracy", all.accuracy());
  result.metric("sure_accuracy", sure.accuracy());
  result.metric("neutral_share", sure.neutral());
  result.metric("words", static_cast<double>(data.vocab.size()));
  result.reached = !result.stopped && all.accuracy() >= kAccuracy;
  const std::vector<SampleReview> samples = judge_samples(context, model, data.vocab);
  const SampleAttention attention = attention_of(model, settings, data.vocab, context.device());
  detail::write_sentiment_report(context, data, positive, samples, attention, trained, result);
  return result;
}

}  // namespace

const Recipe kSentiment{
    "sentiment",
    "sequences",
    "an LSTM in both directions, or a transformer, tells praise from blame in sentences about films",
    "rt-polarity",
    "test accuracy >= 73 %",
    [] { return std::unique_ptr<RunSettings>(std::make_unique<SentimentSettings>()); },
    run,
    true};

}  // namespace gpunn
