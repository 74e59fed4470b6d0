#include <algorithm>
#include <cmath>
#include <limits>

#include "gpunn/training/detail/state_numbers.h"
#include "gpunn/training/schedule.h"

namespace gpunn {

namespace {
constexpr const char* kName = "ReduceLROnPlateau";
}

ReduceLROnPlateau::ReduceLROnPlateau(Optimizer& optimizer, PlateauOptions options)
    : optimizer_(optimizer), options_(options) {
  OpScope scope(kName);
  const PlateauOptions& o = options_;
  GPUNN_CHECK(o.factor >= 0 && o.factor < 1, "expected factor in [0, 1), got ", o.factor);
  GPUNN_CHECK(o.patience >= 0, "expected patience >= 0, got ", o.patience);
  GPUNN_CHECK(std::isfinite(o.threshold) && o.threshold >= 0, "expected threshold >= 0, got ", o.threshold);
  GPUNN_CHECK(o.cooldown >= 0, "expected cooldown >= 0, got ", o.cooldown);
  GPUNN_CHECK(std::isfinite(o.min_lr) && o.min_lr >= 0, "expected min_lr >= 0, got ", o.min_lr);
  GPUNN_CHECK(std::isfinite(o.eps) && o.eps >= 0, "expected eps >= 0, got ", o.eps);
  const double infinity = std::numeric_limits<double>::infinity();
  best_ = o.maximize ? -infinity : infinity;
}

bool ReduceLROnPlateau::improves(double metric) const noexcept {
  const double t = options_.threshold;
  if (options_.maximize) return metric > (options_.absolute ? best_ + t : best_ * (1 + t));
  return metric < (options_.absolute ? best_ - t : best_ * (1 - t));
}

void ReduceLROnPlateau::step(double metric) {
  ++last_epoch_;
  if (improves(metric)) {
    best_ = metric;
    num_bad_epochs_ = 0;
  } else {
    ++num_bad_epochs_;
  }
  if (cooldown_counter_ > 0) {
    --cooldown_counter_;
    num_bad_epochs_ = 0;
  }
  if (num_bad_epochs_ <= options_.patience) return;
  for (std::size_t g = 0; g < optimizer_.group_count(); ++g) {
    const double old = optimizer_.learning_rate(g),
                 reduced = std::max(old * options_.factor, options_.min_lr);
    if (old - reduced > options_.eps) optimizer_.set_learning_rate(g, reduced);
  }
  cooldown_counter_ = options_.cooldown;
  num_bad_epochs_ = 0;
}

std::vector<double> ReduceLROnPlateau::get_last_lr() const {
  std::vector<double> rates;
  for (std::size_t g = 0; g < optimizer_.group_count(); ++g) rates.push_back(optimizer_.learning_rate(g));
  return rates;
}

StateDict ReduceLROnPlateau::state_dict() const {
  return {{"best", detail::state_number(best_)},
          {"num_bad_epochs", detail::state_number(num_bad_epochs_)},
          {"cooldown_counter", detail::state_number(cooldown_counter_)},
          {"last_epoch", detail::state_number(last_epoch_)}};
}

void ReduceLROnPlateau::load_state_dict(const StateDict& state) {
  OpScope scope(kName);
  detail::check_names(state, {"best", "num_bad_epochs", "cooldown_counter", "last_epoch"});
  double best = 0;
  std::int64_t bad = 0, cooldown = 0, epoch = 0;
  for (const NamedTensor& entry : state) {
    if (entry.first == "best")
      best = detail::number_of(entry);
    else
      (entry.first == "num_bad_epochs" ? bad
       : entry.first == "last_epoch"   ? epoch
                                       : cooldown) = detail::count_of(entry);
  }
  GPUNN_CHECK(!std::isnan(best), "expected a best metric, got NaN");
  best_ = best;
  num_bad_epochs_ = bad;
  cooldown_counter_ = cooldown;
  last_epoch_ = epoch;
}

}  // namespace gpunn
