#pragma once
// Optimizers: they hold handles to a model's parameters and update them in place.
#include <cstdint>
#include <vector>

#include "gpunn/core/api.h"
#include "gpunn/core/tensor.h"
#include "gpunn/kernels/optim/optim.h"
#include "gpunn/layers/module.h"

namespace gpunn {

class GPUNN_API Optimizer {
 public:
  /// Throws InvalidArgument when `parameters` is empty or one of them is undefined or given twice.
  explicit Optimizer(std::vector<Tensor> parameters);
  virtual ~Optimizer();
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;

  /// One update from the parameters' gradients; those without a gradient are left alone.
  virtual void step() = 0;
  virtual double learning_rate() const noexcept = 0;
  virtual void set_learning_rate(double value) = 0;
  /// What a resumed run needs besides the parameters, under keys "<name>.<parameter number>".
  virtual StateDict state_dict() const = 0;
  /// Throws InvalidArgument for keys or shapes that do not belong to these parameters; nothing is changed
  /// then.
  virtual void load_state_dict(const StateDict& state) = 0;

  void zero_grad();
  const std::vector<Tensor>& parameters() const noexcept { return parameters_; }

 private:
  std::vector<Tensor> parameters_;
};

/// torch.optim.SGD: learning rate, momentum, dampening, weight decay, nesterov, maximize, in PyTorch's
/// momentum form (the formula is in kernels/optim/optim.h). One multi-tensor launch a step. Bitwise
/// deterministic.
class GPUNN_API SGD final : public Optimizer {
 public:
  /// `options.first_step` is ignored: a parameter's first step is the one that finds no momentum buffer.
  /// Throws InvalidArgument for settings PyTorch rejects.
  SGD(std::vector<Tensor> parameters, SgdOptions options);

  void step() override;
  double learning_rate() const noexcept override { return options_.lr; }
  void set_learning_rate(double value) override;
  /// "momentum_buffer.<i>" for each parameter that has one.
  StateDict state_dict() const override;
  void load_state_dict(const StateDict& state) override;

 private:
  SgdOptions options_;
  std::vector<Tensor> buffers_;     // per parameter, undefined before its first step
  std::vector<SgdTensor> entries_;  // scratch of step(), kept to allocate once
};

}  // namespace gpunn
