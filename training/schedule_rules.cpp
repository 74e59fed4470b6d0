// The schedules as functions of the epoch.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "gpunn/training/schedule.h"

namespace gpunn {

namespace {

double factor(double value, const char* name) {
  GPUNN_CHECK(std::isfinite(value) && value >= 0, "expected ", name, " >= 0, got ", value);
  return value;
}

std::int64_t at_least(std::int64_t least, std::int64_t value, const char* name) {
  GPUNN_CHECK(value >= least, "expected ", name, " >= ", least, ", got ", value);
  return value;
}

std::vector<std::int64_t> ascending(std::vector<std::int64_t> milestones) {
  for (std::size_t i = 0; i < milestones.size(); ++i)
    GPUNN_CHECK(milestones[i] >= 0 && (i == 0 || milestones[i] >= milestones[i - 1]),
                "expected ascending milestones >= 0, got ", milestones[i]);
  return milestones;
}

/// From `start` (at 0) to `end` (at 1).
double cosine(double start, double end, double at) {
  return end + (start - end) / 2 * (1 + std::cos(std::numbers::pi * at));
}

double ratio(std::int64_t a, std::int64_t b) { return static_cast<double>(a) / static_cast<double>(b); }

}  // namespace

LambdaLR::LambdaLR(Optimizer& optimizer, Lambda lambda)
    : LambdaLR(optimizer, std::vector<Lambda>(optimizer.group_count(), std::move(lambda))) {}
LambdaLR::LambdaLR(Optimizer& optimizer, std::vector<Lambda> lambdas)
    : LRScheduler("LambdaLR", optimizer), lambdas_(std::move(lambdas)) {
  OpScope scope(name());
  GPUNN_CHECK(lambdas_.size() == groups(), "expected ", groups(), " functions, one per group, got ",
              lambdas_.size());
  for (const Lambda& lambda : lambdas_)
    GPUNN_CHECK(lambda != nullptr, "expected a function, got an empty one");
  begin();
}
double LambdaLR::rate(double base, std::size_t group, std::int64_t epoch) const {
  return base * lambdas_[group](epoch);
}

StepLR::StepLR(Optimizer& optimizer, std::int64_t step_size, double gamma)
    : LRScheduler("StepLR", optimizer), step_size_(step_size), gamma_(gamma) {
  OpScope scope(name());
  at_least(1, step_size, "step_size");
  factor(gamma, "gamma");
  begin();
}
double StepLR::rate(double base, std::size_t, std::int64_t epoch) const {
  return base * std::pow(gamma_, static_cast<double>(epoch / step_size_));
}

MultiStepLR::MultiStepLR(Optimizer& optimizer, std::vector<std::int64_t> milestones, double gamma)
    : LRScheduler("MultiStepLR", optimizer), gamma_(gamma) {
  OpScope scope(name());
  milestones_ = ascending(std::move(milestones));
  factor(gamma, "gamma");
  begin();
}
double MultiStepLR::rate(double base, std::size_t, std::int64_t epoch) const {
  const auto reached = std::upper_bound(milestones_.begin(), milestones_.end(), epoch) - milestones_.begin();
  return base * std::pow(gamma_, static_cast<double>(reached));
}

ExponentialLR::ExponentialLR(Optimizer& optimizer, double gamma)
    : LRScheduler("ExponentialLR", optimizer), gamma_(gamma) {
  OpScope scope(name());
  factor(gamma, "gamma");
  begin();
}
double ExponentialLR::rate(double base, std::size_t, std::int64_t epoch) const {
  return base * std::pow(gamma_, static_cast<double>(epoch));
}

ConstantLR::ConstantLR(Optimizer& optimizer, double factor, std::int64_t total_iters)
    : LRScheduler("ConstantLR", optimizer), factor_(factor), total_iters_(total_iters) {
  OpScope scope(name());
  GPUNN_CHECK(factor >= 0 && factor <= 1, "expected factor in [0, 1], got ", factor);
  at_least(0, total_iters, "total_iters");
  begin();
}
double ConstantLR::rate(double base, std::size_t, std::int64_t epoch) const {
  return epoch < total_iters_ ? base * factor_ : base;
}

LinearLR::LinearLR(Optimizer& optimizer, double start_factor, double end_factor, std::int64_t total_iters)
    : LRScheduler("LinearLR", optimizer),
      start_factor_(start_factor),
      end_factor_(end_factor),
      total_iters_(total_iters) {
  OpScope scope(name());
  GPUNN_CHECK(start_factor > 0 && start_factor <= 1, "expected start_factor in (0, 1], got ", start_factor);
  GPUNN_CHECK(end_factor >= 0 && end_factor <= 1, "expected end_factor in [0, 1], got ", end_factor);
  at_least(1, total_iters, "total_iters");
  begin();
}
double LinearLR::rate(double base, std::size_t, std::int64_t epoch) const {
  const double done = ratio(std::min(epoch, total_iters_), total_iters_);
  return base * (start_factor_ + (end_factor_ - start_factor_) * done);
}

PolynomialLR::PolynomialLR(Optimizer& optimizer, std::int64_t total_iters, double power)
    : LRScheduler("PolynomialLR", optimizer), total_iters_(total_iters), power_(power) {
  OpScope scope(name());
  at_least(1, total_iters, "total_iters");
  factor(power, "power");
  begin();
}
double PolynomialLR::rate(double base, std::size_t, std::int64_t epoch) const {
  return base * std::pow(1 - ratio(std::min(epoch, total_iters_), total_iters_), power_);
}

CosineAnnealingLR::CosineAnnealingLR(Optimizer& optimizer, std::int64_t T_max, double eta_min)
    : LRScheduler("CosineAnnealingLR", optimizer), period_(T_max), eta_min_(eta_min) {
  OpScope scope(name());
  at_least(1, T_max, "T_max");
  factor(eta_min, "eta_min");
  begin();
}
double CosineAnnealingLR::rate(double base, std::size_t, std::int64_t epoch) const {
  return cosine(base, eta_min_, ratio(epoch, period_));
}

CosineAnnealingWarmRestarts::CosineAnnealingWarmRestarts(Optimizer& optimizer, std::int64_t T_0,
                                                         std::int64_t T_mult, double eta_min)
    : LRScheduler("CosineAnnealingWarmRestarts", optimizer), first_(T_0), factor_(T_mult), eta_min_(eta_min) {
  OpScope scope(name());
  at_least(1, T_0, "T_0");
  at_least(1, T_mult, "T_mult");
  factor(eta_min, "eta_min");
  begin();
}
double CosineAnnealingWarmRestarts::rate(double base, std::size_t, std::int64_t epoch) const {
  // In double, which holds whole numbers of this size and does not overflow.
  double length = static_cast<double>(first_), at = static_cast<double>(epoch);
  if (factor_ == 1) at = std::fmod(at, length);
  while (at >= length) {  // a few times: lengths at least double
    at -= length;
    length *= static_cast<double>(factor_);
  }
  return cosine(base, eta_min_, at / length);
}

OneCycleLR::OneCycleLR(Optimizer& optimizer, double max_lr, std::int64_t total_steps, OneCycleOptions options)
    : OneCycleLR(optimizer, std::vector<double>(optimizer.group_count(), max_lr), total_steps, options) {}
OneCycleLR::OneCycleLR(Optimizer& optimizer, std::vector<double> max_lr, std::int64_t total_steps,
                       OneCycleOptions options)
    : LRScheduler("OneCycleLR", optimizer),
      max_lr_(std::move(max_lr)),
      total_steps_(total_steps),
      options_(options) {
  OpScope scope(name());
  GPUNN_CHECK(max_lr_.size() == groups(), "expected max_lr for ", groups(), " groups, got ", max_lr_.size());
  for (const double value : max_lr_) factor(value, "max_lr");
  at_least(1, total_steps, "total_steps");
  const OneCycleOptions& o = options_;
  GPUNN_CHECK(o.pct_start >= 0 && o.pct_start <= 1, "expected pct_start in [0, 1], got ", o.pct_start);
  GPUNN_CHECK(std::isfinite(o.div_factor) && o.div_factor > 0, "expected div_factor > 0, got ", o.div_factor);
  GPUNN_CHECK(std::isfinite(o.final_div_factor) && o.final_div_factor > 0,
              "expected final_div_factor > 0, got ", o.final_div_factor);
  if (o.cycle_momentum) {
    for (std::size_t g = 0; g < groups(); ++g)
      GPUNN_CHECK(this->optimizer().has_momentum(g),
                  "expected an optimizer with momentum, or cycle_momentum off");
    for (const double m : {o.base_momentum, o.max_momentum})
      GPUNN_CHECK(m > 0 && m < 1, "expected base_momentum and max_momentum in (0, 1), got ", m);
  }
  begin();
}

double OneCycleLR::anneal(std::int64_t epoch, const double (&values)[4]) const {
  GPUNN_CHECK(epoch < total_steps_, "expected at most ", total_steps_ - 1,
              " steps after the first, total_steps being ", total_steps_, ", got step ", epoch);
  const double total = static_cast<double>(total_steps_), up = options_.pct_start * total;
  const double ends[] = {up - 1, options_.three_phase ? 2 * up - 2 : total - 1, total - 1};
  const int phases = options_.three_phase ? 3 : 2;
  const double step = static_cast<double>(epoch);
  int phase = 0;
  while (phase < phases - 1 && step > ends[phase]) ++phase;
  const double begin = phase == 0 ? 0 : ends[phase - 1], length = ends[phase] - begin;
  const double at = length == 0 ? 1 : (step - begin) / length;
  const double from = values[phase], to = values[phase + 1];
  return options_.linear ? from + (to - from) * at : cosine(from, to, at);
}

double OneCycleLR::rate(double, std::size_t group, std::int64_t epoch) const {
  const double most = max_lr_[group], first = most / options_.div_factor;
  const double last = first / options_.final_div_factor;
  return options_.three_phase ? anneal(epoch, {first, most, first, last})
                              : anneal(epoch, {first, most, last, last});
}

std::optional<double> OneCycleLR::momentum(std::int64_t epoch) const {
  if (!options_.cycle_momentum) return std::nullopt;
  const double high = options_.max_momentum;
  return anneal(epoch, {high, options_.base_momentum, high, high});
}

SequentialLR::SequentialLR(Optimizer& optimizer, std::vector<std::shared_ptr<const LRScheduler>> schedulers,
                           std::vector<std::int64_t> milestones)
    : LRScheduler("SequentialLR", optimizer), schedulers_(std::move(schedulers)) {
  OpScope scope(name());
  GPUNN_CHECK(!schedulers_.empty() && milestones.size() + 1 == schedulers_.size(),
              "expected one milestone less than schedulers, got ", milestones.size(), " and ",
              schedulers_.size());
  for (const auto& s : schedulers_) GPUNN_CHECK(s != nullptr, "expected schedulers, got a null one");
  milestones_ = ascending(std::move(milestones));
  begin();
}

/// The schedule of `epoch`, which becomes the schedule's own.
std::size_t SequentialLR::active(std::int64_t& epoch) const {
  const auto index = static_cast<std::size_t>(
      std::upper_bound(milestones_.begin(), milestones_.end(), epoch) - milestones_.begin());
  if (index > 0) epoch -= milestones_[index - 1];
  return index;
}
double SequentialLR::rate(double base, std::size_t group, std::int64_t epoch) const {
  const LRScheduler& schedule = *schedulers_[active(epoch)];
  return schedule.rate(base, group, epoch);
}
std::optional<double> SequentialLR::momentum(std::int64_t epoch) const {
  const LRScheduler& schedule = *schedulers_[active(epoch)];
  return schedule.momentum(epoch);
}

}  // namespace gpunn
