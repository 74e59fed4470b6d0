// gpt2: the published model continues a text and agrees with stored logits; without its files, training steps
// of a model of that size from random weights.
#include <algorithm>
#include <chrono>
#include <cmath>

#include "gpunn/core/autograd.h"
#include "gpunn/core/memory.h"
#include "gpunn/core/random.h"
#include "gpunn/core/runtime.h"
#include "gpunn/io/file.h"
#include "gpunn/io/json_writer.h"
#include "gpunn/io/safetensors.h"
#include "gpunn/models/gpt2_folder.h"
#include "gpunn/models/recipes/detail/catalogue.h"
#include "gpunn/models/recipes/detail/gpt2_run.h"
#include "gpunn/models/recipes/detail/numbers.h"
#include "gpunn/training/data_paths.h"
#include "gpunn/training/optimizer.h"
#include "gpunn/training/run_folder.h"

namespace gpunn {

using detail::Gpt2Settings;
using detail::Gpt2Text;
using detail::Gpt2Training;
using detail::LogitsCheck;

namespace {

constexpr double kLogitTolerance = 1e-3;
// Of the first loss from ln V: logits of random weights are not quite equal.
constexpr double kLossTolerance = 0.3;
constexpr std::uint64_t kTokenStream = std::uint64_t{0x4754} << 48;

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// The folder of published files; "" where there is none and none was named.
std::string find_folder(const Gpt2Settings& s) {
  const DataSetInfo& info = data_set_info("gpt2");
  const auto folder_of = [](const std::string& path) { return path.substr(0, path.rfind('/')); };
  if (!s.data.empty()) return folder_of(find_data(info, s.data).at(0));
  for (const DataPlace& place : data_places(info, ""))
    if (place.missing.empty()) return place.folder;
  return "";
}

LogitsCheck compare_logits(Gpt2& model, const std::string& path, Device device) {
  const NoGrad no_grad;
  const SafetensorsFile file = SafetensorsFile::open(path);
  const Tensor tokens = file.load("tokens"), expected = file.load("logits");
  if (tokens.dtype() != DType::i64 || tokens.dim() != 2 || tokens.numel() == 0 ||
      tokens.size(1) > model.context())
    detail::throw_data(detail::concat(path, ": expected tokens i64 [sequences, up to ", model.context(),
                                      "], got ", to_string(tokens.dtype()), ' ', tokens.shape()));
  if (expected.shape() != Shape({tokens.size(0), tokens.size(1), model.vocabulary()}))
    detail::throw_data(detail::concat(path, ": expected logits ",
                                      Shape({tokens.size(0), tokens.size(1), model.vocabulary()}), ", got ",
                                      expected.shape()));
  for (const std::int64_t id : tokens.to_vector<std::int64_t>())
    if (id < 0 || id >= model.vocabulary())
      detail::throw_data(
          detail::concat(path, ": expected tokens in [0, ", model.vocabulary(), "), got ", id));
  LogitsCheck check{.sequences = tokens.size(0), .length = tokens.size(1)};
  model.eval();
  // A sequence at a time: logits of many are larger than the model.
  for (std::int64_t b = 0; b < tokens.size(0); ++b) {
    const Tensor logits = model(tokens.narrow(0, b, 1).to(device));
    const auto values = [](const Tensor& t) {
      return t.to(Device::cpu()).to(DType::f64).contiguous().to_vector<double>();
    };
    const std::vector<double> theirs = values(expected.narrow(0, b, 1));
    check.worst = std::max(check.worst, detail::largest_difference(values(logits), theirs));
    for (const double v : theirs) check.largest = std::max(check.largest, std::abs(v));
  }
  return check;
}

RecipeResult continue_text(RecipeContext& context, const std::string& folder) {
  const auto& s = static_cast<const Gpt2Settings&>(context.settings());
  const Gpt2Folder files = open_gpt2_folder(folder, context.device());
  context.folder();
  GenerationOptions options{.max_new_tokens = s.tokens, .seed = s.seed};
  options.sampling = {.temperature = s.temperature};
  options.sampling.top_k = std::min(s.top_k, files.model->vocabulary());
  options.piece = [&](std::int64_t id) {
    return id < files.vocab.size() ? std::string(files.vocab.piece(id)) : std::string();
  };
  if (const auto end = files.vocab.special_token("<|endoftext|>")) {
    options.start_token = end;
    options.stop_tokens = {*end};
  }
  options.on_token = [&](const GenerationEvent&) { return !context.stopped(); };
  Gpt2Text run{.folder = folder,
               .text = s.prompt,
               .options = files.model->options(),
               .parameters = files.model->parameter_count()};
  const std::vector<std::int64_t> prompt = files.vocab.encode(s.prompt, SpecialText::plain, "prompt");
  run.prompt_tokens = std::ssize(prompt);
  const auto start = std::chrono::steady_clock::now();
  run.generated = generate(*files.model, prompt, options);
  run.seconds = seconds_since(start);
  context.say(s.prompt + run.generated.text);
  const std::string stored = folder + "/logits.safetensors";
  const bool stopped = run.generated.stop == StopReason::caller;
  if (!stopped && path_exists(stored)) run.logits = compare_logits(*files.model, stored, context.device());

  RecipeResult result;
  result.seconds = run.seconds;
  result.stopped = stopped;
  result.metric("parameters", static_cast<double>(run.parameters));
  result.metric("tokens_per_second", static_cast<double>(run.generated.tokens.size()) / run.seconds);
  if (run.logits) result.metric("logit_error", run.logits->worst);
  result.weights_sha256 = weights_sha256(files.model->state_dict());
  result.reached = run.logits && run.logits->worst <= kLogitTolerance;
  detail::write_gpt2_report(context, run, result);
  return result;
}

struct TokenBatch {
  Tensor inputs, targets;  // i64 [batch, length]
};

TokenBatch random_tokens(const Gpt2Settings& s, Device device) {
  PhiloxStream random(s.seed, kTokenStream);
  std::vector<std::int64_t> ids(static_cast<std::size_t>(s.batch_size * (s.length + 1)));
  for (std::int64_t& id : ids)
    id = static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(s.vocabulary)));
  const Tensor rows = Tensor::from(ids, {s.batch_size, s.length + 1}, {.device = device});
  return {rows.narrow(1, 0, s.length).contiguous(), rows.narrow(1, 1, s.length).contiguous()};
}

void train_steps(RecipeContext& context, Gpt2& model, Gpt2Training& run) {
  const auto& s = static_cast<const Gpt2Settings&>(context.settings());
  const TokenBatch batch = random_tokens(s, context.device());
  Adam optimizer(model.parameters(), {.lr = s.lr});
  for (std::int64_t step = 0; step < s.steps && !run.stopped; ++step) {
    const auto start = std::chrono::steady_clock::now();
    optimizer.zero_grad();
    Tensor loss = model.loss(batch.inputs, batch.targets);
    loss.backward();
    optimizer.step();
    run.losses.push_back(loss.item());
    // The update may still be on its way.
    context.device().synchronize();
    run.seconds.push_back(seconds_since(start));
    context.say(detail::concat("  step ", step + 1, ": loss ", detail::fixed(run.losses.back(), 4), ", ",
                               detail::fixed(run.seconds.back(), 2), " s"));
    JsonWriter json;
    json.begin_object().field("step", step + 1).field("loss", run.losses.back());
    context.folder().append_metrics(json.field("seconds", run.seconds.back()).end_object().take());
    run.stopped = context.stopped();
  }
}

/// Without the first step, which allocates.
double median_step(const std::vector<double>& seconds) {
  std::vector<double> later(seconds.begin() + (seconds.size() > 1 ? 1 : 0), seconds.end());
  const auto middle = later.begin() + static_cast<std::ptrdiff_t>(later.size() / 2);
  std::nth_element(later.begin(), middle, later.end());
  return *middle;
}

RecipeResult train_from_nothing(RecipeContext& context) {
  const auto& s = static_cast<const Gpt2Settings&>(context.settings());
  context.folder();
  Gpt2Training run;
  run.options = {.vocabulary = s.vocabulary,
                 .context = std::max<std::int64_t>(s.length, 1024),
                 .features = s.features,
                 .layers = s.layers,
                 .heads = s.heads,
                 .dropout = 0};
  Gpt2 model(run.options);
  run.parameters = model.parameter_count();
  context.say(detail::concat("no published files: training steps of ", run.parameters, " random weights"));
  const auto start = std::chrono::steady_clock::now();
  train_steps(context, model, run);
  run.step_seconds = median_step(run.seconds);
  run.tokens_per_second = static_cast<double>(s.batch_size * s.length) / run.step_seconds;
  run.flops_per_token = 6.0 * static_cast<double>(run.parameters - model.wpe.weight.numel()) +
                        12.0 * static_cast<double>(s.layers * s.features * s.length);
  const MemoryStats memory = context.device().context().memory().stats();
  run.peak_live_bytes = memory.peak_live_bytes;
  run.peak_reserved_bytes = memory.peak_reserved_bytes;

  RecipeResult result;
  const double expected = std::log(static_cast<double>(s.vocabulary));
  result.seconds = seconds_since(start);
  result.steps = std::ssize(run.losses);
  result.steps_per_second = 1 / run.step_seconds;
  result.train_loss = run.losses.back();
  result.stopped = run.stopped;
  result.metric("parameters", static_cast<double>(run.parameters));
  result.metric("first_loss", run.losses.front());
  result.metric("expected_loss", expected);
  result.metric("tokens_per_second", run.tokens_per_second);
  result.metric("flops_per_second", run.tokens_per_second * run.flops_per_token);
  result.weights_sha256 = weights_sha256(model.state_dict());
  result.reached = !run.stopped && std::abs(run.losses.front() - expected) <= kLossTolerance &&
                   run.losses.back() < run.losses.front();
  detail::write_gpt2_report(context, run, result);
  return result;
}

RecipeResult run(RecipeContext& context) {
  const std::string folder = find_folder(static_cast<const Gpt2Settings&>(context.settings()));
  return folder.empty() ? train_from_nothing(context) : continue_text(context, folder);
}

}  // namespace

std::vector<Field> detail::Gpt2Settings::fields() {
  std::vector<Field> all = RunSettings::fields();
  for (Field& field : all)
    if (field.name == "steps")
      field.help = "training steps, where there are no published files", field.min = 1;
  all.push_back({"lr", &lr, "learning rate", 0});
  all.push_back({"batch_size", &batch_size, "sequences a step", 1, 65536});
  all.push_back({"length", &length, "tokens of a sequence", 1, 65536});
  all.push_back({"layers", &layers, "blocks", 1, 96});
  all.push_back({"heads", &heads, "heads of attention, a divisor of the features", 1, 256});
  all.push_back({"features", &features, "features of a position", 1, 16384});
  all.push_back({"vocabulary", &vocabulary, "tokens there are", 2, 1'000'000});
  all.push_back(
      {.name = "prompt", .value = &prompt, .help = "what the published model continues", .metavar = "TEXT"});
  all.push_back({"tokens", &tokens, "tokens that it writes", 0, 100000});
  all.push_back({"temperature", &temperature, "of what is drawn", 0.01});
  all.push_back({"top_k", &top_k, "tokens to draw from, the most probable ones", 1});
  return all;
}

const Recipe kGpt2{
    "gpt2",
    "attention",
    "GPT-2 from its published files, or training steps of its size",
    "gpt2",
    "logits equal stored ones to 1e-3; without files: first loss within 0.3 of ln(vocabulary), "
    "and it falls",
    [] { return std::unique_ptr<RunSettings>(std::make_unique<Gpt2Settings>()); },
    run};

}  // namespace gpunn
