#pragma once
// Bytes of pixels to floats, channel by channel.
#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "gpunn/training/colour_images.h"

namespace gpunn::detail {

/// (byte / 255 - mean) / std for each channel, each step rounded to float: PyTorch's ToTensor and Normalize.
class PixelTable {
 public:
  /// Throws InvalidArgument for means or deviations that are neither none nor one for each channel, are not
  /// finite, or a deviation that is not above 0.
  PixelTable(std::int64_t channels, const PixelScale& scale);
  /// `in` and `out` [channels, area].
  void apply(const std::uint8_t* in, float* out, std::size_t area) const;

 private:
  std::int64_t channels_;
  std::vector<std::array<float, 256>> values_;  // by channel; none: byte / 255
};

}  // namespace gpunn::detail
