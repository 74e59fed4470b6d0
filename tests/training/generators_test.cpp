// Generated data: where the points lie, how many of each class, and the same bits for the same seed.
#include "gpunn/training/generators.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "gpunn/core/error.h"
#include "gpunn/core/random.h"

namespace gpunn {
namespace {

struct Circles {
  std::vector<float> points;
  std::vector<std::int64_t> labels;
  double radius(std::size_t i) const { return std::hypot(points[2 * i], points[2 * i + 1]); }
};

Circles circles(const CirclesOptions& options) {
  const LabelledPoints made = make_circles(options);
  EXPECT_EQ(made.points.shape(), (Shape{options.samples, 2}));
  EXPECT_EQ(made.labels.shape(), (Shape{options.samples}));
  EXPECT_TRUE(made.points.device().is_cpu());
  return {made.points.to_vector<float>(), made.labels.to_vector<std::int64_t>()};
}

TEST(MakeCircles, WithoutNoiseEveryPointIsOnItsCircle) {
  for (const std::int64_t n : {2, 7, 100}) {
    for (const double factor : {0.0, 0.3, 0.8}) {
      const Circles made = circles({.samples = n, .factor = factor});
      std::int64_t inner = 0;
      for (std::size_t i = 0; i < made.labels.size(); ++i) {
        inner += made.labels[i];
        EXPECT_NEAR(made.radius(i), made.labels[i] == 1 ? factor : 1.0, 1e-6);
      }
      EXPECT_EQ(inner, n - n / 2);
    }
  }
}

TEST(MakeCircles, AnglesAreEven) {
  const Circles made = circles({.samples = 8, .factor = 0.5, .shuffle = false});
  EXPECT_EQ(made.labels, (std::vector<std::int64_t>{0, 0, 0, 0, 1, 1, 1, 1}));
  const std::vector<float> expected{1, 0, 0, 1, -1, 0, 0, -1, 0.5f, 0, 0, 0.5f, -0.5f, 0, 0, -0.5f};
  for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(made.points[i], expected[i], 1e-7);
}

TEST(MakeCircles, NoiseHasItsStandardDeviation) {
  const CirclesOptions options{.samples = 20000, .noise = 0.1, .factor = 0.3, .shuffle = false, .seed = 3};
  CirclesOptions clean = options;
  clean.noise = 0;
  const Circles noisy = circles(options), exact = circles(clean);
  double sum = 0, squares = 0;
  for (std::size_t i = 0; i < noisy.points.size(); ++i) {
    const double d = noisy.points[i] - exact.points[i];
    sum += d;
    squares += d * d;
  }
  const auto n = static_cast<double>(noisy.points.size());
  // Five standard errors of mean and deviation.
  EXPECT_NEAR(sum / n, 0, 5 * 0.1 / std::sqrt(n));
  EXPECT_NEAR(std::sqrt(squares / n), 0.1, 5 * 0.1 / std::sqrt(2 * n));
}

TEST(MakeCircles, OneSeedGivesTheSameBits) {
  const CirclesOptions options{.samples = 200, .noise = 0.1, .factor = 0.3, .seed = 5};
  const Circles first = circles(options);
  manual_seed(99);
  EXPECT_EQ(circles(options).points, first.points);
  EXPECT_EQ(circles(options).labels, first.labels);
  CirclesOptions other = options;
  other.seed = 6;
  EXPECT_NE(circles(other).points, first.points);
  EXPECT_NE(circles(other).labels, first.labels);
  // Shuffled, they are the same rows in another order.
  other = options;
  other.shuffle = false;
  const Circles plain = circles(other);
  EXPECT_NE(plain.points, first.points);
  const auto sorted = [](std::vector<float> v) {
    std::sort(v.begin(), v.end());
    return v;
  };
  EXPECT_EQ(sorted(plain.points), sorted(first.points));
  // What is drawn is nobody else's: weights drawn with this seed are other numbers.
  manual_seed(5);
  const std::vector<float> weights = randn({2}, {.device = Device::cpu()}).to_vector<float>();
  EXPECT_GT(std::abs((plain.points[0] - 1) / 0.1f - weights[0]), 1e-4f);
}

TEST(MakeCircles, RefusesWhatMakesNoCircles) {
  const double nan = std::nan(""), inf = std::numeric_limits<double>::infinity();
  for (const CirclesOptions& options : std::vector<CirclesOptions>{{.samples = 1},
                                                                   {.samples = -4},
                                                                   {.noise = -0.1},
                                                                   {.noise = nan},
                                                                   {.noise = inf},
                                                                   {.factor = 1},
                                                                   {.factor = -0.1},
                                                                   {.factor = nan}})
    EXPECT_THROW(make_circles(options), InvalidArgument);
}

}  // namespace
}  // namespace gpunn
