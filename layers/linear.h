#pragma once
// Linear: y = x w^T + b.
#include <cstdint>

#include "gpunn/kernels/matmul/matmul.h"
#include "gpunn/layers/layer_cost.h"
#include "gpunn/layers/module.h"

namespace gpunn {

/// x [*, in] to [*, out]. Keys "weight" [out, in] and "bias" [out]. Initial values U(±1/sqrt(in)) for both,
/// as PyTorch's. Weights are made on default_device(). Throws InvalidArgument for sizes below 1.
class GPUNN_API Linear : public Module, public LayerCost {
 public:
  Linear(std::int64_t in_features, std::int64_t out_features, bool with_bias = true);

  Tensor forward(const Tensor& x) override { return linear(x, weight, bias); }
  /// forward() followed by an activation, in one kernel.
  Tensor forward(const Tensor& x, Activation activation) { return linear(x, weight, bias, activation); }
  /// forward() with another weight of the same shape, for layers that compute theirs.
  Tensor forward_with(const Tensor& x, const Tensor& w) const { return linear(x, w, bias); }
  /// Draws the initial values again.
  void reset_parameters();
  double flops(const Shape& x, const Shape& y) const override;
  int sample_rank() const override { return 1; }

  Parameter weight;  // [out, in]
  Parameter bias;    // [out], undefined without bias
  GPUNN_MEMBERS(weight, bias)

 private:
  std::int64_t in_features_;
};

}  // namespace gpunn
