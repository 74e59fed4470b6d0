#pragma once
// Pictures to pictures.
#include "gpunn/core/api.h"
#include "gpunn/io/png.h"

namespace gpunn {

/// The picture at another size: bilinear, each pixel of a smaller one a mean with triangle weights over what
/// it covers (as Pillow's BILINEAR, without its rounding between the two directions). Throws InvalidArgument
/// unless both sides are 1 to 16384 and the picture has 1 or 3 channels and as many pixels as it says.
GPUNN_API Picture resize_picture(const Picture& picture, int width, int height);

}  // namespace gpunn
