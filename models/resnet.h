#pragma once
// Residual nets. K. He et al., "Deep residual learning for image recognition", 2016; the bottleneck's stride
// stands in its 3x3 convolution, as in torchvision ("v1.5").
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "gpunn/layers/fold_batch_norm.h"
#include "gpunn/layers/linear.h"
#include "gpunn/layers/pool.h"
#include "gpunn/layers/residual.h"
#include "gpunn/layers/sequential.h"

namespace gpunn {

/// The defaults give torchvision's resnet18.
struct ResNetOptions {
  std::vector<std::int64_t> blocks{2, 2, 2, 2};  // in each stage, one to eight stages
  bool bottleneck = false;                       // Bottleneck instead of BasicBlock
  std::int64_t width = 64;                       // planes of the first stage; they double in each further one
  std::int64_t in_channels = 3;
  std::int64_t num_classes = 1000;
  bool small_pictures = false;  // a stem of 3x3 with stride 1 and no pooling, for pictures like CIFAR's
};

/// [N, in_channels, H, W] to logits [N, num_classes]. Keys are torchvision's: "conv1.weight",
/// "bn1.running_mean", "layer1.0.conv1.weight", ..., "fc.bias"; so are the initial values: convolutions N(0,
/// 2 / fan_out). Throws InvalidArgument for numbers out of range.
class GPUNN_API ResNet : public Module, public FoldsBatchNorm {
 public:
  explicit ResNet(const ResNetOptions& options = {});
  Tensor forward(const Tensor& x) override;
  /// What the classifier sees: [N, channels of the last stage].
  Tensor features(const Tensor& x);
  std::int64_t fold_own_batch_norms() override;
  void visit_members(MemberVisitor& visitor) override;
  std::unique_ptr<Module> copy_module() const override;

  Conv2d conv1;
  BatchNorm2d bn1;
  std::optional<MaxPool2d> maxpool;
  std::vector<Sequential> layers;  // "layer1", "layer2", ...
  AdaptiveAvgPool2d avgpool;
  Linear fc;
};

/// 11,689,512 parameters.
GPUNN_API ResNetOptions resnet18_options();
/// 21,797,672 parameters.
GPUNN_API ResNetOptions resnet34_options();
/// 25,557,032 parameters.
GPUNN_API ResNetOptions resnet50_options();
/// The nets of the paper for CIFAR: three stages of `n` basic blocks with 16, 32 and 64 planes, 6 n + 2
/// layers, 10 classes. n = 3: ResNet-20.
GPUNN_API ResNetOptions cifar_resnet_options(std::int64_t n = 3);

}  // namespace gpunn
