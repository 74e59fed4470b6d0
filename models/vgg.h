#pragma once
// Stacks of 3x3 convolutions and pooling. K. Simonyan and A. Zisserman, "Very deep convolutional networks for
// large-scale image recognition", 2015.
#include <cstdint>
#include <vector>

#include "gpunn/layers/module.h"
#include "gpunn/layers/pool.h"
#include "gpunn/layers/sequential.h"

namespace gpunn {

/// The defaults give torchvision's vgg11.
struct VggOptions {
  /// Widths of the convolutions of each stage; a 2x2 max pooling ends a stage.
  std::vector<std::vector<std::int64_t>> stages{{64}, {128}, {256, 256}, {512, 512}, {512, 512}};
  bool batch_norm = false;
  std::int64_t in_channels = 3;
  Size2d pooled = 7;                             // the last pictures are averaged to this size
  std::vector<std::int64_t> hidden{4096, 4096};  // widths of the linear layers before the last
  double dropout = 0.5;                          // behind each of them; 0: none
  std::int64_t num_classes = 1000;
};

/// [N, in_channels, H, W] to logits [N, num_classes]; every stage halves H and W. Keys are torchvision's
/// ("features.0.weight", "classifier.0.weight"), and so are the initial values: convolutions N(0, 2 /
/// fan_out), linear layers N(0, 0.01²), biases 0. Throws InvalidArgument without stages or for an empty one.
class GPUNN_API Vgg : public Module {
 public:
  explicit Vgg(const VggOptions& options = {});
  Tensor forward(const Tensor& x) override;

  Sequential features;
  AdaptiveAvgPool2d avgpool;
  Sequential classifier;
  GPUNN_MEMBERS(features, avgpool, classifier)
};

/// torchvision's vgg11, vgg13, vgg16 and vgg19, with and without batch norm. Throws InvalidArgument for other
/// depths.
GPUNN_API VggOptions vgg_options(int depth, bool batch_norm = false);

}  // namespace gpunn
