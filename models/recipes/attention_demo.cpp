// attention-demo: two positions by hand, then 64 features in eight heads on a sentence.
#include <algorithm>
#include <cmath>
#include <sstream>

#include "gpunn/core/autograd.h"
#include "gpunn/io/html_report.h"
#include "gpunn/io/json_writer.h"
#include "gpunn/layers/attention.h"
#include "gpunn/layers/embedding.h"
#include "gpunn/layers/functional.h"
#include "gpunn/layers/positions.h"
#include "gpunn/models/recipes/detail/attention_pictures.h"
#include "gpunn/models/recipes/detail/catalogue.h"
#include "gpunn/models/recipes/detail/numbers.h"
#include "gpunn/training/report.h"

namespace gpunn {
namespace {

using Values = std::vector<double>;
using detail::significant;

constexpr double kTolerance = 1e-6;  // relative to the values, which are near 30
constexpr std::int64_t kFeatures = 64, kHeads = 8;
constexpr const char* kSentence = "the cat sat on the mat because it was tired";

struct AttentionDemoSettings : RunSettings {
  AttentionDemoSettings() { epochs = 0; }
};

struct ByHand {
  Values weights, y;        // the library's
  Values expected_weights;  // by the closed form
  Values expected;
  double error;  // the largest, relative
};

// q = k = I and d_k = 2: both scores of a row are 1 / sqrt(2) and 0.
ByHand two_positions(Device device) {
  const TensorOptions on{.device = device};
  const auto matrix = [&](const std::vector<float>& values) {
    return Tensor::from(values, {1, 1, 2, 2}, on);
  };
  const Tensor identity = matrix({1, 0, 0, 1}), v = matrix({10, 20, 30, 40});
  const AttentionOutput out = attention(identity, identity, v, {}, true);
  const Tensor fused = scaled_dot_product_attention(identity, identity, v);
  const double e = std::exp(1 / std::sqrt(2.0)), same = e / (e + 1), other = 1 / (e + 1);
  ByHand result{.weights = out.weights.to(DType::f64).to_vector<double>(),
                .y = fused.to(DType::f64).contiguous().to_vector<double>(),
                .expected_weights = {same, other, other, same},
                .expected = {10 * same + 30 * other, 20 * same + 40 * other, 10 * other + 30 * same,
                             20 * other + 40 * same},
                .error = 0};
  const auto compare = [&](const Values& got, const Values& expected) {
    for (std::size_t i = 0; i < got.size(); ++i)
      result.error = std::max(result.error, std::abs(got[i] - expected[i]) / std::abs(expected[i]));
  };
  compare(result.weights, result.expected_weights);
  compare(result.y, result.expected);
  compare(out.y.to(DType::f64).contiguous().to_vector<double>(), result.expected);
  return result;
}

/// Weights [1, heads, words, words] of an untrained layer on embedded words with positions.
Tensor heads_on(const std::vector<std::string>& words) {
  const NoGrad no_grad;
  std::vector<std::string> known(words);
  std::sort(known.begin(), known.end());
  known.erase(std::unique(known.begin(), known.end()), known.end());
  std::vector<std::int64_t> ids;
  for (const std::string& word : words)
    ids.push_back(std::lower_bound(known.begin(), known.end(), word) - known.begin());
  Embedding embedding(std::ssize(known), kFeatures);
  SinusoidalPositions positions(kFeatures, std::ssize(words), true);
  MultiheadAttention layer(kFeatures, kHeads, {.batch_first = true});
  layer.eval();
  const Tensor x =
      positions(embedding(Tensor::from(ids, {1, std::ssize(ids)}, {.device = default_device()})));
  return layer(x, x, x, {.need_weights = true, .average_attn_weights = false}).weights;
}

std::vector<std::string> split_words(const std::string& text) {
  std::istringstream in(text);
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(word);
  return words;
}

/// How far the rows' sums are from one.
double row_error(const Tensor& weights) {
  double worst = 0;
  for (const float s : sum(weights, {-1}).to_vector<float>())
    worst = std::max(worst, std::abs(static_cast<double>(s) - 1));
  return worst;
}

void write_report(RecipeContext& context, const ByHand& hand, const std::vector<std::string>& words,
                  const Tensor& weights, const RecipeResult& result) {
  HtmlReport report("attention-demo", find_recipe("attention-demo").summary);
  report.figure("largest error", significant(hand.error, 2), "relative, against the closed form",
                result.reached ? Tone::good : Tone::bad);
  report.section("Two positions by hand");
  report.text(
      "Queries and keys are the unit vectors, values (10, 20) and (30, 40), scores are divided by the "
      "square root of 2: each position gives e^0.707 parts of its attention to itself and 1 to the other.");
  const auto row = [](const char* name, const Values& ours, const Values& expected) {
    return std::vector<std::string>{name, significant(expected, 7), significant(ours, 7)};
  };
  report.table({"", "closed form", "library"},
               {row("weights", hand.weights, hand.expected_weights), row("result", hand.y, hand.expected)});
  report.section("Eight heads, untrained");
  report.text(
      "64 features in 8 heads on a sentence. Nothing is learnt yet: every head starts with a view of its "
      "own.");
  detail::report_attention(report, std::span(&weights, 1), words);
  report.section("Environment");
  report_environment(report, context.device());
  context.folder().write_report(report.html());
}

RecipeResult run(RecipeContext& context) {
  RunFolder& folder = context.folder();
  const ByHand hand = two_positions(context.device());
  const std::vector<std::string> words = split_words(kSentence);
  const Tensor weights = heads_on(words);
  RecipeResult result;
  result.metric("worst_error", hand.error);
  result.metric("row_error", row_error(weights));
  result.reached = hand.error <= kTolerance && row_error(weights) <= kTolerance;
  context.say("  weights " + significant(hand.weights, 7) + ", result " + significant(hand.y, 7) +
              ", off by " + significant(hand.error, 2));
  JsonWriter json;
  json.begin_object().field("error", hand.error).field("row_error", row_error(weights));
  folder.append_metrics(json.end_object().take());
  write_report(context, hand, words, weights, result);
  return result;
}

}  // namespace

const Recipe kAttentionDemo{
    "attention-demo",
    "attention",
    "attention of two positions by hand, and eight heads on a sentence",
    "fixed numbers",
    "values equal the closed form to 1e-6",
    [] { return std::unique_ptr<RunSettings>(std::make_unique<AttentionDemoSettings>()); },
    run};

}  // namespace gpunn
