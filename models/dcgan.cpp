#include "gpunn/models/dcgan.h"

#include <bit>

#include "gpunn/layers/activations.h"
#include "gpunn/layers/conv.h"
#include "gpunn/layers/init.h"
#include "gpunn/layers/norm.h"

namespace gpunn {

namespace {

// Doublings between 4x4 and the picture.
int doublings(const DcganOptions& options) {
  const std::int64_t size = options.picture_size;
  GPUNN_CHECK(size >= 8 && size <= 1024 && std::has_single_bit(static_cast<std::uint64_t>(size)),
              "expected a DCGAN picture size of 8, 16, ..., 1024, got ", size);
  return std::countr_zero(static_cast<std::uint64_t>(size)) - 2;
}

constexpr ConvTranspose2dLayerOptions kDouble{.stride = 2, .padding = 1, .bias = false};
constexpr Conv2dLayerOptions kHalve{.stride = 2, .padding = 1, .bias = false};

Sequential generator_layers(const DcganOptions& options) {
  const int steps = doublings(options);
  std::int64_t width = options.generator_width << (steps - 1);
  Sequential layers(ConvTranspose2d(options.latent, width, 4, {.bias = false}), BatchNorm2d(width), ReLU());
  for (int i = 1; i < steps; ++i, width /= 2) {
    layers.add(ConvTranspose2d(width, width / 2, 4, kDouble));
    layers.add(BatchNorm2d(width / 2));
    layers.add(ReLU());
  }
  layers.add(ConvTranspose2d(width, options.channels, 4, kDouble));
  layers.add(Tanh());
  return layers;
}

Sequential discriminator_layers(const DcganOptions& options) {
  const int steps = doublings(options);
  std::int64_t width = options.discriminator_width;
  Sequential layers(Conv2d(options.channels, width, 4, kHalve), LeakyReLU(0.2));
  for (int i = 1; i < steps; ++i, width *= 2) {
    layers.add(Conv2d(width, 2 * width, 4, kHalve));
    layers.add(BatchNorm2d(2 * width));
    layers.add(LeakyReLU(0.2));
  }
  layers.add(Conv2d(width, 1, 4, {.bias = false}));
  return layers;
}

}  // namespace

void dcgan_weights_init(Module& module) {
  struct Visitor final : MemberVisitor {
    void parameter(const char*, Parameter&) override {}
    void buffer(const char*, Buffer&) override {}
    void child(const char*, Module& child) override { draw(child); }
    void draw(Module& m) {
      if (auto* conv = dynamic_cast<Conv2d*>(&m)) init::normal(conv->weight, 0, 0.02);
      if (auto* conv = dynamic_cast<ConvTranspose2d*>(&m)) init::normal(conv->weight, 0, 0.02);
      if (auto* norm = dynamic_cast<BatchNorm*>(&m); norm && norm->weight.defined()) {
        init::normal(norm->weight, 1, 0.02);
        init::zeros(norm->bias);
      }
      m.visit_members(*this);
    }
  } visitor;
  visitor.draw(module);
}

DcganGenerator::DcganGenerator(const DcganOptions& options) : main(generator_layers(options)) {
  dcgan_weights_init(*this);
}

Tensor DcganGenerator::forward(const Tensor& z) {
  return main(z.dim() == 2 ? z.unsqueeze(2).unsqueeze(3) : z);
}

DcganDiscriminator::DcganDiscriminator(const DcganOptions& options) : main(discriminator_layers(options)) {
  dcgan_weights_init(*this);
}

Tensor DcganDiscriminator::forward(const Tensor& x) { return main(x).flatten(); }

}  // namespace gpunn
