#pragma once
// Seven numbers that describe the shape of a written digit.
#include <span>

#include "gpunn/core/tensor.h"

namespace gpunn::detail {

struct ShapeFeature {
  const char* name;     // "slant"
  const char* meaning;  // one line for people
};
/// In the order of the columns of shape_features().
std::span<const ShapeFeature> shape_feature_names() noexcept;

/// f32 [N, H, W], paper 0 and ink up to 1, to f32 [N, features] on the same device. A blank picture gives
/// finite values. Deterministic. Throws InvalidArgument for other ranks and dtypes.
Tensor shape_features(const Tensor& pictures);

/// Areas of paper that ink encloses: those of pixels below the threshold, connected by their sides, that
/// reach no border. `picture` [height, width].
int count_holes(std::span<const float> picture, int height, int width);

}  // namespace gpunn::detail
