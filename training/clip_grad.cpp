#include "gpunn/training/clip_grad.h"

#include "gpunn/kernels/optim/optim.h"

namespace gpunn {

namespace {

std::vector<Tensor> gradients_of(const std::vector<Tensor>& parameters) {
  std::vector<Tensor> gradients;
  for (const Tensor& p : parameters) {
    GPUNN_CHECK(p.defined(), "expected defined parameters, got an undefined one");
    if (Tensor grad = p.grad(); grad.defined()) gradients.push_back(std::move(grad));
  }
  return gradients;
}

}  // namespace

Tensor clip_grad_norm_(const std::vector<Tensor>& parameters, double max_norm, double norm_type,
                       bool error_if_nonfinite) {
  OpScope scope("clip_grad_norm_");
  return clip_norm_(gradients_of(parameters), max_norm, norm_type, error_if_nonfinite);
}

void clip_grad_value_(const std::vector<Tensor>& parameters, double clip_value) {
  OpScope scope("clip_grad_value_");
  clip_value_(gradients_of(parameters), clip_value);
}

}  // namespace gpunn
