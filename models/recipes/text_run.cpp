#include "gpunn/models/recipes/detail/text_run.h"

#include <set>
#include <utility>

#include "gpunn/core/autograd.h"
#include "gpunn/io/file.h"
#include "gpunn/layers/functional.h"
#include "gpunn/models/recipes/detail/numbers.h"
#include "gpunn/models/text_model.h"
#include "gpunn/training/data_loader.h"

namespace gpunn::detail {

namespace {
constexpr std::pair<RnnMode, const char*> kCells[] = {
    {RnnMode::lstm, "lstm"}, {RnnMode::gru, "gru"}, {RnnMode::tanh, "tanh"}, {RnnMode::relu, "relu"}};
}  // namespace

const char* cell_name(RnnMode mode) {
  for (const auto& [cell, name] : kCells)
    if (cell == mode) return name;
  throw_invalid("expected a cell with a name");
}

RnnMode cell_of(std::string_view name) {
  for (const auto& [cell, known] : kCells)
    if (name == known) return cell;
  throw_invalid(concat("expected the cell lstm, gru, tanh or relu, got ", name));
}

std::vector<Field> CharNetSettings::fields() {
  std::vector<Field> all = AdamSettings::fields();
  all.push_back({"hidden", &hidden, "units of a recurrent layer", 1, 8192});
  all.push_back({"embedding", &embedding, "features of a character, 0: one-hot", 0, 8192});
  all.push_back({"dropout", &dropout, "part of the units left out in training", 0, 1});
  all.push_back({"clip", &clip, "largest norm of the gradients together", 0});
  all.push_back({"temperature", &temperature, "of the samples", 0.01});
  return all;
}

void write_vocabulary(const RunFolder& folder, const CharacterVocab& vocab) {
  write_file_atomic(folder.file(kVocabularyFile), vocab.state());
}

TrainResult train_streams(const StreamRun& run, Device device, const TrainerOptions& options) {
  const DataLoader loader(
      run.data, {.batch_size = run.streams, .workers = static_cast<int>(run.workers), .device = device});
  RecurrentState own;
  RecurrentState& state = run.state ? *run.state : own;
  std::int64_t window = options.start.step % run.data->windows();
  GPUNN_CHECK(window == 0 || state.h.defined(), "expected the state that window ", window, " begins with");
  const TrainStep step = [&](const Batch& batch) {
    if (window == 0) state = {};
    window = (window + 1) % run.data->windows();
    run.optimizer.zero_grad();
    CharRnnLoss out = run.model.loss(batch.inputs, batch.targets, state);
    state = detach(out.state);
    (run.loss_scale == 1 ? out.loss : out.loss * run.loss_scale).backward();
    if (run.clip) run.clip(run.model.parameters());
    run.optimizer.step();
    return out.loss.detach();
  };
  return train(step, loader, run.test, options);
}

Evaluation evaluate_streams(CharRnn& model, const TokenStreams& data, std::int64_t streams, Device device) {
  const NoGrad no_grad;
  const bool was_training = model.is_training();
  model.eval();
  MeanLoss loss;
  RecurrentState state;
  std::vector<std::int64_t> rows(static_cast<std::size_t>(streams));
  for (std::int64_t w = 0; w < data.windows(); ++w) {
    for (std::size_t b = 0; b < rows.size(); ++b) rows[b] = w * streams + static_cast<std::int64_t>(b);
    const Batch batch = data.get(rows);
    CharRnnLoss out = model.loss(batch.inputs.to(device), batch.targets.to(device), state);
    state = std::move(out.state);
    loss.add(out.loss, batch.inputs.numel());
  }
  model.train(was_training);
  return {.loss = loss.mean(), .samples = loss.samples()};
}

std::string sample_text(CharRnn& model, const CharacterVocab& vocab, std::string_view prompt,
                        std::int64_t count, double temperature, std::uint64_t seed) {
  TokenSampler sampler({.temperature = temperature}, seed);
  return vocab.decode(model.generate(vocab.encode(prompt, "prompt"), count, sampler));
}

double piece_share(std::string_view sample, std::string_view text, std::size_t n) {
  if (sample.size() < n) return 0;
  std::set<std::string_view> pieces;
  for (std::size_t i = 0; i + n <= text.size(); ++i) pieces.insert(text.substr(i, n));
  std::size_t known = 0;
  for (std::size_t i = 0; i + n <= sample.size(); ++i) known += pieces.count(sample.substr(i, n));
  return static_cast<double>(known) / static_cast<double>(sample.size() - n + 1);
}

void report_losses(HtmlReport& report, const RecipeResult& result) {
  if (result.test_loss)
    report.figure("validation loss", fixed(*result.test_loss, 3), "nats a character",
                  result.stopped   ? Tone::neutral
                  : result.reached ? Tone::good
                                   : Tone::bad);
  report.figure("training loss", fixed(result.train_loss, 3), "of the last pass");
}

}  // namespace gpunn::detail
