#pragma once
// Linear: y = x w^T + b.
#include <cstdint>

#include "gpunn/kernels/matmul/matmul.h"
#include "gpunn/layers/module.h"

namespace gpunn {

/// x [*, in] to [*, out]. Keys "weight" [out, in] and "bias" [out]. Initial values U(±1/sqrt(in)) for both,
/// as PyTorch's. Weights are made on default_device(). Throws InvalidArgument for sizes below 1.
class GPUNN_API Linear : public Module {
 public:
  Linear(std::int64_t in_features, std::int64_t out_features, bool with_bias = true);

  Tensor forward(const Tensor& x) override { return linear(x, weight, bias); }
  /// forward() followed by an activation, in one kernel.
  Tensor forward(const Tensor& x, Activation activation) { return linear(x, weight, bias, activation); }
  /// Draws the initial values again.
  void reset_parameters();

  Parameter weight;  // [out, in]
  Parameter bias;    // [out], undefined without bias
  GPUNN_MEMBERS(weight, bias)
};

}  // namespace gpunn
