#pragma once
// Residual blocks: relu(F(x) + x). K. He et al., "Deep residual learning for image recognition", 2016.
//
// Keys are torchvision's ("conv1.weight", "bn1.running_mean", ..., "downsample.0.weight"). Where stride or
// channels change, x goes through a 1x1 convolution and a batch norm ("downsample"). Initial values are those
// of the layers; ResNet draws its own.
#include <cstdint>
#include <optional>

#include "gpunn/layers/conv.h"
#include "gpunn/layers/fold_batch_norm.h"
#include "gpunn/layers/norm.h"
#include "gpunn/layers/sequential.h"

namespace gpunn {

/// relu(norm(conv(x)) + residual), with as few passes over memory as the layers' state allows; `residual` may
/// be undefined. Errors name the layer that raised them.
GPUNN_API Tensor conv_norm_relu(Conv2d& conv, BatchNorm2d& norm, const Tensor& x,
                                const Tensor& residual = {});

/// 3x3 (stride), 3x3: [N, in_planes, H, W] to [N, planes, H / stride, W / stride].
class GPUNN_API BasicBlock : public Module, public FoldsBatchNorm {
 public:
  static constexpr std::int64_t kExpansion = 1;

  BasicBlock(std::int64_t in_planes, std::int64_t planes, std::int64_t stride = 1);
  Tensor forward(const Tensor& x) override;
  std::int64_t fold_own_batch_norms() override;

  Conv2d conv1;
  BatchNorm2d bn1;
  Conv2d conv2;
  BatchNorm2d bn2;
  std::optional<Sequential> downsample;
  GPUNN_MEMBERS(conv1, bn1, conv2, bn2, downsample)
};

struct BottleneckOptions {
  std::int64_t stride = 1;
  std::int64_t groups = 1;
  std::int64_t base_width = 64;  // the 3x3's channels: planes * base_width / 64 * groups
  std::int64_t dilation = 1;     // of the 3x3
};

/// 1x1, 3x3 (stride here, as in torchvision: "v1.5"), 1x1 to four times the planes.
class GPUNN_API Bottleneck : public Module, public FoldsBatchNorm {
 public:
  static constexpr std::int64_t kExpansion = 4;

  Bottleneck(std::int64_t in_planes, std::int64_t planes, const BottleneckOptions& options = {});
  Tensor forward(const Tensor& x) override;
  std::int64_t fold_own_batch_norms() override;

  Conv2d conv1;
  BatchNorm2d bn1;
  Conv2d conv2;
  BatchNorm2d bn2;
  Conv2d conv3;
  BatchNorm2d bn3;
  std::optional<Sequential> downsample;
  GPUNN_MEMBERS(conv1, bn1, conv2, bn2, conv3, bn3, downsample)
};

}  // namespace gpunn
