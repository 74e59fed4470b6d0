#include "gpunn/models/recipes/detail/batch_run.h"

#include <cmath>
#include <cstdio>
#include <limits>
#include <optional>
#include <utility>

#include "gpunn/models/recipes/detail/run_totals.h"
#include "gpunn/models/recipes/detail/schedule.h"
#include "gpunn/training/checkpoint.h"
#include "gpunn/training/clip_grad.h"
#include "gpunn/training/data_loader.h"
#include "gpunn/training/history.h"
#include "gpunn/training/optimizer.h"

namespace gpunn::detail {
namespace {

void say_epoch(const RecipeContext& context, const EpochRecord& record) {
  char text[120];
  int n = std::snprintf(text, sizeof text, "epoch %lld  train loss %.4f",
                        static_cast<long long>(record.epoch), record.train_loss);
  if (record.test)
    n += std::snprintf(text + n, sizeof text - static_cast<std::size_t>(n), "  test loss %.4f",
                       record.test->loss);
  std::snprintf(text + n, sizeof text - static_cast<std::size_t>(n), "  %.1f s", record.seconds);
  context.say(text);
}

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
constexpr std::int64_t kColumns = 6;  // of a record

/// The records of a run as a checkpoint carries them, but for the seconds: equal runs, equal files.
StateDict carried(const std::vector<EpochRecord>& history) {
  std::vector<double> values;
  for (const EpochRecord& r : history) {
    const Evaluation none{.loss = kNone}, test = r.test.value_or(none);
    values.insert(values.end(), {static_cast<double>(r.epoch), static_cast<double>(r.steps), r.train_loss,
                                 test.loss, test.accuracy.value_or(kNone), r.learning_rate.value_or(kNone)});
  }
  return {{"history", Tensor::from(values, {std::ssize(history), kColumns}, {.device = Device::cpu()})}};
}

/// The history stands first; whether more may follow is the run's.
std::vector<EpochRecord> history_of(const std::string& path, const StateDict& entries, bool more) {
  const bool good = (more ? !entries.empty() : entries.size() == 1) && entries[0].first == "history" &&
                    entries[0].second.dtype() == DType::f64 && entries[0].second.dim() == 2 &&
                    entries[0].second.size(1) == kColumns;
  if (!good) throw_data(concat(path, ": expected the history of a run, f64 [*, ", kColumns, "]"));
  const auto measured = [](double value) { return std::isnan(value) ? std::optional<double>() : value; };
  const std::vector<double> values = entries[0].second.to_vector<double>();
  std::vector<EpochRecord> history;
  for (auto v = values.begin(); v != values.end(); v += kColumns) {
    EpochRecord r;
    r.epoch = static_cast<std::int64_t>(v[0]);
    r.steps = static_cast<std::int64_t>(v[1]);
    r.train_loss = v[2];
    if (!std::isnan(v[3])) r.test = Evaluation{.loss = v[3], .accuracy = measured(v[4])};
    r.learning_rate = measured(v[5]);
    history.push_back(r);
  }
  return history;
}

}  // namespace

TrainResult train_batches(RecipeContext& context, const BatchRun& run) {
  const auto& settings = static_cast<const BatchSettings&>(context.settings());
  if (run.use_weights && !settings.weights.empty() && !run.resume) load_weights(settings.weights, run.model);
  const std::int64_t epochs = run.epochs > 0 ? run.epochs : settings.epochs;
  const std::unique_ptr<Optimizer> optimizer = settings.make_optimizer(run.model.parameters());
  const DataLoader loader(run.data, {.batch_size = run.batch_size > 0 ? run.batch_size : settings.batch_size,
                                     .shuffle = run.shuffle,
                                     .workers = static_cast<int>(settings.workers),
                                     .seed = settings.seed,
                                     .device = context.device()});
  const TrainStep step = [&](const Batch& batch) {
    optimizer->zero_grad();
    const Tensor loss = run.loss(batch);
    loss.backward();
    if (run.clip > 0) clip_grad_norm_(run.model.parameters(), run.clip);
    optimizer->step();
    return loss.detach();
  };
  TrainerOptions options{
      .epochs = epochs,
      .max_steps = settings.steps,
      .evaluate_every = run.evaluate_every,
      .stop = context.hooks().stop,
      .progress = context.hooks().progress,
      .schedule = make_schedule(settings.schedule, *optimizer, {epochs, loader.size(), settings.steps})};
  const std::string name = concat(context.recipe(), ", seed ", settings.seed);
  std::vector<EpochRecord> history;
  if (run.resume) {
    const std::string path = settings.run_dir + "/" + run.checkpoint;
    const StateDict entries = load_carried(path, name);
    history = history_of(path, entries, static_cast<bool>(run.restore));
    if (run.restore) run.restore(path, {entries.begin() + 1, entries.end()});
    options.start = load_checkpoint(path, name, run.model, *optimizer, options.schedule);
  }
  if (run.on_step)
    options.on_step = [&](const TrainPosition& at, const Batch&, const Tensor&) { run.on_step(at.steps); };
  const auto to_carry = [&] {
    StateDict entries = carried(history);
    if (run.carry)
      for (NamedTensor& entry : run.carry()) entries.push_back(std::move(entry));
    return entries;
  };
  RunFolder& folder = context.folder();
  options.on_epoch = [&](const EpochRecord& record) {
    folder.append_metrics(record_line(record));
    // The record of an epoch that was broken off gives way to that of the whole one.
    while (!history.empty() && history.back().epoch >= record.epoch) history.pop_back();
    history.push_back(record);
    if (!run.checkpoint.empty() && (record.test || !run.test))
      save_checkpoint(folder.file(run.checkpoint), name, run.model, *optimizer, record.position,
                      options.schedule, to_carry());
    if (!run.quiet) say_epoch(context, record);
  };
  TrainResult trained = train(step, loader, run.test, options);
  trained.history = std::move(history);
  return trained;
}

RecipeResult batch_result(RecipeContext& context, const TrainResult& trained, Module& model) {
  RecipeResult result;
  RunTotals totals;
  totals.add(trained);
  totals.write(result);
  result.train_loss = trained.train_loss;
  if (trained.test) result.test_loss = trained.test->loss;
  const StateDict state = model.state_dict();
  result.weights_sha256 = weights_sha256(state);
  context.folder().write_weights(state);
  return result;
}

}  // namespace gpunn::detail
