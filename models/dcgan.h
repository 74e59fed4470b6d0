#pragma once
// DCGAN's two halves. A. Radford et al., "Unsupervised representation learning with deep convolutional
// generative adversarial networks", 2016; layers and keys ("main.0.weight") as in PyTorch's example.
#include <cstdint>

#include "gpunn/layers/module.h"
#include "gpunn/layers/sequential.h"

namespace gpunn {

struct DcganOptions {
  std::int64_t picture_size = 64;  // 4 times a power of two, at least 8
  std::int64_t channels = 3;
  std::int64_t latent = 100;              // length of the noise
  std::int64_t generator_width = 64;      // channels of the layer before the last
  std::int64_t discriminator_width = 64;  // channels behind the first layer
};

/// Convolutions N(0, 0.02²), batch norms' weights N(1, 0.02²) and biases 0; other parameters stay.
GPUNN_API void dcgan_weights_init(Module& module);

/// Noise [N, latent, 1, 1] (or [N, latent]) to pictures [N, channels, size, size] in [-1, 1]: transposed
/// convolutions with batch norm and ReLU, tanh at the end. Throws InvalidArgument for numbers out of range.
class GPUNN_API DcganGenerator : public Module {
 public:
  explicit DcganGenerator(const DcganOptions& options = {});
  Tensor forward(const Tensor& z) override;

  Sequential main;
  GPUNN_MEMBERS(main)
};

/// Pictures [N, channels, size, size] to logits [N] (PyTorch's example ends in a sigmoid; train with
/// binary_cross_entropy_with_logits). Convolutions with batch norm and leaky ReLU (0.2).
class GPUNN_API DcganDiscriminator : public Module {
 public:
  explicit DcganDiscriminator(const DcganOptions& options = {});
  Tensor forward(const Tensor& x) override;

  Sequential main;
  GPUNN_MEMBERS(main)
};

}  // namespace gpunn
