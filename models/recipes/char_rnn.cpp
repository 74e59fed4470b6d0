// char-rnn: a small recurrent net learns one sentence, character by character.
//
// The smallest system of its kind: one-hot characters, 32 tanh units, windows of ten characters with the
// state carried, Adagrad, every element of the gradient clipped.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>

#include "gpunn/core/autograd.h"
#include "gpunn/io/json_writer.h"
#include "gpunn/layers/init.h"
#include "gpunn/layers/summary.h"
#include "gpunn/models/recipes/detail/batch_run.h"
#include "gpunn/models/recipes/detail/catalogue.h"
#include "gpunn/models/recipes/detail/report_parts.h"
#include "gpunn/models/recipes/detail/text_checkpoint.h"
#include "gpunn/models/recipes/detail/text_run.h"
#include "gpunn/training/clip_grad.h"

namespace gpunn {
namespace {

constexpr const char* kText = "hello world hello there world is beautiful";
constexpr std::int64_t kJudged = 500;       // steps at the end
constexpr std::int64_t kRecordEvery = 100;  // steps, or the epochs nearest below
// The text ends, and what may follow its end nobody has shown to the net: samples are judged over its length.
constexpr std::int64_t kSamples = 50, kSampleLength = 40;
constexpr std::size_t kPiece = 4;
constexpr std::int64_t kShownAt[] = {100, 300, 1000, 3000};

struct CharRnnSettings : RunSettings {
  double lr = 0.1;
  double clip = 5;
  double temperature = 1;
  std::int64_t hidden = 32;
  std::int64_t length = 10;
  std::int64_t samples = kSamples;
  std::int64_t sample_length = kSampleLength;
  CharRnnSettings() { epochs = 0, steps = 3000; }
  std::vector<Field> fields() override {
    std::vector<Field> all = RunSettings::fields();
    all.push_back({"lr", &lr, "learning rate of Adagrad", 0});
    all.push_back({"clip", &clip, "largest element of a gradient", 0});
    all.push_back({"temperature", &temperature, "of the samples", 0.01});
    all.push_back({"hidden", &hidden, "recurrent units", 1, 4096});
    all.push_back({"length", &length, "characters a step", 1, 40});
    all.push_back({"samples", &samples, "texts drawn at the end", 1, 10000});
    all.push_back({"sample_length", &sample_length, "characters of a text that is drawn", 4, 10000});
    return all;
  }
};

/// Weights from N(0, 0.01²), no biases: the system's own start.
void draw_weights(CharRnn& model) {
  for (const Tensor& p : model.parameters()) p.dim() == 2 ? init::normal(p, 0, 0.01) : init::zeros(p);
}

double mean_of_last(const std::vector<double>& values, std::int64_t count) {
  const auto n = std::min<std::ptrdiff_t>(count, std::ssize(values));
  return n == 0 ? std::nan("")
                : std::accumulate(values.end() - n, values.end(), 0.0) / static_cast<double>(n);
}

struct CharRun {
  TrainResult trained{};
  detail::TextCarried carried{};
};

CharRun train_model(RecipeContext& context, CharRnn& model, const CharacterVocab& vocab) {
  const auto& s = static_cast<const CharRnnSettings&>(context.settings());
  const auto data = std::make_shared<TokenStreams>(vocab.encode(kText),
                                                   TokenStreamOptions{.streams = 1, .length = s.length});
  Adagrad optimizer(model.parameters(), {.lr = s.lr, .eps = 1e-8});
  CharRun run;
  detail::TextCarried& carried = run.carried;
  TrainerOptions options{.evaluate_every = 0, .stop = context.hooks().stop};
  const detail::TextCheckpoint checkpoint(context, {model, optimizer, options.schedule, data.get()});
  if (context.hooks().resume) options.start = checkpoint.load(carried);
  // Made when nothing that is read can be wrong any more.
  detail::write_vocabulary(context.folder(), vocab);
  const auto sample = [&](std::int64_t step) {
    carried.samples.push_back(
        {step, "h" + detail::sample_text(model, vocab, "h", s.sample_length, s.temperature, s.seed)});
  };
  if (!context.hooks().resume) sample(0);
  const std::int64_t windows = data->windows();
  options.epochs = s.steps > 0 ? (s.steps + windows - 1) / windows : std::max<std::int64_t>(s.epochs, 1);
  options.max_steps = s.steps;
  options.record_every = std::max<std::int64_t>(kRecordEvery / windows, 1);
  options.progress = context.hooks().progress;
  options.on_step = [&](const TrainPosition& at, const Batch&, const Tensor& loss) {
    carried.losses.push_back(loss.item());
    if (std::find(std::begin(kShownAt), std::end(kShownAt), at.steps) != std::end(kShownAt)) sample(at.steps);
  };
  options.on_epoch = [&](const EpochRecord& record) {
    const double mean = mean_of_last(carried.losses, kRecordEvery);
    JsonWriter json;
    json.begin_object().field("step", record.steps).field("train_loss", mean).end_object();
    context.folder().append_metrics(json.take());
    checkpoint.save(carried, record.position);
    if (record.epoch / options.record_every % 5 == 0)
      context.say("step " + std::to_string(record.steps) + "  loss " + detail::fixed(mean, 4) +
                  " nats a character");
  };
  run.trained = detail::train_streams(
      {.model = model,
       .data = data,
       .streams = 1,
       .optimizer = optimizer,
       .clip = [&](const std::vector<Tensor>& p) { clip_grad_value_(p, s.clip); },
       .loss_scale = static_cast<double>(s.length),  // the sum over a window, which the clipping is for
       .state = &carried.state},
      context.device(), options);
  return run;
}

void write_report(RecipeContext& context, CharRnn& model, const CharacterVocab& vocab, const CharRun& run,
                  const RecipeResult& result, double share) {
  HtmlReport report("char-rnn", find_recipe("char-rnn").summary);
  const Tone tone = result.stopped ? Tone::neutral : result.reached ? Tone::good : Tone::bad;
  report.figure("loss", detail::fixed(result.train_loss, 3), "nats a character, last 500 steps", tone);
  report.figure("known 4-grams", detail::percent(share, 1), "of samples occur in the text", tone);
  detail::report_verdict(report, context, result);
  report.text("The text:");
  report.preformatted(kText);
  LineChart chart{
      .title = "Loss of each step",
      .x_label = "step",
      .y_label = "nats a character",
      .series = {{.name = "loss", .y = run.carried.losses}},
      .references = {{"ln 15: every character equally likely", std::log(15.0)}, {"asked for", 0.3}}};
  report.line_chart(chart);
  report.section("The net, unrolled");
  report.drawing(detail::draw_unrolled(model, vocab, kText));
  report.section("Samples through training");
  detail::report_samples(report, run.carried.samples);
  report.section("What the units do");
  detail::report_gates(report, model, vocab, kText);
  report.section("Model");
  report.preformatted(summary(model, zeros({1, 10}, {.dtype = DType::i64, .device = context.device()})));
  detail::finish_report(report, context);
}

RecipeResult run(RecipeContext& context) {
  const auto& s = static_cast<const CharRnnSettings&>(context.settings());
  const CharacterVocab vocab = CharacterVocab::from_text(kText);
  CharRnn model({.vocabulary = vocab.size(), .embedding = 0, .hidden = s.hidden, .mode = RnnMode::tanh});
  draw_weights(model);
  const CharRun run = train_model(context, model, vocab);

  double share = 0;
  for (std::int64_t i = 0; i < s.samples; ++i) {
    const std::string sample = detail::sample_text(model, vocab, "h", s.sample_length, s.temperature,
                                                   s.seed + 1 + static_cast<std::uint64_t>(i));
    share += detail::piece_share(sample, kText, kPiece) / static_cast<double>(s.samples);
  }
  RecipeResult result = detail::batch_result(context, run.trained, model);
  const std::vector<double>& losses = run.carried.losses;
  result.train_loss = mean_of_last(losses, kJudged);
  result.metric("first_loss", losses.empty() ? std::nan("") : losses.front());
  result.metric("last_500_loss", result.train_loss);
  result.metric("known_4_grams", share);
  result.reached =
      !result.stopped && std::ssize(losses) >= kJudged && result.train_loss <= 0.30 && share >= 0.75;
  write_report(context, model, vocab, run, result, share);
  return result;
}

}  // namespace

const Recipe kCharRnn{"char-rnn",
                      "sequences",
                      "a vanilla recurrent net learns one sentence by its characters",
                      "none",
                      "mean loss of the last 500 steps <= 0.30 nats; >= 75 % of the samples' 4-grams known",
                      [] { return std::unique_ptr<RunSettings>(std::make_unique<CharRnnSettings>()); },
                      run,
                      true};

}  // namespace gpunn
