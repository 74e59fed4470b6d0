#include "gpunn/models/unet.h"

#include "gpunn/layers/activations.h"
#include "gpunn/layers/functional.h"
#include "gpunn/layers/norm.h"

namespace gpunn {

namespace {

Sequential two_convolutions(std::int64_t in, std::int64_t out, bool batch_norm) {
  Sequential layers;
  for (const std::int64_t from : {in, out}) {
    layers.add(Conv2d(from, out, 3, {.padding = 1, .bias = !batch_norm}));
    if (batch_norm) layers.add(BatchNorm2d(out));
    layers.add(ReLU());
  }
  return layers;
}

}  // namespace

UNet::UNet(const UNetOptions& options) : pool(2), head(options.width, options.num_classes, 1) {
  GPUNN_CHECK(options.depth >= 1 && options.depth <= 10, "expected a UNet depth from 1 to 10, got ",
              options.depth);
  std::int64_t in = options.in_channels;
  for (std::int64_t level = 0; level <= options.depth; ++level) {
    const std::int64_t width = options.width << level;
    down.push_back(two_convolutions(in, width, options.batch_norm));
    in = width;
  }
  for (std::int64_t level = options.depth - 1; level >= 0; --level) {
    const std::int64_t width = options.width << level;
    up.emplace_back(2 * width, width, 2, ConvTranspose2dLayerOptions{.stride = 2});
    merge.push_back(two_convolutions(2 * width, width, options.batch_norm));
  }
}

Tensor UNet::forward(const Tensor& x) {
  const std::int64_t multiple = std::int64_t{1} << up.size();
  GPUNN_CHECK(x.defined() && x.dim() == 4 && x.size(2) % multiple == 0 && x.size(3) % multiple == 0,
              "expected pictures [N, C, H, W] with H and W multiples of ", multiple, ", got ",
              x.defined() ? to_string(x.shape()) : "an undefined tensor");
  std::vector<Tensor> seen;
  Tensor y = x;
  for (std::size_t level = 0; level < down.size(); ++level) {
    y = down[level](level == 0 ? y : pool(y));
    seen.push_back(y);
  }
  for (std::size_t i = 0; i < up.size(); ++i) {
    // What the level above saw joins; it is not needed further.
    seen.pop_back();
    y = merge[i](cat({seen.back(), up[i](y)}, 1));
  }
  return head(y);
}

}  // namespace gpunn
