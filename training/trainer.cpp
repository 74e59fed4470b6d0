#include "gpunn/training/trainer.h"

#include <chrono>

#include "gpunn/core/profiler.h"

namespace gpunn {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Steps that are run before the rate is measured: caches, thread start-up, allocator growth.
constexpr std::int64_t kWarmUp = 20;

// Time spent in training steps after the warm-up.
class StepClock {
 public:
  void resume() { since_ = Clock::now(); }
  void pause() { measured_ += seconds_since(since_); }
  void warmed_up() {
    measured_ = 0;
    resume();
  }
  double rate(std::int64_t steps) const {
    return steps > kWarmUp && measured_ > 0 ? static_cast<double>(steps - kWarmUp) / measured_ : 0;
  }

 private:
  Clock::time_point since_{};
  double measured_ = 0;
};

// The schedule of a run, moved to where the run is.
class ScheduleWalk {
 public:
  explicit ScheduleWalk(const TrainSchedule& schedule) : schedule_(schedule) {}
  void before_step(const TrainPosition& at) {
    if (!schedule_.rate) return;
    const bool due = schedule_.unit == ScheduleUnit::step ? at.steps > 0 : at.step == 0 && at.epoch > 0;
    if (due) schedule_.rate->step();
  }
  std::optional<double> learning_rate() const {
    if (schedule_.empty()) return std::nullopt;
    return schedule_.rate ? schedule_.rate->get_last_lr()[0] : schedule_.plateau->get_last_lr()[0];
  }
  void evaluated(double loss) {
    if (schedule_.plateau) schedule_.plateau->step(loss);
  }

 private:
  const TrainSchedule& schedule_;
};

std::optional<Batch> next_batch(DataLoader::Epoch& epoch) {
  const ProfileRange range("data");
  return epoch.next();
}

Evaluation evaluated(const std::function<Evaluation()>& test) {
  const ProfileRange range("evaluation");
  return test();
}

// After a pass, whole or broken off: the losses go with the position, so that the mean of an epoch that is
// finished by another run is that of all its steps.
void settle(TrainPosition& at, MeanLoss& loss, std::int64_t steps_per_epoch) {
  at.loss_sum = loss.sum();
  at.loss_samples = loss.samples();
  if (at.step < steps_per_epoch) return;
  ++at.epoch;
  at.step = 0;
}

}  // namespace

TrainStep supervised_step(Module& model, Loss& loss, Optimizer& optimizer) {
  return [&model, &loss, &optimizer](const Batch& batch) {
    optimizer.zero_grad();
    const Tensor value = [&] {
      const ProfileRange range("forward");
      return loss(model(batch.inputs), batch.targets);
    }();
    {
      const ProfileRange range("backward");
      value.backward();
    }
    const ProfileRange range("optimizer");
    optimizer.step();
    return value.detach();
  };
}

TrainResult train(const TrainStep& step, const DataLoader& train, const std::function<Evaluation()>& test,
                  const TrainerOptions& options) {
  GPUNN_CHECK(!options.schedule.rate || !options.schedule.plateau, "train: expected one schedule, got two");
  GPUNN_CHECK(!options.schedule.plateau || (test && options.evaluate_every > 0),
              "train: expected evaluations, whose loss the plateau schedule follows");
  TrainResult result;
  const Clock::time_point start = Clock::now();
  StepClock clock;
  MeanLoss loss;
  ScheduleWalk schedule(options.schedule);
  const std::int64_t steps_per_epoch = train.size();
  TrainPosition& at = result.position;
  at = options.start;
  Device device = Device::cpu();  // of the batches
  std::int64_t own_steps = 0;     // of this run, not of one that it continues
  const auto out_of_steps = [&] { return options.max_steps > 0 && at.steps >= options.max_steps; };

  while (at.epoch < options.epochs && !result.stopped && !out_of_steps()) {
    const std::int64_t number = at.epoch + 1;
    at.step > 0 ? loss.resume(at.loss_sum, at.loss_samples) : loss.reset();
    clock.resume();
    DataLoader::Epoch epoch = train.epoch(at.epoch, at.step);
    while (!result.stopped && !out_of_steps()) {
      const std::optional<Batch> batch = next_batch(epoch);
      if (!batch) break;
      schedule.before_step(at);
      Tensor value;
      {
        const ProfileRange range("step");
        value = step(*batch);
        loss.add(value, batch->size());
      }
      ++at.step;
      ++at.steps;
      if (options.on_step) options.on_step(at, *batch, value);
      device = batch->inputs.device();
      result.memory.sample(device, at.steps);
      if (++own_steps == kWarmUp) {
        loss.mean();  // the device has finished the warm-up before the clock starts
        clock.warmed_up();
      }
      if (options.progress)
        options.progress->update({number, options.epochs, at.step, steps_per_epoch, loss.last()});
      result.stopped = options.stop && options.stop();
    }
    result.train_loss = loss.mean();
    clock.pause();
    settle(at, loss, steps_per_epoch);

    const bool last = at.epoch == options.epochs || result.stopped || out_of_steps();
    EpochRecord record{number, at.steps, result.train_loss, {}, 0, at, schedule.learning_rate()};
    const bool due = options.evaluate_every > 0 && number % options.evaluate_every == 0;
    if (test && options.evaluate_every > 0 && (last || due)) {
      record.test = result.test = evaluated(test);
      result.memory.skip(device);
      // A run that was never stopped here would not have evaluated in the middle of an epoch.
      if (due && at.epoch == number) schedule.evaluated(record.test->loss);
    }
    if (number == 1 || last || number % options.record_every == 0) {
      record.seconds = seconds_since(start);
      result.history.push_back(record);
      if (options.on_epoch) options.on_epoch(record);
    }
  }
  if (own_steps == 0) {
    // Nothing was left to do, or asked for: the model as it is can still be evaluated.
    loss.resume(at.loss_sum, at.loss_samples);
    result.train_loss = loss.mean();
    if (test && options.evaluate_every > 0) result.test = evaluated(test);
  }
  result.epochs = at.epoch;
  result.steps = at.steps;
  result.steps_per_second = clock.rate(own_steps);
  result.seconds = seconds_since(start);
  return result;
}

}  // namespace gpunn
