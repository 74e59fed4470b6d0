#pragma once
// Activations, softmax and changes of shape as layers. Formulas, dtypes and derivatives are those of the ops
// of the same names (kernels/elementwise/activations.h); defaults are PyTorch's. PReLU alone has a parameter.
#include <cstdint>

#include "gpunn/kernels/elementwise/activations.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/softmax/softmax.h"
#include "gpunn/layers/module.h"

namespace gpunn {

/// max(x, 0).
class GPUNN_API ReLU : public Module {
 public:
  Tensor forward(const Tensor& x) override { return relu(x); }
  GPUNN_MEMBERS()
};

/// 1 / (1 + exp(-x)).
class GPUNN_API Sigmoid : public Module {
 public:
  Tensor forward(const Tensor& x) override { return sigmoid(x); }
  GPUNN_MEMBERS()
};

class GPUNN_API Tanh : public Module {
 public:
  Tensor forward(const Tensor& x) override { return tanh(x); }
  GPUNN_MEMBERS()
};

class GPUNN_API LeakyReLU : public Module {
 public:
  explicit LeakyReLU(double negative_slope = 0.01) : negative_slope_(negative_slope) {}
  Tensor forward(const Tensor& x) override { return leaky_relu(x, negative_slope_); }
  GPUNN_MEMBERS()

 private:
  double negative_slope_;
};

/// Leaky ReLU with a learnt slope for all channels, or one for each channel (dimension 1). Key "weight" [1]
/// or [channels]. Throws InvalidArgument for num_parameters below 1.
class GPUNN_API PReLU : public Module {
 public:
  explicit PReLU(std::int64_t num_parameters = 1, double init = 0.25);
  Tensor forward(const Tensor& x) override { return prelu(x, weight); }

  Parameter weight;  // [num_parameters]
  GPUNN_MEMBERS(weight)
};

class GPUNN_API ELU : public Module {
 public:
  explicit ELU(double alpha = 1) : alpha_(alpha) {}
  Tensor forward(const Tensor& x) override { return elu(x, alpha_); }
  GPUNN_MEMBERS()

 private:
  double alpha_;
};

class GPUNN_API SELU : public Module {
 public:
  Tensor forward(const Tensor& x) override { return selu(x); }
  GPUNN_MEMBERS()
};

class GPUNN_API CELU : public Module {
 public:
  explicit CELU(double alpha = 1) : alpha_(alpha) {}
  Tensor forward(const Tensor& x) override { return celu(x, alpha_); }
  GPUNN_MEMBERS()

 private:
  double alpha_;
};

class GPUNN_API GELU : public Module {
 public:
  explicit GELU(GeluApproximate approximate = GeluApproximate::none) : approximate_(approximate) {}
  Tensor forward(const Tensor& x) override { return gelu(x, approximate_); }
  GeluApproximate approximate() const noexcept { return approximate_; }
  GPUNN_MEMBERS()

 private:
  GeluApproximate approximate_;
};

class GPUNN_API SiLU : public Module {
 public:
  Tensor forward(const Tensor& x) override { return silu(x); }
  GPUNN_MEMBERS()
};

class GPUNN_API Mish : public Module {
 public:
  Tensor forward(const Tensor& x) override { return mish(x); }
  GPUNN_MEMBERS()
};

class GPUNN_API Softplus : public Module {
 public:
  explicit Softplus(double beta = 1, double threshold = 20) : beta_(beta), threshold_(threshold) {}
  Tensor forward(const Tensor& x) override { return softplus(x, beta_, threshold_); }
  GPUNN_MEMBERS()

 private:
  double beta_, threshold_;
};

class GPUNN_API Softsign : public Module {
 public:
  Tensor forward(const Tensor& x) override { return softsign(x); }
  GPUNN_MEMBERS()
};

class GPUNN_API LogSigmoid : public Module {
 public:
  Tensor forward(const Tensor& x) override { return logsigmoid(x); }
  GPUNN_MEMBERS()
};

class GPUNN_API Hardtanh : public Module {
 public:
  explicit Hardtanh(double min_val = -1, double max_val = 1) : min_val_(min_val), max_val_(max_val) {}
  Tensor forward(const Tensor& x) override { return hardtanh(x, min_val_, max_val_); }
  GPUNN_MEMBERS()

 private:
  double min_val_, max_val_;
};

class GPUNN_API ReLU6 : public Module {
 public:
  Tensor forward(const Tensor& x) override { return relu6(x); }
  GPUNN_MEMBERS()
};

class GPUNN_API Hardsigmoid : public Module {
 public:
  Tensor forward(const Tensor& x) override { return hardsigmoid(x); }
  GPUNN_MEMBERS()
};

class GPUNN_API Hardswish : public Module {
 public:
  Tensor forward(const Tensor& x) override { return hardswish(x); }
  GPUNN_MEMBERS()
};

/// The half of `x` along `dim` times the sigmoid of the other.
class GPUNN_API GLU : public Module {
 public:
  explicit GLU(int dim = -1) : dim_(dim) {}
  Tensor forward(const Tensor& x) override { return glu(x, dim_); }
  GPUNN_MEMBERS()

 private:
  int dim_;
};

/// exp(x) / sum exp(x) along `dim`.
class GPUNN_API Softmax : public Module {
 public:
  explicit Softmax(int dim) : dim_(dim) {}
  Tensor forward(const Tensor& x) override { return softmax(x, dim_); }
  GPUNN_MEMBERS()

 private:
  int dim_;
};

/// log(softmax(x)) along `dim`.
class GPUNN_API LogSoftmax : public Module {
 public:
  explicit LogSoftmax(int dim) : dim_(dim) {}
  Tensor forward(const Tensor& x) override { return log_softmax(x, dim_); }
  GPUNN_MEMBERS()

 private:
  int dim_;
};

/// Dimensions start_dim … end_dim as one; by default everything but the batch.
class GPUNN_API Flatten : public Module {
 public:
  explicit Flatten(int start_dim = 1, int end_dim = -1) : start_dim_(start_dim), end_dim_(end_dim) {}
  Tensor forward(const Tensor& x) override { return x.flatten(start_dim_, end_dim_); }
  GPUNN_MEMBERS()

 private:
  int start_dim_, end_dim_;
};

/// Dimension `dim` as several; one of `sizes` may be -1.
class GPUNN_API Unflatten : public Module {
 public:
  Unflatten(int dim, const Shape& sizes) : dim_(dim), sizes_(sizes) {}
  /// Throws InvalidArgument when the sizes do not multiply to the extent.
  Tensor forward(const Tensor& x) override;
  GPUNN_MEMBERS()

 private:
  int dim_;
  Shape sizes_;
};

/// Its input.
class GPUNN_API Identity : public Module {
 public:
  Tensor forward(const Tensor& x) override { return x; }
  GPUNN_MEMBERS()
};

}  // namespace gpunn
