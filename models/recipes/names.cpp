// names: a character model that invents first names. Names are of unequal length and packed, not padded.
#include <algorithm>
#include <cstdio>
#include <set>

#include "gpunn/core/autograd.h"
#include "gpunn/core/random.h"
#include "gpunn/layers/functional.h"
#include "gpunn/layers/summary.h"
#include "gpunn/models/recipes/detail/batch_run.h"
#include "gpunn/models/recipes/detail/catalogue.h"
#include "gpunn/models/recipes/detail/report_parts.h"
#include "gpunn/models/recipes/detail/schedule.h"
#include "gpunn/models/recipes/detail/text_checkpoint.h"
#include "gpunn/models/recipes/detail/text_run.h"
#include "gpunn/training/checkpoint.h"
#include "gpunn/training/clip_grad.h"
#include "gpunn/training/data_loader.h"
#include "gpunn/training/data_paths.h"
#include "gpunn/training/history.h"
#include "gpunn/training/report.h"
#include "gpunn/training/sequence_batches.h"
#include "gpunn/training/text_data.h"

namespace gpunn {
namespace {

constexpr double kWanted = 2.10;  // nats a character, the end included
constexpr std::int64_t kWantedNames = 20, kTries = 1000, kLongest = 30;
constexpr std::uint64_t kSplitStream = std::uint64_t{0x4E41} << 48;
constexpr const char* kMark = ".";  // where a name begins and ends

struct NamesSettings : detail::CharNetSettings {
  std::int64_t new_names = kWantedNames;
  NamesSettings() : CharNetSettings(128, 32, 1) {
    epochs = 6, batch_size = 64, lr = 3e-3;
    schedule.schedule = "cosine";
  }
  std::vector<Field> fields() override {
    std::vector<Field> all = CharNetSettings::fields();
    all.push_back({"new_names", &new_names, "names to invent", 1, 1000});
    return all;
  }
};

struct Names {
  CharacterVocab vocab;
  std::set<std::string> known;
  std::vector<TokenSequence> train, validation;  // with the mark at both ends
};

Names load(const NamesSettings& s) {
  std::vector<std::string> lines = load_lines(find_data(data_set_info("names"), s.data).at(0));
  std::string text = kMark;
  for (const std::string& line : lines) {
    if (line.find(kMark) != std::string::npos)
      throw DataError("names: expected names without '.', got " + line);
    text += line;
  }
  Names names{.vocab = CharacterVocab::from_text(text),
              .known = {lines.begin(), lines.end()},
              .train = {},
              .validation = {}};
  // The split is the same for every seed: figures can be compared.
  PhiloxStream random(0, kSplitStream);
  for (std::size_t i = lines.size(); i > 1; --i) std::swap(lines[i - 1], lines[random.below(i)]);
  const std::size_t rows = lines.size() * 9 / 10;
  if (rows == 0) throw DataError("names: expected at least two names");
  for (std::size_t i = 0; i < lines.size(); ++i)
    (i < rows ? names.train : names.validation).push_back(names.vocab.encode(kMark + lines[i] + kMark));
  return names;
}

/// Mean loss of a character of these names, and how many they are.
struct NamesLoss {
  Tensor loss;
  std::int64_t characters;
};
NamesLoss loss_of(CharRnn& model, std::span<const TokenSequence> names, Device device) {
  std::vector<TokenSequence> read, follow;
  for (const TokenSequence& name : names) {
    read.emplace_back(name.begin(), name.end() - 1);
    follow.emplace_back(name.begin() + 1, name.end());
  }
  const PackedTokens inputs = pack_tokens(read), targets = pack_tokens(follow);
  const Tensor logits = model.forward_packed(inputs.tokens.to(device), Packing(inputs.lengths, device));
  return {cross_entropy(logits, targets.tokens.to(device)), inputs.tokens.numel()};
}

Evaluation evaluate_names(CharRnn& model, const std::vector<TokenSequence>& names, Device device) {
  constexpr std::size_t kRows = 256;
  const NoGrad no_grad;
  model.eval();
  MeanLoss loss;
  for (std::size_t i = 0; i < names.size(); i += kRows) {
    const NamesLoss part =
        loss_of(model, std::span(names).subspan(i, std::min(kRows, names.size() - i)), device);
    loss.add(part.loss, part.characters);
  }
  model.train();
  return {.loss = loss.mean(), .samples = loss.samples()};
}

/// A name without its mark; one that never ends is cut.
std::string draw_name(CharRnn& model, const Names& names, TokenSampler& sampler) {
  const std::vector<std::int64_t> mark = names.vocab.encode(kMark);
  std::vector<std::int64_t> drawn = model.generate(mark, kLongest, sampler, mark[0]);
  if (!drawn.empty() && drawn.back() == mark[0]) drawn.pop_back();
  return names.vocab.decode(drawn);
}

struct NewNames {
  std::vector<std::string> names{};
  std::int64_t drawn = 0, known = 0;
};
NewNames invent(CharRnn& model, const Names& names, const NamesSettings& s) {
  TokenSampler sampler({.temperature = s.temperature}, s.seed + 1);
  NewNames result;
  std::set<std::string> seen;
  while (std::ssize(result.names) < s.new_names && result.drawn < kTries) {
    std::string name = draw_name(model, names, sampler);
    ++result.drawn;
    if (names.known.contains(name)) {
      ++result.known;
    } else if (name.size() >= 2 && seen.insert(name).second) {
      result.names.push_back(std::move(name));
    }
  }
  return result;
}

TrainResult train_names(RecipeContext& context, CharRnn& model, const Names& names,
                        detail::TextCarried& carried) {
  const auto& s = static_cast<const NamesSettings&>(context.settings());
  const bool resume = context.hooks().resume;
  if (!s.weights.empty() && !resume) load_weights(s.weights, model);
  const std::unique_ptr<Optimizer> optimizer = s.make_optimizer(model.parameters());
  std::vector<std::int64_t> rows(names.train.size());
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<std::int64_t>(i);
  const Tensor numbers = Tensor::from(rows, {std::ssize(rows)}, {.device = Device::cpu()});
  const DataLoader loader(
      std::make_shared<TensorDataset>(numbers, numbers),
      {.batch_size = s.batch_size, .shuffle = true, .workers = static_cast<int>(s.workers), .seed = s.seed});
  const TrainStep step = [&](const Batch& batch) {
    std::vector<TokenSequence> chosen;
    for (const std::int64_t row : batch.inputs.to_vector<std::int64_t>())
      chosen.push_back(names.train[static_cast<std::size_t>(row)]);
    optimizer->zero_grad();
    const Tensor loss = loss_of(model, chosen, context.device()).loss;
    loss.backward();
    clip_grad_norm_(model.parameters(), s.clip);
    optimizer->step();
    return loss.detach();
  };
  TrainerOptions options{.epochs = s.epochs, .max_steps = s.steps, .stop = context.hooks().stop};
  options.progress = context.hooks().progress;
  options.schedule = detail::make_schedule(s.schedule, *optimizer, {s.epochs, loader.size(), s.steps});
  const detail::TextCheckpoint checkpoint(context, {model, *optimizer, options.schedule});
  if (resume) options.start = checkpoint.load(carried);
  RunFolder& folder = context.folder();
  detail::write_vocabulary(folder, names.vocab);
  const auto sample = [&](std::int64_t steps) {
    std::string text;
    TokenSampler sampler({.temperature = s.temperature}, s.seed);
    for (int i = 0; i < 5; ++i) text += draw_name(model, names, sampler) + (i < 4 ? "  " : "");
    carried.samples.push_back({steps, text});
  };
  if (!resume) sample(0);
  options.on_epoch = [&](const EpochRecord& record) {
    folder.append_metrics(record_line(record));
    if (record.position.step == 0) sample(record.steps);
    checkpoint.save(carried, record.position);
    char text[120];
    std::snprintf(text, sizeof text, "epoch %lld  train loss %.4f  validation loss %.4f  %.0f s",
                  static_cast<long long>(record.epoch), record.train_loss,
                  record.test ? record.test->loss : 0, record.seconds);
    context.say(text);
  };
  TrainResult trained =
      train(step, loader, [&] { return evaluate_names(model, names.validation, context.device()); }, options);
  // In the middle of an epoch: what a run that goes on from here will not show.
  if (carried.samples.empty() || carried.samples.back().step != trained.steps) sample(trained.steps);
  return trained;
}

void write_report(RecipeContext& context, CharRnn& model, const Names& names, const NewNames& invented,
                  const std::vector<detail::TextSample>& samples, const RecipeResult& result) {
  HtmlReport report("names", find_recipe("names").summary);
  detail::report_losses(report, result);
  report.figure("new names", std::to_string(invented.names.size()),
                "of " + std::to_string(invented.drawn) + " drawn; known: " + std::to_string(invented.known));
  detail::report_verdict(report, context, result);
  report.section("New names");
  std::vector<std::vector<std::string>> rows;
  for (std::size_t i = 0; i < invented.names.size(); ++i) {
    if (i % 5 == 0) rows.emplace_back();
    rows.back().push_back(invented.names[i]);
  }
  for (auto& row : rows) row.resize(5);
  report.table({"", "", "", "", ""}, rows);
  report.section("Training");
  report_history(report, read_history(context.folder().file("metrics.jsonl")));
  report.section("Names through training");
  detail::report_samples(report, samples);
  report.section("Gates over a name");
  const auto few = std::span(names.validation).first(std::min<std::size_t>(names.validation.size(), 50));
  const auto shorter = [](const TokenSequence& a, const TokenSequence& b) { return a.size() < b.size(); };
  const std::string shown = names.vocab.decode(*std::max_element(few.begin(), few.end(), shorter));
  detail::report_gates(report, model, names.vocab, shown.substr(0, shown.size() - 1), 12);
  report.section("The net, unrolled");
  report.drawing(
      detail::draw_unrolled(model, names.vocab, shown, std::min<std::size_t>(7, shown.size() - 1)));
  report.section("Model");
  report.preformatted(summary(model, zeros({1, 8}, {.dtype = DType::i64, .device = context.device()})));
  detail::finish_report(report, context);
}

RecipeResult run(RecipeContext& context) {
  const auto& s = static_cast<const NamesSettings&>(context.settings());
  const Names names = load(s);
  CharRnn model({.vocabulary = names.vocab.size(),
                 .embedding = s.embedding,
                 .hidden = s.hidden,
                 .mode = RnnMode::lstm,
                 .dropout = s.dropout});
  detail::TextCarried carried;
  const TrainResult trained = train_names(context, model, names, carried);
  RecipeResult result = detail::batch_result(context, trained, model);
  const NewNames invented = invent(model, names, s);
  result.metric("validation_loss", result.test_loss.value_or(0));
  result.metric("new_names", static_cast<double>(invented.names.size()));
  result.metric("known_share", static_cast<double>(invented.known) / static_cast<double>(invented.drawn));
  result.reached = !result.stopped && result.test_loss && *result.test_loss <= kWanted &&
                   std::ssize(invented.names) >= kWantedNames;
  std::string line;
  for (const std::string& name : invented.names) line += (line.empty() ? "" : ", ") + name;
  context.say(line);
  write_report(context, model, names, invented, carried.samples, result);
  return result;
}

}  // namespace

const Recipe kNames{"names",
                    "sequences",
                    "an LSTM invents first names",
                    "names",
                    "validation loss <= 2.10 nats a character; 20 new names",
                    [] { return std::unique_ptr<RunSettings>(std::make_unique<NamesSettings>()); },
                    run,
                    true};

}  // namespace gpunn
