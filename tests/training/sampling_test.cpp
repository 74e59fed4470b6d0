// Sampling: the truncated distributions are exact, the draws follow them, one seed gives one text anywhere.
#include "gpunn/training/sampling.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "gpunn/core/error.h"
#include "tests/support/devices.h"

namespace gpunn {
namespace {

using Ids = std::vector<std::int64_t>;
using Values = std::vector<double>;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

Values logs(const Values& p) {
  Values out;
  for (const double v : p) out.push_back(std::log(v));
  return out;
}

void expect_near(const Values& got, const Values& want) {
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(got[i], want[i], 1e-12) << i;
}

TEST(SamplingProbabilitiesTest, AreTheTruncatedDistributions) {
  const Values p{0.1, 0.4, 0.05, 0.3, 0.15}, logits = logs(p);
  expect_near(sampling_probabilities(logits, {}), p);
  expect_near(sampling_probabilities(logits, {.greedy = true}), {0, 1, 0, 0, 0});
  // p^2 / sum p^2
  expect_near(sampling_probabilities(logits, {.temperature = 0.5}),
              {0.01 / 0.285, 0.16 / 0.285, 0.0025 / 0.285, 0.09 / 0.285, 0.0225 / 0.285});
  expect_near(sampling_probabilities(logits, {.top_k = 2}), {0, 4.0 / 7, 0, 3.0 / 7, 0});
  expect_near(sampling_probabilities(logits, {.top_k = 1}), {0, 1, 0, 0, 0});
  expect_near(sampling_probabilities(logits, {.top_k = 9}), p);
  // 0.4 + 0.3 are too few for 0.75: the token that passes it stays.
  expect_near(sampling_probabilities(logits, {.top_p = 0.75}), {0, 0.4 / 0.85, 0, 0.3 / 0.85, 0.15 / 0.85});
  expect_near(sampling_probabilities(logits, {.top_p = 1e-9}), {0, 1, 0, 0, 0});
  expect_near(sampling_probabilities(logits, {.min_p = 0.3}), {0, 0.4 / 0.85, 0, 0.3 / 0.85, 0.15 / 0.85});
  expect_near(sampling_probabilities(logits, {.min_p = 1}), {0, 1, 0, 0, 0});
  // Of the renormalised three of top-k 0.4 / 0.85 + 0.3 / 0.85 = 0.82 are enough, of the five they are not.
  expect_near(sampling_probabilities(logits, {.top_k = 3, .top_p = 0.8}), {0, 4.0 / 7, 0, 3.0 / 7, 0});
  // Equal logits: the lower tokens first.
  expect_near(sampling_probabilities(Values{1, 2, 2, 2}, {.top_k = 2}), {0, 0.5, 0.5, 0});
  expect_near(sampling_probabilities(Values{3, 3}, {.greedy = true}), {1, 0});
  // Masked tokens, huge logits and small temperatures.
  expect_near(sampling_probabilities(Values{-kInf, 5, 5}, {}), {0, 0.5, 0.5});
  expect_near(sampling_probabilities(Values{1e308, -1e308}, {.temperature = 1e-300}), {1, 0});
  expect_near(sampling_probabilities(Values{1000, 1000 + std::log(3.0)}, {}), {0.25, 0.75});
}

TEST(SamplingProbabilitiesTest, RefusesWhatHasNoMeaning) {
  const Values fine{1, 2};
  for (const SamplingOptions& options : std::vector<SamplingOptions>{{.temperature = 0},
                                                                     {.temperature = -1},
                                                                     {.temperature = kNan},
                                                                     {.temperature = kInf},
                                                                     {.top_k = 0},
                                                                     {.top_k = -3},
                                                                     {.top_p = 0},
                                                                     {.top_p = 1.01},
                                                                     {.top_p = kNan},
                                                                     {.min_p = -0.1},
                                                                     {.min_p = 1.1},
                                                                     {.min_p = kNan}}) {
    EXPECT_THROW(sampling_probabilities(fine, options), InvalidArgument);
    EXPECT_THROW(TokenSampler{options}, InvalidArgument);
  }
  EXPECT_THROW(sampling_probabilities(Values{}, {}), InvalidArgument);
  EXPECT_THROW(sampling_probabilities(Values{1, kNan}, {}), InvalidArgument);
  EXPECT_THROW(sampling_probabilities(Values{1, kInf}, {.greedy = true}), InvalidArgument);
  EXPECT_THROW(sampling_probabilities(Values{-kInf, -kInf}, {}), InvalidArgument);
}

class TokenSamplerTest : public testing::DeviceTest {};
GPUNN_ON_EVERY_DEVICE(TokenSamplerTest);

// Sum over the tokens of (count - expected)^2 / expected; a token that must not be drawn counts as infinity.
double chi_square(const std::vector<int>& counts, const Values& p) {
  const double n = std::accumulate(counts.begin(), counts.end(), 0.0);
  double sum = 0;
  for (std::size_t i = 0; i < p.size(); ++i) {
    const double off = counts[i] - n * p[i];
    if (p[i] == 0 && counts[i] > 0) return kInf;
    if (p[i] > 0) sum += off * off / (n * p[i]);
  }
  return sum;
}

TEST_P(TokenSamplerTest, DrawsFollowTheDistribution) {
  const Values logits{0.3, -1.2, 2.1, 0.9, -0.4, 1.5, 0, -3};
  struct Case {
    SamplingOptions options;
    double bound;  // of chi-square at one in a thousand, for the tokens left less one
  };
  for (const Case& c : {Case{{}, 24.32},
                        {{.temperature = 0.7}, 24.32},
                        {{.temperature = 3}, 24.32},
                        {{.top_k = 4}, 16.27},
                        {{.top_p = 0.8}, 13.82},
                        {{.min_p = 0.2}, 16.27},
                        {{.temperature = 1.5, .top_k = 5, .top_p = 0.9}, 18.47}}) {
    const Values p = sampling_probabilities(logits, c.options);
    std::vector<float> rows;
    constexpr int kRows = 50, kDraws = 80;
    for (int row = 0; row < kRows; ++row) rows.insert(rows.end(), logits.begin(), logits.end());
    const Tensor batch = Tensor::from(rows, {kRows, 8}).to(device());
    TokenSampler sampler(c.options, 17);
    std::vector<int> counts(8);
    for (int draw = 0; draw < kDraws; ++draw)
      for (const std::int64_t token : sampler.sample(batch)) ++counts.at(static_cast<std::size_t>(token));
    EXPECT_LT(chi_square(counts, p), c.bound);
  }
}

TEST_P(TokenSamplerTest, OneSeedOneText) {
  std::vector<float> values;
  for (int i = 0; i < 60; ++i) values.push_back(static_cast<float>(std::sin(1.7 * i)));
  const Tensor cpu = Tensor::from(values, {3, 20}, {.device = Device::cpu()}), logits = cpu.to(device());
  const auto text = [](const Tensor& from, std::uint64_t seed) {
    TokenSampler sampler({.temperature = 2}, seed);
    Ids out;
    for (int i = 0; i < 20; ++i)
      for (const std::int64_t token : sampler.sample(from)) out.push_back(token);
    return out;
  };
  EXPECT_EQ(text(logits, 5), text(cpu, 5)) << "the device does not matter";
  EXPECT_NE(text(logits, 5), text(logits, 6));
  // Rows and draws have numbers of their own: equal logits do not repeat each other.
  const Tensor same = Tensor::from(std::vector<float>(3 * 1000, 0.0F), {3, 1000}).to(device());
  TokenSampler sampler({}, 1);
  const Ids first = sampler.sample(same), second = sampler.sample(same);
  EXPECT_NE(first[0], first[1]);
  EXPECT_NE(first[1], first[2]);
  EXPECT_NE(first, second);
  EXPECT_EQ(sampler.draws(), 2U);
  sampler.set_draws(1);
  EXPECT_EQ(sampler.sample(same), second);
  // Row 0 of a batch is what it is alone.
  sampler.set_draws(0);
  EXPECT_EQ(sampler.sample(same.select(0, 0)), (Ids{first[0]}));
}

TEST_P(TokenSamplerTest, TakesHalvesAndRefusesTheRest) {
  const Tensor logits = Tensor::from({{0, 8, 1}, {9, 2, 3}}).to(device());
  TokenSampler sampler({.greedy = true});
  for (const DType dtype : {DType::f32, DType::f16, DType::bf16})
    EXPECT_EQ(sampler.sample(logits.to(dtype)), (Ids{1, 0}));
  EXPECT_TRUE(sampler.sample(zeros({0, 4}, {.device = device()})).empty());
  const std::uint64_t draws = sampler.draws();
  EXPECT_THROW(sampler.sample({}), InvalidArgument);
  EXPECT_THROW(sampler.sample(zeros({2, 0}, {.device = device()})), InvalidArgument);
  EXPECT_THROW(sampler.sample(zeros({2, 1, 3}, {.device = device()})), InvalidArgument);
  EXPECT_THROW(sampler.sample(Tensor::from(Ids{1, 2}, {2}).to(device())), InvalidArgument);
  const auto nan = std::numeric_limits<float>::quiet_NaN();
  try {
    sampler.sample(Tensor::from(std::vector<float>{1, 2, 3, nan}, {2, 2}).to(device()));
    ADD_FAILURE() << "NaN was drawn from";
  } catch (const InvalidArgument& error) {
    EXPECT_NE(std::string(error.what()).find("row 1"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("token 1"), std::string::npos) << error.what();
  }
  EXPECT_EQ(sampler.draws(), draws) << "what fails is no draw";
}

}  // namespace
}  // namespace gpunn
