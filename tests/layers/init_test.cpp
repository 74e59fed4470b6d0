// Initialisers: moments against theory, bounds, equal draws for equal seeds.
#include "gpunn/layers/init.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include "gpunn/core/random.h"
#include "gpunn/layers/linear.h"

namespace gpunn {
namespace {

constexpr std::int64_t kOut = 128, kIn = 784;

struct Moments {
  double mean, std, low, high;
};

Moments moments_of(const Tensor& w) {
  const std::vector<float> v = w.to_vector<float>();
  double sum = 0, squares = 0;
  for (const float x : v) sum += x;
  const double mean = sum / static_cast<double>(v.size());
  for (const float x : v) squares += (x - mean) * (x - mean);
  const auto [low, high] = std::minmax_element(v.begin(), v.end());
  return {mean, std::sqrt(squares / static_cast<double>(v.size())), *low, *high};
}

struct Theory {
  const char* name;
  std::function<void(const Tensor&)> fill;
  double std;
  double bound;  // 0: unbounded
};

TEST(InitTest, StandardDeviationsAreTheory) {
  const double in = kIn, out = kOut;
  const Theory theories[] = {
      {"normal", [](const Tensor& w) { init::normal(w, 0, 0.01); }, 0.01, 0},
      {"uniform", [](const Tensor& w) { init::uniform(w, -0.5, 0.5); }, 1 / std::sqrt(12.0), 0.5},
      {"xavier_uniform", [](const Tensor& w) { init::xavier_uniform(w); }, std::sqrt(2 / (in + out)),
       std::sqrt(6 / (in + out))},
      {"xavier_normal", [](const Tensor& w) { init::xavier_normal(w, 2); }, 2 * std::sqrt(2 / (in + out)), 0},
      {"he_uniform", [](const Tensor& w) { init::he_uniform(w); }, std::sqrt(2 / in), std::sqrt(6 / in)},
      {"he_normal", [](const Tensor& w) { init::he_normal(w); }, std::sqrt(2 / in), 0},
      {"sqrt_max", [](const Tensor& w) { init::sqrt_max(w); }, 1 / std::sqrt(in), 0},
  };
  for (const Theory& theory : theories) {
    manual_seed(7);
    const Tensor w = empty({kOut, kIn});
    theory.fill(w);
    const Moments m = moments_of(w);
    EXPECT_NEAR(m.std / theory.std, 1, 0.02) << theory.name;
    EXPECT_LT(std::abs(m.mean), 4 * theory.std / std::sqrt(in * out)) << theory.name;
    if (theory.bound > 0) {
      EXPECT_GE(m.low, -theory.bound) << theory.name;
      EXPECT_LE(m.high, theory.bound) << theory.name;
      EXPECT_GT(m.high, 0.99 * theory.bound) << theory.name;
    } else {
      EXPECT_GT(m.high, 3 * theory.std) << theory.name;
    }
  }
}

TEST(InitTest, ConstantsAndMeans) {
  const Tensor w = empty({3, 3});
  init::zeros(w);
  EXPECT_EQ(w.to_vector<float>(), std::vector<float>(9, 0.0f));
  init::ones(w);
  EXPECT_EQ(w.to_vector<float>(), std::vector<float>(9, 1.0f));
  init::constant(w, -2.5);
  EXPECT_EQ(w.to_vector<float>(), std::vector<float>(9, -2.5f));
  const Tensor large = empty({200, 200});
  init::normal(large, 5, 2);
  EXPECT_NEAR(moments_of(large).mean, 5, 0.05);
}

TEST(InitTest, LinearIsPyTorchs) {
  manual_seed(1);
  Linear layer(400, 300);
  const Moments w = moments_of(layer.weight), b = moments_of(layer.bias);
  EXPECT_LE(w.high, 0.05);
  EXPECT_GE(w.low, -0.05);
  EXPECT_NEAR(w.std, 0.05 / std::sqrt(3.0), 0.001);
  EXPECT_LE(b.high, 0.05);
  EXPECT_GT(b.high, 0.04);
}

TEST(InitTest, EqualSeedsGiveEqualWeights) {
  const auto draw = [](std::uint64_t seed) {
    manual_seed(seed);
    Linear layer(31, 17);
    return layer.weight.to_vector<float>();
  };
  EXPECT_EQ(draw(3), draw(3));
  EXPECT_NE(draw(3), draw(4));
}

TEST(InitTest, HalvesAreRoundedDraws) {
  manual_seed(2);
  const Tensor w = empty({8, 8});
  init::normal(w);
  manual_seed(2);
  const Tensor h = empty({8, 8}, {.dtype = DType::bf16});
  init::normal(h);
  EXPECT_EQ(h.to(DType::f32).to_vector<float>(), w.to(DType::bf16).to(DType::f32).to_vector<float>());
}

TEST(InitTest, RefusesWhatItCannotFill) {
  EXPECT_THROW(init::zeros(Tensor()), InvalidArgument);
  EXPECT_THROW(init::normal(zeros({2}, {.dtype = DType::i64})), InvalidArgument);
  EXPECT_THROW(init::normal(zeros({2}), 0, -1), InvalidArgument);
  EXPECT_THROW(init::uniform(zeros({2}), 1, 0), InvalidArgument);
  EXPECT_THROW(init::constant(zeros({2}), std::numeric_limits<double>::quiet_NaN()), InvalidArgument);
  EXPECT_THROW(init::he_normal(zeros({2})), InvalidArgument);
  EXPECT_THROW(Linear(0, 3), InvalidArgument);
}

}  // namespace
}  // namespace gpunn
