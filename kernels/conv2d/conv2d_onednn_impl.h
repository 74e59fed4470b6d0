#pragma once
// oneDNN's convolutions: what is made once for a problem and kept.
#include <cstddef>
#include <memory>

#include "gpunn/kernels/common/onednn_primitives_impl.h"
#include "gpunn/kernels/conv2d/conv2d_impl.h"

namespace gpunn::onednn {

enum class Kind : unsigned char { forward, dx, dw };

/// A convolution of `images` at a time.
struct Plan {
  Step convolution;
  Side x, w, y;
  std::size_t scratch_bytes = 0;  // the most of any step
};

/// The plan for these sizes, N being the images of a call; null where oneDNN has none. From a cache of the
/// process that keeps the 64 last used. Thread-safe.
std::shared_ptr<const Plan> plan_for(Kind kind, const Conv2dSizes& sizes, bool bias);

}  // namespace gpunn::onednn
