// half and bfloat16 conversions against arithmetic in double.

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>

#include "gpunn/kernels/ptx/mma.cuh"

namespace gpunn::test {
namespace {

struct Format {
  int mantissa_bits, lowest_exponent, highest_exponent;  // of normal numbers
};
constexpr Format kHalf{10, -14, 15}, kBFloat16{7, -126, 127};

// The value of 16 bits, from the definition of the format.
double decode(const Format& f, std::uint32_t bits) {
  const int exponent_bits = 15 - f.mantissa_bits;
  const int exponent = static_cast<int>(bits >> f.mantissa_bits & ((1u << exponent_bits) - 1));
  const int mantissa = static_cast<int>(bits & ((1u << f.mantissa_bits) - 1));
  const double sign = (bits & 0x8000u) != 0 ? -1.0 : 1.0;
  if (exponent == (1 << exponent_bits) - 1) return mantissa != 0 ? NAN : sign * INFINITY;
  if (exponent == 0) return sign * std::ldexp(mantissa, f.lowest_exponent - f.mantissa_bits);
  return sign *
         std::ldexp(mantissa + (1 << f.mantissa_bits), exponent - 1 + f.lowest_exponent - f.mantissa_bits);
}

// Nearest representable value, ties to even: scaling by a power of two and rounding to an integer are exact
// in double.
double round_to(const Format& f, double x) {
  if (x == 0 || !std::isfinite(x)) return x;
  const int exponent = std::max(std::ilogb(x), f.lowest_exponent);
  const double unit = std::ldexp(1.0, exponent - f.mantissa_bits), rounded = std::nearbyint(x / unit) * unit;
  return std::fabs(rounded) >= std::ldexp(1.0, f.highest_exponent + 1) ? std::copysign(INFINITY, x) : rounded;
}

// Bit patterns spread over all floats, with neighbours of every half-way point of both formats among them.
template <class Function>
void for_many_floats(Function function) {
  for (std::uint64_t bits = 0; bits <= 0xffffffffu; bits += 4099)
    function(std::bit_cast<float>(std::uint32_t(bits)));
  for (std::uint32_t high = 0; high < 0x10000u; ++high)
    for (const std::uint32_t low : {0x0u, 0x1u, 0xfffu, 0x1000u, 0x1001u, 0x2fffu, 0x3000u, 0x3001u, 0x7fffu,
                                    0x8000u, 0x8001u, 0xffffu})
      function(std::bit_cast<float>(high << 16 | low));
}

TEST(HalfConversions, EveryHalfToFloat) {
  for (std::uint32_t bits = 0; bits < 0x10000u; ++bits) {
    const auto half = __ushort_as_half(static_cast<unsigned short>(bits));
    const double expected = decode(kHalf, bits), got = __half2float(half);
    if (std::isnan(expected)) {
      ASSERT_TRUE(std::isnan(got)) << bits;
      ASSERT_EQ(__half_as_ushort(__float2half_rn(__half2float(half))), 0x7fff);
    } else {
      ASSERT_EQ(got, expected) << bits;
      ASSERT_EQ(std::signbit(got), std::signbit(expected)) << bits;
      ASSERT_EQ(__half_as_ushort(__float2half_rn(__half2float(half))), bits);
    }
  }
}

TEST(HalfConversions, FloatToHalf) {
  for_many_floats([](float f) {
    const std::uint32_t bits = __half_as_ushort(__float2half_rn(f));
    if (std::isnan(f)) {
      ASSERT_EQ(bits, 0x7fffu);
    } else {
      ASSERT_EQ(decode(kHalf, bits), round_to(kHalf, f)) << f;
      ASSERT_EQ((bits & 0x8000u) != 0, std::signbit(f)) << f;
    }
  });
}

TEST(HalfConversions, FloatToBFloat16AndBack) {
  for_many_floats([](float f) {
    const auto b = __float2bfloat16_rn(f);
    const std::uint32_t bits = __bfloat16_as_ushort(b);
    if (std::isnan(f)) {
      ASSERT_EQ(bits, 0x7fffu);
    } else {
      ASSERT_EQ(decode(kBFloat16, bits), round_to(kBFloat16, f)) << f;
      ASSERT_EQ(static_cast<double>(__bfloat162float(b)), decode(kBFloat16, bits)) << f;
    }
  });
}

// cvt.rna.tf32: ten bits of mantissa, ties away from zero.
TEST(HalfConversions, FloatToTf32) {
  for_many_floats([](float f) {
    const std::uint32_t bits = ptx::cvt_rna_tf32(f);
    if (std::isnan(f)) {
      ASSERT_EQ(bits, 0x7fffffffu);
      return;
    }
    ASSERT_EQ(bits & 0x1fffu, 0u);
    double expected = f;
    if (f != 0 && std::isfinite(f)) {
      const double unit = std::ldexp(1.0, std::max(std::ilogb(f), -126) - 10);
      expected = std::round(static_cast<double>(f) / unit) * unit;
      if (std::fabs(expected) >= std::ldexp(1.0, 128)) expected = std::copysign(INFINITY, f);
    }
    ASSERT_EQ(static_cast<double>(std::bit_cast<float>(bits)), expected) << f;
  });
}

TEST(HalfConversions, Pairs) {
  const __half2 h = __floats2half2_rn(1.5f, -2.0f);
  EXPECT_EQ(__low2float(h), 1.5f);
  EXPECT_EQ(__high2float(h), -2.0f);
  const float2 b = __bfloat1622float2(__floats2bfloat162_rn(0.25f, -8.0f));
  EXPECT_EQ(b.x, 0.25f);
  EXPECT_EQ(b.y, -8.0f);
}

}  // namespace
}  // namespace gpunn::test
