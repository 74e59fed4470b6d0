#include "gpunn/models/resnet.h"

#include <array>

#include "gpunn/models/detail/conv_init.h"

namespace gpunn {

namespace {

constexpr std::array kStageNames{"layer1", "layer2", "layer3", "layer4",
                                 "layer5", "layer6", "layer7", "layer8"};

ResNetOptions checked(const ResNetOptions& options) {
  GPUNN_CHECK(!options.blocks.empty() && options.blocks.size() <= kStageNames.size(),
              "expected 1 to 8 stages for ResNet, got ", options.blocks.size());
  for (const std::int64_t n : options.blocks)
    GPUNN_CHECK(n >= 1, "expected at least one block in each stage of ResNet, got ", n);
  return options;
}

std::int64_t expansion_of(const ResNetOptions& options) {
  return options.bottleneck ? Bottleneck::kExpansion : BasicBlock::kExpansion;
}

Conv2d stem(const ResNetOptions& options) {
  if (options.small_pictures)
    return Conv2d(options.in_channels, options.width, 3, {.padding = 1, .bias = false});
  return Conv2d(options.in_channels, options.width, 7, {.stride = 2, .padding = 3, .bias = false});
}

std::vector<Sequential> stages(const ResNetOptions& options) {
  std::vector<Sequential> out;
  const std::int64_t expansion = expansion_of(options);
  std::int64_t in = options.width, planes = options.width;
  for (std::size_t s = 0; s < options.blocks.size(); ++s, planes *= 2) {
    Sequential stage;
    for (std::int64_t n = 0; n < options.blocks[s]; ++n) {
      const std::int64_t stride = s > 0 && n == 0 ? 2 : 1;
      if (options.bottleneck)
        stage.add(Bottleneck(in, planes, {.stride = stride}));
      else
        stage.add(BasicBlock(in, planes, stride));
      in = planes * expansion;
    }
    out.push_back(std::move(stage));
  }
  return out;
}

void init_convolutions(Module& module) {
  struct Visitor final : MemberVisitor {
    void parameter(const char*, Parameter&) override {}
    void buffer(const char*, Buffer&) override {}
    void child(const char*, Module& child) override {
      if (auto* conv = dynamic_cast<Conv2d*>(&child)) detail::init_for_relu(*conv);
      child.visit_members(*this);
    }
  } visitor;
  module.visit_members(visitor);
}

}  // namespace

ResNet::ResNet(const ResNetOptions& options)
    : conv1(stem(checked(options))),
      bn1(options.width),
      layers(stages(options)),
      avgpool(1),
      fc((options.width << (options.blocks.size() - 1)) * expansion_of(options), options.num_classes) {
  if (!options.small_pictures) maxpool.emplace(3, PoolOptions{.stride = 2, .padding = 1});
  init_convolutions(*this);
}

Tensor ResNet::features(const Tensor& x) {
  Tensor y = conv_norm_relu(conv1, bn1, x);
  if (maxpool) y = (*maxpool)(y);
  for (Sequential& stage : layers) y = stage(y);
  return avgpool(y).flatten(1);
}

Tensor ResNet::forward(const Tensor& x) { return fc(features(x)); }

std::int64_t ResNet::fold_own_batch_norms() { return fold_pair(conv1, bn1); }

void ResNet::visit_members(MemberVisitor& visitor) {
  detail::visit_member(visitor, "conv1", conv1);
  detail::visit_member(visitor, "bn1", bn1);
  detail::visit_member(visitor, "maxpool", maxpool);
  for (std::size_t i = 0; i < layers.size(); ++i) visitor.child(kStageNames[i], layers[i]);
  detail::visit_member(visitor, "avgpool", avgpool);
  detail::visit_member(visitor, "fc", fc);
}

std::unique_ptr<Module> ResNet::copy_module() const { return std::make_unique<ResNet>(*this); }

ResNetOptions resnet18_options() { return {}; }
ResNetOptions resnet34_options() { return {.blocks = {3, 4, 6, 3}}; }
ResNetOptions resnet50_options() { return {.blocks = {3, 4, 6, 3}, .bottleneck = true}; }
ResNetOptions cifar_resnet_options(std::int64_t n) {
  return {.blocks = {n, n, n}, .width = 16, .num_classes = 10, .small_pictures = true};
}

}  // namespace gpunn
