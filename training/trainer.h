#pragma once
// Trainer: epochs of steps, evaluation after each, what it says about them, and a clean stop.
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "gpunn/core/api.h"
#include "gpunn/layers/losses.h"
#include "gpunn/layers/module.h"
#include "gpunn/training/data_loader.h"
#include "gpunn/training/memory_timeline.h"
#include "gpunn/training/metrics.h"
#include "gpunn/training/optimizer.h"
#include "gpunn/training/progress.h"
#include "gpunn/training/schedule.h"

namespace gpunn {

/// One update from a batch; returns the loss (a single element), which need not be ready yet.
using TrainStep = std::function<Tensor(const Batch&)>;

/// Gradients to none, forward, loss, backward, update. The three must outlive the function.
GPUNN_API TrainStep supervised_step(Module& model, Loss& loss, Optimizer& optimizer);

/// Where a run is: what a resumed one starts from.
struct TrainPosition {
  std::int64_t epoch = 0;  // complete epochs
  std::int64_t step = 0;   // steps of the epoch that follows
  std::int64_t steps = 0;  // in all
  /// Losses times samples, and samples, of the epoch as far as it went; where `step` is 0 of the one before.
  double loss_sum = 0;
  std::int64_t loss_samples = 0;
};

enum class ScheduleUnit : std::uint8_t { epoch, step };

/// What moves the learning rate of a run: one of the two, or nothing.
struct TrainSchedule {
  /// Moved on before every step (or epoch) of the run but its very first, so that it stands where the last
  /// update was made when a checkpoint is written.
  std::shared_ptr<LRScheduler> rate{};
  ScheduleUnit unit = ScheduleUnit::epoch;
  /// Told the test loss after each evaluation that `evaluate_every` asks for; not those of broken epochs.
  std::shared_ptr<ReduceLROnPlateau> plateau{};

  bool empty() const noexcept { return !rate && !plateau; }
};

struct EpochRecord {
  std::int64_t epoch = 0;  // from 1
  std::int64_t steps = 0;  // in all, so far
  double train_loss = 0;   // mean over the epoch's samples, each at the weights it was computed with
  std::optional<Evaluation> test{};
  double seconds = 0;  // since the start
  TrainPosition position{};
  std::optional<double> learning_rate{};  // of the first group in the last step, when there is a schedule
};

struct TrainerOptions {
  std::int64_t epochs = 1;          // in all, those before `start` included
  TrainPosition start{};            // continues there; the order of rows is that of the whole run
  std::int64_t max_steps = 0;       // 0: no limit
  std::int64_t evaluate_every = 1;  // epochs; the last one is always evaluated. 0: never
  std::int64_t record_every = 1;    // epochs between records; the first and the last one are always recorded
  std::function<bool()> stop{};     // asked after every step; true ends the run there
  std::function<void(const EpochRecord&)> on_epoch{};  // for each record
  /// After every step, its gradients still there: where it ended, what it was made of, its loss.
  std::function<void(const TrainPosition&, const Batch&, const Tensor& loss)> on_step{};
  Progress* progress = nullptr;
  TrainSchedule schedule{};
};

struct TrainResult {
  std::int64_t epochs = 0;  // complete ones
  std::int64_t steps = 0;
  double seconds = 0;           // everything
  double steps_per_second = 0;  // training steps only, after the first 20; 0 when there were no more
  double train_loss = 0;        // of the last epoch, as far as it went; NaN before the first step
  std::optional<Evaluation> test{};
  bool stopped = false;      // by TrainerOptions::stop
  TrainPosition position{};  // where it ended
  std::vector<EpochRecord> history;
  MemoryTimeline memory{};  // of the device that the batches are on
};

/// Runs `step` over `train`. After each epoch `test`, if given, is called for the evaluation. With one seed
/// the result depends on neither the number of threads nor of loader workers. Exceptions pass through. Throws
/// InvalidArgument for two schedules, or a plateau without evaluations.
GPUNN_API TrainResult train(const TrainStep& step, const DataLoader& train,
                            const std::function<Evaluation()>& test, const TrainerOptions& options);

}  // namespace gpunn
