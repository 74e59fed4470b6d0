// What all schedules share: counting, writing rates, state. The rules are in schedule_rules.cpp.
#include "gpunn/training/schedule.h"

#include <cmath>

#include "gpunn/training/detail/state_numbers.h"

namespace gpunn {

LRScheduler::LRScheduler(const char* name, Optimizer& optimizer) : name_(name), optimizer_(optimizer) {
  for (std::size_t g = 0; g < optimizer.group_count(); ++g)
    base_lrs_.push_back(optimizer.initial_learning_rate(g));
}

LRScheduler::~LRScheduler() = default;

std::optional<double> LRScheduler::momentum(std::int64_t) const { return std::nullopt; }

void LRScheduler::step() {
  OpScope scope(name_);
  ++last_epoch_;
  try {
    apply();
  } catch (...) {
    --last_epoch_;
    throw;
  }
}

void LRScheduler::apply() {
  OpScope scope(name_);
  std::vector<double> rates;
  for (std::size_t g = 0; g < base_lrs_.size(); ++g) rates.push_back(rate(base_lrs_[g], g, last_epoch_));
  const std::optional<double> value = momentum(last_epoch_);
  for (std::size_t g = 0; g < base_lrs_.size(); ++g) {
    optimizer_.set_learning_rate(g, rates[g]);
    if (value) optimizer_.set_momentum(g, *value);
  }
}

std::vector<double> LRScheduler::get_last_lr() const {
  std::vector<double> rates;
  for (std::size_t g = 0; g < base_lrs_.size(); ++g) rates.push_back(optimizer_.learning_rate(g));
  return rates;
}

StateDict LRScheduler::state_dict() const {
  const auto groups = static_cast<std::int64_t>(base_lrs_.size());
  return {{"last_epoch", detail::state_number(last_epoch_)},
          {"base_lrs", Tensor::from(base_lrs_, {groups}, {.device = Device::cpu()})}};
}

void LRScheduler::load_state_dict(const StateDict& state) {
  OpScope scope(name_);
  detail::check_names(state, {"last_epoch", "base_lrs"});
  std::int64_t epoch = 0;
  std::vector<double> rates;
  for (const NamedTensor& entry : state) {
    if (entry.first == "last_epoch") {
      epoch = detail::count_of(entry);
      continue;
    }
    rates = entry.second.defined() ? entry.second.to_vector<double>() : std::vector<double>();
    GPUNN_CHECK(rates.size() == base_lrs_.size(), "expected base_lrs of ", base_lrs_.size(), " groups, got ",
                rates.size());
    for (const double r : rates) GPUNN_CHECK(std::isfinite(r) && r >= 0, "expected base_lrs >= 0, got ", r);
  }
  std::swap(rates, base_lrs_);
  std::swap(epoch, last_epoch_);
  try {
    apply();
  } catch (...) {
    std::swap(rates, base_lrs_);
    std::swap(epoch, last_epoch_);
    throw;
  }
}

}  // namespace gpunn
