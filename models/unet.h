#pragma once
// U-Net: a label for every pixel. O. Ronneberger et al., "U-Net: convolutional networks for biomedical image
// segmentation", 2015, with padded convolutions, so that the result has the size of the picture.
#include <cstdint>
#include <vector>

#include "gpunn/layers/conv.h"
#include "gpunn/layers/module.h"
#include "gpunn/layers/pool.h"
#include "gpunn/layers/sequential.h"

namespace gpunn {

struct UNetOptions {
  std::int64_t in_channels = 1;
  std::int64_t num_classes = 2;
  std::int64_t width = 16;  // channels at full size; they double at each level
  std::int64_t depth = 3;   // levels below full size
  bool batch_norm = true;
};

/// [N, in_channels, H, W] to logits [N, num_classes, H, W]; H and W are multiples of 2^depth, else
/// InvalidArgument. Going down, two 3x3 convolutions and a 2x2 max pooling; going up, a 2x2 transposed
/// convolution, joined with what came by on the way down (in front), and two 3x3 convolutions. Keys
/// "down.0.0.weight", "up.0.weight" (from the smallest pictures on), "merge.0.0.weight", "head.weight".
class GPUNN_API UNet : public Module {
 public:
  explicit UNet(const UNetOptions& options = {});
  Tensor forward(const Tensor& x) override;

  std::vector<Sequential> down;  // depth + 1
  MaxPool2d pool;
  std::vector<ConvTranspose2d> up;  // depth
  std::vector<Sequential> merge;    // depth
  Conv2d head;
  GPUNN_MEMBERS(down, pool, up, merge, head)
};

}  // namespace gpunn
