#include "tests/support/compare.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "tests/support/fill.h"

namespace gpunn {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
const double kNan = std::nan("");

Comparison compare_one(DType dtype, double got, double truth, double rounded, Tolerance t = {}) {
  unsigned char bytes[8];
  store_element(bytes, dtype, 0, got);
  return compare(bytes, dtype, std::vector{truth}, std::vector{rounded}, std::vector{std::abs(truth)}, t);
}

TEST(Compare, NanAndInfinity) {
  EXPECT_FALSE(compare_one(DType::f32, kNan, 1, 1).ok);
  EXPECT_FALSE(compare_one(DType::f32, kInfinity, 1, 1).ok);
  EXPECT_FALSE(compare_one(DType::f32, 1, kNan, kNan).ok);
  EXPECT_FALSE(compare_one(DType::f32, 1, kInfinity, kInfinity).ok);
  EXPECT_FALSE(compare_one(DType::f32, -kInfinity, kInfinity, kInfinity).ok);
  EXPECT_FALSE(compare_one(DType::f32, kNan, kInfinity, kInfinity).ok);
  EXPECT_TRUE(compare_one(DType::f32, kNan, kNan, kNan).ok);
  EXPECT_TRUE(compare_one(DType::f32, -kInfinity, -kInfinity, -kInfinity).ok);
  // The reference overflows f16, so that infinity is right although the truth is finite.
  EXPECT_TRUE(compare_one(DType::f16, kInfinity, 1e6, kInfinity).ok);
}

TEST(Compare, FloatBoundGrowsWithTermsAndScale) {
  const double eps = std::numeric_limits<float>::epsilon();
  EXPECT_TRUE(compare_one(DType::f32, 1 + 4 * eps, 1, 1).ok);
  EXPECT_FALSE(compare_one(DType::f32, 1 + 5 * eps, 1, 1).ok);
  EXPECT_TRUE(compare_one(DType::f32, 1 + 40 * eps, 1, 1, {.k = 100}).ok);
  EXPECT_FALSE(compare_one(DType::f32, 1 + 42 * eps, 1, 1, {.k = 100}).ok);
  const float got[] = {1, 1e-3f + 1e-7f};
  const std::vector<double> truth{1, static_cast<double>(1e-3f)};
  EXPECT_FALSE(compare(got, DType::f32, truth, truth, truth, {}).ok);
  EXPECT_TRUE(compare(got, DType::f32, truth, truth, std::vector{1.0}, {}).ok);
}

TEST(Compare, HalvesMayErrTwiceAsMuchAsRounding) {
  // Neighbours of 1 are 2^-7 apart in bf16 and 2^-10 in f16 (upwards).
  EXPECT_TRUE(compare_one(DType::bf16, 1 + 0x1p-7, 1, 1).ok);
  EXPECT_FALSE(compare_one(DType::bf16, 1 + 0x1p-6, 1, 1).ok);
  EXPECT_TRUE(compare_one(DType::f16, 1 + 0x1p-10, 1, 1).ok);
  EXPECT_FALSE(compare_one(DType::f16, 1 + 0x1p-9, 1, 1).ok);
  EXPECT_TRUE(compare_one(DType::f16, 0x1p-24, 0, 0).ok);
  EXPECT_FALSE(compare_one(DType::f16, 0x1p-23, 0, 0).ok);
}

TEST(Compare, IntegersMustBeEqual) {
  EXPECT_TRUE(compare_one(DType::i64, 7, 7, 7).ok);
  EXPECT_FALSE(compare_one(DType::i64, 7, 8, 8).ok);
}

TEST(Compare, ReportsTheWorstElement) {
  const float got[] = {1, 2.5f, std::numeric_limits<float>::quiet_NaN(), 0};
  const std::vector<double> truth{1, 2, 3, 4};
  const Comparison c = compare(got, DType::f32, truth, truth, truth, {});
  EXPECT_FALSE(c.ok);
  EXPECT_EQ(c.wrong, 3);
  EXPECT_EQ(c.element, 2);
  EXPECT_EQ(c.zero_fraction, 0.25);
  EXPECT_TRUE(compare(got, DType::f32, {}, {}, std::vector{0.0}, {}).ok);
}

TEST(Fill, IsReproducibleAndInRange) {
  PhiloxStream a(1, 2), b(1, 2), c(1, 3);
  const Fill normal = fill::normal(0, 1);
  const double first = normal(0, a);
  EXPECT_EQ(first, normal(0, b));
  EXPECT_NE(first, normal(0, c));
  for (int i = 0; i < 1000; ++i) {
    const double whole = fill::integers(-2, 3)(i, a);
    EXPECT_TRUE(whole >= -2 && whole < 3 && whole == std::floor(whole));
    EXPECT_GE(std::abs(fill::avoid(0, 0.1, normal)(i, a)), 0.1);
    EXPECT_EQ(fill::every(3, 5, normal, 1)(i, a) == 5, i % 3 == 1);
  }
}

}  // namespace
}  // namespace gpunn
