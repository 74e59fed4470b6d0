// t5-toy: one encoder-decoder writes words backwards, dates and numbers in words.
#include <algorithm>
#include <array>
#include <iterator>

#include "gpunn/core/autograd.h"
#include "gpunn/layers/functional.h"
#include "gpunn/models/detail/evaluation_scope.h"
#include "gpunn/models/recipes/detail/attention_pictures.h"
#include "gpunn/models/recipes/detail/batch_run.h"
#include "gpunn/models/recipes/detail/catalogue.h"
#include "gpunn/models/recipes/detail/report_parts.h"
#include "gpunn/models/t5.h"
#include "gpunn/training/history.h"
#include "gpunn/training/report.h"
#include "gpunn/training/translation_pairs.h"

namespace gpunn {
namespace {

constexpr double kWanted = 0.99;
constexpr std::int64_t kSteps = 500;     // between evaluations
constexpr std::int64_t kFewRows = 300;   // of the test's pairs, during training
constexpr std::int64_t kShownRows = 12;  // in the report
constexpr std::size_t kTasks = 3;
constexpr const char* kTaskNames[kTasks] = {"reverse", "date", "number"};

struct T5Settings : AdamSettings {
  std::int64_t layers = 2, heads = 4, features = 64, inner = 256, test_rows = 900;
  double dropout = 0, clip = 1;
  T5Settings() {
    epochs = 0, steps = 4000, batch_size = 48, lr = 2e-3;
    schedule.schedule = "cosine";
    schedule.warmup_steps = 200;
  }
  std::vector<Field> fields() override {
    std::vector<Field> all = AdamSettings::fields();
    all.push_back({"layers", &layers, "of the encoder and of the decoder", 1, 48});
    all.push_back({"heads", &heads, "heads of attention, a divisor of the features", 1, 64});
    all.push_back({"features", &features, "of a character", 1, 4096});
    all.push_back({"inner", &inner, "of the feed forward part", 1, 65536});
    all.push_back({"dropout", &dropout, "part of the units left out in training", 0, 0.99});
    all.push_back({"clip", &clip, "largest norm of the gradients together", 0});
    all.push_back({"test_rows", &test_rows, "new pairs to judge by, a third of each task", kShownRows});
    return all;
  }
};

struct Read {
  Tensor source, lengths;  // i64 [n, S], [n]
};
Read source_of(const Batch& batch) {
  const Tensor lengths = batch.inputs.select(1, 0).contiguous();
  return {batch.inputs.narrow(1, 1, batch.inputs.size(1) - 1).contiguous(), lengths};
}

/// Mean cross-entropy of the targets' characters; the decoder reads them one place later.
Tensor loss_of(T5& model, const Batch& batch) {
  const Read in = source_of(batch);
  const std::int64_t n = batch.size(), T = batch.targets.size(1);
  const Tensor start = full({n, 1}, static_cast<double>(TranslationPairs::kPadding),
                            {.dtype = DType::i64, .device = batch.targets.device()});
  const Tensor padded = where(lt(batch.targets, 0), TranslationPairs::kPadding, batch.targets);
  const Tensor written = cat({start, padded.narrow(1, 0, T - 1)}, 1);
  const Tensor logits = model.forward(in.source, written, in.lengths);
  return cross_entropy(logits.reshape({n * T, logits.size(2)}), batch.targets.reshape({n * T}));
}

struct ExactMatches {
  std::array<std::int64_t, kTasks> right{}, all{};
  double share() const {
    std::int64_t r = 0, n = 0;
    for (std::size_t i = 0; i < kTasks; ++i) r += right[i], n += all[i];
    return n == 0 ? 0 : static_cast<double>(r) / static_cast<double>(n);
  }
  double share(std::size_t task) const {
    return all[task] == 0 ? 0 : static_cast<double>(right[task]) / static_cast<double>(all[task]);
  }
};

std::vector<std::string> answers(T5& model, const TranslationPairs& data, std::span<const std::int64_t> rows,
                                 Device device) {
  Batch batch = data.get(rows);
  batch.inputs = batch.inputs.to(device);
  const Read in = source_of(batch);
  std::vector<std::string> texts;
  for (const auto& tokens : model.greedy(in.source, in.lengths, TranslationPairs::kLongest,
                                         TranslationPairs::kPadding, TranslationPairs::kEnd))
    texts.push_back(TranslationPairs::text_of(tokens));
  return texts;
}

ExactMatches evaluate(T5& model, const TranslationPairs& data, std::int64_t rows, Device device) {
  constexpr std::int64_t kBatch = 150;
  ExactMatches matches;
  for (std::int64_t first = 0; first < rows; first += kBatch) {
    std::vector<std::int64_t> chosen;
    for (std::int64_t row = first; row < std::min(first + kBatch, rows); ++row) chosen.push_back(row);
    const std::vector<std::string> written = answers(model, data, chosen, device);
    for (std::size_t i = 0; i < chosen.size(); ++i) {
      const auto task = static_cast<std::size_t>(data.task(chosen[i]));
      ++matches.all[task];
      matches.right[task] += written[i] == data.pair(chosen[i]).target ? 1 : 0;
    }
  }
  return matches;
}

std::vector<std::string> letters(const std::string& text, const char* end) {
  std::vector<std::string> labels;
  for (const char c : text) labels.push_back(c == ' ' ? "\u2423" : std::string(1, c));
  if (*end) labels.emplace_back(end);
  return labels;
}

/// Which characters of the source each written character looks at.
void report_alignment(HtmlReport& report, T5& model, const TranslationPairs& data, Device device) {
  const NoGrad no_grad;
  const detail::EvaluationScope evaluation(model);
  report.section("Where the decoder looks");
  report.text(
      "Attention of the last decoder layer on the source, for one pair of each task: rows are characters to "
      "be "
      "written, columns those read.");
  for (std::int64_t row = 0; row < static_cast<std::int64_t>(kTasks); ++row) {
    const TranslationPair pair = data.pair(row);
    const std::int64_t rows[] = {row};
    Batch batch = data.get(rows);
    batch.inputs = batch.inputs.to(device), batch.targets = batch.targets.to(device);
    const Read in = source_of(batch);
    const std::int64_t S = std::ssize(pair.source), T = std::min<std::int64_t>(std::ssize(pair.target), 24);
    const Tensor start = full({1, 1}, static_cast<double>(TranslationPairs::kPadding),
                              {.dtype = DType::i64, .device = device});
    const Tensor written = cat({start, batch.targets.narrow(1, 0, T - 1)}, 1);
    T5Maps maps;
    model.decode(written, model.encode(in.source, in.lengths), in.lengths, &maps);
    const Tensor last = maps.cross.back().narrow(3, 0, S);
    report.text(pair.source + " \u2192 " + pair.target);
    detail::report_attention(report, std::span(&last, 1),
                             letters(pair.target.substr(0, static_cast<std::size_t>(T)), ""),
                             letters(pair.source, ""));
  }
}

void write_report(RecipeContext& context, T5& model, const TranslationPairs& data,
                  const ExactMatches& matches, const RecipeResult& result) {
  HtmlReport report("t5-toy", find_recipe("t5-toy").summary);
  report.figure("exact matches", detail::percent(matches.share(), 2), "of new pairs",
                result.stopped   ? Tone::neutral
                : result.reached ? Tone::good
                                 : Tone::bad);
  for (std::size_t i = 0; i < kTasks; ++i)
    report.figure(kTaskNames[i], detail::percent(matches.share(i), 1),
                  "of " + std::to_string(matches.all[i]));
  detail::report_verdict(report, context, result);
  report.section("Training");
  report_history(report, read_history(context.folder().file("metrics.jsonl")));
  report.section("Answers");
  std::vector<std::int64_t> rows(static_cast<std::size_t>(kShownRows));
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<std::int64_t>(i);
  const std::vector<std::string> written = answers(model, data, rows, context.device());
  std::vector<std::vector<std::string>> table;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const TranslationPair pair = data.pair(rows[i]);
    table.push_back({pair.source, written[i], written[i] == pair.target ? "right" : "wanted " + pair.target});
  }
  report.table({"read", "written", ""}, table);
  report_alignment(report, model, data, context.device());
  detail::finish_report(report, context);
}

RecipeResult run(RecipeContext& context) {
  auto& s = static_cast<T5Settings&>(context.settings());
  GPUNN_CHECK(s.features % s.heads == 0, "expected heads that divide the features, got ", s.heads, " and ",
              s.features);
  TranslationPairsOptions of_training, of_test;
  of_training.rows = kSteps * s.batch_size, of_training.seed = s.seed;
  of_test.rows = s.test_rows, of_test.test = true;
  const auto train = std::make_shared<const TranslationPairs>(of_training);
  const TranslationPairs test(of_test);
  const std::int64_t few = std::min(kFewRows, s.test_rows);
  context.folder();
  T5 model({.vocabulary = TranslationPairs::vocabulary(),
            .features = s.features,
            .head_features = s.features / s.heads,
            .heads = s.heads,
            .inner = s.inner,
            .layers = s.layers,
            .dropout = s.dropout});
  const std::int64_t epochs =
      s.epochs > 0 ? s.epochs : std::max<std::int64_t>((s.steps + kSteps - 1) / kSteps, 1);
  const TrainResult trained = detail::train_batches(
      context, {.model = model,
                .data = train,
                .loss = [&](const Batch& batch) { return loss_of(model, batch); },
                .test =
                    [&] {
                      const double share = evaluate(model, test, few, context.device()).share();
                      return Evaluation{.loss = 1 - share, .accuracy = share, .samples = few};
                    },
                .epochs = epochs,
                .clip = s.clip,
                .shuffle = false,
                .checkpoint = "checkpoint.safetensors",
                .resume = context.hooks().resume});
  RecipeResult result = detail::batch_result(context, trained, model);
  const ExactMatches matches = evaluate(model, test, s.test_rows, context.device());
  result.metric("exact_match", matches.share());
  for (std::size_t i = 0; i < kTasks; ++i)
    result.metric(std::string("exact_match_") + kTaskNames[i], matches.share(i));
  result.reached = !result.stopped && matches.share() >= kWanted;
  write_report(context, model, test, matches, result);
  return result;
}

}  // namespace

const Recipe kT5Toy{"t5-toy",
                    "attention",
                    "an encoder-decoder writes words backwards, dates and numbers in words",
                    "generated pairs",
                    "exact match >= 99 %",
                    [] { return std::unique_ptr<RunSettings>(std::make_unique<T5Settings>()); },
                    run,
                    true};

}  // namespace gpunn
