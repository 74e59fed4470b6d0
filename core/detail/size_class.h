#pragma once
// Size classes: multiples of 64 bytes up to 512, then four to a doubling, so that at most a quarter is lost
// to rounding.
#include <bit>
#include <cstddef>

namespace gpunn::detail {

inline constexpr std::size_t kClassUnit = 64;
inline constexpr std::size_t kLinearClasses = 8;
inline constexpr std::size_t kSizeClasses = kLinearClasses + 4 * 48;  // up to 2^57 bytes, above kMaxRequest

/// Class of a request of 1 .. kMaxRequest bytes.
constexpr std::size_t size_class_of(std::size_t bytes) {
  if (bytes <= kLinearClasses * kClassUnit) return (bytes - 1) / kClassUnit;
  const auto shift = static_cast<std::size_t>(std::bit_width(bytes - 1)) - 3;
  return kLinearClasses + (shift - 7) * 4 + ((bytes - 1) >> shift) - 4;
}

/// Bytes of a block of that class.
constexpr std::size_t size_of_class(std::size_t c) {
  if (c < kLinearClasses) return (c + 1) * kClassUnit;
  const std::size_t step = c - kLinearClasses;
  return (step % 4 + 5) << (step / 4 + 7);
}

}  // namespace gpunn::detail
