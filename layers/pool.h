#pragma once
// Pooling and change of size as layers. Formulas, dtypes, memory orders and errors are those of the ops
// (kernels/pool/pool.h, kernels/resize/resize.h); names and defaults are PyTorch's. None has parameters; each
// takes one sample without batch as well.
#include <cstdint>
#include <optional>

#include "gpunn/kernels/pool/pool.h"
#include "gpunn/kernels/resize/resize.h"
#include "gpunn/layers/layer_cost.h"
#include "gpunn/layers/module.h"

namespace gpunn {

/// Largest elements of windows, [N, C, L].
class GPUNN_API MaxPool1d : public Module, public LayerCost {
 public:
  explicit MaxPool1d(std::int64_t kernel_size, const Pool1dOptions& options = {})
      : kernel_(kernel_size), options_(options) {}
  Tensor forward(const Tensor& x) override { return max_pool1d(x, kernel_, options_); }
  /// Also where they are; PyTorch's return_indices.
  MaxPoolResult forward_with_indices(const Tensor& x);
  double flops(const Shape& x, const Shape& y) const override;
  int sample_rank() const override { return 2; }
  GPUNN_MEMBERS()

 private:
  std::int64_t kernel_;
  Pool1dOptions options_;
};

/// Largest elements of windows, [N, C, H, W].
class GPUNN_API MaxPool2d : public Module, public LayerCost {
 public:
  explicit MaxPool2d(Size2d kernel_size, const PoolOptions& options = {})
      : kernel_(kernel_size), options_(options) {}
  Tensor forward(const Tensor& x) override { return max_pool2d(x, kernel_, options_); }
  /// Also where they are, as MaxUnpool2d wants it; PyTorch's return_indices.
  MaxPoolResult forward_with_indices(const Tensor& x);
  double flops(const Shape& x, const Shape& y) const override;
  int sample_rank() const override { return 3; }
  GPUNN_MEMBERS()

 private:
  Size2d kernel_;
  PoolOptions options_;
};

/// Zeros with each element of x at its index: unpool(x, indices).
class GPUNN_API MaxUnpool2d : public Module {
 public:
  explicit MaxUnpool2d(Size2d kernel_size, const MaxUnpoolOptions& options = {})
      : kernel_(kernel_size), options_(options) {}
  using Module::forward;
  using Module::operator();
  Tensor forward(const Tensor& x, const Tensor& indices) {
    return max_unpool2d(x, indices, kernel_, options_);
  }
  Tensor operator()(const Tensor& x, const Tensor& indices) {
    ModuleScope scope(*this);
    return forward(x, indices);
  }
  GPUNN_MEMBERS()

 private:
  Size2d kernel_;
  MaxUnpoolOptions options_;
};

/// The same on series.
class GPUNN_API MaxUnpool1d : public Module {
 public:
  explicit MaxUnpool1d(std::int64_t kernel_size, const MaxUnpool1dOptions& options = {})
      : kernel_(kernel_size), options_(options) {}
  using Module::forward;
  using Module::operator();
  Tensor forward(const Tensor& x, const Tensor& indices) {
    return max_unpool1d(x, indices, kernel_, options_);
  }
  Tensor operator()(const Tensor& x, const Tensor& indices) {
    ModuleScope scope(*this);
    return forward(x, indices);
  }
  GPUNN_MEMBERS()

 private:
  std::int64_t kernel_;
  MaxUnpool1dOptions options_;
};

/// Means of windows, [N, C, L].
class GPUNN_API AvgPool1d : public Module, public LayerCost {
 public:
  explicit AvgPool1d(std::int64_t kernel_size, const Pool1dOptions& options = {})
      : kernel_(kernel_size), options_(options) {}
  Tensor forward(const Tensor& x) override { return avg_pool1d(x, kernel_, options_); }
  double flops(const Shape& x, const Shape& y) const override;
  int sample_rank() const override { return 2; }
  GPUNN_MEMBERS()

 private:
  std::int64_t kernel_;
  Pool1dOptions options_;
};

/// Means of windows, [N, C, H, W].
class GPUNN_API AvgPool2d : public Module, public LayerCost {
 public:
  explicit AvgPool2d(Size2d kernel_size, const PoolOptions& options = {})
      : kernel_(kernel_size), options_(options) {}
  Tensor forward(const Tensor& x) override { return avg_pool2d(x, kernel_, options_); }
  double flops(const Shape& x, const Shape& y) const override;
  int sample_rank() const override { return 3; }
  GPUNN_MEMBERS()

 private:
  Size2d kernel_;
  PoolOptions options_;
};

/// (Σ x^p)^(1/p) of windows, [N, C, H, W].
class GPUNN_API LPPool2d : public Module, public LayerCost {
 public:
  LPPool2d(double norm_type, Size2d kernel_size, Size2d stride = 0, bool ceil_mode = false)
      : norm_type_(norm_type), kernel_(kernel_size), stride_(stride), ceil_mode_(ceil_mode) {}
  Tensor forward(const Tensor& x) override { return lp_pool2d(x, norm_type_, kernel_, stride_, ceil_mode_); }
  double flops(const Shape& x, const Shape& y) const override;
  int sample_rank() const override { return 3; }
  GPUNN_MEMBERS()

 private:
  double norm_type_;
  Size2d kernel_, stride_;
  bool ceil_mode_;
};

/// Means of windows that cover the series, [N, C, L] to [N, C, output_size].
class GPUNN_API AdaptiveAvgPool1d : public Module, public LayerCost {
 public:
  explicit AdaptiveAvgPool1d(std::int64_t output_size) : out_(output_size) {}
  Tensor forward(const Tensor& x) override { return adaptive_avg_pool1d(x, out_); }
  double flops(const Shape& x, const Shape& y) const override;
  int sample_rank() const override { return 2; }
  GPUNN_MEMBERS()

 private:
  std::int64_t out_;
};

/// Means of windows that cover the picture, [N, C, H, W] to [N, C, output_size].
class GPUNN_API AdaptiveAvgPool2d : public Module, public LayerCost {
 public:
  explicit AdaptiveAvgPool2d(Size2d output_size) : out_(output_size) {}
  Tensor forward(const Tensor& x) override { return adaptive_avg_pool2d(x, out_); }
  double flops(const Shape& x, const Shape& y) const override;
  int sample_rank() const override { return 3; }
  GPUNN_MEMBERS()

 private:
  Size2d out_;
};

/// Largest elements of windows that cover the picture, [N, C, H, W] to [N, C, output_size].
class GPUNN_API AdaptiveMaxPool2d : public Module, public LayerCost {
 public:
  explicit AdaptiveMaxPool2d(Size2d output_size) : out_(output_size) {}
  Tensor forward(const Tensor& x) override { return adaptive_max_pool2d(x, out_); }
  /// Also where they are; PyTorch's return_indices.
  MaxPoolResult forward_with_indices(const Tensor& x);
  double flops(const Shape& x, const Shape& y) const override;
  int sample_rank() const override { return 3; }
  GPUNN_MEMBERS()

 private:
  Size2d out_;
};

struct UpsampleOptions {
  std::optional<Size2d> size{};  // of the result
  double scale_factor = 0;       // or a factor for both extents; one of the two
  Interpolation mode = Interpolation::nearest;
  bool align_corners = false;  // bilinear only
};

/// Pictures of another size, [N, C, H, W]. Throws InvalidArgument unless exactly one of size and scale_factor
/// is given.
class GPUNN_API Upsample : public Module, public LayerCost {
 public:
  explicit Upsample(const UpsampleOptions& options);
  Tensor forward(const Tensor& x) override;
  double flops(const Shape& x, const Shape& y) const override;
  int sample_rank() const override { return 3; }
  GPUNN_MEMBERS()

 private:
  UpsampleOptions options_;
};

}  // namespace gpunn
