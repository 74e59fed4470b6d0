#pragma once
// Elements as bits: what moves elements without computing needs their size only.
#include <cstdint>
#include <cstring>
#include <limits>

#include "gpunn/core/primitives_impl.h"

namespace gpunn {

/// The bits of `value` converted to `dtype`, in the low bytes.
inline std::uint64_t element_bits(DType dtype, double value) {
  std::uint64_t bits = 0;
  visit_dtype(dtype, [&]<class T>(T) {
    const T v = detail::convert_value<T>(value);
    std::memcpy(&bits, &v, sizeof v);
  });
  return bits;
}

/// What a read outside gives: NaN, or 0 for integers.
inline std::uint64_t outside_bits(DType dtype) {
  return element_bits(dtype, is_floating(dtype) ? std::numeric_limits<double>::quiet_NaN() : 0);
}

/// Calls f(U{}) with the unsigned integer of `bytes` bytes (1, 2, 4 or 8).
template <class F>
void for_element_size(std::size_t bytes, F&& f) {
  switch (bytes) {
    case 1:
      f(std::uint8_t{});
      break;
    case 2:
      f(std::uint16_t{});
      break;
    case 4:
      f(std::uint32_t{});
      break;
    default:
      f(std::uint64_t{});
      break;
  }
}

}  // namespace gpunn
