#pragma once
// Convolutions as layers. Formulas, dtypes and memory orders are those of the ops (kernels/conv2d/conv2d.h);
// names, defaults, keys and initial values are PyTorch's: "weight" and "bias" from U(±1/sqrt(fan_in)), fan_in
// being the product of the weight's extents but the first. Weights are made on default_device().
#include <cstdint>

#include "gpunn/kernels/conv2d/conv2d.h"
#include "gpunn/layers/layer_cost.h"
#include "gpunn/layers/module.h"

namespace gpunn {

/// What stands around a picture: zeros, its mirror image (without the edge itself), its edge, or its other
/// side. All but zeros cost a copy of the picture.
enum class PaddingMode : std::uint8_t { zeros, reflect, replicate, circular };

struct Conv1dLayerOptions {
  std::int64_t stride = 1;
  std::int64_t padding = 0;
  std::int64_t dilation = 1;
  std::int64_t groups = 1;
  bool bias = true;
  PaddingMode padding_mode = PaddingMode::zeros;
  bool same = false;  // instead of `padding`: the result has the length of the input
};

/// Series [N, in, L] (or [in, L]) to [N, out, L']. Keys "weight" [out, in / groups, kernel] and "bias" [out].
/// Throws InvalidArgument for sizes, strides, dilations and groups below 1, groups that do not divide both
/// numbers of channels, negative padding, and `same` with a stride.
class GPUNN_API Conv1d : public Module, public LayerCost {
 public:
  Conv1d(std::int64_t in_channels, std::int64_t out_channels, std::int64_t kernel_size,
         const Conv1dLayerOptions& options = {});

  Tensor forward(const Tensor& x) override { return forward_with(x, weight); }
  /// forward() with another weight of the same shape, for layers that compute theirs.
  Tensor forward_with(const Tensor& x, const Tensor& w) const;
  /// Draws the initial values again.
  void reset_parameters();
  double flops(const Shape& x, const Shape& y) const override;
  int sample_rank() const override { return 2; }

  Parameter weight;  // [out, in / groups, kernel]
  Parameter bias;    // [out], undefined without bias
  GPUNN_MEMBERS(weight, bias)

 private:
  Conv1dLayerOptions options_;
  std::int64_t kernel_;
  std::int64_t products_ = 0;  // for each element of the result
};

struct Conv2dLayerOptions {
  Size2d stride = 1;
  Padding2d padding = 0;
  Size2d dilation = 1;
  std::int64_t groups = 1;
  bool bias = true;
  PaddingMode padding_mode = PaddingMode::zeros;
};

/// Pictures [N, in, H, W] (or [in, H, W]) to [N, out, P, Q]. Keys "weight" [out, in / groups, R, S] and
/// "bias" [out]. Errors as Conv1d.
///   Conv2d conv(3, 64, 7, {.stride = 2, .padding = 3, .bias = false});
class GPUNN_API Conv2d : public Module, public LayerCost {
 public:
  Conv2d(std::int64_t in_channels, std::int64_t out_channels, Size2d kernel_size,
         const Conv2dLayerOptions& options = {});

  Tensor forward(const Tensor& x) override { return forward_with(x, weight); }
  /// relu(forward(x)) in one kernel, where the layer runs on its own.
  Tensor forward_relu(const Tensor& x) const { return forward_with(x, weight, true); }
  /// forward() with another weight of the same shape, for layers that compute theirs.
  Tensor forward_with(const Tensor& x, const Tensor& w, bool relu = false) const;
  /// Draws the initial values again.
  void reset_parameters();
  double flops(const Shape& x, const Shape& y) const override;
  int sample_rank() const override { return 3; }
  const Conv2dLayerOptions& options() const noexcept { return options_; }

  Parameter weight;  // [out, in / groups, R, S]
  Parameter bias;    // [out], undefined without bias
  GPUNN_MEMBERS(weight, bias)

 private:
  Conv2dLayerOptions options_;
  Size2d kernel_;
  std::int64_t products_ = 0;  // for each element of the result
};

struct ConvTranspose2dLayerOptions {
  Size2d stride = 1;
  Size2d padding = 0;
  Size2d output_padding = 0;
  std::int64_t groups = 1;
  bool bias = true;
  Size2d dilation = 1;
};

/// The transposed convolution: [N, in, H, W] to [N, out, P, Q], P = (H - 1) stride - 2 padding + dilation (R
/// - 1) + output_padding + 1. Keys "weight" [in, out / groups, R, S] and "bias" [out]. Errors as Conv1d, and
/// for an output_padding that is neither below the stride nor below the dilation.
class GPUNN_API ConvTranspose2d : public Module, public LayerCost {
 public:
  ConvTranspose2d(std::int64_t in_channels, std::int64_t out_channels, Size2d kernel_size,
                  const ConvTranspose2dLayerOptions& options = {});

  Tensor forward(const Tensor& x) override { return forward_with(x, weight); }
  /// forward() with another weight of the same shape, for layers that compute theirs.
  Tensor forward_with(const Tensor& x, const Tensor& w) const;
  /// Draws the initial values again.
  void reset_parameters();
  double flops(const Shape& x, const Shape& y) const override;
  int sample_rank() const override { return 3; }

  Parameter weight;  // [in, out / groups, R, S]
  Parameter bias;    // [out], undefined without bias
  GPUNN_MEMBERS(weight, bias)

 private:
  ConvTranspose2dOptions options_;
  std::int64_t products_ = 0;  // for each element of the input
};

}  // namespace gpunn
