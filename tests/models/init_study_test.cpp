// init-study: theory, what is measured, and the parts that measure.
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "gpunn/io/file.h"
#include "gpunn/models/recipes/detail/init_study.h"
#include "tests/io/markup.h"
#include "tests/models/recipe_testing.h"

namespace gpunn {
namespace {

using detail::Deviation;
using detail::InitScheme;

const InitScheme& scheme(const std::string& key) {
  for (const InitScheme& s : detail::init_schemes())
    if (s.key == key) return s;
  throw InvalidArgument("no scheme " + key);
}

class InitStudyTest : public testing::RecipeTest {};
GPUNN_ON_EVERY_DEVICE(InitStudyTest);

TEST_P(InitStudyTest, MeasuredEqualsTheory) {
  if (!device().is_cpu()) GTEST_SKIP() << "EveryDeviceMeasuresTheSame compares devices";
  const bool full = testing::full_length(device());
  const RecipeResult result =
      run("init-study", full ? R"({"networks": 1600})" : R"({"networks": 64, "rows": 256})");
  const std::map<std::string, double> metrics(result.metrics.begin(), result.metrics.end());
  // The fewer networks, the larger the chance deviation: about 4 % from 64 of them, 0.9 % from 1,600.
  EXPECT_LE(metrics.at("worst_deviation_relu_stack"), full ? 0.04 : 0.15);
  EXPECT_LE(metrics.at("worst_deviation_linear_stack"), full ? 0.04 : 0.15);
  EXPECT_LE(metrics.at("worst_deviation_layer"), full ? 0.02 : 0.03);
  EXPECT_GT(metrics.at("worst_deviation"), 0);
  EXPECT_EQ(result.reached, metrics.at("worst_deviation") <= 0.02);
  const std::string report = read_text_file(result.report);
  testing::expect_well_formed(report);
  for (const char* part : {"Density of the weights", "Gradients, with ReLU",
                           "ReLU-Glorot, variance 4/(in+out)", "std 1/max: gradients", "layer 10"})
    EXPECT_NE(report.find(part), std::string::npos) << part;
}

TEST_P(InitStudyTest, EveryDeviceMeasuresTheSame) {
  // Random numbers are drawn on the CPU: only rounding differs.
  const char* json = R"({"networks": 1, "rows": 2})";
  const RecipeResult result = run("init-study", json);
  const RecipeResult cpu =
      run_recipe(find_recipe("init-study"), *settings("init-study", json, "cpu"), Device::cpu());
  ASSERT_EQ(result.metrics.size(), cpu.metrics.size());
  for (std::size_t i = 0; i < cpu.metrics.size(); ++i)
    EXPECT_NEAR(result.metrics[i].second, cpu.metrics[i].second, 1e-4) << cpu.metrics[i].first;
}

TEST_P(InitStudyTest, StopsWhenAsked) {
  if (!device().is_cpu()) GTEST_SKIP() << "the same code on every device";
  RecipeHooks hooks;
  hooks.stop = [] { return true; };
  const RecipeResult result = run("init-study", R"({"rows": 1})", hooks);
  EXPECT_TRUE(result.stopped);
  EXPECT_FALSE(result.reached);
}

TEST(InitTheory, RulesThatKeepTheVariance) {
  // He's variance 2 / n_in makes up for ReLU's half: std sqrt(2) at every layer. Xavier's keeps 1 without it.
  for (const double s : detail::expected_activations(scheme("he"), true)) EXPECT_NEAR(s, std::sqrt(2), 1e-12);
  for (const double s : detail::expected_activations(scheme("xavier"), false)) EXPECT_NEAR(s, 1, 1e-12);
  for (const InitScheme& s : detail::init_schemes()) {
    for (const double v : detail::expected_activations(s, true))
      EXPECT_EQ(v == 0, std::string(s.key) == "zeros");
  }
}

TEST(InitTheory, LayersMultiply) {
  // N(0, 0.01^2): from 128 inputs, then from 64; with ReLU half of the mean square from the second layer on.
  const InitScheme& s = scheme("normal");
  const double wide = 0.01 * std::sqrt(128), narrow = 0.01 * std::sqrt(64);
  EXPECT_NEAR(detail::expected_activations(s, false)[2], wide * narrow * wide, 1e-12);
  EXPECT_NEAR(detail::expected_activations(s, true)[2], wide * narrow * wide / 2, 1e-12);
  // Backward a layer's outputs count: 128 units in the last, 64 in the one before.
  EXPECT_NEAR(detail::expected_gradients(s, false)[9], wide, 1e-12);
  EXPECT_NEAR(detail::expected_gradients(s, false)[8], wide * narrow, 1e-12);
  EXPECT_NEAR(detail::expected_gradients(s, true)[8], wide * narrow / 2, 1e-12);
  // The input has no ReLU before it.
  const auto with = detail::expected_gradients(s, true), without = detail::expected_gradients(s, false);
  EXPECT_NEAR(with[0] / without[0], std::pow(0.5, 4.5), 1e-12);
}

TEST(InitStudyParts, DeviationsNeverHideWhatIsOdd) {
  EXPECT_EQ((Deviation{0, 0}).relative(), 0);
  EXPECT_NEAR((Deviation{1.1, 1}).relative(), 0.1, 1e-12);
  EXPECT_TRUE(std::isinf((Deviation{1e-30, 0}).relative()));
  EXPECT_TRUE(std::isinf((Deviation{std::nan(""), 1}).relative()));
  EXPECT_TRUE(std::isinf((Deviation{HUGE_VAL, 1}).relative()));
}

TEST(InitStudyParts, RootMeanAndItsError) {
  detail::RootMean mean;
  for (const double v : {8.0, 9.0, 10.0}) mean.add(v);
  EXPECT_NEAR(mean.value(), 3, 1e-12);
  // Standard error of the mean 1 / sqrt(3), relative 1 / (9 sqrt 3), of the root half of that.
  EXPECT_NEAR(mean.relative_error(), 1 / (18 * std::sqrt(3)), 1e-12);
  EXPECT_EQ(detail::RootMean().value(), 0);
}

TEST(InitStudyParts, HistogramIsADensity) {
  detail::Histogram h(2);
  h.add(Tensor::from({-1.99F, -0.5F, 0.01F, 0.02F, 1.5F, 2.5F, -3}));
  const ChartSeries s = h.series("x");
  ASSERT_EQ(s.x.size(), s.y.size());
  EXPECT_EQ(s.x.front(), -2);
  EXPECT_EQ(s.x.back(), 2);
  const double width = s.x[1] - s.x[0];
  EXPECT_NEAR(width * std::accumulate(s.y.begin(), s.y.end() - 1, 0.0), 5.0 / 7, 1e-12) << "two lie outside";
  EXPECT_NEAR(s.y[s.y.size() / 2], 2 / (7 * width), 1e-12);
}

}  // namespace
}  // namespace gpunn
