// shakespeare-gpt: a small GPT of the characters of Shakespeare's plays.
#include <algorithm>
#include <cstdio>
#include <iterator>

#include "gpunn/core/autograd.h"
#include "gpunn/layers/summary.h"
#include "gpunn/models/generation.h"
#include "gpunn/models/gpt2.h"
#include "gpunn/models/recipes/detail/attention_pictures.h"
#include "gpunn/models/recipes/detail/batch_run.h"
#include "gpunn/models/recipes/detail/catalogue.h"
#include "gpunn/models/recipes/detail/report_parts.h"
#include "gpunn/models/recipes/detail/text_checkpoint.h"
#include "gpunn/models/recipes/detail/text_run.h"
#include "gpunn/training/data_paths.h"
#include "gpunn/training/history.h"
#include "gpunn/training/report.h"
#include "gpunn/training/text_data.h"

namespace gpunn {
namespace {

constexpr double kWanted = 1.90;  // nats a character, for the CPU-sized net; 1.50 at 10 million parameters
constexpr double kWantedLarge = 1.50;
constexpr std::int64_t kLarge = 8'000'000;  // parameters from which on the lower figure is wanted
constexpr std::int64_t kSteps = 500;        // between evaluations

struct GptSettings : AdamSettings {
  std::int64_t layers = 4, heads = 4, features = 128, length = 64, sample = 400;
  double dropout = 0, clip = 1, temperature = 0.8;
  GptSettings() {
    epochs = 0, steps = 3000, batch_size = 16, lr = 2e-3, beta2 = 0.99;
    schedule.schedule = "cosine";
    schedule.warmup_steps = 100;
    schedule.min_lr = 1e-4;
  }
  std::vector<Field> fields() override {
    std::vector<Field> all = AdamSettings::fields();
    all.push_back({"layers", &layers, "blocks", 1, 96});
    all.push_back({"heads", &heads, "heads of attention, a divisor of the features", 1, 256});
    all.push_back({"features", &features, "features of a position", 1, 16384});
    all.push_back({"length", &length, "characters that the net sees", 2, 65536});
    all.push_back({"dropout", &dropout, "part of the units left out in training", 0, 0.99});
    all.push_back({"clip", &clip, "largest norm of the gradients together", 0});
    all.push_back({"sample", &sample, "characters of a sample", 1, 100000});
    all.push_back({"temperature", &temperature, "of the samples", 0.01});
    return all;
  }
};

struct PlayData {
  TextSplit text;
  CharacterVocab vocab;
  std::shared_ptr<const TokenWindows> train;
  std::shared_ptr<const TokenStreams> validation;  // windows beside each other, for the loss of all of them
};

PlayData load(const GptSettings& s) {
  const std::string text = load_text(find_data(data_set_info("tinyshakespeare"), s.data).at(0));
  TextSplit split = split_text(text, 0.9);
  CharacterVocab vocab = CharacterVocab::from_text(text);
  auto train = std::make_shared<const TokenWindows>(
      vocab.encode(split.train),
      TokenWindowOptions{.length = s.length, .windows = kSteps * s.batch_size, .seed = s.seed});
  auto validation = std::make_shared<const TokenStreams>(
      vocab.encode(split.validation), TokenStreamOptions{.streams = s.batch_size, .length = s.length});
  return {std::move(split), std::move(vocab), std::move(train), std::move(validation)};
}

Evaluation evaluate(Gpt2& model, const TokenStreams& data, std::int64_t streams, Device device) {
  const NoGrad no_grad;
  model.eval();
  MeanLoss loss;
  std::vector<std::int64_t> rows(static_cast<std::size_t>(streams));
  for (std::int64_t w = 0; w < data.windows(); ++w) {
    for (std::size_t b = 0; b < rows.size(); ++b) rows[b] = w * streams + static_cast<std::int64_t>(b);
    const Batch batch = data.get(rows);
    loss.add(model.loss(batch.inputs.to(device), batch.targets.to(device)), batch.inputs.numel());
  }
  model.train();
  return {.loss = loss.mean(), .samples = loss.samples()};
}

std::string sample(Gpt2& model, const CharacterVocab& vocab, const GptSettings& s) {
  GenerationOptions options;
  options.max_new_tokens = s.sample;
  options.sampling = {.temperature = s.temperature};
  options.seed = s.seed;
  options.beyond_context = BeyondContext::slide;
  return vocab.decode(generate(model, vocab.encode("\n", "prompt"), options).tokens);
}

void write_report(RecipeContext& context, Gpt2& model, const PlayData& data, const TrainResult& trained,
                  const std::vector<detail::TextSample>& samples, const RecipeResult& result) {
  HtmlReport report("shakespeare-gpt", find_recipe("shakespeare-gpt").summary);
  detail::report_losses(report, result);
  report.figure("steps", std::to_string(result.steps),
                detail::fixed(result.steps_per_second, 1) + " a second");
  detail::report_verdict(report, context, result);
  report.section("Training");
  report_history(report, read_history(context.folder().file("metrics.jsonl")));
  report.section("Samples through training");
  detail::report_samples(report, samples);
  report.section("What each head attends to");
  const auto& s = static_cast<const GptSettings&>(context.settings());
  const auto shown = static_cast<std::size_t>(std::min<std::int64_t>(s.length, 28));
  const std::string_view line = std::string_view(data.text.validation).substr(0, shown);
  report.text(
      "Rows are characters that look, columns those that are looked at, on a line of the validation text.");
  const std::vector<std::int64_t> tokens = data.vocab.encode(line);
  const std::vector<Tensor> maps =
      model.attention_maps(Tensor::from(tokens, {1, std::ssize(tokens)}, {.device = context.device()}));
  detail::report_attention(report, maps, detail::characters_of(data.vocab, tokens));
  report.section("Model");
  report.preformatted(
      summary(model, zeros({1, s.length}, {.dtype = DType::i64, .device = context.device()})));
  report_memory(report, trained.memory);
  detail::finish_report(report, context);
}

RecipeResult run(RecipeContext& context) {
  auto& s = static_cast<GptSettings&>(context.settings());
  const PlayData data = load(s);
  detail::write_vocabulary(context.folder(), data.vocab);
  Gpt2 model({.vocabulary = data.vocab.size(),
              .context = s.length,
              .features = s.features,
              .layers = s.layers,
              .heads = s.heads,
              .dropout = s.dropout});
  std::vector<detail::TextSample> samples;
  const auto show = [&](std::int64_t step) { samples.push_back({step, sample(model, data.vocab, s)}); };
  if (!context.hooks().resume) show(0);
  const std::int64_t epochs =
      s.epochs > 0 ? s.epochs : std::max<std::int64_t>((s.steps + kSteps - 1) / kSteps, 1);
  const TrainResult trained = detail::train_batches(
      context, {.model = model,
                .data = data.train,
                .loss = [&](const Batch& batch) { return model.loss(batch.inputs, batch.targets); },
                .test = [&] { return evaluate(model, *data.validation, s.batch_size, context.device()); },
                .epochs = epochs,
                .clip = s.clip,
                .shuffle = false,
                .checkpoint = "checkpoint.safetensors",
                .resume = context.hooks().resume,
                .on_step =
                    [&](std::int64_t steps) {
                      // The first ones change most.
                      if (steps == kSteps || steps % (2 * kSteps) == 0) show(steps);
                    },
                .carry =
                    [&] {
                      StateDict entries;
                      detail::add_samples(entries, samples);
                      return entries;
                    },
                .restore = [&](const std::string& path,
                               const StateDict& entries) { samples = detail::read_samples(path, entries); }});
  RecipeResult result = detail::batch_result(context, trained, model);
  if (samples.empty() || samples.back().step != result.steps) show(result.steps);
  result.metric("validation_loss", result.test_loss.value_or(0));
  result.metric("parameters", static_cast<double>(model.parameter_count()));
  const double wanted = model.parameter_count() >= kLarge ? kWantedLarge : kWanted;
  result.reached = !result.stopped && result.test_loss && *result.test_loss <= wanted;
  write_report(context, model, data, trained, samples, result);
  return result;
}

}  // namespace

const Recipe kShakespeareGpt{"shakespeare-gpt",
                             "attention",
                             "a small GPT writes Shakespeare, character by character",
                             "tinyshakespeare",
                             "validation loss <= 1.90 nats a character, <= 1.50 at 10 million parameters",
                             [] { return std::unique_ptr<RunSettings>(std::make_unique<GptSettings>()); },
                             run,
                             true};

}  // namespace gpunn
