#include "gpunn/models/conv_autoencoder.h"

#include "gpunn/layers/activations.h"
#include "gpunn/layers/conv.h"
#include "gpunn/layers/linear.h"

namespace gpunn {

namespace {

// The smallest pictures, behind the last halving.
Size2d smallest(const ConvAutoencoderOptions& options) {
  GPUNN_CHECK(!options.widths.empty() && options.widths.size() <= 16,
              "expected 1 to 16 widths for ConvAutoencoder, got ", options.widths.size());
  const std::int64_t factor = std::int64_t{1} << options.widths.size();
  const Size2d size = options.picture;
  GPUNN_CHECK(size.h >= factor && size.w >= factor && size.h % factor == 0 && size.w % factor == 0,
              "expected a picture size that is a multiple of ", factor, ", got ", size.h, " x ", size.w);
  return {size.h / factor, size.w / factor};
}

Sequential encoder_of(const ConvAutoencoderOptions& options) {
  const Size2d size = smallest(options);
  Sequential layers;
  std::int64_t in = options.in_channels;
  for (const std::int64_t width : options.widths) {
    layers.add(Conv2d(in, width, 3, {.stride = 2, .padding = 1}));
    layers.add(ReLU());
    in = width;
  }
  layers.add(Flatten());
  layers.add(Linear(in * size.h * size.w, options.code));
  return layers;
}

Sequential decoder_of(const ConvAutoencoderOptions& options) {
  const Size2d size = smallest(options);
  std::int64_t in = options.widths.back();
  Sequential layers(Linear(options.code, in * size.h * size.w), ReLU(), Unflatten(1, {in, size.h, size.w}));
  for (std::size_t i = options.widths.size(); i-- > 0;) {
    const std::int64_t width = i > 0 ? options.widths[i - 1] : options.in_channels;
    layers.add(ConvTranspose2d(in, width, 3, {.stride = 2, .padding = 1, .output_padding = 1}));
    if (i > 0) layers.add(ReLU());
    in = width;
  }
  layers.add(Sigmoid());
  return layers;
}

}  // namespace

ConvAutoencoder::ConvAutoencoder(const ConvAutoencoderOptions& options)
    : encoder(encoder_of(options)), decoder(decoder_of(options)) {}

}  // namespace gpunn
