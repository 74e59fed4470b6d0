#include "gpunn/layers/dropout.h"

#include "gpunn/kernels/elementwise/elementwise.h"

namespace gpunn {

namespace {
double checked(double p) {
  GPUNN_CHECK(p >= 0 && p <= 1, "expected a dropout probability in [0, 1], got ", p);
  return p;
}
}  // namespace

Dropout::Dropout(double p) : p_(checked(p)) {}

Dropout2d::Dropout2d(double p) : p_(checked(p)) {}

Tensor Dropout2d::forward(const Tensor& x) {
  OpScope scope("dropout2d");
  GPUNN_CHECK(x.defined() && x.dim() >= 2, "expected input [N, C, *], got ",
              x.defined() ? to_string(x.shape()) : "an undefined tensor");
  if (!is_training() || p_ == 0) return x;
  Shape channels = Shape::filled(x.dim(), 1);
  channels[0] = x.size(0);
  channels[1] = x.size(1);
  const Tensor kept = full(channels, 1, {.dtype = x.dtype(), .device = x.device()});
  return x * dropout(kept, p_);
}

}  // namespace gpunn
