#pragma once
// IEEE half and bfloat16 as storage types. Arithmetic happens in float; conversions round to nearest even.
// Usable in host and device code: both are bit manipulation only, so every device gives the same bits.
#include <cstdint>
#include <cstring>

#include "gpunn/core/hd.h"

namespace gpunn {

namespace detail {

GPUNN_HD std::uint32_t bits_of(float f) {
  std::uint32_t u;
  memcpy(&u, &f, sizeof u);
  return u;
}
GPUNN_HD float float_of(std::uint32_t u) {
  float f;
  memcpy(&f, &u, sizeof f);
  return f;
}

GPUNN_HD std::uint16_t bf16_bits(float f) {
  const std::uint32_t u = bits_of(f);
  if ((u & 0x7fffffffu) > 0x7f800000u) return 0x7fff;  // every NaN becomes one quiet NaN, as on the GPU
  return static_cast<std::uint16_t>((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
}

GPUNN_HD std::uint16_t half_bits(float f) {
  const std::uint32_t u = bits_of(f);
  const std::uint32_t sign = (u >> 16) & 0x8000u;
  const std::uint32_t a = u & 0x7fffffffu;
  if (a > 0x7f800000u) return 0x7fff;
  if (a >= 0x477ff000u) return static_cast<std::uint16_t>(sign | 0x7c00u);  // rounds beyond 65504
  if (a >= 0x38800000u) {                                                   // normal half
    const std::uint32_t r = a - 0x38000000u;
    return static_cast<std::uint16_t>(sign | ((r + 0xfffu + ((r >> 13) & 1u)) >> 13));
  }
  if (a < 0x33000000u) return static_cast<std::uint16_t>(sign);  // below half of the least subnormal
  const std::uint32_t shift = 126u - (a >> 23);
  const std::uint32_t m = (a & 0x7fffffu) | 0x800000u;
  std::uint32_t q = m >> shift;
  const std::uint32_t rest = m & ((1u << shift) - 1u), tie = 1u << (shift - 1u);
  if (rest > tie || (rest == tie && (q & 1u))) ++q;
  return static_cast<std::uint16_t>(sign | q);
}

GPUNN_HD float half_value(std::uint16_t h) {
  const std::uint32_t sign = static_cast<std::uint32_t>(h & 0x8000u) << 16;
  const std::uint32_t e = (h >> 10) & 31u;
  std::uint32_t m = h & 0x3ffu;
  if (e == 31u) return float_of(sign | 0x7f800000u | (m << 13));
  if (e != 0u) return float_of(sign | ((e + 112u) << 23) | (m << 13));
  if (m == 0u) return float_of(sign);
  std::uint32_t exponent = 113u;  // subnormal: shift the leading one into place
  while (!(m & 0x400u)) {
    m <<= 1;
    --exponent;
  }
  return float_of(sign | (exponent << 23) | ((m & 0x3ffu) << 13));
}

}  // namespace detail

/// IEEE binary16.
struct Half {
  std::uint16_t bits;
  Half() = default;
  GPUNN_HD explicit Half(float f) : bits(detail::half_bits(f)) {}
  GPUNN_HD explicit operator float() const { return detail::half_value(bits); }
};

/// The upper half of an IEEE binary32.
struct BFloat16 {
  std::uint16_t bits;
  BFloat16() = default;
  GPUNN_HD explicit BFloat16(float f) : bits(detail::bf16_bits(f)) {}
  GPUNN_HD explicit operator float() const {
    return detail::float_of(static_cast<std::uint32_t>(bits) << 16);
  }
};

}  // namespace gpunn
