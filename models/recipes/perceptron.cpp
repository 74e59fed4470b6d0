// perceptron-and, -or, -xor: Rosenblatt's perceptron on truth tables, a row at a time in the table's order.
//
// F. Rosenblatt, "The perceptron: a probabilistic model" (1958). XOR is no half plane, so its rule never
// rests. From zeros, with rows in the order 00 01 10 11, one update a row and step(0) = 1, each epoch ends at
// w = (-lr, 0), b = 0, which answers 1 1 0 0. The same with step(0) = 0 gives these answers with b = lr.
//
// AND from zeros: exact arithmetic rests after six epochs at w = (0.2, 0.1), b = -0.3. In f32 the tenths do
// not sum up exactly, row 1 0 comes to lie 1.5e-8 below zero, and the rule rests after three.
#include <algorithm>
#include <cstdio>

#include "gpunn/core/autograd.h"
#include "gpunn/io/json_writer.h"
#include "gpunn/layers/functional.h"
#include "gpunn/layers/init.h"
#include "gpunn/models/recipes/detail/catalogue.h"
#include "gpunn/models/recipes/detail/perceptron_run.h"
#include "gpunn/models/recipes/detail/plane.h"
#include "gpunn/training/trainer.h"

namespace gpunn {

using detail::Gate;
using detail::PerceptronRun;
using detail::Perceptrons;

namespace {

constexpr Gate kAnd{"AND", {0, 0, 0, 1}}, kOr{"OR", {0, 1, 1, 1}}, kXorGate{"XOR", {0, 1, 1, 0}};

struct PerceptronSettings : RunSettings {
  double lr = 0.1;
  double init_std = 0;
  std::int64_t draws = 1000;
  double draw_std = 1;
  std::vector<Field> fields() override {
    std::vector<Field> all = RunSettings::fields();
    all.push_back({"lr", &lr, "learning rate", 0});
    all.push_back({"init_std", &init_std, "deviation of the first weights and bias, 0: zeros", 0});
    all.push_back({"draws", &draws, "perceptrons of the study of initial values", 1, 1000000});
    all.push_back({"draw_std", &draw_std, "deviation of their first weights and biases", 0});
    return all;
  }
};

std::unique_ptr<RunSettings> make_settings(double lr, double init_std, double draw_std, std::int64_t epochs) {
  auto settings = std::make_unique<PerceptronSettings>();
  settings->lr = lr;
  settings->init_std = init_std;
  settings->draw_std = draw_std;
  settings->epochs = epochs;
  return settings;
}

struct Table {
  Tensor x, y;  // [4, 2], [4, 1], on the CPU
  Tensor row(int r, Device device) const { return x.narrow(0, r, 1).contiguous().to(device); }
};

TrainResult train_on(const Table& table, Perceptrons& neurons, const RecipeContext& context,
                     const std::function<void(const EpochRecord&)>& on_epoch) {
  const auto& settings = static_cast<const PerceptronSettings&>(context.settings());
  const DataLoader rows(std::make_shared<TensorDataset>(table.x, table.y),
                        {.batch_size = 1, .device = context.device()});
  return train([&](const Batch& row) { return neurons.learn(row.inputs, row.targets, settings.lr); }, rows,
               {},
               {.epochs = settings.epochs,
                .max_steps = settings.steps,
                .evaluate_every = 0,
                .stop = context.hooks().stop,
                .on_epoch = on_epoch});
}

void record(PerceptronRun& run, std::int64_t epoch, const Perceptrons& neuron, const Table& table) {
  const std::vector<float> w = neuron.weights.to_vector<float>(), b = neuron.biases.to_vector<float>(),
                           out = neuron.fire(table.x.to(neuron.weights.device())).to_vector<float>();
  detail::PerceptronEpoch& at = run.epochs.emplace_back();
  at.epoch = epoch;
  at.weights = {w[0], w[1], b[0]};
  std::copy(out.begin(), out.end(), at.outputs.begin());
}

// How many have all four rows right.
std::int64_t count_learned(const Perceptrons& neurons, const Table& table, const Gate& gate) {
  Tensor right = ones_like(neurons.biases);
  for (int r = 0; r < 4; ++r) {
    const Tensor out = neurons.fire(table.row(r, right.device()));
    right = right * (gate.targets[static_cast<std::size_t>(r)] == 1 ? out : 1.0 - out);
  }
  return static_cast<std::int64_t>(sum(right).item());
}

void add_metrics(RecipeResult& result, const PerceptronRun& run) {
  const detail::PerceptronEpoch& last = run.epochs.back();
  int right = 0;
  for (std::size_t r = 0; r < 4; ++r) right += last.outputs[r] == run.gate->targets[r] ? 1 : 0;
  result.metric("accuracy", right / 4.0);
  const char* const outputs[] = {"output_00", "output_01", "output_10", "output_11"};
  for (std::size_t r = 0; r < 4; ++r) result.metric(outputs[r], last.outputs[r]);
  const char* const weights[] = {"weight_1", "weight_2", "bias"};
  for (std::size_t i = 0; i < 3; ++i) result.metric(weights[i], last.weights[i]);
  for (const detail::PerceptronEpoch& epoch : run.epochs)
    if (epoch.outputs == run.gate->targets) {
      result.metric("first_epoch_all_right", static_cast<double>(epoch.epoch));
      break;
    }
  result.metric("draws", static_cast<double>(run.draws));
  result.metric("draws_learned", static_cast<double>(run.learned.back()));
}

void say_result(const RecipeContext& context, const PerceptronRun& run) {
  const detail::PerceptronEpoch& last = run.epochs.back();
  char text[200];
  std::snprintf(text, sizeof text,
                "outputs for 00 01 10 11: %.0f %.0f %.0f %.0f, weights %.4g %.4g, bias %.4g", last.outputs[0],
                last.outputs[1], last.outputs[2], last.outputs[3], last.weights[0], last.weights[1],
                last.weights[2]);
  context.say(text);
  const auto& settings = static_cast<const PerceptronSettings&>(context.settings());
  std::snprintf(text, sizeof text,
                "from N(0, %g^2): %lld of %lld draws have every row right after %lld epochs",
                settings.draw_std, static_cast<long long>(run.learned.back()),
                static_cast<long long>(run.draws), static_cast<long long>(run.learned.size() - 1));
  context.say(text);
}

// XOR's figure is its failure, exactly as the rule must fail.
bool figure_reached(const PerceptronRun& run) {
  const detail::PerceptronEpoch& last = run.epochs.back();
  if (run.gate != &kXorGate) return last.outputs == run.gate->targets;
  return last.outputs == std::array<float, 4>{1, 1, 0, 0} && last.weights[2] == 0;
}

template <const Gate& kGate>
RecipeResult run(RecipeContext& context) {
  NoGrad no_grad;
  const auto& settings = static_cast<const PerceptronSettings&>(context.settings());
  const Device device = context.device();
  RunFolder& folder = context.folder();
  const Table table{
      Tensor::from(std::vector<float>{0, 0, 0, 1, 1, 0, 1, 1}, {4, 2}, {.device = Device::cpu()}),
      Tensor::from(std::span<const float>(kGate.targets), {4, 1}, {.device = Device::cpu()})};

  PerceptronRun run{.gate = &kGate};
  Perceptrons neuron(1, settings.init_std, device);
  record(run, 0, neuron, table);
  const TrainResult trained = train_on(table, neuron, context, [&](const EpochRecord& epoch) {
    record(run, epoch.epoch, neuron, table);
    const auto& at = run.epochs.back();
    JsonWriter json;
    json.begin_object().field("epoch", at.epoch).field("errors", epoch.train_loss * 4);
    json.field("weight_1", at.weights[0]).field("weight_2", at.weights[1]).field("bias", at.weights[2]);
    folder.append_metrics(json.end_object().take());
  });

  Perceptrons many(settings.draws, settings.draw_std, device);
  run.draws = settings.draws;
  run.learned = {count_learned(many, table, kGate)};
  const TrainResult study = train_on(table, many, context, [&](const EpochRecord&) {
    run.learned.push_back(count_learned(many, table, kGate));
  });

  const StateDict weights{{"weight", neuron.weights}, {"bias", neuron.biases}};
  folder.write_weights(weights);
  RecipeResult result;
  result.epochs = trained.epochs;
  result.steps = trained.steps;
  result.seconds = trained.seconds;
  result.steps_per_second = trained.steps_per_second;
  result.train_loss = trained.train_loss;
  result.stopped = trained.stopped || study.stopped;
  result.weights_sha256 = weights_sha256(weights);
  add_metrics(result, run);
  result.reached = !result.stopped && figure_reached(run);
  say_result(context, run);
  detail::write_perceptron_report(context, run, settings.draw_std, result);
  return result;
}

}  // namespace

namespace detail {

Perceptrons::Perceptrons(std::int64_t count, double deviation, Device device)
    : weights(zeros({count, 2}, {.device = device})),
      biases(zeros({count, 1}, {.device = device})),
      one_(ones({1, 1}, {.device = device})) {
  if (deviation == 0) return;
  init::normal(weights, 0, deviation);
  init::normal(biases, 0, deviation);
}

Tensor Perceptrons::fire(const Tensor& x) const {
  return heaviside(sum(x * weights, {1}, true) + biases, one_);
}

Tensor Perceptrons::learn(const Tensor& x, const Tensor& y, double lr) {
  const Tensor error = y - fire(x);  // [S, 1]
  const Tensor step = lr * error;
  weights = weights + step * x;
  biases = biases + step;
  return mean(error * error);
}

}  // namespace detail

const Recipe kPerceptronAnd{"perceptron-and",
                            "feed-forward networks",
                            "Rosenblatt's perceptron learns AND from zeros",
                            "truth table",
                            "all four rows right after 10 epochs; the share of N(0, 1) starts that get there",
                            [] { return make_settings(0.1, 0, 1, 10); },
                            run<kAnd>};

const Recipe kPerceptronOr{"perceptron-or",
                           "feed-forward networks",
                           "Rosenblatt's perceptron learns OR from small random weights",
                           "truth table",
                           "all four rows right after 10 epochs",
                           [] { return make_settings(0.01, 0.01, 0.01, 10); },
                           run<kOr>};

const Recipe kPerceptronXor{"perceptron-xor",
                            "feed-forward networks",
                            "Rosenblatt's perceptron cannot learn XOR",
                            "truth table",
                            "answers exactly 1 1 0 0 with bias 0: 50 % right",
                            [] { return make_settings(0.1, 0, 1, 100); },
                            run<kXorGate>};

}  // namespace gpunn
