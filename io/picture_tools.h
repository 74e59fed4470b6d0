#pragma once
// Pictures from tensors' values, and at another size.
#include <span>

#include "gpunn/core/api.h"
#include "gpunn/io/png.h"

namespace gpunn {

/// The picture at another size: bilinear, each pixel of a smaller one a mean with triangle weights over what
/// it covers (as Pillow's BILINEAR, without its rounding between the two directions). Throws InvalidArgument
/// unless both sides are 1 to 16384 and the picture has 1 or 3 channels and as many pixels as it says.
GPUNN_API Picture resize_picture(const Picture& picture, int width, int height);

/// A picture from planes of floats, [channels, height, width], whose range [low, high] becomes 0 to 255;
/// clamped, NaN becomes the middle. Throws InvalidArgument unless there are 1 or 3 channels and their values,
/// sides of 1 to 16384 (a third of it for 3 channels), and low < high.
GPUNN_API Picture planes_picture(std::span<const float> values, int channels, int height, int width,
                                 float low = 0, float high = 1);

}  // namespace gpunn
