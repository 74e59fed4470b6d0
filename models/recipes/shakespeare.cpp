// shakespeare-lstm and shakespeare-gru: a character model of Shakespeare's plays.
#include <algorithm>
#include <cstdio>

#include "gpunn/layers/summary.h"
#include "gpunn/models/recipes/detail/batch_run.h"
#include "gpunn/models/recipes/detail/catalogue.h"
#include "gpunn/models/recipes/detail/report_parts.h"
#include "gpunn/models/recipes/detail/schedule.h"
#include "gpunn/models/recipes/detail/text_checkpoint.h"
#include "gpunn/models/recipes/detail/text_run.h"
#include "gpunn/training/checkpoint.h"
#include "gpunn/training/clip_grad.h"
#include "gpunn/training/data_paths.h"
#include "gpunn/training/history.h"
#include "gpunn/training/report.h"
#include "gpunn/training/text_data.h"

namespace gpunn {
namespace {

constexpr double kWanted = 1.65;  // nats a character
constexpr std::int64_t kShownAt[] = {100, 500, 1000, 2500};

struct ShakespeareSettings : detail::CharNetSettings {
  std::string cell;
  std::int64_t layers = 1;
  std::int64_t length = 64;
  std::int64_t sample = 400;
  // Warm-up and a falling rate: 5,000 steps are few.
  explicit ShakespeareSettings(RnnMode m) : CharNetSettings(256, 64, 0.8), cell(detail::cell_name(m)) {
    epochs = 0, steps = 5000, batch_size = 32, lr = 4e-3;
    schedule.schedule = "cosine";
    schedule.warmup_steps = 100;
  }
  std::vector<Field> fields() override {
    std::vector<Field> all = CharNetSettings::fields();
    all.push_back({.name = "cell",
                   .value = &cell,
                   .help = "kind of recurrent unit; tanh and relu are those of a plain net",
                   .choices = {"lstm", "gru", "tanh", "relu"}});
    all.push_back({"layers", &layers, "recurrent layers", 1, 16});
    all.push_back({"length", &length, "characters of a window, through which gradients go", 1, 4096});
    all.push_back({"sample", &sample, "characters of a sample", 1, 100000});
    return all;
  }
};

struct ShakespeareData {
  TextSplit text;
  CharacterVocab vocab;
  std::shared_ptr<const TokenStreams> train, validation;
};

// The vocabulary is that of the whole text, so that both parts can be written in it.
ShakespeareData load(const ShakespeareSettings& s) {
  const std::string text = load_text(find_data(data_set_info("tinyshakespeare"), s.data).at(0));
  TextSplit split = split_text(text, 0.9);
  CharacterVocab vocab = CharacterVocab::from_text(text);
  const auto streams = [&](const std::string& part) {
    return std::make_shared<const TokenStreams>(
        vocab.encode(part), TokenStreamOptions{.streams = s.batch_size, .length = s.length});
  };
  auto train = streams(split.train), validation = streams(split.validation);
  return {std::move(split), std::move(vocab), std::move(train), std::move(validation)};
}

void say_epoch(const RecipeContext& context, const EpochRecord& r) {
  char text[120];
  std::snprintf(text, sizeof text, "step %lld  train loss %.4f  validation loss %.4f  %.0f s",
                static_cast<long long>(r.steps), r.train_loss, r.test ? r.test->loss : 0, r.seconds);
  context.say(text);
}

void write_report(RecipeContext& context, CharRnn& model, const ShakespeareData& data,
                  const TrainResult& trained, const std::vector<detail::TextSample>& samples,
                  const RecipeResult& result) {
  const Recipe& recipe = find_recipe(context.recipe());
  HtmlReport report(recipe.name, recipe.summary);
  detail::report_losses(report, result);
  report.figure("steps", std::to_string(result.steps),
                detail::fixed(result.steps_per_second, 1) + " a second");
  detail::report_verdict(report, context, result);
  report.section("Training");
  report_history(report, read_history(context.folder().file("metrics.jsonl")));
  report.section("Samples through training");
  detail::report_samples(report, samples);
  report.section("Gates over a line of the validation text");
  report.text(std::string("The units whose output varies most.") +
              (model.rnn().mode() == RnnMode::lstm ? " Of the cell, full colour is 3 and beyond." : ""));
  detail::report_gates(report, model, data.vocab, std::string_view(data.text.validation).substr(0, 60));
  report.section("Model");
  report.preformatted(summary(model, zeros({1, 64}, {.dtype = DType::i64, .device = context.device()})));
  report_memory(report, trained.memory);
  detail::finish_report(report, context);
}

RecipeResult run(RecipeContext& context) {
  auto& s = static_cast<ShakespeareSettings&>(context.settings());
  const ShakespeareData data = load(s);
  CharRnn model({.vocabulary = data.vocab.size(),
                 .embedding = s.embedding,
                 .hidden = s.hidden,
                 .mode = detail::cell_of(s.cell),
                 .num_layers = s.layers,
                 .dropout = s.dropout});
  const bool resume = context.hooks().resume;
  if (!s.weights.empty() && !resume) load_weights(s.weights, model);
  const std::unique_ptr<Optimizer> optimizer = s.make_optimizer(model.parameters());
  const std::int64_t windows = data.train->windows();
  const std::int64_t epochs =
      s.epochs > 0 ? s.epochs : std::max<std::int64_t>((s.steps + windows - 1) / windows, 1);
  TrainerOptions options{.epochs = epochs, .max_steps = s.steps, .stop = context.hooks().stop};
  options.progress = context.hooks().progress;
  options.schedule = detail::make_schedule(s.schedule, *optimizer, {epochs, windows, s.steps});
  const detail::TextCheckpoint checkpoint(context, {model, *optimizer, options.schedule, data.train.get()});
  detail::TextCarried carried;
  if (resume) options.start = checkpoint.load(carried);
  RunFolder& folder = context.folder();
  detail::write_vocabulary(folder, data.vocab);
  const auto sample = [&](std::int64_t step) {
    carried.samples.push_back(
        {step, detail::sample_text(model, data.vocab, "\n", s.sample, s.temperature, s.seed)});
  };
  if (!resume) sample(0);
  options.on_epoch = [&](const EpochRecord& record) {
    folder.append_metrics(record_line(record));
    checkpoint.save(carried, record.position);
    say_epoch(context, record);
  };
  options.on_step = [&](const TrainPosition& at, const Batch&, const Tensor&) {
    if (std::find(std::begin(kShownAt), std::end(kShownAt), at.steps) != std::end(kShownAt)) sample(at.steps);
  };
  const TrainResult trained = detail::train_streams(
      {.model = model,
       .data = data.train,
       .streams = s.batch_size,
       .optimizer = *optimizer,
       .clip = [&](const std::vector<Tensor>& p) { clip_grad_norm_(p, s.clip); },
       .test =
           [&] { return detail::evaluate_streams(model, *data.validation, s.batch_size, context.device()); },
       .workers = s.workers,
       .state = &carried.state},
      context.device(), options);
  if (carried.samples.empty() || carried.samples.back().step != trained.steps) sample(trained.steps);

  RecipeResult result = detail::batch_result(context, trained, model);
  result.metric("validation_loss", result.test_loss.value_or(0));
  result.reached = !result.stopped && result.test_loss && *result.test_loss <= kWanted;
  write_report(context, model, data, trained, carried.samples, result);
  return result;
}

template <RnnMode mode>
std::unique_ptr<RunSettings> settings() {
  return std::make_unique<ShakespeareSettings>(mode);
}

}  // namespace

const Recipe kShakespeareLstm{"shakespeare-lstm",
                              "sequences",
                              "an LSTM writes Shakespeare, character by character",
                              "tinyshakespeare",
                              "validation loss <= 1.65 nats a character after 5,000 steps",
                              settings<RnnMode::lstm>,
                              run,
                              true};

const Recipe kShakespeareGru{"shakespeare-gru",
                             "sequences",
                             "a GRU writes Shakespeare, character by character",
                             "tinyshakespeare",
                             "validation loss <= 1.65 nats a character after 5,000 steps",
                             settings<RnnMode::gru>,
                             run,
                             true};

}  // namespace gpunn
