#include "gpunn/kernels/random/random.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <set>
#include <utility>
#include <vector>

#include "gpunn/core/autograd.h"
#include "gpunn/core/error.h"
#include "gpunn/core/random.h"
#include "gpunn/core/runtime.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "tests/support/devices.h"
#include "tests/support/expect_parity.h"
#include "tests/support/gradcheck.h"

namespace gpunn {
namespace parity {
void add_random_cases(Suite& suite);
}

namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

TEST(RandomParityRace, Cpu) { parity::expect_parity_on_cpu(parity::add_random_cases); }
#if GPUNN_HAS_CUDA
TEST(RandomParityRace, Cuda) { parity::expect_parity_on_cuda(parity::add_random_cases); }
#endif

std::vector<float> floats(const Tensor& t) { return t.to(DType::f32).to_vector<float>(); }

/// Mean, variance and covariance of neighbours (1 and 4 apart: within and across Philox blocks) within five
/// standard errors of what n independent draws give; `fourth` is the fourth central moment.
void expect_independent(const std::vector<float>& v, double mean, double variance, double fourth) {
  const auto n = static_cast<double>(v.size());
  double sum = 0, squares = 0, next = 0, fourth_next = 0;
  for (std::size_t i = 0; i < v.size(); ++i) {
    const double d = v[i] - mean;
    sum += d;
    squares += d * d;
    if (i >= 1) next += d * (v[i - 1] - mean);
    if (i >= 4) fourth_next += d * (v[i - 4] - mean);
  }
  EXPECT_LE(std::abs(sum / n), 5 * std::sqrt(variance / n));
  EXPECT_LE(std::abs(squares / n - variance), 5 * std::sqrt((fourth - variance * variance) / n) + 1e-9);
  EXPECT_LE(std::abs(next / n), 5 * variance / std::sqrt(n));
  EXPECT_LE(std::abs(fourth_next / n), 5 * variance / std::sqrt(n));
}

/// Of a variable that is `value` with probability p, else 0.
void expect_two_valued(const std::vector<float>& v, double p, double value) {
  for (const float x : v) ASSERT_TRUE(x == 0 || x == static_cast<float>(value)) << x;
  const double q = 1 - p, square = value * value;
  expect_independent(v, p * value, p * q * square, p * q * (1 - 3 * p * q) * square * square);
}

class RandomDevice : public testing::DeviceTest {
 protected:
  TensorOptions options(DType dtype = DType::f32) const { return {.dtype = dtype, .device = device()}; }
};
GPUNN_ON_EVERY_DEVICE(RandomDevice);

TEST_P(RandomDevice, DropoutDropsAndScales) {
  manual_seed(11);
  for (const double p : {0.1, 0.5, 0.9})
    expect_two_valued(floats(dropout(ones({40000}, options()), p)), 1 - p, 1 / (1 - p));
}

TEST_P(RandomDevice, DropoutHasTheLimitsOfPyTorch) {
  manual_seed(1);
  const Tensor x = Tensor::from({1, -2, 3, -4, 5}).to(device());
  EXPECT_TRUE(dropout(x, 0).is_same(x));
  EXPECT_TRUE(dropout(x, 0.5, false).is_same(x));
  EXPECT_THAT(floats(dropout(x, 1)), Each(0));
  EXPECT_EQ(Runtime::current().generator().offset(), 0u) << "nothing was to draw";
  const Tensor wild = Tensor::from(std::vector<float>{INFINITY, NAN}, {2}, options());
  for (const float v : floats(dropout(wild, 1))) EXPECT_TRUE(std::isnan(v));
  // So near to 0 and to 1 that the chance rounds to certainty, or to the least there is.
  EXPECT_THAT(floats(dropout(ones({1000}, options()), 1e-12)), Each(1));
  EXPECT_THAT(floats(dropout(ones({1000}, options()), 1 - 1e-12)), Each(0));
}

TEST_P(RandomDevice, CallsTakeTheirOwnRangeOfTheStream) {
  manual_seed(7);
  const Tensor x = ones({1001}, options());
  const auto first = floats(dropout(x)), second = floats(dropout(x));
  EXPECT_EQ(Runtime::current().generator().offset(), 2u * 251);
  EXPECT_NE(first, second);
  manual_seed(7);
  EXPECT_EQ(floats(dropout(x)), first);
  EXPECT_EQ(floats(dropout(x)), second);
  manual_seed(8);
  EXPECT_NE(floats(dropout(x)), first);
}

TEST_P(RandomDevice, BackwardDrawsTheSameMask) {
  manual_seed(3);
  const Tensor x = full({3, 1001}, 2, options()).requires_grad_();
  const Tensor y = dropout(x, 0.3);
  dropout(x.detach());  // another draw between the two
  y.backward(full({3, 1001}, 2, options()));
  EXPECT_EQ(floats(x.grad()), floats(y));
  const Tensor gone = ones({5}, options()).requires_grad_();
  dropout(gone, 1).backward(ones({5}, options()));
  EXPECT_THAT(floats(gone.grad()), Each(0));
}

TEST_P(RandomDevice, StridesDoNotMatter) {
  const Tensor x = rand({33, 21}, options());
  manual_seed(5);
  const auto strided = floats(dropout(x.t(), 0.4));
  manual_seed(5);
  EXPECT_EQ(strided, floats(dropout(x.t().clone(), 0.4)));
}

TEST_P(RandomDevice, EmptyTensorsDrawNothing) {
  manual_seed(1);
  const Tensor x = zeros({0, 3}, options()).requires_grad_();
  EXPECT_EQ(dropout(x).shape(), Shape({0, 3}));
  EXPECT_EQ(bernoulli(x).shape(), Shape({0, 3}));
  EXPECT_EQ(bernoulli({3, 0}, 0.5, options()).shape(), Shape({3, 0}));
  EXPECT_EQ(uniform({0}, 0, 1, options()).numel(), 0);
  EXPECT_EQ(normal({0}, 0, 1, options()).numel(), 0);
  EXPECT_EQ(multinomial(zeros({0, 3}, options()), 2).shape(), Shape({0, 2}));
  EXPECT_EQ(Runtime::current().generator().offset(), 0u);
}

TEST_P(RandomDevice, BernoulliIsRandBelowP) {
  manual_seed(13);
  const Tensor p = rand({5003}, options());
  const auto limits = floats(p);
  manual_seed(14);
  const auto u = floats(rand({5003}, options()));
  manual_seed(14);
  const auto drawn = floats(bernoulli(p.requires_grad_()));
  manual_seed(14);
  const Tensor one = bernoulli({5003}, 0.25, {.device = device(), .requires_grad = true});
  EXPECT_TRUE(one.requires_grad());
  const auto quarter = floats(one);
  for (std::size_t i = 0; i < u.size(); ++i) {
    ASSERT_EQ(drawn[i], u[i] < limits[i] ? 1 : 0) << i;
    ASSERT_EQ(quarter[i], u[i] < 0.25f ? 1 : 0) << i;
  }
  EXPECT_FALSE(bernoulli(p).requires_grad());
}

TEST_P(RandomDevice, BernoulliCounts) {
  manual_seed(17);
  expect_two_valued(floats(bernoulli({40000}, 0.2, options())), 0.2, 1);
  expect_two_valued(floats(bernoulli(full({200, 200}, 0.75, options(DType::bf16)))), 0.75, 1);
  EXPECT_THAT(floats(bernoulli({1000}, 0, options())), Each(0));
  EXPECT_THAT(floats(bernoulli(ones({1000}, options()))), Each(1));
  EXPECT_EQ(bernoulli({3}, 1, options(DType::f16)).dtype(), DType::f16);
}

TEST_P(RandomDevice, BernoulliRejectsWhatIsNoProbability) {
  for (const double bad : {-0.1, 1.5, kNan, kInfinity}) {
    const Tensor p = full({9}, 0.5, options());
    p.narrow(0, 7, 1).fill_(bad);
    EXPECT_THAT([&] { bernoulli(p); }, ThrowsMessage<InvalidArgument>(HasSubstr("[bernoulli]"))) << bad;
  }
}

TEST_P(RandomDevice, UniformAndNormal) {
  manual_seed(19);
  const Tensor u = uniform({40000}, -3, 5, options());
  const auto values = floats(u);
  expect_independent(values, 1, 64.0 / 12, 64.0 * 64 / 80);
  EXPECT_GE(*std::min_element(values.begin(), values.end()), -3);
  EXPECT_LE(*std::max_element(values.begin(), values.end()), 5);
  expect_independent(floats(normal({40000}, 2, 3, options())), 2, 9, 3 * 81);
  manual_seed(20);
  const auto plain = floats(rand({100}, options()));
  manual_seed(20);
  EXPECT_EQ(floats(uniform({100}, 0, 1, options())), plain);
  const Tensor weight = normal({4}, 0, 1, {.dtype = DType::bf16, .device = device(), .requires_grad = true});
  EXPECT_EQ(weight.dtype(), DType::bf16);
  EXPECT_TRUE(weight.requires_grad() && weight.is_leaf());
  EXPECT_EQ(weight.device(), device());
  EXPECT_THAT(floats(uniform({5}, 2, 2, options())), Each(2));
  EXPECT_THAT(floats(normal({5}, 2, 0, options())), Each(2));
}

TEST_P(RandomDevice, MultinomialWithReplacementFollowsTheWeights) {
  manual_seed(23);
  const std::vector<float> weights{1, 0, 3, 4, 0};
  const std::int64_t n = 40000;
  const Tensor drawn = multinomial(Tensor::from(weights, {5}, options()), n, true);
  EXPECT_EQ(drawn.device(), device());
  EXPECT_EQ(drawn.dtype(), DType::i64);
  std::vector<double> counts(5);
  for (const std::int64_t c : drawn.to_vector<std::int64_t>()) counts.at(static_cast<std::size_t>(c))++;
  for (std::size_t c = 0; c < 5; ++c) {
    const double p = weights[c] / 8, spread = std::sqrt(static_cast<double>(n) * p * (1 - p));
    EXPECT_LE(std::abs(counts[c] - static_cast<double>(n) * p), 5 * spread) << c;
  }
}

TEST_P(RandomDevice, MultinomialWithoutReplacementDrawsEachOnce) {
  manual_seed(29);
  const std::int64_t rows = 20000;
  const Tensor weights = Tensor::from({2, 0, 1, 1}).to(device());
  const auto drawn = multinomial(mul(ones({rows, 1}, options()), weights), 3).to_vector<std::int64_t>();
  double first = 0, second = 0;
  for (std::int64_t r = 0; r < rows; ++r) {
    const std::int64_t* row = drawn.data() + r * 3;
    ASSERT_EQ(std::set<std::int64_t>(row, row + 3), (std::set<std::int64_t>{0, 2, 3}));
    first += row[0] == 0;
    second += row[1] == 0;
  }
  // Category 0 comes first with 2/4; second with 2 (1/4) (2/3) = 1/3.
  const auto n = static_cast<double>(rows);
  EXPECT_LE(std::abs(first - n / 2), 5 * std::sqrt(n / 4));
  EXPECT_LE(std::abs(second - n / 3), 5 * std::sqrt(n * 2 / 9));
}

TEST_P(RandomDevice, MultinomialTakesExtremeWeights) {
  manual_seed(31);
  const double most = std::numeric_limits<float>::max(), least = std::numeric_limits<float>::denorm_min();
  const auto huge = multinomial(full({3}, most, options()), 100, true).to_vector<std::int64_t>();
  EXPECT_EQ(std::set<std::int64_t>(huge.begin(), huge.end()).size(), 3u);
  const auto tiny = multinomial(full({3}, least, options()), 3).to_vector<std::int64_t>();
  EXPECT_EQ(std::set<std::int64_t>(tiny.begin(), tiny.end()).size(), 3u);
  EXPECT_THAT(
      multinomial(Tensor::from(std::vector<float>{0, 1, 0}, {3}, options()), 1).to_vector<std::int64_t>(),
      ElementsAre(1));
}

// ---- equal bits

/// Everything that this folder draws, after one seed.
std::vector<std::vector<float>> all_draws(Device device, DType dtype) {
  manual_seed(0xfedcba9876543210ULL);
  const TensorOptions options{.dtype = dtype, .device = device};
  std::vector<std::vector<float>> draws;
  const Tensor x = randn({70003}, options).requires_grad_();
  const Tensor y = dropout(x, 0.3);
  y.backward(randn({70003}, options));
  draws.push_back(floats(y));
  draws.push_back(floats(x.grad()));
  draws.push_back(floats(bernoulli(rand({70003}, options))));
  draws.push_back(floats(bernoulli({70003}, 0.6, options)));
  draws.push_back(floats(uniform({7001}, -1, 2, options)));
  draws.push_back(floats(normal({7001}, -1, 2, options)));
  for (const bool replacement : {false, true})
    draws.push_back(floats(multinomial(rand({50, 20}, options), 7, replacement)));
  return draws;
}

TEST(Random, EqualBitsOnEveryDeviceInEveryImplementation) {
  for (const DType dtype : {DType::f32, DType::f16, DType::bf16}) {
    const auto expected = all_draws(Device::cpu(), dtype);
    for (const std::string& name : testing::device_names())
      EXPECT_EQ(all_draws(Device::parse(name), dtype), expected) << name << " " << name_of(dtype);
    Runtime reference(RuntimeOptions{.forced = "dropout=ref,bernoulli=ref"});
    const RuntimeScope scope(reference);
    EXPECT_EQ(all_draws(Device::cpu(), dtype), expected) << "reference " << name_of(dtype);
  }
}

TEST(Random, EqualBitsForAnyNumberOfThreads) {
  std::vector<std::vector<std::vector<float>>> results;
  for (const int threads : {1, 2, 3, 8}) {
    Runtime runtime(RuntimeOptions{.threads = threads});
    const RuntimeScope scope(runtime);
    results.push_back(all_draws(Device::cpu(), DType::f32));
  }
  for (const auto& result : results) EXPECT_EQ(result, results[0]);
}

TEST(Random, MasksDoNotDependOnTheDType) {
  std::vector<std::vector<float>> masks;
  for (const DType dtype : {DType::f32, DType::f64, DType::f16, DType::bf16}) {
    manual_seed(37);
    masks.push_back(floats(dropout(ones({1003}, {.dtype = dtype}), 0.5)));
    EXPECT_EQ(masks.back(), masks[0]) << name_of(dtype);
  }
}

// ---- arguments

TEST(Random, RejectsBadArguments) {
  const Tensor x = ones({4}), integers = ones({4}, {.dtype = DType::i64});
  for (const double p : {-0.1, 1.1, kNan}) {
    EXPECT_THAT([&] { dropout(x, p); }, ThrowsMessage<InvalidArgument>(HasSubstr("[dropout]")));
    EXPECT_THAT([&] { dropout(x, p, false); }, ThrowsMessage<InvalidArgument>(HasSubstr("[dropout]")));
    EXPECT_THAT([&] { bernoulli({3}, p); }, ThrowsMessage<InvalidArgument>(HasSubstr("[bernoulli]")));
  }
  for (const Tensor& bad : {Tensor(), integers}) {
    EXPECT_THROW(dropout(bad), InvalidArgument);
    EXPECT_THROW(bernoulli(bad), InvalidArgument);
    EXPECT_THROW(multinomial(bad, 1), InvalidArgument);
  }
  const TensorOptions i64{.dtype = DType::i64};
  EXPECT_THROW(bernoulli({3}, 0.5, i64), InvalidArgument);
  EXPECT_THROW(uniform({3}, 0, 1, i64), InvalidArgument);
  EXPECT_THROW(normal({3}, 0, 1, i64), InvalidArgument);
  EXPECT_THROW(bernoulli({-3}, 0.5), InvalidArgument);
  for (const auto& [low, high] : {std::pair{1.0, 0.0}, {0.0, kInfinity}, {kNan, 1.0}, {-3e38, 3e38}})
    EXPECT_THAT([&] { uniform({3}, low, high); }, ThrowsMessage<InvalidArgument>(HasSubstr("[uniform]")));
  for (const auto& [mean, std] : {std::pair{0.0, -1.0}, {kInfinity, 1.0}, {0.0, kNan}})
    EXPECT_THAT([&] { normal({3}, mean, std); }, ThrowsMessage<InvalidArgument>(HasSubstr("[normal]")));
}

TEST(Random, MultinomialRejectsBadArguments) {
  const auto rejects = [](const Tensor& weights, std::int64_t samples, bool replacement, const char* words) {
    EXPECT_THAT([&] { multinomial(weights, samples, replacement); },
                ThrowsMessage<InvalidArgument>(HasSubstr(words)));
  };
  const Tensor good = ones({4});
  rejects(ones({}), 1, true, "[C] or [N, C]");
  rejects(ones({2, 2, 2}), 1, true, "[C] or [N, C]");
  rejects(ones({3, 0}), 1, true, "category");
  rejects(good, 0, true, "num_samples");
  rejects(good, 5, false, "at most 4");
  rejects(Tensor::from({1, 0, 2, 0}), 3, false, "positive weights of row 0");
  rejects(Tensor::from({{1, 1}, {0, 0}}), 1, true, "none in row 1");
  for (const double bad : {-1.0, kNan, kInfinity}) {
    const Tensor weights = ones({2, 3});
    weights.select(0, 1).narrow(0, 2, 1).fill_(bad);
    rejects(weights, 1, true, "category 2 of row 1");
  }
}

// ---- derivatives

TEST(RandomGradient, OfDropout) {
  for (const double p : {0.25, 0.5, 1.0}) {
    // Every evaluation starts from the same state, so finite differences see one mask.
    const auto f = [p](const Inputs& in) {
      manual_seed(41);
      return dropout(in[0] * in[0], p);
    };
    EXPECT_TRUE(gradcheck(f, {{{3, 7}, fill::normal(0, 1)}})) << p;
    EXPECT_TRUE(gradgradcheck(f, {{{3, 7}, fill::normal(0, 1)}})) << p;
  }
}

TEST(RandomGradient, SecondDerivativeUsesTheSameMask) {
  manual_seed(43);
  const Tensor x = full({1003}, 3).requires_grad_();
  const Tensor y = dropout(x, 0.5);
  const Tensor dy = ones({1003}).requires_grad_();
  const Tensor dx = autograd::grad(std::vector{y}, std::vector{x}, std::vector{dy}, true, true)[0];
  const Tensor ddy = autograd::grad(std::vector{dx}, std::vector{dy}, std::vector{full({1003}, 3)})[0];
  EXPECT_EQ(floats(ddy), floats(y));
}

}  // namespace
}  // namespace gpunn
