// mnist-online: a small network of sigmoids learns from one picture at a time, in the order of the file; once
// on the bytes 0 to 255 as they are, once on bytes divided by 255.
#include "gpunn/core/autograd.h"
#include "gpunn/core/random.h"
#include "gpunn/io/json_writer.h"
#include "gpunn/layers/init.h"
#include "gpunn/layers/linear.h"
#include "gpunn/layers/losses.h"
#include "gpunn/layers/summary.h"
#include "gpunn/models/recipes/detail/catalogue.h"
#include "gpunn/models/recipes/detail/classifier.h"
#include "gpunn/models/recipes/detail/online_run.h"
#include "gpunn/models/recipes/detail/report_parts.h"
#include "gpunn/models/recipes/detail/run_totals.h"

namespace gpunn {

namespace {

using detail::OnlineRun;
using detail::OnlineSystem;

constexpr OnlineSystem kSystems[] = {{"raw", "bytes 0 to 255", 1, 0.65},
                                     {"scaled", "bytes / 255", 255, 0.915}};
constexpr std::int64_t kTestBatch = 1000;
constexpr float kNear = 0.01F;  // outputs this near to 0 or 1 count as saturated: the slope is below .01

struct OnlineSettings : RunSettings {
  double lr = 0.003;
  std::string pixels = "both";
  OnlineSettings() { epochs = 3; }
  std::vector<Field> fields() override {
    std::vector<Field> all = RunSettings::fields();
    all.push_back({"lr", &lr, "learning rate", 0});
    all.push_back({.name = "pixels",
                   .value = &pixels,
                   .help = "which run: bytes as they are, bytes / 255, or both one after the other",
                   .choices = {"both", "raw", "scaled"}});
    return all;
  }
};

// 784-32-32-10, every layer with its activation in one kernel; the scores are logits. Squared errors of a
// last layer of sigmoids, the other way to read "sigmoid network", reach 67 to 86 % on scaled pixels in 3
// epochs.
struct OnlineNet : Module {
  Linear first{784, 32}, second{32, 32}, out{32, 10};
  GPUNN_MEMBERS(first, second, out)

  OnlineNet() {
    for (Linear* layer : {&first, &second, &out}) {
      init::sqrt_max(layer->weight);
      init::zeros(layer->bias);
    }
  }
  Tensor features(const Tensor& x) { return first.forward(x, Activation::sigmoid); }
  Tensor forward(const Tensor& x) override { return out(second.forward(features(x), Activation::sigmoid)); }
};

// Share of the first layer's outputs that hardly move any more, over the first test pictures.
double saturated(OnlineNet& net, const DataLoader& test) {
  NoGrad no_grad;
  const std::vector<float> values = net.features(test.epoch(0).next()->inputs).to_vector<float>();
  std::size_t count = 0;
  for (const float v : values) count += v < kNear || v > 1 - kNear ? 1U : 0U;
  return static_cast<double>(count) / static_cast<double>(values.size());
}

std::string metrics_line(const OnlineSystem& system, const EpochRecord& r) {
  JsonWriter json;
  json.begin_object().field("pixels", system.key).field("epoch", r.epoch).field("step", r.steps);
  json.field("train_loss", r.train_loss);
  if (r.test) json.field("test_loss", r.test->loss).field("test_accuracy", r.test->accuracy.value_or(0));
  return json.field("seconds", r.seconds).end_object().take();
}

OnlineRun run_system(const OnlineSystem& system, RecipeContext& context, const detail::ClassifierData& data,
                     StateDict& weights) {
  const auto& settings = static_cast<const OnlineSettings&>(context.settings());
  manual_seed(settings.seed);  // both runs start from the same weights
  OnlineNet net;
  CrossEntropyLoss loss({.check_targets = false});  // the data set has checked them
  SGD optimizer(net.parameters(), {.lr = settings.lr});
  const DataLoader train_loader(data.train, {.batch_size = 1, .device = context.device()});
  const DataLoader test_loader(data.test, {.batch_size = kTestBatch, .device = context.device()});
  OnlineRun run{.system = &system, .saturated_before = saturated(net, test_loader)};
  RunFolder& folder = context.folder();

  TrainerOptions options{.epochs = settings.epochs,
                         .max_steps = settings.steps,
                         .stop = context.hooks().stop,
                         .progress = context.hooks().progress};
  options.on_epoch = [&](const EpochRecord& r) {
    folder.append_metrics(metrics_line(system, r));
    context.say(std::string(system.key) + " epoch " + std::to_string(r.epoch) + "/" +
                std::to_string(settings.epochs) + "  train loss " + detail::fixed(r.train_loss, 4) +
                "  test loss " + detail::fixed(r.test->loss, 4) + "  test accuracy " +
                detail::percent(r.test->accuracy.value_or(0)) + "  " + detail::fixed(r.seconds, 1) + " s");
  };
  run.trained = train(
      supervised_step(net, loss, optimizer), train_loader, [&] { return evaluate(net, loss, test_loader); },
      options);
  run.saturated_after = saturated(net, test_loader);
  run.counts = detail::class_counts(net, test_loader, static_cast<std::int64_t>(data.classes.size()));
  run.model = summary(net);
  for (const auto& [key, tensor] : net.state_dict())
    weights.emplace_back(std::string(system.key) + "." + key, tensor);
  return run;
}

void add_metrics(RecipeResult& result, const OnlineRun& run) {
  const TrainResult& t = run.trained;
  const std::string prefix = std::string(run.system->key) + "_";
  result.metric(prefix + "test_accuracy", run.accuracy());
  for (const EpochRecord& r : t.history)
    if (r.test)
      result.metric(prefix + "test_accuracy_epoch_" + std::to_string(r.epoch), r.test->accuracy.value_or(0));
  result.metric(prefix + "train_loss", t.train_loss);
  if (t.test) result.metric(prefix + "test_loss", t.test->loss);
  result.metric(prefix + "saturated_before", run.saturated_before);
  result.metric(prefix + "saturated_after", run.saturated_after);
  result.train_loss = t.train_loss;
  if (t.test) result.test_loss = t.test->loss;
}

RecipeResult run(RecipeContext& context) {
  const auto& settings = static_cast<const OnlineSettings&>(context.settings());
  const std::vector<std::string> classes = detail::digit_names();
  RecipeResult result;
  std::vector<OnlineRun> runs;
  StateDict weights;
  detail::RunTotals totals;
  bool reached = true;
  for (const OnlineSystem& system : kSystems) {
    if (settings.pixels != "both" && settings.pixels != system.key) continue;
    const detail::ClassifierData data =
        detail::load_images("mnist", classes, settings, {.divisor = system.divisor});
    runs.push_back(run_system(system, context, data, weights));
    add_metrics(result, runs.back());
    totals.add(runs.back().trained);
    reached = reached && runs.back().accuracy() >= system.accuracy;
    if (context.stopped()) break;
  }
  totals.write(result);
  result.weights_sha256 = weights_sha256(weights);
  result.stopped = result.stopped || context.stopped();
  result.reached = reached && !result.stopped;
  context.folder().write_weights(weights);
  detail::write_online_report(context, runs, classes, result);
  return result;
}

}  // namespace

const Recipe kMnistOnline{
    "mnist-online",
    "feed-forward networks",
    "784-32-32-10 sigmoid network, one digit at a time, on raw and on scaled pixels",
    "mnist",
    "mean over seeds 0-4 after 3 epochs: test accuracy >= 65 % on raw, >= 91.5 % on scaled pixels",
    [] { return std::unique_ptr<RunSettings>(std::make_unique<OnlineSettings>()); },
    run};

}  // namespace gpunn
