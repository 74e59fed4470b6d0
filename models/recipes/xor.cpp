// xor: two small networks that learn exclusive-or, and how often they do from different initial values.
#include <algorithm>
#include <cstdio>

#include "gpunn/core/autograd.h"
#include "gpunn/core/random.h"
#include "gpunn/io/json_writer.h"
#include "gpunn/layers/init.h"
#include "gpunn/models/recipes/detail/catalogue.h"
#include "gpunn/models/recipes/detail/xor_run.h"
#include "gpunn/training/optimizer.h"
#include "gpunn/training/trainer.h"

namespace gpunn {

using detail::XorInit;
using detail::XorNet;
using detail::XorRun;
using detail::XorSummary;
using detail::XorSystem;

namespace {

constexpr double kSolved = 0.01;  // mean squared error below which the table counts as learned
constexpr std::int64_t kSnapshots[] = {0, 100, 500, 1000, 5000, 9999};
constexpr std::int64_t kCurvePoints = 200;
constexpr std::int64_t kStudyRuns = 40;

constexpr XorSystem kSystems[] = {
    {"a", "2-2-1, weights and biases U(0, 1), half the sum of squares, learning rate 0.1", 2,
     XorInit::uniform, false, false, 0.1},
    {"b", "2-4-1, Xavier, cross-entropy gradient, learning rate 0.5", 4, XorInit::xavier, false, true, 0.5},
};
// The study asks what initial values do to system (a).
constexpr XorSystem kStudy[] = {
    {"normal_0.01", "2-2-1, N(0, 0.01^2)", 2, XorInit::small, false, false, 0.1},
    {"xavier", "2-2-1, Xavier", 2, XorInit::xavier, false, false, 0.1},
    {"relu", "2-2-1, ReLU neurons, He", 2, XorInit::he, true, false, 0.1},
};

struct XorSettings : RunSettings {
  std::int64_t runs = 20;
  bool study = false;
  XorSettings() { epochs = 10000; }
  std::vector<Field> fields() override {
    std::vector<Field> all = RunSettings::fields();
    all.push_back({"runs", &runs, "networks of each system, with seeds from --seed on", 1, 10000});
    all.push_back({"study", &study, "also compare initial values over 40 seeds"});
    return all;
  }
};

void initialise(XorNet& net, XorInit how) {
  for (Linear* layer : {&net.hidden, &net.out}) {
    init::zeros(layer->bias);
    switch (how) {
      case XorInit::uniform:
        init::uniform(layer->weight, 0, 1);
        init::uniform(layer->bias, 0, 1);
        break;
      case XorInit::small:
        init::normal(layer->weight, 0, 0.01);
        break;
      case XorInit::xavier:
        init::xavier_uniform(layer->weight);
        break;
      case XorInit::he:
        init::he_normal(layer->weight);
        break;
    }
  }
}

XorRun run_one(const XorSystem& system, std::uint64_t seed, const XorSettings& settings,
               const RecipeContext& context) {
  manual_seed(seed);
  XorRun run{.net = XorNet(system.neurons, system.rectified), .seed = seed};
  initialise(run.net, system.init);
  SGD optimizer(run.net.parameters(), {.lr = system.lr});
  const Tensor x = Tensor::from({{0, 0}, {0, 1}, {1, 0}, {1, 1}}).to(context.device());
  const Tensor y = Tensor::from({0, 1, 1, 0}).reshape({4, 1}).to(context.device());
  const DataLoader table(std::make_shared<TensorDataset>(x.to(Device::cpu()), y.to(Device::cpu())),
                         {.batch_size = 4, .device = context.device()});

  std::int64_t epoch = 0;
  const TrainStep step = [&](const Batch& batch) {
    optimizer.zero_grad();
    const Tensor logits = run.net(batch.inputs);
    if (std::find(std::begin(kSnapshots), std::end(kSnapshots), epoch) != std::end(kSnapshots))
      run.snapshots.push_back({epoch, sigmoid(logits.detach()).to_vector<float>()});
    ++epoch;
    // d/dlogit of the summed cross-entropy is p - y.
    const Tensor loss = system.cross_entropy
                            ? binary_cross_entropy_with_logits(logits, batch.targets, Reduction::sum)
                            : 0.5 * mse_loss(sigmoid(logits), batch.targets, Reduction::sum);
    loss.backward();
    optimizer.step();
    return loss.detach();
  };
  const TrainResult trained =
      train(step, table, {},
            {.epochs = settings.epochs,
             .max_steps = settings.steps,
             .evaluate_every = 0,
             .record_every = std::max<std::int64_t>(1, settings.epochs / kCurvePoints),
             .stop = context.hooks().stop});
  NoGrad no_grad;
  run.mse = mse_loss(run.net.probability(x), y).item();
  run.success = run.mse < kSolved;
  run.steps = trained.steps;
  run.seconds = trained.seconds;
  run.step_seconds =
      trained.steps_per_second > 0 ? static_cast<double>(trained.steps - 20) / trained.steps_per_second : 0;
  for (const EpochRecord& r : trained.history) {
    run.curve_epochs.push_back(static_cast<double>(r.epoch));
    run.curve.push_back(r.train_loss);
  }
  return run;
}

// Totals over everything that was run.
struct Work {
  std::int64_t steps = 0, measured = 0;
  double seconds = 0, step_seconds = 0;
};

XorSummary run_system(const XorSystem& system, std::int64_t runs, RecipeContext& context, Work& work) {
  const auto& settings = static_cast<const XorSettings&>(context.settings());
  XorSummary summary{.system = &system};
  for (std::int64_t i = 0; i < runs && !context.stopped(); ++i) {
    XorRun run = run_one(system, settings.seed + static_cast<std::uint64_t>(i), settings, context);
    work.steps += run.steps;
    work.measured += run.step_seconds > 0 ? run.steps - 20 : 0;
    work.seconds += run.seconds;
    work.step_seconds += run.step_seconds;
    if (context.stopped()) {
      if (summary.shown.empty()) summary.shown.push_back(std::move(run));
      break;  // half a run says nothing about its success
    }
    ++summary.runs;
    summary.successes += run.success ? 1 : 0;
    summary.mean_mse += (run.mse - summary.mean_mse) / static_cast<double>(summary.runs);
    summary.worst_mse = std::max(summary.worst_mse, run.mse);
    summary.best_mse = summary.runs == 1 ? run.mse : std::min(summary.best_mse, run.mse);
    JsonWriter json;
    json.begin_object().field("system", system.key).field("seed", run.seed).field("mse", run.mse);
    context.folder().append_metrics(json.field("success", run.success).end_object().take());
    // The first success is what the pictures show; the first run until there is one.
    if (summary.shown.empty() || (run.success && !summary.shown[0].success)) {
      summary.shown.clear();
      summary.shown.push_back(std::move(run));
    }
    if (context.hooks().progress)
      context.hooks().progress->update({i + 1, runs, i + 1, runs, summary.mean_mse});
  }
  char text[200];
  std::snprintf(text, sizeof text, "(%s) %s: %lld of %lld seeds below mean MSE %.2f", system.key,
                system.title, static_cast<long long>(summary.successes), static_cast<long long>(summary.runs),
                kSolved);
  context.say(text);
  return summary;
}

void say_snapshots(const RecipeContext& context, const XorSummary& summary) {
  if (summary.shown.empty()) return;
  const XorRun& run = summary.shown[0];
  context.say("    outputs for 00 01 10 11, seed " + std::to_string(run.seed) + ":");
  for (const detail::XorSnapshot& s : run.snapshots) {
    char text[120];
    std::snprintf(text, sizeof text, "    epoch %5lld  %.3f %.3f %.3f %.3f", static_cast<long long>(s.epoch),
                  s.outputs[0], s.outputs[1], s.outputs[2], s.outputs[3]);
    context.say(text);
  }
}

void add_metrics(RecipeResult& result, const std::string& prefix, const XorSummary& s) {
  result.metric(prefix + "successes", static_cast<double>(s.successes));
  result.metric(prefix + "runs", static_cast<double>(s.runs));
  result.metric(prefix + "mean_mse", s.mean_mse);
  result.metric(prefix + "worst_mse", s.worst_mse);
  result.metric(prefix + "best_mse", s.best_mse);
}

RecipeResult run(RecipeContext& context) {
  const auto& settings = static_cast<const XorSettings&>(context.settings());
  RunFolder& folder = context.folder();
  RecipeResult result;
  Work work;
  std::vector<XorSummary> systems, study;
  StateDict weights;
  for (const XorSystem& system : kSystems) {
    systems.push_back(run_system(system, settings.runs, context, work));
    XorSummary& s = systems.back();
    say_snapshots(context, s);
    add_metrics(result, std::string(system.key) + "_", s);
    for (XorRun& shown : s.shown)
      for (auto& [key, tensor] : shown.net.state_dict())
        weights.emplace_back(std::string(system.key) + "." + key, tensor);
  }
  if (settings.study) {
    for (const XorSystem& system : kStudy) {
      study.push_back(run_system(system, kStudyRuns, context, work));
      add_metrics(result, std::string("study_") + system.key + "_", study.back());
    }
  }
  folder.write_weights(weights);

  result.stopped = context.stopped();
  result.epochs = settings.epochs;
  result.steps = work.steps;
  result.seconds = work.seconds;
  result.steps_per_second =
      work.step_seconds > 0 ? static_cast<double>(work.measured) / work.step_seconds : 0;
  result.train_loss = systems[1].mean_mse;
  result.weights_sha256 = weights_sha256(weights);
  const XorSummary& a = systems[0];
  const XorSummary& b = systems[1];
  result.reached = !result.stopped && a.successes * 20 >= 14 * a.runs && b.successes == b.runs;
  detail::write_xor_report(context, systems, study, result);
  return result;
}

}  // namespace

const Recipe kXor{"xor",
                  "feed-forward networks",
                  "exclusive-or learned by a 2-2-1 and a 2-4-1 network of sigmoids",
                  "truth table",
                  "(a) 2-2-1: at least 14 of 20 seeds below mean MSE 0.01; (b) 2-4-1: every seed",
                  [] { return std::unique_ptr<RunSettings>(std::make_unique<XorSettings>()); },
                  run};

}  // namespace gpunn
