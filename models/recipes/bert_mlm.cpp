// bert-mlm: a small BERT of the characters of Shakespeare's plays: hidden characters, and whether a second
// passage follows the first.
#include <algorithm>
#include <cmath>
#include <iterator>

#include "gpunn/core/autograd.h"
#include "gpunn/core/random.h"
#include "gpunn/layers/functional.h"
#include "gpunn/models/bert.h"
#include "gpunn/models/detail/evaluation_scope.h"
#include "gpunn/models/recipes/detail/attention_pictures.h"
#include "gpunn/models/recipes/detail/batch_run.h"
#include "gpunn/models/recipes/detail/catalogue.h"
#include "gpunn/models/recipes/detail/report_parts.h"
#include "gpunn/models/recipes/detail/text_run.h"
#include "gpunn/training/data_paths.h"
#include "gpunn/training/history.h"
#include "gpunn/training/masked_tokens.h"
#include "gpunn/training/report.h"
#include "gpunn/training/text_data.h"

namespace gpunn {
namespace {

constexpr double kTimesBaseline = 2.5;
constexpr std::int64_t kMostParameters = 10'000'000;
constexpr std::int64_t kSteps = 250;      // between evaluations
constexpr std::int64_t kTestRows = 1024;  // pairs of passages of the validation text

struct MlmSettings : AdamSettings {
  std::int64_t layers = 4, heads = 4, features = 128, inner = 512, length = 64;
  double dropout = 0, clip = 1;
  MlmSettings() {
    epochs = 0, steps = 2500, batch_size = 32, lr = 1e-3;
    schedule.schedule = "cosine";
    schedule.warmup_steps = 100;
  }
  std::vector<Field> fields() override {
    std::vector<Field> all = AdamSettings::fields();
    all.push_back({"layers", &layers, "encoder layers", 1, 96});
    all.push_back({"heads", &heads, "heads of attention, a divisor of the features", 1, 256});
    all.push_back({"features", &features, "features of a position", 1, 16384});
    all.push_back({"inner", &inner, "of the feed forward part", 1, 65536});
    all.push_back({"length", &length, "characters of a row, both passages and their marks", 8, 65536});
    all.push_back({"dropout", &dropout, "part of the units left out in training", 0, 0.99});
    all.push_back({"clip", &clip, "largest norm of the gradients together", 0});
    return all;
  }
};

struct MlmData {
  CharacterVocab vocab;
  std::shared_ptr<const MaskedPassages> train, validation;
  double baseline;  // share of the most frequent character of the training text
};

MlmData load(const MlmSettings& s) {
  const std::string text = load_text(find_data(data_set_info("tinyshakespeare"), s.data).at(0));
  const TextSplit split = split_text(text, 0.9);
  CharacterVocab vocab = CharacterVocab::from_text(text);
  const auto passages = [&](const std::string& part, std::int64_t rows, std::uint64_t seed) {
    return std::make_shared<const MaskedPassages>(
        vocab.encode(part),
        MaskedPassagesOptions{.length = s.length, .rows = rows, .vocabulary = vocab.size(), .seed = seed});
  };
  const std::vector<std::int64_t> ids = vocab.encode(split.train);
  std::vector<std::int64_t> counts(static_cast<std::size_t>(vocab.size()));
  for (const std::int64_t id : ids) ++counts[static_cast<std::size_t>(id)];
  const double most = static_cast<double>(*std::max_element(counts.begin(), counts.end()));
  auto train = passages(split.train, kSteps * s.batch_size, s.seed);
  auto validation = passages(split.validation, kTestRows, 1);
  return {std::move(vocab), std::move(train), std::move(validation), most / static_cast<double>(ids.size())};
}

struct MlmLosses {
  Tensor tokens, next;  // means over hidden places and over rows
  Tensor token_logits, next_logits;
};

/// Only the hidden places pass through the output layer.
MlmLosses losses(Bert& model, const Batch& batch) {
  const MaskedBatch in = split_masked(batch);
  const Tensor features = model.encode(in.tokens, in.segments);
  const std::int64_t E = features.size(2);
  const Tensor rows = index_select(features.reshape({features.size(0) * features.size(1), E}), 0, in.places);
  MlmLosses out;
  out.token_logits = model.token_logits(rows);
  out.next_logits = model.next_logits(features);
  out.tokens = cross_entropy(out.token_logits, in.hidden);
  out.next = cross_entropy(out.next_logits, in.follows);
  return out;
}

struct MlmScores {
  double loss = 0, hidden = 0, next = 0;  // accuracies of hidden characters and of following passages
};

MlmScores evaluate(Bert& model, const MaskedPassages& data, std::int64_t batch_size, Device device) {
  const NoGrad no_grad;
  const detail::EvaluationScope evaluation(model);
  double loss = 0, right = 0, places = 0, next = 0, rows = 0;
  for (std::int64_t first = 0; first < data.size(); first += batch_size) {
    std::vector<std::int64_t> indices;
    for (std::int64_t i = first; i < std::min(first + batch_size, data.size()); ++i) indices.push_back(i);
    Batch batch = data.get(indices);
    batch.inputs = batch.inputs.to(device), batch.targets = batch.targets.to(device);
    const MaskedBatch in = split_masked(batch);
    const MlmLosses out = losses(model, batch);
    const auto hits = [](const Tensor& logits, const Tensor& target) {
      return sum(eq(argmax(logits, 1), target).to(DType::f32)).item();
    };
    const auto n = static_cast<double>(in.hidden.numel());
    loss += out.tokens.item() * n, places += n, rows += static_cast<double>(indices.size());
    right += hits(out.token_logits, in.hidden);
    next += hits(out.next_logits, in.follows);
  }
  return {.loss = loss / places, .hidden = right / places, .next = next / rows};
}

/// A row of the validation text: what was hidden, and what the model guesses there.
void report_guesses(HtmlReport& report, Bert& model, const MlmData& data, Device device) {
  const NoGrad no_grad;
  const detail::EvaluationScope evaluation(model);
  std::vector<std::vector<std::string>> table;
  for (std::int64_t row = 0; row < 8; ++row) {
    const std::int64_t rows[] = {row};
    Batch batch = data.validation->get(rows);
    batch.inputs = batch.inputs.to(device), batch.targets = batch.targets.to(device);
    const MaskedBatch in = split_masked(batch);
    const MlmLosses out = losses(model, batch);
    std::vector<std::int64_t> seen = in.tokens.to_vector<std::int64_t>();
    std::vector<std::int64_t> truth = seen, guess = seen;
    const std::vector<std::int64_t> places = in.places.to_vector<std::int64_t>();
    const std::vector<std::int64_t> hidden = in.hidden.to_vector<std::int64_t>();
    const std::vector<std::int64_t> best = argmax(out.token_logits, 1).to_vector<std::int64_t>();
    for (std::size_t i = 0; i < places.size(); ++i) {
      truth[static_cast<std::size_t>(places[i])] = hidden[i];
      guess[static_cast<std::size_t>(places[i])] = best[i];
    }
    const auto text = [&](const std::vector<std::int64_t>& ids) {
      std::string s;
      for (const std::int64_t id : ids)
        s += id < data.vocab.size()                ? detail::visible(data.vocab.character(id))
             : id == data.vocab.size() + kMaskMark ? std::string("_")
                                                   : std::string("|");
      return s;
    };
    table.push_back({text(seen), text(guess), text(truth)});
  }
  report.section("Guesses");
  report.text("Rows of the validation text; _ is a hidden character, | a mark between passages.");
  report.table({"seen", "guessed", "written"}, table);
}

void report_maps(HtmlReport& report, Bert& model, const MlmData& data, Device device) {
  const NoGrad no_grad;
  const detail::EvaluationScope evaluation(model);
  const std::int64_t rows[] = {0};
  Batch batch = data.validation->get(rows);
  batch.inputs = batch.inputs.to(device), batch.targets = batch.targets.to(device);
  const MaskedBatch in = split_masked(batch);
  AttentionMaps maps;
  model.encode(in.tokens, in.segments, {}, &maps);
  const std::int64_t shown = std::min<std::int64_t>(28, in.tokens.size(1));
  std::vector<Tensor> parts;
  for (const Tensor& m : maps.encoder) parts.push_back(m.narrow(2, 0, shown).narrow(3, 0, shown));
  std::vector<std::string> labels;
  for (const std::int64_t id : in.tokens.narrow(1, 0, shown).contiguous().to_vector<std::int64_t>())
    labels.push_back(id < data.vocab.size()                ? detail::visible(data.vocab.character(id))
                     : id == data.vocab.size() + kMaskMark ? "_"
                                                           : "|");
  report.section("What each head attends to");
  detail::report_attention(report, parts, labels);
}

void write_report(RecipeContext& context, Bert& model, const MlmData& data, const MlmScores& scores,
                  const RecipeResult& result) {
  HtmlReport report("bert-mlm", find_recipe("bert-mlm").summary);
  report.figure("hidden characters guessed", detail::percent(scores.hidden, 1),
                detail::fixed(scores.hidden / data.baseline, 2) + " times the most frequent character's " +
                    detail::percent(data.baseline, 1),
                result.stopped   ? Tone::neutral
                : result.reached ? Tone::good
                                 : Tone::bad);
  report.figure("following passages told", detail::percent(scores.next, 1), "of pairs, half of which follow");
  report.figure("loss", detail::fixed(scores.loss, 3), "nats a hidden character");
  detail::report_verdict(report, context, result);
  report.section("Training");
  report_history(report, read_history(context.folder().file("metrics.jsonl")));
  report_guesses(report, model, data, context.device());
  report_maps(report, model, data, context.device());
  detail::finish_report(report, context);
}

RecipeResult run(RecipeContext& context) {
  auto& s = static_cast<MlmSettings&>(context.settings());
  const MlmData data = load(s);
  context.folder();
  Bert model({.vocabulary = data.vocab.size() + kMarks,
              .context = s.length,
              .features = s.features,
              .layers = s.layers,
              .heads = s.heads,
              .inner = s.inner,
              .dropout = s.dropout});
  MlmScores scores;
  const std::int64_t epochs =
      s.epochs > 0 ? s.epochs : std::max<std::int64_t>((s.steps + kSteps - 1) / kSteps, 1);
  const TrainResult trained = detail::train_batches(
      context, {.model = model,
                .data = data.train,
                .loss =
                    [&](const Batch& batch) {
                      const MlmLosses both = losses(model, batch);
                      return both.tokens + both.next;
                    },
                .test =
                    [&] {
                      scores = evaluate(model, *data.validation, s.batch_size, context.device());
                      return Evaluation{.loss = scores.loss, .accuracy = scores.hidden, .samples = kTestRows};
                    },
                .epochs = epochs,
                .clip = s.clip,
                .shuffle = false,
                .checkpoint = "checkpoint.safetensors",
                .resume = context.hooks().resume});
  RecipeResult result = detail::batch_result(context, trained, model);
  scores = evaluate(model, *data.validation, s.batch_size, context.device());
  result.metric("masked_accuracy", scores.hidden);
  result.metric("baseline_accuracy", data.baseline);
  result.metric("next_accuracy", scores.next);
  result.metric("parameters", static_cast<double>(model.parameter_count()));
  result.reached = !result.stopped && scores.hidden >= kTimesBaseline * data.baseline &&
                   model.parameter_count() <= kMostParameters;
  write_report(context, model, data, scores, result);
  return result;
}

}  // namespace

const Recipe kBertMlm{"bert-mlm",
                      "attention",
                      "a small BERT guesses hidden characters of Shakespeare",
                      "tinyshakespeare",
                      "masked accuracy >= 2.5 times that of the most frequent character",
                      [] { return std::unique_ptr<RunSettings>(std::make_unique<MlmSettings>()); },
                      run,
                      true};

}  // namespace gpunn
