#pragma once
// Layers without parameters: activations, softmax, changes of shape.
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

/// Its input.
class GPUNN_API Identity : public Module {
 public:
  Tensor forward(const Tensor& x) override { return x; }
  GPUNN_MEMBERS()
};

}  // namespace gpunn
