#include "gpunn/models/recipes/detail/batch_run.h"

#include <cstdio>

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

}  // namespace

TrainResult train_batches(RecipeContext& context, const BatchRun& run) {
  const auto& settings = static_cast<const BatchSettings&>(context.settings());
  if (run.use_weights && !settings.weights.empty()) load_weights(settings.weights, run.model);
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
  RunFolder& folder = context.folder();
  return train(
      step, loader, run.test,
      {.epochs = epochs,
       .max_steps = settings.steps,
       .evaluate_every = run.evaluate_every,
       .stop = context.hooks().stop,
       .on_epoch =
           [&](const EpochRecord& record) {
             folder.append_metrics(record_line(record));
             if (!run.quiet) say_epoch(context, record);
           },
       .progress = context.hooks().progress,
       .schedule = make_schedule(settings.schedule, *optimizer, {epochs, loader.size(), settings.steps})});
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
