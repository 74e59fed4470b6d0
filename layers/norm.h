#pragma once
// Normalisations as layers. Formulas, dtypes and memory orders are those of the ops (kernels/norm/norm.h);
// names, defaults, keys and initial values (weights 1, biases 0) are PyTorch's. Constructors throw
// InvalidArgument for sizes below 1 and for eps < 0.
#include <cstdint>
#include <optional>

#include "gpunn/kernels/norm/norm.h"
#include "gpunn/layers/layer_cost.h"
#include "gpunn/layers/module.h"

namespace gpunn {

struct BatchNormLayerOptions {
  double eps = 1e-5;
  std::optional<double> momentum = 0.1;  // none: running statistics are the plain mean over all batches
  bool affine = true;                    // weight and bias
  bool track_running_stats = true;       // else each batch is normalised with its own, in evaluation too
};

/// What BatchNorm1d and BatchNorm2d share. Training uses the statistics of the batch and moves the running
/// ones, evaluation uses those. Keys "weight", "bias", "running_mean", "running_var" [num_features] and
/// "num_batches_tracked" (i64 scalar). Without momentum every training step waits for the device, because the
/// share of a batch is a number of the host.
class GPUNN_API BatchNorm : public Module, public LayerCost {
 public:
  Tensor forward(const Tensor& x) override { return run(x, {}, false); }
  /// relu(forward(x) + residual) in one pass; `residual` may be undefined.
  Tensor forward_relu(const Tensor& x, const Tensor& residual = {}) { return run(x, residual, true); }
  /// Running mean 0, variance 1, no batches.
  void reset_running_stats();
  double flops(const Shape& x, const Shape& y) const override;
  int sample_rank() const override { return 1; }
  double eps() const noexcept { return options_.eps; }
  /// Its work has become part of the convolution before it: it passes its input on and has no state left.
  bool is_folded() const noexcept { return folded_; }
  void set_folded();

  Parameter weight, bias;            // [num_features]; undefined unless affine
  Buffer running_mean, running_var;  // [num_features]; undefined unless tracked
  Buffer num_batches_tracked;        // i64 scalar; likewise

 protected:
  BatchNorm(std::int64_t num_features, const BatchNormLayerOptions& options);
  /// Throws InvalidArgument unless x has a rank that the layer is for.
  virtual void check_rank(const Tensor& x) const = 0;

 private:
  Tensor run(const Tensor& x, const Tensor& residual, bool relu);
  double momentum_of_step();

  BatchNormLayerOptions options_;
  bool folded_ = false;
};

/// [N, C] or [N, C, L].
class GPUNN_API BatchNorm1d : public BatchNorm {
 public:
  explicit BatchNorm1d(std::int64_t num_features, const BatchNormLayerOptions& options = {})
      : BatchNorm(num_features, options) {}
  GPUNN_MEMBERS(weight, bias, running_mean, running_var, num_batches_tracked)

 private:
  void check_rank(const Tensor& x) const override;
};

/// [N, C, H, W].
class GPUNN_API BatchNorm2d : public BatchNorm {
 public:
  explicit BatchNorm2d(std::int64_t num_features, const BatchNormLayerOptions& options = {})
      : BatchNorm(num_features, options) {}
  GPUNN_MEMBERS(weight, bias, running_mean, running_var, num_batches_tracked)

 private:
  void check_rank(const Tensor& x) const override;
};

struct InstanceNormLayerOptions {
  double eps = 1e-5;
  double momentum = 0.1;
  bool affine = false;
  bool track_running_stats = false;  // then evaluation normalises with the running statistics
};

/// What InstanceNorm1d and InstanceNorm2d share; keys as BatchNorm (num_batches_tracked is there and stays 0,
/// as in PyTorch).
class GPUNN_API InstanceNorm : public Module, public LayerCost {
 public:
  Tensor forward(const Tensor& x) override;
  double flops(const Shape& x, const Shape& y) const override;

  Parameter weight, bias;            // [num_features]; undefined unless affine
  Buffer running_mean, running_var;  // [num_features]; undefined unless tracked
  Buffer num_batches_tracked;        // i64 scalar; likewise

 protected:
  InstanceNorm(std::int64_t num_features, const InstanceNormLayerOptions& options);

 private:
  InstanceNormLayerOptions options_;
};

/// [N, C, L] or [C, L].
class GPUNN_API InstanceNorm1d : public InstanceNorm {
 public:
  explicit InstanceNorm1d(std::int64_t num_features, const InstanceNormLayerOptions& options = {})
      : InstanceNorm(num_features, options) {}
  int sample_rank() const override { return 2; }
  GPUNN_MEMBERS(weight, bias, running_mean, running_var, num_batches_tracked)
};

/// [N, C, H, W] or [C, H, W].
class GPUNN_API InstanceNorm2d : public InstanceNorm {
 public:
  explicit InstanceNorm2d(std::int64_t num_features, const InstanceNormLayerOptions& options = {})
      : InstanceNorm(num_features, options) {}
  int sample_rank() const override { return 3; }
  GPUNN_MEMBERS(weight, bias, running_mean, running_var, num_batches_tracked)
};

struct LayerNormOptions {
  double eps = 1e-5;
  bool elementwise_affine = true;
  bool bias = true;  // only with elementwise_affine
};

/// Over the trailing dimensions `normalized_shape`. Keys "weight" and "bias", of that shape.
class GPUNN_API LayerNorm : public Module, public LayerCost {
 public:
  explicit LayerNorm(const Shape& normalized_shape, const LayerNormOptions& options = {});
  explicit LayerNorm(std::int64_t features, const LayerNormOptions& options = {})
      : LayerNorm(Shape{features}, options) {}
  Tensor forward(const Tensor& x) override { return layer_norm(x, shape_, weight, bias, eps_); }
  double flops(const Shape& x, const Shape& y) const override;
  int sample_rank() const override { return shape_.rank(); }
  double eps() const noexcept { return eps_; }

  Parameter weight, bias;
  GPUNN_MEMBERS(weight, bias)

 private:
  Shape shape_;
  double eps_;
};

struct RMSNormOptions {
  std::optional<double> eps{};  // none: the machine epsilon of x's dtype
  bool elementwise_affine = true;
};

/// Over the trailing dimensions `normalized_shape`, without mean and bias. Key "weight".
class GPUNN_API RMSNorm : public Module, public LayerCost {
 public:
  explicit RMSNorm(const Shape& normalized_shape, const RMSNormOptions& options = {});
  explicit RMSNorm(std::int64_t features, const RMSNormOptions& options = {})
      : RMSNorm(Shape{features}, options) {}
  Tensor forward(const Tensor& x) override { return rms_norm(x, shape_, weight, eps_); }
  double flops(const Shape& x, const Shape& y) const override;
  int sample_rank() const override { return shape_.rank(); }

  Parameter weight;
  GPUNN_MEMBERS(weight)

 private:
  Shape shape_;
  std::optional<double> eps_;
};

struct GroupNormOptions {
  double eps = 1e-5;
  bool affine = true;
};

/// Groups of neighbouring channels of each sample, [N, C, *]. Keys "weight" and "bias" [num_channels]. Throws
/// InvalidArgument unless num_groups divides num_channels.
class GPUNN_API GroupNorm : public Module, public LayerCost {
 public:
  GroupNorm(std::int64_t num_groups, std::int64_t num_channels, const GroupNormOptions& options = {});
  Tensor forward(const Tensor& x) override;
  double flops(const Shape& x, const Shape& y) const override;
  int sample_rank() const override { return 1; }

  Parameter weight, bias;
  GPUNN_MEMBERS(weight, bias)

 private:
  std::int64_t groups_, channels_;
  double eps_;
};

struct LocalResponseNormOptions {
  double alpha = 1e-4;
  double beta = 0.75;
  double k = 1;
};

/// Each channel by its `size` neighbours, [N, C, *]. No parameters.
class GPUNN_API LocalResponseNorm : public Module, public LayerCost {
 public:
  explicit LocalResponseNorm(std::int64_t size, const LocalResponseNormOptions& options = {});
  Tensor forward(const Tensor& x) override {
    return local_response_norm(x, size_, options_.alpha, options_.beta, options_.k);
  }
  double flops(const Shape& x, const Shape& y) const override;
  int sample_rank() const override { return 1; }
  GPUNN_MEMBERS()

 private:
  std::int64_t size_;
  LocalResponseNormOptions options_;
};

/// Adaptive instance normalisation: each channel of each picture of `content` gets the mean and the deviation
/// (from the biased variance, plus eps) of that channel in `style`: sd(s) (c - mean(c)) / sd(c) + mean(s).
/// content [N, C, H, W] and style [N, C, H', W'] (or series). Differentiable in both, any number of times.
/// X. Huang and S. Belongie, "Arbitrary style transfer in real time with adaptive instance normalization",
/// 2017. Throws InvalidArgument for ranks, batches or channels that differ, dtypes, and eps < 0.
GPUNN_API Tensor adaptive_instance_norm(const Tensor& content, const Tensor& style, double eps = 1e-5);

/// adaptive_instance_norm() as a layer: adain(content, style).
class GPUNN_API AdaIN : public Module {
 public:
  explicit AdaIN(double eps = 1e-5);
  using Module::forward;
  using Module::operator();
  Tensor forward(const Tensor& content, const Tensor& style) {
    return adaptive_instance_norm(content, style, eps_);
  }
  Tensor operator()(const Tensor& content, const Tensor& style) {
    ModuleScope scope(*this);
    return forward(content, style);
  }
  GPUNN_MEMBERS()

 private:
  double eps_;
};

}  // namespace gpunn
