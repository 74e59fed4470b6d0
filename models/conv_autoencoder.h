#pragma once
// A convolutional autoencoder: pictures to a short code and back.
#include <cstdint>
#include <vector>

#include "gpunn/layers/module.h"
#include "gpunn/layers/sequential.h"

namespace gpunn {

struct ConvAutoencoderOptions {
  std::int64_t in_channels = 1;
  Size2d picture = 28;                       // a multiple of 2 to the number of widths
  std::vector<std::int64_t> widths{16, 32};  // channels behind each halving
  std::int64_t code = 32;
};

/// encoder: 3x3 convolutions with stride 2 and ReLU, then a linear layer to [N, code]. decoder: the way back
/// by transposed convolutions, a sigmoid at the end, so pictures are in [0, 1]. forward() is both. Keys
/// "encoder.0.weight", "decoder.0.weight", ... Throws InvalidArgument for sizes that cannot be halved.
class GPUNN_API ConvAutoencoder : public Module {
 public:
  explicit ConvAutoencoder(const ConvAutoencoderOptions& options = {});
  Tensor forward(const Tensor& x) override { return decoder(encoder(x)); }

  Sequential encoder, decoder;
  GPUNN_MEMBERS(encoder, decoder)
};

}  // namespace gpunn
