#include "gpunn/core/shape.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "gpunn/core/error.h"

namespace gpunn {
namespace {

constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();

TEST(Shape, RankIsLimitedToEight) {
  EXPECT_EQ(Dims({1, 2, 3, 4, 5, 6, 7, 8}).rank(), 8);
  EXPECT_THROW(Dims({1, 2, 3, 4, 5, 6, 7, 8, 9}), InvalidArgument);
  Dims full = Dims::filled(8, 1);
  EXPECT_THROW(full.push_back(1), InvalidArgument);
}

TEST(Shape, BytesAreCheckedForOverflow) {
  EXPECT_EQ(checked_bytes({2, 3}, DType::f32), 24u);
  EXPECT_EQ(checked_bytes({}, DType::f64), 8u);
  EXPECT_EQ(checked_bytes({0, 5}, DType::f32), 0u);
  EXPECT_THROW(checked_bytes({kMax, 2}, DType::u8), InvalidArgument);
  EXPECT_THROW(checked_bytes({kMax}, DType::f16), InvalidArgument);
  EXPECT_THROW(checked_bytes({-1}, DType::f32), InvalidArgument);
  // An empty tensor whose other extents overflow would still get wrong strides.
  EXPECT_THROW(checked_bytes({0, kMax, kMax}, DType::f32), InvalidArgument);
}

TEST(Shape, CheckedArithmetic) {
  EXPECT_EQ(checked_mul(1 << 20, 1 << 20), std::int64_t{1} << 40);
  EXPECT_THROW(checked_mul(kMax, 2), InvalidArgument);
  EXPECT_THROW(checked_add(kMax, 1), InvalidArgument);
}

TEST(Shape, Strides) {
  EXPECT_EQ(contiguous_strides({2, 3, 4}), Strides({12, 4, 1}));
  EXPECT_EQ(contiguous_strides({2, 0, 4}), Strides({4, 4, 1}));
  EXPECT_EQ(channels_last_strides({2, 3, 4, 5}), Strides({60, 1, 15, 3}));
  EXPECT_THROW(channels_last_strides({2, 3}), InvalidArgument);
}

TEST(Shape, Broadcasting) {
  EXPECT_EQ(broadcast_shapes({2, 1, 4}, {3, 1}), Shape({2, 3, 4}));
  EXPECT_EQ(broadcast_shapes({}, {5}), Shape({5}));
  EXPECT_EQ(broadcast_shapes({1}, {0}), Shape({0}));
  EXPECT_THROW(broadcast_shapes({2}, {3}), InvalidArgument);
  EXPECT_THROW(broadcast_shapes({2}, {0}), InvalidArgument);
}

TEST(Shape, DimensionsCountFromTheEnd) {
  EXPECT_EQ(normalize_dim(-1, 3), 2);
  EXPECT_THROW(normalize_dim(3, 3), InvalidArgument);
  EXPECT_THROW(normalize_dim(-4, 3), InvalidArgument);
  EXPECT_THROW(normalize_dim(0, 0), InvalidArgument);
  EXPECT_EQ(Shape({4, 5}).at(-2), 4);
}

TEST(DType, NamesRoundTrip) {
  for (int i = 0; i < kDTypeCount; ++i) {
    const auto t = static_cast<DType>(i);
    EXPECT_EQ(parse_dtype(name_of(t)), t);
  }
  EXPECT_EQ(parse_dtype("bfloat16"), DType::bf16);
  EXPECT_THROW(parse_dtype("f8"), InvalidArgument);
}

TEST(DType, VisitMatchesSize) {
  for (int i = 0; i < kDTypeCount; ++i) {
    const auto t = static_cast<DType>(i);
    visit_dtype(t, [&](auto zero) {
      EXPECT_EQ(sizeof zero, size_of(t));
      EXPECT_EQ(dtype_of<decltype(zero)>, t);
    });
  }
}

TEST(Float16, EveryHalfSurvivesARoundTrip) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    Half h;
    h.bits = static_cast<std::uint16_t>(bits);
    const float f = static_cast<float>(h);
    const std::uint16_t back = Half(f).bits;
    if (std::isnan(f))
      EXPECT_EQ(back, 0x7fff);
    else
      ASSERT_EQ(back, bits) << f;
  }
}

TEST(Float16, HalfRoundsLikeTheCompilersType) {
  // Steps through the float range with a stride that hits ties, subnormals and overflow.
  for (std::uint64_t u = 0; u < 0x100000000u; u += 4093) {
    float f;
    const auto word = static_cast<std::uint32_t>(u);
    std::memcpy(&f, &word, sizeof f);
    if (std::isnan(f)) continue;
    const auto reference = static_cast<_Float16>(f);
    std::uint16_t want;
    std::memcpy(&want, &reference, sizeof want);
    ASSERT_EQ(Half(f).bits, want) << f;
  }
}

TEST(Float16, BFloatRoundsToNearestEven) {
  EXPECT_EQ(BFloat16(1.0f).bits, 0x3f80);
  EXPECT_EQ(BFloat16(1.00390625f).bits, 0x3f80);  // tie, stays even
  EXPECT_EQ(BFloat16(1.01171875f).bits, 0x3f82);  // tie, goes up to even
  EXPECT_EQ(BFloat16(3.4e38f).bits, 0x7f80);      // beyond the largest finite value
  EXPECT_EQ(BFloat16(std::nanf("")).bits, 0x7fff);
  EXPECT_EQ(static_cast<float>(BFloat16(-2.5f)), -2.5f);
}

}  // namespace
}  // namespace gpunn
