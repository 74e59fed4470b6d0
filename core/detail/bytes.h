#pragma once
// Sizes of memory: rounding and words for messages.
#include <cstddef>
#include <string>

#include "gpunn/core/api.h"

namespace gpunn::detail {

/// Requests above this cannot be met by any machine; refusing them first keeps the size arithmetic from
/// wrapping.
inline constexpr std::size_t kMaxRequest = std::size_t{1} << 56;

constexpr std::size_t round_up(std::size_t value, std::size_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

/// "1.50 GiB", "300 B"
GPUNN_API std::string bytes_text(std::size_t bytes);

}  // namespace gpunn::detail
