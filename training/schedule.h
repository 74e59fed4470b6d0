#pragma once
// Learning-rate schedules: torch.optim.lr_scheduler's names, arguments, defaults and values (1.13).
//
//   SGD optimizer(net.parameters(), {.lr = 0.1});
//   SequentialLR schedule(optimizer, {std::make_shared<LinearLR>(optimizer, 0.01, 1.0, 5),
//                                     std::make_shared<CosineAnnealingLR>(optimizer, 95)}, {5});
//   for (...) { train an epoch; schedule.step(); }
//
// A schedule is a function of the epoch (or of whatever step() counts) and of the rate a group began with,
// computed in double and written to the optimizer; a rate set by hand lasts until the next step(). So it can
// be resumed at any epoch, and a warm-up composes with any other schedule through SequentialLR.
// ReduceLROnPlateau follows a metric instead. The optimizer must outlive its schedules. Constructors throw
// InvalidArgument naming the setting.
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "gpunn/core/api.h"
#include "gpunn/layers/module.h"
#include "gpunn/training/optimizer.h"

namespace gpunn {

class GPUNN_API LRScheduler {
 public:
  virtual ~LRScheduler();
  LRScheduler(const LRScheduler&) = delete;
  LRScheduler& operator=(const LRScheduler&) = delete;

  /// The rate of `group` at `epoch` (>= 0) when it began with `base`.
  virtual double rate(double base, std::size_t group, std::int64_t epoch) const = 0;
  /// Momentum at `epoch`, for schedules that set it.
  virtual std::optional<double> momentum(std::int64_t epoch) const;

  /// Moves to the next epoch and sets the optimizer's rates.
  void step();
  /// 0 after construction.
  std::int64_t last_epoch() const noexcept { return last_epoch_; }
  /// Per group.
  std::vector<double> get_last_lr() const;
  /// "last_epoch" and "base_lrs".
  StateDict state_dict() const;
  /// Sets the optimizer's rates, too. Throws InvalidArgument for other keys, another number of groups or
  /// impossible values; nothing is changed then.
  void load_state_dict(const StateDict& state);

 protected:
  LRScheduler(const char* name, Optimizer& optimizer);
  /// Sets the rates of epoch 0: the last act of a constructor.
  void begin() { apply(); }
  const char* name() const noexcept { return name_; }
  std::size_t groups() const noexcept { return base_lrs_.size(); }
  const Optimizer& optimizer() const noexcept { return optimizer_; }

 private:
  void apply();

  const char* name_;
  Optimizer& optimizer_;
  std::vector<double> base_lrs_;
  std::int64_t last_epoch_ = 0;
};

/// base * lambda(epoch). One function for all groups, or one for each.
class GPUNN_API LambdaLR final : public LRScheduler {
 public:
  using Lambda = std::function<double(std::int64_t epoch)>;
  LambdaLR(Optimizer& optimizer, Lambda lambda);
  LambdaLR(Optimizer& optimizer, std::vector<Lambda> lambdas);
  double rate(double base, std::size_t group, std::int64_t epoch) const override;

 private:
  std::vector<Lambda> lambdas_;
};

/// base * gamma^(epoch / step_size), whole quotients.
class GPUNN_API StepLR final : public LRScheduler {
 public:
  StepLR(Optimizer& optimizer, std::int64_t step_size, double gamma = 0.1);
  double rate(double base, std::size_t group, std::int64_t epoch) const override;

 private:
  std::int64_t step_size_;
  double gamma_;
};

/// base * gamma^(number of milestones reached).
class GPUNN_API MultiStepLR final : public LRScheduler {
 public:
  MultiStepLR(Optimizer& optimizer, std::vector<std::int64_t> milestones, double gamma = 0.1);
  double rate(double base, std::size_t group, std::int64_t epoch) const override;

 private:
  std::vector<std::int64_t> milestones_;
  double gamma_;
};

/// base * gamma^epoch.
class GPUNN_API ExponentialLR final : public LRScheduler {
 public:
  ExponentialLR(Optimizer& optimizer, double gamma);
  double rate(double base, std::size_t group, std::int64_t epoch) const override;

 private:
  double gamma_;
};

/// base * factor before total_iters, base from then on.
class GPUNN_API ConstantLR final : public LRScheduler {
 public:
  explicit ConstantLR(Optimizer& optimizer, double factor = 1.0 / 3, std::int64_t total_iters = 5);
  double rate(double base, std::size_t group, std::int64_t epoch) const override;

 private:
  double factor_;
  std::int64_t total_iters_;
};

/// base * (a line from start_factor to end_factor over total_iters): the usual warm-up.
class GPUNN_API LinearLR final : public LRScheduler {
 public:
  explicit LinearLR(Optimizer& optimizer, double start_factor = 1.0 / 3, double end_factor = 1,
                    std::int64_t total_iters = 5);
  double rate(double base, std::size_t group, std::int64_t epoch) const override;

 private:
  double start_factor_, end_factor_;
  std::int64_t total_iters_;
};

/// base * (1 - min(epoch, total_iters) / total_iters)^power.
class GPUNN_API PolynomialLR final : public LRScheduler {
 public:
  explicit PolynomialLR(Optimizer& optimizer, std::int64_t total_iters = 5, double power = 1);
  double rate(double base, std::size_t group, std::int64_t epoch) const override;

 private:
  std::int64_t total_iters_;
  double power_;
};

/// eta_min + (base - eta_min) * (1 + cos(pi * epoch / T_max)) / 2: Loshchilov & Hutter, "SGDR", 2017. Rises
/// again after T_max.
class GPUNN_API CosineAnnealingLR final : public LRScheduler {
 public:
  CosineAnnealingLR(Optimizer& optimizer, std::int64_t T_max, double eta_min = 0);
  double rate(double base, std::size_t group, std::int64_t epoch) const override;

 private:
  std::int64_t period_;
  double eta_min_;
};

/// The same, falling only, from the start again after T_0 epochs, then after T_0 * T_mult and so on.
class GPUNN_API CosineAnnealingWarmRestarts final : public LRScheduler {
 public:
  CosineAnnealingWarmRestarts(Optimizer& optimizer, std::int64_t T_0, std::int64_t T_mult = 1,
                              double eta_min = 0);
  double rate(double base, std::size_t group, std::int64_t epoch) const override;

 private:
  std::int64_t first_, factor_;
  double eta_min_;
};

struct OneCycleOptions {
  double pct_start = 0.3;
  bool linear = false;  // anneal_strategy 'linear' instead of 'cos'
  bool cycle_momentum = true;
  double base_momentum = 0.85, max_momentum = 0.95;
  double div_factor = 25, final_div_factor = 1e4;
  bool three_phase = false;
};

/// Up to max_lr and down again over total_steps, momentum the other way: Smith & Topin, "Super-convergence",
/// 2018. Call step() after every batch. A step beyond total_steps - 1 throws InvalidArgument.
class GPUNN_API OneCycleLR final : public LRScheduler {
 public:
  OneCycleLR(Optimizer& optimizer, double max_lr, std::int64_t total_steps, OneCycleOptions options = {});
  /// One max_lr per group.
  OneCycleLR(Optimizer& optimizer, std::vector<double> max_lr, std::int64_t total_steps,
             OneCycleOptions options = {});
  double rate(double base, std::size_t group, std::int64_t epoch) const override;
  std::optional<double> momentum(std::int64_t epoch) const override;

 private:
  double anneal(std::int64_t epoch, const double (&values)[4]) const;

  std::vector<double> max_lr_;
  std::int64_t total_steps_;
  OneCycleOptions options_;
};

/// One schedule after the other: number i + 1 takes over, from its epoch 0, at epoch milestones[i].
class GPUNN_API SequentialLR final : public LRScheduler {
 public:
  SequentialLR(Optimizer& optimizer, std::vector<std::shared_ptr<const LRScheduler>> schedulers,
               std::vector<std::int64_t> milestones);
  double rate(double base, std::size_t group, std::int64_t epoch) const override;
  std::optional<double> momentum(std::int64_t epoch) const override;

 private:
  std::size_t active(std::int64_t& epoch) const;

  std::vector<std::shared_ptr<const LRScheduler>> schedulers_;
  std::vector<std::int64_t> milestones_;
};

struct PlateauOptions {
  bool maximize = false;  // mode 'max' instead of 'min'
  double factor = 0.1;
  std::int64_t patience = 10;
  double threshold = 1e-4;
  bool absolute = false;  // threshold_mode 'abs' instead of 'rel'
  std::int64_t cooldown = 0;
  double min_lr = 0;
  double eps = 1e-8;
};

/// Multiplies the rates by `factor` when a metric has not improved for more than `patience` steps.
class GPUNN_API ReduceLROnPlateau {
 public:
  explicit ReduceLROnPlateau(Optimizer& optimizer, PlateauOptions options = {});

  /// NaN counts as no improvement.
  void step(double metric);
  double best() const noexcept { return best_; }
  std::int64_t num_bad_epochs() const noexcept { return num_bad_epochs_; }
  std::int64_t last_epoch() const noexcept { return last_epoch_; }
  std::vector<double> get_last_lr() const;
  /// "best", "num_bad_epochs", "cooldown_counter", "last_epoch"; the rates are in the optimizer's state.
  StateDict state_dict() const;
  /// Throws InvalidArgument for other keys or impossible values; nothing is changed then.
  void load_state_dict(const StateDict& state);

 private:
  bool improves(double metric) const noexcept;

  Optimizer& optimizer_;
  PlateauOptions options_;
  double best_;
  std::int64_t num_bad_epochs_ = 0, cooldown_counter_ = 0, last_epoch_ = 0;
};

}  // namespace gpunn
