#include "gpunn/models/vgg.h"

#include "gpunn/layers/activations.h"
#include "gpunn/layers/conv.h"
#include "gpunn/layers/dropout.h"
#include "gpunn/layers/linear.h"
#include "gpunn/layers/norm.h"
#include "gpunn/models/detail/conv_init.h"

namespace gpunn {

namespace {

Sequential features_of(const VggOptions& options) {
  GPUNN_CHECK(!options.stages.empty(), "expected at least one stage for Vgg");
  Sequential out;
  std::int64_t in = options.in_channels;
  for (const std::vector<std::int64_t>& stage : options.stages) {
    GPUNN_CHECK(!stage.empty(), "expected at least one convolution in each stage of Vgg");
    for (const std::int64_t width : stage) {
      Conv2d conv(in, width, 3, {.padding = 1});
      detail::init_for_relu(conv);
      out.add(std::move(conv));
      if (options.batch_norm) out.add(BatchNorm2d(width));
      out.add(ReLU());
      in = width;
    }
    out.add(MaxPool2d(2));
  }
  return out;
}

Sequential classifier_of(const VggOptions& options) {
  Sequential out;
  std::int64_t in = options.stages.back().back() * options.pooled.h * options.pooled.w;
  const auto add = [&](std::int64_t width) {
    Linear layer(in, width);
    init::normal(layer.weight, 0, 0.01);
    init::zeros(layer.bias);
    out.add(std::move(layer));
    in = width;
  };
  for (const std::int64_t width : options.hidden) {
    add(width);
    out.add(ReLU());
    if (options.dropout > 0) out.add(Dropout(options.dropout));
  }
  add(options.num_classes);
  return out;
}

}  // namespace

Vgg::Vgg(const VggOptions& options)
    : features(features_of(options)), avgpool(options.pooled), classifier(classifier_of(options)) {}

Tensor Vgg::forward(const Tensor& x) { return classifier(avgpool(features(x)).flatten(1)); }

VggOptions vgg_options(int depth, bool batch_norm) {
  GPUNN_CHECK(depth == 11 || depth == 13 || depth == 16 || depth == 19,
              "expected a depth of 11, 13, 16 or 19 for vgg, got ", depth);
  const std::size_t first = depth == 11 ? 1 : 2;
  const std::size_t later = depth == 19 ? 4 : depth == 16 ? 3 : 2;
  VggOptions options;
  options.batch_norm = batch_norm;
  options.stages = {std::vector<std::int64_t>(first, 64), std::vector<std::int64_t>(first, 128),
                    std::vector<std::int64_t>(later, 256), std::vector<std::int64_t>(later, 512),
                    std::vector<std::int64_t>(later, 512)};
  return options;
}

}  // namespace gpunn
