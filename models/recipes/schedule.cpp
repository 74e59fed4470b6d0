// The learning-rate settings that recipes share, and the schedules they stand for.
#include <algorithm>
#include <charconv>
#include <cmath>

#include "gpunn/core/error.h"
#include "gpunn/models/recipes/detail/schedule.h"

namespace gpunn {

std::vector<Field> ScheduleSettings::fields() {
  return {
      {.name = "schedule",
       .value = &schedule,
       .help = "how the learning rate moves; --lr is where it begins, for one-cycle its peak",
       .choices = {"none", "step", "multistep", "exponential", "linear", "polynomial", "cosine",
                   "cosine-restarts", "one-cycle", "plateau"}},
      {"warmup_steps", &warmup_steps, "steps of a linear warm-up before the schedule", 0, 1e12},
      {"schedule_epochs", &epochs,
       "step: epochs between cuts; cosine-restarts: a period; plateau: evaluations without progress", 1, 1e6},
      {.name = "schedule_milestones",
       .value = &milestones,
       .help = "multistep: epochs after which the rate is cut, such as 30,60,80",
       .metavar = "E,E"},
      {"schedule_factor", &factor,
       "step, multistep, plateau: what a cut multiplies by; exponential: every epoch", 0, 1},
      {"schedule_min_lr", &min_lr, "linear, cosine, cosine-restarts, plateau: the lowest rate", 0},
      {"schedule_power", &power, "polynomial: the exponent", 0}};
}

namespace detail {

namespace {

using Milestones = std::vector<std::int64_t>;

// Far beyond the end of any run, and small enough to be multiplied again.
constexpr double kManySteps = 0x1p60;

// At least 1 and capped, so that no product of settings overflows.
std::int64_t product(std::int64_t a, std::int64_t b) {
  const double steps = static_cast<double>(a) * static_cast<double>(b);
  return static_cast<std::int64_t>(std::clamp(steps, 1.0, kManySteps));
}

Milestones parse_milestones(std::string_view text) {
  Milestones epochs;
  for (const char *at = text.data(), *const end = at + text.size();;) {
    std::int64_t epoch = 0;
    const auto [stop, error] = std::from_chars(at, end, epoch);
    GPUNN_CHECK(error == std::errc() && epoch >= 1 && (epochs.empty() || epoch > epochs.back()) &&
                    (stop == end || (*stop == ',' && stop + 1 != end)),
                "--schedule-milestones: expected rising epochs such as 30,60,80, got '", text, "'");
    epochs.push_back(epoch);
    if (stop == end) return epochs;
    at = stop + 1;
  }
}

class Maker {
 public:
  Maker(const ScheduleSettings& settings, Optimizer& optimizer, const RunLength& length)
      : s_(settings), optimizer_(optimizer), length_(length) {
    std::int64_t steps = product(length.epochs, length.steps_per_epoch);
    if (length.max_steps > 0) steps = std::min(steps, length.max_steps);
    steps_ = std::max<std::int64_t>(1, steps - s_.warmup_steps);
  }

  /// After the warm-up; null for none.
  std::shared_ptr<LRScheduler> curve() const {
    const std::string& name = s_.schedule;
    if (name == "step") return cut_every(s_.epochs);
    if (name == "multistep") return cut_at(parse_milestones(s_.milestones));
    if (name == "exponential") return cut_every(1);
    if (name == "linear") {
      const double lr = optimizer_.initial_learning_rate(0);
      return std::make_shared<LinearLR>(optimizer_, 1.0, lr > 0 ? s_.min_lr / lr : 0, steps_);
    }
    if (name == "polynomial") return std::make_shared<PolynomialLR>(optimizer_, steps_, s_.power);
    if (name == "cosine") return std::make_shared<CosineAnnealingLR>(optimizer_, steps_, s_.min_lr);
    if (name == "cosine-restarts")
      return std::make_shared<CosineAnnealingWarmRestarts>(
          optimizer_, product(s_.epochs, length_.steps_per_epoch), 1, s_.min_lr);
    if (name == "one-cycle")
      return std::make_shared<OneCycleLR>(optimizer_, optimizer_.initial_learning_rate(0), steps_,
                                          OneCycleOptions{.cycle_momentum = optimizer_.has_momentum()});
    GPUNN_CHECK(name == "none", "--schedule: no schedule is called '", name, "'");
    return nullptr;
  }

 private:
  // Curves begin after the warm-up, whose steps count for the place of a cut all the same.
  std::shared_ptr<LRScheduler> cut_every(std::int64_t epochs) const {
    const std::int64_t before = s_.warmup_steps, gap = product(epochs, length_.steps_per_epoch);
    return std::make_shared<LambdaLR>(optimizer_, [before, gap, factor = s_.factor](std::int64_t step) {
      return std::pow(factor, static_cast<double>((step + before) / gap));
    });
  }
  std::shared_ptr<LRScheduler> cut_at(Milestones epochs) const {
    for (std::int64_t& m : epochs)
      m = std::max<std::int64_t>(0, product(m, length_.steps_per_epoch) - s_.warmup_steps);
    return std::make_shared<MultiStepLR>(optimizer_, std::move(epochs), s_.factor);
  }

  const ScheduleSettings& s_;
  Optimizer& optimizer_;
  const RunLength& length_;
  std::int64_t steps_;  // after the warm-up
};

}  // namespace

TrainSchedule make_schedule(const ScheduleSettings& s, Optimizer& optimizer, const RunLength& length) {
  const double lr = optimizer.initial_learning_rate(0);
  GPUNN_CHECK(s.schedule == "none" || s.min_lr <= lr, "--schedule-min-lr: expected at most the rate ", lr,
              ", got ", s.min_lr);
  const bool alone = s.schedule == "plateau" || s.schedule == "one-cycle";
  GPUNN_CHECK(!alone || s.warmup_steps == 0, "--warmup-steps: not with --schedule ", s.schedule);
  if (s.schedule == "plateau") {
    GPUNN_CHECK(s.factor < 1, "--schedule-factor: expected a factor below 1, got ", s.factor);
    return {.plateau = std::make_shared<ReduceLROnPlateau>(
                optimizer, PlateauOptions{.factor = s.factor, .patience = s.epochs, .min_lr = s.min_lr})};
  }
  const std::shared_ptr<LRScheduler> curve = Maker(s, optimizer, length).curve();
  const std::int64_t warmup = s.warmup_steps;
  if (warmup == 0) return {.rate = curve, .unit = ScheduleUnit::step};
  const auto warm = std::make_shared<LinearLR>(optimizer, 1 / static_cast<double>(warmup + 1), 1.0, warmup);
  if (!curve) return {.rate = warm, .unit = ScheduleUnit::step};
  return {.rate = std::make_shared<SequentialLR>(optimizer,
                                                 std::vector<std::shared_ptr<const LRScheduler>>{warm, curve},
                                                 std::vector<std::int64_t>{warmup}),
          .unit = ScheduleUnit::step};
}

}  // namespace detail

}  // namespace gpunn
