#pragma once
// LeNet-like nets for small pictures of one channel. Y. LeCun et al., "Gradient-based learning applied to
// document recognition", 1998, with ReLU and max pooling instead of the tanh and learnt subsampling of then.
#include <cstdint>

#include "gpunn/layers/conv.h"
#include "gpunn/layers/linear.h"
#include "gpunn/layers/module.h"
#include "gpunn/layers/pool.h"

namespace gpunn {

struct LeNetOptions {
  std::int64_t in_channels = 1;
  std::int64_t num_classes = 10;
};

/// Pictures [N, in_channels, 28, 28] to logits [N, num_classes]. 61,706 parameters by default. Keys
/// "conv1.weight", "conv2.weight", "fc1.weight", "fc2.weight", "fc3.weight" and their biases.
class GPUNN_API LeNet : public Module {
 public:
  explicit LeNet(const LeNetOptions& options = {});
  Tensor forward(const Tensor& x) override;

  Conv2d conv1, conv2;
  MaxPool2d pool;
  Linear fc1, fc2, fc3;
  GPUNN_MEMBERS(conv1, conv2, pool, fc1, fc2, fc3)
};

}  // namespace gpunn
