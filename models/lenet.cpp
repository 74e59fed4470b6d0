#include "gpunn/models/lenet.h"

#include "gpunn/layers/functional.h"

namespace gpunn {

LeNet::LeNet(const LeNetOptions& options)
    : conv1(options.in_channels, 6, 5, {.padding = 2}),
      conv2(6, 16, 5),
      pool(2),
      fc1(16 * 5 * 5, 120),
      fc2(120, 84),
      fc3(84, options.num_classes) {}

Tensor LeNet::forward(const Tensor& x) {
  Tensor y = pool(relu(conv1(x)));
  y = pool(relu(conv2(y))).flatten(1);
  return fc3(relu(fc2(relu(fc1(y)))));
}

}  // namespace gpunn
