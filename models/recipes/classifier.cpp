#include <cstdio>
#include <memory>

#include "gpunn/layers/losses.h"
#include "gpunn/layers/summary.h"
#include "gpunn/models/recipes/detail/classifier.h"
#include "gpunn/models/recipes/detail/report.h"
#include "gpunn/models/recipes/detail/schedule.h"
#include "gpunn/training/checkpoint.h"
#include "gpunn/training/data_loader.h"
#include "gpunn/training/data_paths.h"
#include "gpunn/training/history.h"
#include "gpunn/training/metrics.h"
#include "gpunn/training/optimizer.h"
#include "gpunn/training/trainer.h"

namespace gpunn::detail {

ClassifierData load_images(const char* data_set, std::vector<std::string> classes,
                           const RunSettings& settings, ImageDataset::Options options) {
  const std::vector<std::string> paths = find_data(data_set_info(data_set), settings.data);
  const auto count = static_cast<std::int64_t>(classes.size());
  auto train = std::make_shared<ImageDataset>(load_idx_images(paths[0], paths[1], count, options));
  auto test = std::make_shared<ImageDataset>(load_idx_images(paths[2], paths[3], count, options));
  constexpr int kSide = 28;
  for (const auto& [images, path] : {std::pair{train.get(), paths[0]}, {test.get(), paths[2]}})
    if (images->height() != kSide || images->width() != kSide || images->size() == 0)
      throw_data(concat(path, ": expected images of 28 x 28 pixels, got ", images->size(), " of ",
                        images->height(), " x ", images->width()));
  return {train, test, std::move(classes), kSide, kSide};
}

ClassifierData load_fashion(const RunSettings& settings, ImageDataset::Options options) {
  return load_images("fashion-mnist",
                     {"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker",
                      "Bag", "Ankle boot"},
                     settings, options);
}

std::vector<std::string> digit_names() { return {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"}; }

namespace {

constexpr std::int64_t kTestBatch = 1000;  // rows at a time when nothing is trained
constexpr const char* kCheckpoint = "checkpoint.safetensors";

std::string epoch_line(const EpochRecord& r, std::int64_t epochs) {
  char text[160];
  int n = std::snprintf(text, sizeof text, "epoch %lld/%lld  train loss %.4f",
                        static_cast<long long>(r.epoch), static_cast<long long>(epochs), r.train_loss);
  if (r.test)
    n += std::snprintf(text + n, sizeof text - static_cast<std::size_t>(n),
                       "  test loss %.4f  test accuracy %.2f %%", r.test->loss,
                       100 * r.test->accuracy.value_or(0));
  if (r.learning_rate)
    n += std::snprintf(text + n, sizeof text - static_cast<std::size_t>(n), "  lr %.4g", *r.learning_rate);
  std::snprintf(text + n, sizeof text - static_cast<std::size_t>(n), "  %.1f s", r.seconds);
  return text;
}

}  // namespace

RecipeResult train_classifier(RecipeContext& context, const ClassifierRun& run) {
  const BatchSettings& s = run.settings;
  // The data sets have checked their labels; asking again would make the host wait for the device each step.
  CrossEntropyLoss loss({.check_targets = false});
  const std::unique_ptr<Optimizer> owned = s.make_optimizer(run.model.parameters());
  Optimizer& optimizer = *owned;
  const DataLoader train_loader(run.data.train, {.batch_size = s.batch_size,
                                                 .shuffle = run.shuffle,
                                                 .workers = static_cast<int>(s.workers),
                                                 .seed = s.seed,
                                                 .device = context.device()});
  const DataLoader test_loader(run.data.test, {.batch_size = kTestBatch, .device = context.device()});

  const TrainSchedule schedule =
      make_schedule(s.schedule, optimizer, {s.epochs, train_loader.size(), s.steps});

  // Files are read before the run folder is made: what is wrong with them leaves no trace on the disk.
  const bool resume = context.hooks().resume;
  if (!s.weights.empty() && !resume) load_weights(s.weights, run.model);
  const std::string run_name = context.recipe() + ", seed " + std::to_string(s.seed);
  TrainPosition start;
  if (resume)
    start = load_checkpoint(s.run_dir + "/" + kCheckpoint, run_name, run.model, optimizer, schedule);
  RunFolder& folder = context.folder();
  if (context.hooks().verbose) context.say(summary(run.model));

  TrainerOptions options{.epochs = s.epochs,
                         .start = start,
                         .max_steps = s.steps,
                         .evaluate_every = run.evaluate_every,
                         .record_every = run.evaluate_every,
                         .stop = context.hooks().stop,
                         .progress = context.hooks().progress,
                         .schedule = schedule};
  options.on_epoch = [&](const EpochRecord& record) {
    folder.append_metrics(record_line(record));
    save_checkpoint(folder.file(kCheckpoint), run_name, run.model, optimizer, record.position, schedule);
    context.say(epoch_line(record, s.epochs));
  };
  context.hash_steps(options, run.model, optimizer);
  const TrainResult trained = train(
      supervised_step(run.model, loss, optimizer), train_loader,
      [&] { return evaluate(run.model, loss, test_loader); }, options);
  folder.write_weights(run.model.state_dict());

  // A run that was stopped has its figures, but cannot have reached what is asked of a whole one.
  RecipeResult result;
  result.epochs = trained.epochs;
  result.steps = trained.steps;
  result.seconds = trained.seconds;
  result.steps_per_second = trained.steps_per_second;
  result.train_loss = trained.train_loss;
  result.stopped = trained.stopped;
  result.weights_sha256 = weights_sha256(run.model.state_dict());
  double accuracy = 0;
  if (trained.test) {
    result.test_loss = trained.test->loss;
    accuracy = trained.test->accuracy.value_or(0);
    result.metric("test_accuracy", accuracy);
    result.reached = !trained.stopped && run.reached(result, accuracy);
  }
  write_classifier_report(context, run, trained, result);
  return result;
}

}  // namespace gpunn::detail
