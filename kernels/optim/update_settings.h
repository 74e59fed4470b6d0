#pragma once
// Settings of optimizer_step (optim.h has the formulas): plain data that host and device share.
#include <cstdint>

namespace gpunn {

enum class UpdateRule : std::uint8_t { sgd, adagrad, adadelta, rmsprop, adam, nadam, lion };
inline constexpr int kUpdateRules = 7;
inline constexpr int kMaxStates = 3;

/// What stays the same from step to step. Each rule reads the members that its formula names.
struct UpdateSettings {
  UpdateRule rule = UpdateRule::sgd;
  double beta1 = 0;  // sgd and rmsprop: momentum; adam, nadam, lion: the first beta
  double beta2 = 0;  // adadelta: rho; rmsprop: alpha; adam, nadam, lion: the second beta
  double dampening = 0;
  double eps = 0;
  double weight_decay = 0;  // L2, added to the gradient; decoupled decay is StepValues::keep
  double l1_decay = 0;
  bool nesterov = false;
  bool centered = false;
  bool amsgrad = false;
  bool maximize = false;
  bool first_step = false;  // sgd: momentum is written without being read
};

/// What changes from step to step. Kernels read it from a tensor on their device, so that a captured launch
/// can be replayed with new values.
struct StepValues {
  double rate = 0;
  double grad_rate = 0;
  double denominator = 1;
  double keep = 1;  // 1 - learning rate * decay with decoupled decay
};
inline constexpr std::int64_t kStepValues = 4;  // the tensor has the struct's order

}  // namespace gpunn
