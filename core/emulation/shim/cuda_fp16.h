#pragma once
// half for the emulated build: the toolkit's names for storage and conversion. Arithmetic goes through float.

#include <bit>
#include <cstdint>

#include "vector_types.h"

struct alignas(2) __half {
  std::uint16_t bits;
};
struct alignas(4) __half2 {
  __half x, y;
};
using half = __half;
using half2 = __half2;

inline unsigned short __half_as_ushort(__half h) { return h.bits; }
inline __half __ushort_as_half(unsigned short bits) { return {bits}; }

// Exact; NaN payloads are kept.
inline float __half2float(__half h) {
  const std::uint32_t sign = std::uint32_t(h.bits & 0x8000u) << 16;
  const std::uint32_t exponent = (h.bits >> 10) & 31u, mantissa = h.bits & 0x3ffu;
  std::uint32_t u = sign;
  if (exponent == 31) {
    u |= 0x7f800000u | (mantissa << 13);
  } else if (exponent != 0) {
    u |= ((exponent + 112) << 23) | (mantissa << 13);
  } else if (mantissa != 0) {  // subnormal: shift the leading one up to the implicit place
    const std::uint32_t shift = static_cast<std::uint32_t>(std::countl_zero(mantissa)) - 21;
    u |= ((113 - shift) << 23) | ((mantissa << (shift + 13)) & 0x7fffffu);
  }
  return std::bit_cast<float>(u);
}

// Round to nearest, ties to even, subnormals included. Every NaN becomes 0x7fff, as on the device.
inline __half __float2half_rn(float f) {
  constexpr std::uint32_t kOverflow = 0x477ff000u, kNormal = 0x38800000u, kUnderflow = 0x33000000u;
  const std::uint32_t u = std::bit_cast<std::uint32_t>(f);
  const std::uint32_t sign = (u >> 16) & 0x8000u, magnitude = u & 0x7fffffffu;
  std::uint32_t h = sign;
  if (magnitude > 0x7f800000u) {
    h = 0x7fffu;
  } else if (magnitude >= kOverflow) {
    h |= 0x7c00u;
  } else if (magnitude >= kNormal) {
    const std::uint32_t rebased = magnitude - 0x38000000u;
    h |= (rebased + 0xfffu + ((rebased >> 13) & 1u)) >> 13;
  } else if (magnitude >= kUnderflow) {
    const std::uint32_t mantissa = (magnitude & 0x7fffffu) | 0x800000u, shift = 126 - (magnitude >> 23);
    const std::uint32_t quotient = mantissa >> shift, rest = mantissa & ((1u << shift) - 1),
                        tie = 1u << (shift - 1);
    h |= quotient + (rest > tie || (rest == tie && (quotient & 1u)) ? 1u : 0u);
  }
  return {static_cast<std::uint16_t>(h)};
}
inline __half __float2half(float f) { return __float2half_rn(f); }

inline __half2 __floats2half2_rn(float a, float b) { return {__float2half_rn(a), __float2half_rn(b)}; }
inline __half2 __float22half2_rn(float2 v) { return __floats2half2_rn(v.x, v.y); }
inline float2 __half22float2(__half2 v) { return {__half2float(v.x), __half2float(v.y)}; }
inline __half2 __halves2half2(__half a, __half b) { return {a, b}; }
inline __half __low2half(__half2 v) { return v.x; }
inline __half __high2half(__half2 v) { return v.y; }
inline float __low2float(__half2 v) { return __half2float(v.x); }
inline float __high2float(__half2 v) { return __half2float(v.y); }
