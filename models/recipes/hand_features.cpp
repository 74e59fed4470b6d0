// hand-features: one classifier, once on seven numbers that describe a digit's shape, once on its 784 pixels.
#include <algorithm>
#include <cmath>
#include <span>

#include "gpunn/core/autograd.h"
#include "gpunn/core/random.h"
#include "gpunn/io/json_writer.h"
#include "gpunn/layers/functional.h"
#include "gpunn/layers/init.h"
#include "gpunn/layers/linear.h"
#include "gpunn/layers/summary.h"
#include "gpunn/models/recipes/detail/catalogue.h"
#include "gpunn/models/recipes/detail/classifier.h"
#include "gpunn/models/recipes/detail/hand_features_run.h"
#include "gpunn/models/recipes/detail/report_parts.h"
#include "gpunn/models/recipes/detail/run_totals.h"
#include "gpunn/models/recipes/detail/shape_features.h"

namespace gpunn {

namespace {

using detail::HandFeaturesRun;
using detail::InputRun;

constexpr std::int64_t kRows = 1000;  // at a time when nothing is trained
constexpr double kSmallest = 1e-6;    // of a deviation: a feature that never changes is left at 0

struct HandFeaturesSettings : RunSettings {
  double lr = 0.1;
  std::int64_t batch_size = 64;
  std::int64_t hidden = 128;
  HandFeaturesSettings() { epochs = 10; }
  std::vector<Field> fields() override {
    std::vector<Field> all = RunSettings::fields();
    all.push_back({"lr", &lr, "learning rate", 0});
    all.push_back({"batch_size", &batch_size, "rows a step", 1});
    all.push_back({"hidden", &hidden, "neurons of the hidden layer", 1, 4096});
    return all;
  }
};

// Mean and deviation that inputs are standardised with, from the training part.
struct Scale {
  Tensor mean, deviation;  // [D], or [1] for all inputs alike
};

// D-hidden-10 with ReLU on standardised inputs.
struct ShapeNet : Module {
  Buffer mean, deviation;
  Linear hidden, out;
  GPUNN_MEMBERS(mean, deviation, hidden, out)

  ShapeNet(const Scale& scale, std::int64_t inputs, std::int64_t neurons, std::int64_t classes)
      : mean(scale.mean), deviation(scale.deviation), hidden(inputs, neurons), out(neurons, classes) {
    for (Linear* layer : {&hidden, &out}) {
      init::he_normal(layer->weight);
      init::zeros(layer->bias);
    }
  }
  Tensor forward(const Tensor& x) override {
    return out(hidden.forward((x - mean) / deviation, Activation::relu));
  }
};

// The features of every row of `images`, computed on `device`: inputs [N, 7], targets [N], on the CPU.
std::shared_ptr<TensorDataset> features_of(const detail::ClassifierData& data,
                                           const std::shared_ptr<const Dataset>& images, Device device) {
  const DataLoader loader(images, {.batch_size = kRows, .device = device});
  std::vector<Tensor> inputs, targets;
  DataLoader::Epoch epoch = loader.epoch(0);
  for (const Batch& batch : epoch) {
    const Tensor pictures = batch.inputs.reshape({batch.size(), data.height, data.width});
    inputs.push_back(detail::shape_features(pictures).to(Device::cpu()));
    targets.push_back(batch.targets.to(Device::cpu()));
  }
  return std::make_shared<TensorDataset>(cat(inputs), cat(targets));
}

Batch everything(const Dataset& data) {
  std::vector<std::int64_t> rows(static_cast<std::size_t>(data.size()));
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<std::int64_t>(i);
  return data.get(rows);
}

Scale feature_scale(const Dataset& train, Device device) {
  const VarMean moments = var_mean(everything(train).inputs, {0}, 0);
  return {moments.mean.to(device), sqrt(clamp(moments.var, kSmallest * kSmallest)).to(device)};
}

// One mean and deviation for all pixels: many of them are blank on every picture.
Scale pixel_scale(const std::shared_ptr<const Dataset>& train, Device device) {
  const DataLoader loader(train, {.batch_size = kRows, .device = device});
  double sum = 0, squares = 0, count = 0;
  DataLoader::Epoch epoch = loader.epoch(0);
  for (const Batch& batch : epoch) {
    const auto n = static_cast<double>(batch.inputs.numel());
    sum += n * mean(batch.inputs).item();
    squares += n * mean(square(batch.inputs)).item();
    count += n;
  }
  const double average = sum / count;
  const double deviation = std::sqrt(std::max(squares / count - average * average, kSmallest * kSmallest));
  const TensorOptions options{.device = device};
  return {full({1}, average, options), full({1}, deviation, options)};
}

InputRun train_on(InputRun run, const Scale& scale, const std::shared_ptr<const Dataset>& train_part,
                  const std::shared_ptr<const Dataset>& test_part, std::int64_t classes,
                  RecipeContext& context, StateDict& weights) {
  constexpr std::int64_t kFirst[] = {0};
  const auto& s = static_cast<const HandFeaturesSettings&>(context.settings());
  manual_seed(s.seed);
  ShapeNet net(scale, test_part->get(kFirst).inputs.size(1), s.hidden, classes);
  CrossEntropyLoss loss({.check_targets = false});  // the data set has checked them
  SGD optimizer(net.parameters(), {.lr = s.lr});
  const DataLoader train_loader(
      train_part, {.batch_size = s.batch_size, .shuffle = true, .seed = s.seed, .device = context.device()});
  const DataLoader test_loader(test_part, {.batch_size = kRows, .device = context.device()});
  TrainerOptions options{.epochs = s.epochs,
                         .max_steps = s.steps,
                         .stop = context.hooks().stop,
                         .progress = context.hooks().progress};
  options.on_epoch = [&](const EpochRecord& r) {
    JsonWriter json;
    json.begin_object().field("inputs", run.key).field("epoch", r.epoch).field("step", r.steps);
    json.field("train_loss", r.train_loss).field("test_loss", r.test->loss);
    json.field("test_accuracy", r.test->accuracy.value_or(0)).field("seconds", r.seconds);
    context.folder().append_metrics(json.end_object().take());
    context.say(std::string(run.title) + ": epoch " + std::to_string(r.epoch) + "/" +
                std::to_string(s.epochs) + "  train loss " + detail::fixed(r.train_loss, 4) +
                "  test accuracy " + detail::percent(r.test->accuracy.value_or(0)));
  };
  run.trained = train(
      supervised_step(net, loss, optimizer), train_loader, [&] { return evaluate(net, loss, test_loader); },
      options);
  run.counts = detail::class_counts(net, test_loader, classes);
  run.model = summary(net);
  for (const auto& [key, tensor] : net.state_dict())
    weights.emplace_back(std::string(run.key) + "." + key, tensor);
  return run;
}

// Standardised means of the features of each class; a class without rows has zeros.
std::vector<double> class_means(const Dataset& train, const Scale& scale, std::size_t classes) {
  const Batch all = everything(train);
  const Device cpu = Device::cpu();
  const std::vector<float> values =
      ((all.inputs - scale.mean.to(cpu)) / scale.deviation.to(cpu)).to_vector<float>();
  const std::vector<std::int64_t> labels = all.targets.to_vector<std::int64_t>();
  const std::size_t features = values.size() / labels.size();
  std::vector<double> sums(classes * features), rows(classes);
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const auto label = static_cast<std::size_t>(labels[i]);
    ++rows[label];
    for (std::size_t f = 0; f < features; ++f) sums[label * features + f] += values[i * features + f];
  }
  for (std::size_t i = 0; i < sums.size(); ++i) sums[i] /= std::max(1.0, rows[i / features]);
  return sums;
}

double largest_share(const Dataset& test, std::size_t classes) {
  const std::vector<std::int64_t> labels = everything(test).targets.to_vector<std::int64_t>();
  std::vector<double> counts(classes);
  for (const std::int64_t label : labels) ++counts[static_cast<std::size_t>(label)];
  return *std::max_element(counts.begin(), counts.end()) / static_cast<double>(labels.size());
}

// The first test picture of each class, with its features.
void show_pictures(HandFeaturesRun& run, const detail::ClassifierData& data, const Dataset& features) {
  const std::vector<std::int64_t> labels = everything(features).targets.to_vector<std::int64_t>();
  for (std::size_t c = 0; c < data.classes.size(); ++c) {
    const auto found = std::find(labels.begin(), labels.end(), static_cast<std::int64_t>(c));
    if (found == labels.end()) continue;
    const std::int64_t row[] = {found - labels.begin()};
    const std::vector<float> pixels = data.test->get(row).inputs.to_vector<float>();
    run.shown.push_back({gray_picture(pixels, data.height, data.width), data.classes[c]});
    run.shown_features.push_back(features.get(row).inputs.to_vector<float>());
  }
}

RecipeResult run(RecipeContext& context) {
  const auto& settings = static_cast<const HandFeaturesSettings&>(context.settings());
  const detail::ClassifierData data = detail::load_images("mnist", detail::digit_names(), settings);
  const auto classes = static_cast<std::int64_t>(data.classes.size());
  context.folder();
  const auto train_features = features_of(data, data.train, context.device());
  const auto test_features = features_of(data, data.test, context.device());
  const Scale scale = feature_scale(*train_features, context.device());
  HandFeaturesRun all{.classes = data.classes,
                      .class_means = class_means(*train_features, scale, data.classes.size()),
                      .guessing = largest_share(*test_features, data.classes.size())};
  show_pictures(all, data, *test_features);
  StateDict weights;
  all.inputs.push_back(train_on({.key = "features", .title = "seven features"}, scale, train_features,
                                test_features, classes, context, weights));
  if (!context.stopped())
    all.inputs.push_back(train_on({.key = "pixels", .title = "784 pixels"},
                                  pixel_scale(data.train, context.device()), data.train, data.test, classes,
                                  context, weights));
  context.folder().write_weights(weights);

  RecipeResult result;
  detail::RunTotals totals;
  for (const InputRun& input : all.inputs) {
    const TrainResult& t = input.trained;
    result.metric(std::string(input.key) + "_test_accuracy", input.accuracy());
    result.metric(std::string(input.key) + "_train_loss", t.train_loss);
    if (t.test) result.metric(std::string(input.key) + "_test_loss", t.test->loss);
    result.train_loss = t.train_loss;
    if (t.test) result.test_loss = t.test->loss;
    totals.add(t);
  }
  result.metric("largest_class_share", all.guessing);
  totals.write(result);
  result.weights_sha256 = weights_sha256(weights);
  result.stopped = result.stopped || all.inputs.size() < 2;
  result.reached = !result.stopped && all.inputs[1].accuracy() > all.inputs[0].accuracy();
  detail::write_hand_features_report(context, all, result);
  return result;
}

}  // namespace

const Recipe kHandFeatures{
    "hand-features",
    "feed-forward networks",
    "one classifier on seven hand-made features and on 784 pixels of handwritten digits",
    "mnist",
    "the pixels' test accuracy is above the features'",
    [] { return std::unique_ptr<RunSettings>(std::make_unique<HandFeaturesSettings>()); },
    run};

}  // namespace gpunn
