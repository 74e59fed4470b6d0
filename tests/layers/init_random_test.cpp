// Truncated normals against their distribution function, orthogonal matrices against orthogonality.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "gpunn/core/random.h"
#include "gpunn/layers/init.h"
#include "tests/support/devices.h"

namespace gpunn {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

double normal_cdf(double z) { return 0.5 * std::erfc(-z / std::sqrt(2.0)); }

TEST(TruncNormalTest, FollowsItsDistribution) {
  struct Case {
    double mean, std, a, b;
  };
  for (const Case& c : {Case{0, 1, -2, 2}, Case{1, 0.02, 0.97, 1.1}, Case{0, 1, 1, 4}, Case{3, 2, -5, 1}}) {
    manual_seed(11);
    const Tensor w = empty({100, 200});
    init::trunc_normal(w, c.mean, c.std, c.a, c.b);
    std::vector<float> v = w.to_vector<float>();
    std::sort(v.begin(), v.end());
    EXPECT_GE(v.front(), static_cast<float>(c.a));
    EXPECT_LE(v.back(), static_cast<float>(c.b));
    const double from = normal_cdf((c.a - c.mean) / c.std), to = normal_cdf((c.b - c.mean) / c.std);
    const auto n = static_cast<double>(v.size());
    double distance = 0;  // Kolmogorov and Smirnov's
    for (std::size_t i = 0; i < v.size(); ++i) {
      const double expected = (normal_cdf((static_cast<double>(v[i]) - c.mean) / c.std) - from) / (to - from);
      distance = std::max({distance, std::abs(expected - static_cast<double>(i) / n),
                           std::abs(expected - static_cast<double>(i + 1) / n)});
    }
    EXPECT_LT(distance, 1.95 / std::sqrt(n)) << c.a << " to " << c.b << ", level 0.001";
  }
}

TEST(TruncNormalTest, FarTails) {
  for (const double sign : {1.0, -1.0}) {
    manual_seed(5);
    const Tensor w = empty({5000}, {.dtype = DType::f64});
    init::trunc_normal(w, 0, 1, std::min(sign * 20, sign * 21), std::max(sign * 20, sign * 21));
    double sum = 0;
    for (const double v : w.to_vector<double>()) sum += sign * v;
    EXPECT_NEAR(sum / 5000, 20.0498, 0.003) << "20 + 1/20 - 2/20^3, about";
  }
}

class OrthogonalDevice : public testing::DeviceTest {};
GPUNN_ON_EVERY_DEVICE(OrthogonalDevice);

TEST_P(OrthogonalDevice, RowsOrColumnsAreOrthonormal) {
  for (const Shape& shape :
       {Shape{7, 31}, Shape{31, 7}, Shape{16, 16}, Shape{5, 3, 2, 2}, Shape{1, 4}, Shape{4, 1}}) {
    manual_seed(3);
    const Tensor w = empty(shape, {.device = device()});
    init::orthogonal(w, 1.5);
    const std::vector<float> v = w.to_vector<float>();
    const auto rows = static_cast<std::size_t>(shape.at(0)), cols = v.size() / rows;
    const bool by_row = rows <= cols;
    const std::size_t count = std::min(rows, cols), length = std::max(rows, cols);
    for (std::size_t a = 0; a < count; ++a) {
      for (std::size_t b = 0; b <= a; ++b) {
        double dot = 0;
        for (std::size_t i = 0; i < length; ++i)
          dot += by_row ? static_cast<double>(v[a * cols + i]) * v[b * cols + i]
                        : static_cast<double>(v[i * cols + a]) * v[i * cols + b];
        EXPECT_NEAR(dot, a == b ? 2.25 : 0, 1e-5) << shape.at(0) << " rows, " << a << " and " << b;
      }
    }
  }
}

TEST(OrthogonalTest, SignsAreFair) {
  // With R's diagonal positive, the first entry's sign is the normal draw's.
  int positive = 0;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    manual_seed(seed);
    const Tensor w = empty({3, 3});
    init::orthogonal(w);
    positive += w.to_vector<float>()[0] > 0;
  }
  EXPECT_NEAR(positive, 100, 30);
}

TEST(InitRandomTest, RefusesWhatItCannotFill) {
  const Tensor w = zeros({2, 2});
  EXPECT_THROW(init::trunc_normal(Tensor()), InvalidArgument);
  EXPECT_THROW(init::trunc_normal(w, 0, 0), InvalidArgument);
  EXPECT_THROW(init::trunc_normal(w, 0, 1, 2, -2), InvalidArgument);
  EXPECT_THROW(init::trunc_normal(w, std::nan("")), InvalidArgument);
  EXPECT_THAT([&] { init::trunc_normal(w, 0, 1, 60, 61); },
              ThrowsMessage<InvalidArgument>(HasSubstr("some probability")));
  EXPECT_THROW(init::orthogonal(zeros({3})), InvalidArgument);
  EXPECT_THROW(init::orthogonal(zeros({3, 3}, {.dtype = DType::i64})), InvalidArgument);
  EXPECT_THROW(init::orthogonal(w, std::numeric_limits<double>::infinity()), InvalidArgument);
  init::orthogonal(zeros({0, 3}));
  init::trunc_normal(zeros({0}));
}

}  // namespace
}  // namespace gpunn
