#pragma once
// Optimizers: they hold handles to a model's parameters and update them in place. Names, defaults and state
// names are those of torch.optim; the formulas are in kernels/optim/optim.h.
//
// Parameters come as one list, or as groups with settings of their own. Parameters without a gradient are
// left alone, and their step count with them. A step is a few multi-tensor launches: one per group, dtype,
// device and step count. States and masters that begin together (at the first step: all) share one
// allocation for each kind, dtype and device. Bitwise deterministic, also across state_dict() and
// load_state_dict().
//
// A step has two halves. advance() is host work: it counts, computes what changes from step to step
// (learning rate, bias corrections) and writes it to a small tensor beside the parameters. apply() launches
// kernels that read those tensors, so a captured apply() can be replayed after each further advance().
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "gpunn/core/api.h"
#include "gpunn/core/tensor.h"
#include "gpunn/kernels/optim/optim.h"
#include "gpunn/layers/module.h"

namespace gpunn {

namespace detail {
struct OptimizerGroup;
struct OptimizerState;
}  // namespace detail

/// Parameters with settings of their own.
template <class Options>
struct ParameterGroup {
  std::vector<Tensor> params;
  Options options{};
};

class GPUNN_API Optimizer {
 public:
  virtual ~Optimizer();
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;

  /// One update from the parameters' gradients: advance(), then apply(). Throws InvalidArgument, the step
  /// uncounted, for a gradient of another shape, dtype or device than its parameter.
  void step();
  void advance();
  void apply();
  void zero_grad();

  /// Of all groups, one after the other.
  const std::vector<Tensor>& parameters() const noexcept { return parameters_; }
  std::size_t group_count() const noexcept;
  /// Throw InvalidArgument for a group that is not there, and for a rate that is negative or not finite.
  double learning_rate(std::size_t group = 0) const;
  void set_learning_rate(double value);  // of all groups
  void set_learning_rate(std::size_t group, double value);
  /// The rate that schedules start from: what it was when this was first asked for.
  double initial_learning_rate(std::size_t group);
  /// Momentum or first beta, if the rule has one: what OneCycleLR cycles.
  bool has_momentum(std::size_t group = 0) const;
  double momentum(std::size_t group = 0) const;
  void set_momentum(std::size_t group, double value);

  /// What a resumed run needs besides the parameters: "<name>.<parameter number>" for each state that has
  /// started ("momentum_buffer.0", "exp_avg.3", "step.3"; f32 masters as "master_param.3") and
  /// "lr.<group>". The tensors are the optimizer's own, not copies.
  StateDict state_dict() const;
  /// Copies values in, converting dtype and device; parameters without states start anew, groups without a
  /// rate keep theirs. Throws InvalidArgument for unknown or repeated keys, incomplete states, and shapes or
  /// values that do not fit; nothing is changed then.
  void load_state_dict(const StateDict& state);

 protected:
  /// Throws InvalidArgument when there are no parameters, or one is undefined, not floating or given twice.
  Optimizer(const char* name, std::vector<detail::OptimizerGroup> groups);

 private:
  struct Launch;
  const detail::OptimizerGroup& group_at(std::size_t group) const;
  Launch& launch_for(const detail::OptimizerGroup& group, const detail::OptimizerState& state,
                     const Tensor& param, std::size_t first_of_group);
  void allocate_new_states(const detail::OptimizerGroup& group, std::size_t first);
  void start_state(const detail::OptimizerGroup& group, const Tensor& param, detail::OptimizerState& state);

  const char* name_;
  std::vector<Tensor> parameters_;
  std::vector<detail::OptimizerGroup> groups_;
  std::vector<detail::OptimizerState> states_;  // per parameter
  std::vector<Launch> launches_;                // of the step between advance() and apply()
  std::size_t launch_count_ = 0;                // in use; the others keep their memory
};

/// What every rule has beside its own settings. l1_decay adds l1_decay * sign(p) to the gradient;
/// decoupled_weight_decay shrinks p by lr * weight_decay instead of adding to the gradient; with
/// master_weights an f16 or bf16 parameter gets an f32 master copy and f32 states.
/// All options: lr, weight_decay, l1_decay, eps >= 0; betas in [0, 1); constructors throw InvalidArgument
/// naming the setting otherwise.

struct SgdOptions {
  double lr = 1e-3;
  double momentum = 0;
  double dampening = 0;
  double weight_decay = 0;
  bool nesterov = false;  // needs momentum and no dampening
  bool maximize = false;
  double l1_decay = 0;
  bool decoupled_weight_decay = false;
  bool master_weights = false;
};

struct AdagradOptions {
  double lr = 1e-2;
  double lr_decay = 0;  // lr / (1 + (step - 1) * lr_decay)
  double weight_decay = 0;
  double initial_accumulator_value = 0;
  double eps = 1e-10;
  bool maximize = false;
  double l1_decay = 0;
  bool decoupled_weight_decay = false;
  bool master_weights = false;
};

struct AdadeltaOptions {
  double lr = 1;
  double rho = 0.9;
  double eps = 1e-6;
  double weight_decay = 0;
  bool maximize = false;
  double l1_decay = 0;
  bool decoupled_weight_decay = false;
  bool master_weights = false;
};

struct RmspropOptions {
  double lr = 1e-2;
  double alpha = 0.99;
  double eps = 1e-8;
  double weight_decay = 0;
  double momentum = 0;
  bool centered = false;
  bool maximize = false;
  double l1_decay = 0;
  bool decoupled_weight_decay = false;
  bool master_weights = false;
};

struct AdamOptions {
  double lr = 1e-3;
  std::array<double, 2> betas{0.9, 0.999};
  double eps = 1e-8;
  double weight_decay = 0;
  bool amsgrad = false;
  bool maximize = false;
  double l1_decay = 0;
  bool decoupled_weight_decay = false;
  bool master_weights = false;
};

struct AdamWOptions {
  double lr = 1e-3;
  std::array<double, 2> betas{0.9, 0.999};
  double eps = 1e-8;
  double weight_decay = 1e-2;  // decoupled
  bool amsgrad = false;
  bool maximize = false;
  double l1_decay = 0;
  bool master_weights = false;
};

struct NadamOptions {
  double lr = 2e-3;
  std::array<double, 2> betas{0.9, 0.999};
  double eps = 1e-8;
  double weight_decay = 0;
  double momentum_decay = 4e-3;
  bool decoupled_weight_decay = false;
  bool maximize = false;
  double l1_decay = 0;
  bool master_weights = false;
};

/// Chen et al., "Symbolic discovery of optimization algorithms", 2023.
struct LionOptions {
  double lr = 1e-4;
  std::array<double, 2> betas{0.9, 0.99};
  double weight_decay = 0;  // decoupled
  bool maximize = false;
  double l1_decay = 0;
  bool master_weights = false;
};

/// torch.optim.SGD. A parameter's first step writes its momentum without dampening.
class GPUNN_API SGD final : public Optimizer {
 public:
  explicit SGD(std::vector<Tensor> params, SgdOptions options = {});
  explicit SGD(std::vector<ParameterGroup<SgdOptions>> groups);
};

class GPUNN_API Adagrad final : public Optimizer {
 public:
  explicit Adagrad(std::vector<Tensor> params, AdagradOptions options = {});
  explicit Adagrad(std::vector<ParameterGroup<AdagradOptions>> groups);
};

class GPUNN_API Adadelta final : public Optimizer {
 public:
  explicit Adadelta(std::vector<Tensor> params, AdadeltaOptions options = {});
  explicit Adadelta(std::vector<ParameterGroup<AdadeltaOptions>> groups);
};

/// Where rounding makes the centered variance negative, it is taken as 0 (PyTorch: NaN).
class GPUNN_API RMSprop final : public Optimizer {
 public:
  explicit RMSprop(std::vector<Tensor> params, RmspropOptions options = {});
  explicit RMSprop(std::vector<ParameterGroup<RmspropOptions>> groups);
};

/// With amsgrad: AMSGrad.
class GPUNN_API Adam final : public Optimizer {
 public:
  explicit Adam(std::vector<Tensor> params, AdamOptions options = {});
  explicit Adam(std::vector<ParameterGroup<AdamOptions>> groups);
};

class GPUNN_API AdamW final : public Optimizer {
 public:
  explicit AdamW(std::vector<Tensor> params, AdamWOptions options = {});
  explicit AdamW(std::vector<ParameterGroup<AdamWOptions>> groups);
};

class GPUNN_API NAdam final : public Optimizer {
 public:
  explicit NAdam(std::vector<Tensor> params, NadamOptions options = {});
  explicit NAdam(std::vector<ParameterGroup<NadamOptions>> groups);
};

class GPUNN_API Lion final : public Optimizer {
 public:
  explicit Lion(std::vector<Tensor> params, LionOptions options = {});
  explicit Lion(std::vector<ParameterGroup<LionOptions>> groups);
};

}  // namespace gpunn
