#pragma once
// What an Optimizer keeps per group and per parameter.
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "gpunn/core/tensor.h"
#include "gpunn/kernels/optim/optim.h"

namespace gpunn::detail {

struct OptimizerGroup {
  std::vector<Tensor> params;
  UpdateSettings settings{};  // weight_decay is L2 only
  double lr = 0;
  double decoupled_decay = 0;
  double lr_decay = 0, initial_accumulator_value = 0;  // adagrad
  double momentum_decay = 0;                           // nadam
  bool master_weights = false;
  std::optional<double> initial_lr{};
};

/// Of one parameter. Without its tensors it has not started.
struct OptimizerState {
  bool started = false;
  std::int64_t step = 0;  // updates so far
  double mu_product = 1;  // nadam: product of the momenta so far
  Tensor states[kMaxStates];
  Tensor master;
};

/// A parameter with its state.
struct StatefulParameter {
  const Tensor* param;
  OptimizerState* state;
};

/// Makes the state tensors and masters of `parameters`, all of `group`, without values: one arena for each
/// kind of state, dtype and device. Nothing is changed when memory runs out.
void allocate_states(const OptimizerGroup& group, std::span<const StatefulParameter> parameters);

/// Has the parameter a master copy?
inline bool has_master(const OptimizerGroup& group, const Tensor& param) {
  return group.master_weights && (param.dtype() == DType::f16 || param.dtype() == DType::bf16);
}

/// Does the update depend on how many steps the parameter has seen?
inline bool counts_steps(UpdateRule rule) {
  return rule == UpdateRule::adagrad || rule == UpdateRule::adam || rule == UpdateRule::nadam;
}

}  // namespace gpunn::detail
