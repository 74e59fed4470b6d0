#pragma once
// Dropout as a layer; formula, dtypes and derivatives are those of the op (kernels/random/random.h).
#include "gpunn/kernels/random/random.h"
#include "gpunn/layers/module.h"

namespace gpunn {

/// Zeroes each element with probability p and divides the others by 1 - p while training; its input
/// otherwise. Every forward draws anew from the Runtime's generator. Throws InvalidArgument for p outside [0,
/// 1].
class GPUNN_API Dropout : public Module {
 public:
  explicit Dropout(double p = 0.5);
  Tensor forward(const Tensor& x) override { return dropout(x, p_, is_training()); }
  double p() const noexcept { return p_; }
  GPUNN_MEMBERS()

 private:
  double p_;
};

/// Zeroes each channel of each picture with probability p and divides the others by 1 - p while training:
/// [N, C, *]. J. Tompson et al., "Efficient object localization using convolutional networks", 2015. Throws
/// InvalidArgument for p outside [0, 1] and fewer than two dimensions.
class GPUNN_API Dropout2d : public Module {
 public:
  explicit Dropout2d(double p = 0.5);
  Tensor forward(const Tensor& x) override;
  double p() const noexcept { return p_; }
  GPUNN_MEMBERS()

 private:
  double p_;
};

}  // namespace gpunn
