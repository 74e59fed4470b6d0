#include "gpunn/layers/residual.h"

#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/layers/detail/call_observer.h"

namespace gpunn {

namespace {

Conv2d conv1x1(std::int64_t in, std::int64_t out, std::int64_t stride = 1) {
  return Conv2d(in, out, 1, {.stride = stride, .bias = false});
}

Conv2d conv3x3(std::int64_t in, std::int64_t out, std::int64_t stride, std::int64_t groups = 1,
               std::int64_t dilation = 1) {
  return Conv2d(
      in, out, 3,
      {.stride = stride, .padding = dilation, .dilation = dilation, .groups = groups, .bias = false});
}

std::optional<Sequential> shortcut(std::int64_t in, std::int64_t out, std::int64_t stride) {
  if (in == out && stride == 1) return {};
  return Sequential(conv1x1(in, out, stride), BatchNorm2d(out));
}

std::int64_t bottleneck_width(std::int64_t planes, const BottleneckOptions& options) {
  return planes * options.base_width / 64 * options.groups;
}

}  // namespace

Tensor conv_norm_relu(Conv2d& conv, BatchNorm2d& norm, const Tensor& x, const Tensor& residual) {
  if (detail::call_observer()) {
    const Tensor y = norm(conv(x));
    return relu(residual.defined() ? y + residual : y);
  }
  if (norm.is_folded() && !residual.defined()) {
    ModuleScope scope(conv);
    return conv.forward_relu(x);
  }
  const Tensor y = conv(x);
  ModuleScope scope(norm);
  return norm.forward_relu(y, residual);
}

BasicBlock::BasicBlock(std::int64_t in_planes, std::int64_t planes, std::int64_t stride)
    : conv1(conv3x3(in_planes, planes, stride)),
      bn1(planes),
      conv2(conv3x3(planes, planes, 1)),
      bn2(planes),
      downsample(shortcut(in_planes, planes * kExpansion, stride)) {}

Tensor BasicBlock::forward(const Tensor& x) {
  const Tensor y = conv_norm_relu(conv1, bn1, x);
  return conv_norm_relu(conv2, bn2, y, downsample ? (*downsample)(x) : x);
}

std::int64_t BasicBlock::fold_own_batch_norms() { return fold_pair(conv1, bn1) + fold_pair(conv2, bn2); }

Bottleneck::Bottleneck(std::int64_t in_planes, std::int64_t planes, const BottleneckOptions& options)
    : conv1(conv1x1(in_planes, bottleneck_width(planes, options))),
      bn1(bottleneck_width(planes, options)),
      conv2(conv3x3(bottleneck_width(planes, options), bottleneck_width(planes, options), options.stride,
                    options.groups, options.dilation)),
      bn2(bottleneck_width(planes, options)),
      conv3(conv1x1(bottleneck_width(planes, options), planes * kExpansion)),
      bn3(planes * kExpansion),
      downsample(shortcut(in_planes, planes * kExpansion, options.stride)) {}

Tensor Bottleneck::forward(const Tensor& x) {
  const Tensor y = conv_norm_relu(conv2, bn2, conv_norm_relu(conv1, bn1, x));
  return conv_norm_relu(conv3, bn3, y, downsample ? (*downsample)(x) : x);
}

std::int64_t Bottleneck::fold_own_batch_norms() {
  return fold_pair(conv1, bn1) + fold_pair(conv2, bn2) + fold_pair(conv3, bn3);
}

}  // namespace gpunn
