#pragma once
// Vision transformer: a picture as a row of patches.
//
//   x_0 = [class token; patches through one convolution] + positions;  pre-norm encoder layers with GELU
//   logits = head(norm(x)_0)
//
// A. Dosovitskiy et al., "An image is worth 16x16 words: transformers for image recognition at scale", 2021.
#include <cstdint>
#include <vector>

#include "gpunn/layers/conv.h"
#include "gpunn/layers/dropout.h"
#include "gpunn/layers/transformer.h"

namespace gpunn {

/// The defaults are those of ViT-B/16.
struct VitOptions {
  std::int64_t image = 224;  // height and width
  std::int64_t patch = 16;   // of each patch
  std::int64_t channels = 3;
  std::int64_t classes = 1000;
  std::int64_t features = 768;
  std::int64_t layers = 12;
  std::int64_t heads = 12;
  std::int64_t inner = 3072;  // of the feed forward part
  double dropout = 0;
  double eps = 1e-6;
};

/// [N, channels, image, image] to logits [N, classes]. Initial values: matrices and positions N(0, 0.02²)
/// within two deviations, biases and the class token 0. Throws InvalidArgument for sizes below 1, a patch
/// that does not divide the image, heads that do not divide the features; in forward for other pictures.
class GPUNN_API Vit : public Module {
 public:
  explicit Vit(const VitOptions& options = {});
  Tensor forward(const Tensor& x) override;
  /// Weights [N, heads, 1 + patches, 1 + patches] of every layer, in evaluation mode and without gradients.
  std::vector<Tensor> attention_maps(const Tensor& x);
  /// Patches of a row and of a column.
  std::int64_t grid() const noexcept { return options_.image / options_.patch; }
  const VitOptions& options() const noexcept { return options_; }

  Conv2d patches;
  Parameter class_token;  // [1, 1, E]
  Parameter positions;    // [1, 1 + patches, E]
  Dropout dropout;
  TransformerEncoder encoder;
  Linear head;
  GPUNN_MEMBERS(patches, class_token, positions, dropout, encoder, head)

 private:
  Tensor embed(const Tensor& x);
  VitOptions options_;
};

}  // namespace gpunn
