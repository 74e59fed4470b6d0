#include "gpunn/models/recipes/recipe.h"

#include "gpunn/core/memory.h"
#include "gpunn/core/memory_snapshot.h"
#include "gpunn/core/random.h"
#include "gpunn/core/runtime.h"
#include "gpunn/core/tuning.h"
#include "gpunn/io/json_writer.h"
#include "gpunn/io/memory_json.h"
#include "gpunn/models/recipes/detail/catalogue.h"
#include "gpunn/training/optimizer.h"
#include "gpunn/training/step_hashes.h"

namespace gpunn {

std::vector<Field> RunSettings::fields() {
  return {{"seed", &seed, "seed of weights and order"},
          {"epochs", &epochs, "passes over the training data", 0},
          {"steps", &steps, "most training steps, 0: no limit", 0},
          {.name = "device", .value = &device, .help = "cpu, cuda, cuda:N or best", .metavar = "D"},
          {"threads", &threads, "CPU threads, 0: all cores; results do not depend on it", 0, 1024},
          {.name = "data", .value = &data, .help = "folder with the data set", .metavar = "DIR"},
          {.name = "run_dir",
           .value = &run_dir,
           .help = "folder to write, default runs/NAME-DATE-TIME",
           .metavar = "DIR"}};
}

std::vector<Field> BatchSettings::fields() {
  std::vector<Field> all = RunSettings::fields();
  all.push_back({"lr", &lr, "learning rate", 0});
  for (Field& field : rule_fields()) all.push_back(std::move(field));
  for (Field field : {Field{"weight_decay", &weight_decay, "L2 penalty", 0},
                      Field{"batch_size", &batch_size, "rows a step", 1},
                      Field{"workers", &workers, "threads that prepare batches", 0, 256},
                      Field{.name = "weights",
                            .value = &weights,
                            .help = "safetensors file with the weights to start from",
                            .metavar = "FILE"}})
    all.push_back(std::move(field));
  for (Field& field : schedule.fields()) all.push_back(std::move(field));
  return all;
}

std::vector<Field> SgdSettings::rule_fields() { return {{"momentum", &momentum, "momentum of SGD", 0}}; }

std::unique_ptr<Optimizer> SgdSettings::make_optimizer(std::vector<Tensor> parameters) const {
  return std::make_unique<SGD>(std::move(parameters),
                               SgdOptions{.lr = lr, .momentum = momentum, .weight_decay = weight_decay});
}

std::vector<Field> AdamSettings::rule_fields() {
  return {{"beta1", &beta1, "decay of Adam's mean gradient", 0},
          {"beta2", &beta2, "decay of Adam's mean squared gradient", 0}};
}

std::unique_ptr<Optimizer> AdamSettings::make_optimizer(std::vector<Tensor> parameters) const {
  AdamOptions options;
  options.lr = lr;
  options.betas = {beta1, beta2};
  options.weight_decay = weight_decay;
  return std::make_unique<Adam>(std::move(parameters), options);
}

RunFolder& RecipeContext::folder() {
  if (!folder_) {
    if (settings_.run_dir.empty()) settings_.run_dir = RunFolder::default_path(recipe_);
    folder_ = std::make_unique<RunFolder>(settings_.run_dir, hooks_.resume);
    // What `gpunn train --config` and --resume read back.
    JsonWriter json(2);
    json.begin_object().field("recipe", recipe_).field("device", to_string(device_));
    if (const std::string digest = tuning_digest(); !digest.empty()) json.field("autotune", digest);
    json.key("settings");
    write_settings(json, settings_);
    json.end_object();
    folder_->write_config(json.take() + "\n");
  }
  return *folder_;
}

void RecipeContext::hash_steps(TrainerOptions& options, Module& model, const Optimizer& optimizer) {
  if (hooks_.hash_every == 0) return;
  const StepHashRun run{recipe_, settings_.seed, device_, hooks_.hash_every};
  auto writer = std::make_shared<StepHashWriter>(folder().hashes_path(), run, model, optimizer,
                                                 options.start.steps, hooks_.resume);
  options.on_step = [writer](const TrainPosition& at, const Batch& batch, const Tensor& loss) {
    writer->record(at, batch, loss);
  };
}

// In the order of difficulty, as `gpunn recipes` shows them.
std::span<const Recipe* const> recipes() noexcept {
  static constexpr const Recipe* kAll[] = {
      // Feed-forward networks.
      &kPerceptronAnd, &kPerceptronOr, &kPerceptronXor, &kXor, &kBoxApproximation, &kForwardTrace,
      &kWorkedNumbers, &kAutogradDemo, &kGradientDescent, &kRosenbrock, &kInitStudy, &kDigitsMlp, &kMnistMlp,
      &kMnistOnline, &kFashionLogistic, &kFashionMlp, &kCircles, &kHandFeatures, &kDimensionality,
      &kLearningRates,
      // Convolution.
      &kConvFilters, &kShapesCnn, &kFashionCnn, &kMnistCnn, &kCifarResnet, &kTransfer, &kSegmentUnet,
      &kDetectShapes,
      // Sequences.
      &kCharRnn, &kVanishingGradient, &kShakespeareLstm, &kShakespeareGru, &kForecastLstm, &kSentiment,
      &kNames,
      // Attention.
      &kAttentionDemo, &kPositionalEncoding, &kShakespeareGpt, &kBertMlm, &kT5Toy, &kVit, &kGpt2};
  return kAll;
}

const Recipe& find_recipe(std::string_view name) {
  std::vector<std::string> names;
  for (const Recipe* recipe : recipes()) {
    if (recipe->name == name) return *recipe;
    names.push_back(recipe->name);
  }
  const std::string near = nearest_name(name, names);
  throw InvalidArgument("no recipe is called '" + std::string(name) + "'" +
                        (near.empty() ? "; `gpunn recipes` lists them" : ", did you mean '" + near + "'?"));
}

// The order matters: the seed before any weight is drawn, the peak before any tensor is made.
RecipeResult run_recipe(const Recipe& recipe, RunSettings& settings, Device device, RecipeHooks hooks) {
  GPUNN_CHECK(!hooks.resume || recipe.resumes, "recipe ", recipe.name, " cannot be resumed");
  GPUNN_CHECK(!hooks.resume || !settings.run_dir.empty(), "expected the run folder to resume");
  GPUNN_CHECK(hooks.hash_every == 0 || recipe.hashes, "recipe ", recipe.name,
              " writes no hashes of its steps");
  Runtime& runtime = Runtime::current();
  if (settings.threads > 0) runtime.set_threads(static_cast<int>(settings.threads));
  runtime.generator().set_seed(settings.seed);
  MemoryResource& memory = device.context().memory();
  memory.reset_peaks();
  DeviceScope scope(device);

  RecipeContext context(recipe.name, settings, device, std::move(hooks));
  RecipeResult result = recipe.run(context);
  result.recipe = recipe.name;
  result.figure = recipe.figure;
  result.device = to_string(device);
  result.seed = settings.seed;
  result.threads = runtime.pool().threads();
  result.peak_memory_bytes = memory.stats().peak_live_bytes;
  result.run_dir = context.folder().path();
  result.report = context.folder().report_path();

  JsonWriter json(2);
  write_result(json, result);
  context.folder().write_result(json.take() + "\n");
  context.folder().write_memory(snapshot_json(memory_snapshot(device)) + "\n");
  return result;
}

void write_result(JsonWriter& json, const RecipeResult& r) {
  json.begin_object();
  json.field("recipe", r.recipe).field("device", r.device).field("seed", r.seed).field("threads", r.threads);
  json.field("epochs", r.epochs).field("steps", r.steps).field("seconds", r.seconds);
  json.field("steps_per_second", r.steps_per_second).field("train_loss", r.train_loss).key("test_loss");
  r.test_loss ? json.value(*r.test_loss) : json.value(nullptr);
  json.key("metrics").begin_object();
  for (const auto& [name, value] : r.metrics) json.field(name, value);
  json.end_object();
  json.field("peak_memory_bytes", r.peak_memory_bytes).field("weights_sha256", r.weights_sha256);
  json.field("figure", r.figure)
      .field("reached", r.reached)
      .field("run_dir", r.run_dir)
      .field("report", r.report);
  json.end_object();
}

}  // namespace gpunn
