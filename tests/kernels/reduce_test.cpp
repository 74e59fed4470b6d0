#include "gpunn/kernels/reduce/reduce.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "gpunn/core/autograd.h"
#include "gpunn/core/error.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "tests/support/devices.h"
#include "tests/support/expect_parity.h"
#include "tests/support/gradcheck.h"

namespace gpunn {
namespace parity {
void add_reduce_cases(Suite& suite);
}

namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

TEST(ReduceParityRace, Cpu) { parity::expect_parity_on_cpu(parity::add_reduce_cases); }
#if GPUNN_HAS_CUDA
TEST(ReduceParityRace, Cuda) { parity::expect_parity_on_cuda(parity::add_reduce_cases); }
#endif

class ReduceDevice : public testing::DeviceTest {
 protected:
  /// [2, 3, 4] with 0, 1, 2, …
  Tensor counting() const {
    std::vector<float> values(24);
    std::iota(values.begin(), values.end(), 0.0f);
    return Tensor::from(values, {2, 3, 4}).to(device());
  }
};
GPUNN_ON_EVERY_DEVICE(ReduceDevice);

TEST_P(ReduceDevice, AnyAxes) {
  const Tensor x = counting();
  EXPECT_EQ(sum(x).item(), 276);
  EXPECT_EQ(sum(x).shape(), Shape());
  EXPECT_EQ(mean(x).item(), 11.5);
  EXPECT_THAT(sum(x, {0, 2}).to_vector<float>(), ElementsAre(60, 92, 124));
  EXPECT_THAT(sum(x, {-3, -1}, true).to_vector<float>(), ElementsAre(60, 92, 124));
  EXPECT_EQ(sum(x, {0, 2}, true).shape(), Shape({1, 3, 1}));
  EXPECT_EQ(sum(x, {1}).shape(), Shape({2, 4}));
  EXPECT_THAT(mean(x, {1, 2}).to_vector<float>(), ElementsAre(5.5f, 17.5f));
  EXPECT_THAT(amax(x, {0, 1}).to_vector<float>(), ElementsAre(20, 21, 22, 23));
  EXPECT_EQ(max(x).item(), 23);
  EXPECT_EQ(argmax(x).item(), 23);
}

TEST_P(ReduceDevice, EveryAxisSetOfEveryViewAgreesWithTheContiguousSum) {
  const Tensor x = randn({3, 4, 5}).to(device());
  for (const Dims& order : {Dims{0, 1, 2}, Dims{2, 0, 1}, Dims{1, 0, 2}, Dims{2, 1, 0}}) {
    const Tensor view = x.permute(order);
    for (int mask = 1; mask < 8; ++mask) {
      Dims dims;
      for (int i = 0; i < 3; ++i)
        if (mask >> i & 1) dims.push_back(i);
      const std::vector<float> got = sum(view, dims).to_vector<float>();
      const std::vector<float> expected = sum(view.contiguous(), dims).to_vector<float>();
      ASSERT_EQ(got.size(), expected.size());
      for (std::size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], expected[i], 1e-5);
      EXPECT_EQ(amax(view, dims).to_vector<float>(), amax(view.contiguous(), dims).to_vector<float>());
    }
  }
}

TEST_P(ReduceDevice, MaximaWithIndices) {
  const Tensor x = Tensor::from({{1, 7, 7}, {kNaN, 9, kNaN}, {-kInf, -kInf, -kInf}}).to(device());
  const MaxResult rows = max(x, 1);
  const std::vector<float> values = rows.values.to_vector<float>();
  EXPECT_EQ(values[0], 7);
  EXPECT_TRUE(std::isnan(values[1]));
  EXPECT_EQ(values[2], -kInf);
  EXPECT_THAT(rows.indices.to_vector<std::int64_t>(), ElementsAre(1, 0, 0));
  EXPECT_THAT(argmax(x, 0).to_vector<std::int64_t>(), ElementsAre(1, 1, 1));
  EXPECT_EQ(argmax(x).item(), 3);
  EXPECT_EQ(argmax(x, -1, true).shape(), Shape({3, 1}));
  // Row-major over the view, not over memory.
  EXPECT_EQ(argmax(x.t()).item(), 1);
  EXPECT_TRUE(std::isnan(max(x).item()));
  EXPECT_TRUE(std::isnan(amax(x, {0, 1}).item()));
}

TEST_P(ReduceDevice, ScalarsAndSingleElements) {
  const Tensor x = full({}, 3, {.device = device()});
  EXPECT_EQ(sum(x).item(), 3);
  EXPECT_EQ(mean(x).item(), 3);
  EXPECT_EQ(max(x).item(), 3);
  EXPECT_EQ(max(x, 0).indices.item(), 0);
  EXPECT_EQ(argmax(x).item(), 0);
}

TEST_P(ReduceDevice, EmptyReductions) {
  const Tensor x = zeros({3, 0}, {.device = device()});
  EXPECT_THAT(sum(x, {1}).to_vector<float>(), ElementsAre(0, 0, 0));
  EXPECT_EQ(sum(x).item(), 0);
  EXPECT_TRUE(std::isnan(mean(x).item()));
  EXPECT_EQ(sum(x, {0}).shape(), Shape({0}));
  EXPECT_EQ(amax(x, {0}).shape(), Shape({0}));
  EXPECT_THAT([&] { amax(x, {1}); },
              ThrowsMessage<InvalidArgument>(HasSubstr("[amax] expected at least one")));
  EXPECT_THAT([&] { argmax(x); }, ThrowsMessage<InvalidArgument>(HasSubstr("[argmax]")));
  EXPECT_THAT([&] { max(x); }, ThrowsMessage<InvalidArgument>(HasSubstr("[max]")));
}

TEST_P(ReduceDevice, IntegersAddUpInSixtyFourBits) {
  const Tensor x = full({3}, 2147483647.0, {.dtype = DType::i32, .device = device()});
  EXPECT_EQ(sum(x).dtype(), DType::i64);
  EXPECT_EQ(sum(x).to_vector<std::int64_t>()[0], 3 * std::int64_t{2147483647});
  const Tensor flags = ones({5, 4}, {.dtype = DType::boolean, .device = device()});
  EXPECT_THAT(sum(flags, {0}).to_vector<std::int64_t>(), ElementsAre(5, 5, 5, 5));
  EXPECT_EQ(sum(zeros({0}, {.dtype = DType::u8, .device = device()})).item(), 0);
  EXPECT_EQ(max(x).dtype(), DType::i32);
}

TEST_P(ReduceDevice, SumOfHalvesIsAccumulatedInFloat) {
  // In half precision 2048 + 1 is 2048: the sum would stop there.
  const Tensor x = ones({5000}, {.dtype = DType::f16, .device = device()});
  EXPECT_EQ(sum(x).item(), 5000);
  EXPECT_EQ(sum(ones({5000, 3}, {.dtype = DType::f16, .device = device()}), {0}).to_vector<float>()[1], 5000);
}

TEST_P(ReduceDevice, TiesShareTheGradientOfAmaxAndIndicesTakeItAll) {
  const Tensor x = Tensor::from({{1, 5, 5, 5}, {2, 0, 0, 0}}).to(device()).requires_grad_();
  amax(x, {1}).backward(Tensor::from({6, 1}).to(device()));
  EXPECT_THAT(x.grad().to_vector<float>(), ElementsAre(0, 2, 2, 2, 1, 0, 0, 0));
  x.zero_grad();
  max(x).backward();
  EXPECT_NEAR(x.grad().to_vector<float>()[1], 1.0f / 3, 1e-7);
  x.zero_grad();
  max(x, 1).values.backward(Tensor::from({6, 1}).to(device()));
  EXPECT_THAT(x.grad().to_vector<float>(), ElementsAre(0, 6, 0, 0, 1, 0, 0, 0));
}

TEST_P(ReduceDevice, MinimaWithIndices) {
  const Tensor x = Tensor::from({{7, 1, 1}, {kNaN, -9, kNaN}, {kInf, kInf, kInf}}).to(device());
  const MaxResult rows = min(x, 1);
  const std::vector<float> values = rows.values.to_vector<float>();
  EXPECT_EQ(values[0], 1);
  EXPECT_TRUE(std::isnan(values[1]));
  EXPECT_EQ(values[2], kInf);
  EXPECT_THAT(rows.indices.to_vector<std::int64_t>(), ElementsAre(1, 0, 0));
  EXPECT_THAT(argmin(x, 0).to_vector<std::int64_t>(), ElementsAre(1, 1, 1));
  EXPECT_EQ(argmin(x).item(), 3);
  EXPECT_EQ(argmin(x, -1, true).shape(), Shape({3, 1}));
  EXPECT_TRUE(std::isnan(min(x).item()));
  EXPECT_THAT(amin(counting(), {0, 1}).to_vector<float>(), ElementsAre(0, 1, 2, 3));
  // The lowest integer has no opposite.
  const Tensor i = Tensor::from(std::vector<std::int64_t>{5, INT64_MIN, INT64_MAX}, {3}).to(device());
  EXPECT_EQ(min(i).to_vector<std::int64_t>()[0], INT64_MIN);
  EXPECT_EQ(argmin(i).item(), 1);
}

TEST_P(ReduceDevice, GradientsOfMinima) {
  const Tensor x = Tensor::from({{9, 5, 5, 5}, {2, 3, 3, 3}}).to(device()).requires_grad_();
  amin(x, {1}).backward(Tensor::from({6, 1}).to(device()));
  EXPECT_THAT(x.grad().to_vector<float>(), ElementsAre(0, 2, 2, 2, 1, 0, 0, 0));
  x.zero_grad();
  min(x, 1).values.backward(Tensor::from({6, 1}).to(device()));
  EXPECT_THAT(x.grad().to_vector<float>(), ElementsAre(0, 6, 0, 0, 1, 0, 0, 0));
}

TEST_P(ReduceDevice, VarianceOfTinySpreadAroundALargeMean) {
  // 4096 + {0, 1/1024, …}: the mean needs 13 bits more than the spread has.
  std::vector<float> values;
  for (int i = 0; i < 1000; ++i) values.push_back(4096.0f + static_cast<float>(i % 2) / 1024);
  const Tensor x = Tensor::from(values, {1000}).to(device());
  const double expected = 0.25 / 1024 / 1024;
  EXPECT_NEAR(var(x, {}, 0).item() / expected, 1, 1e-5);
  EXPECT_NEAR(var(x).item() / expected, 1000.0 / 999, 1e-5);
  EXPECT_NEAR(std(x, {}, 0).item() * 2048, 1, 1e-5);
  EXPECT_EQ(var(counting(), {0, 2}, 1, true).shape(), Shape({1, 3, 1}));
  const VarMean both = var_mean(counting(), {1, 2});
  EXPECT_THAT(both.var.to_vector<float>(), ElementsAre(13, 13));
  EXPECT_THAT(both.mean.to_vector<float>(), ElementsAre(5.5f, 17.5f));
  // As PyTorch: 0 / 0 and 2 / 0.
  EXPECT_TRUE(std::isnan(var(Tensor::from({3}).to(device())).item()));
  EXPECT_EQ(var(Tensor::from({3, 5}).to(device()), {}, 5).item(), kInf);
}

TEST_P(ReduceDevice, Norms) {
  const Tensor x = Tensor::from({{3, -4}, {0, 12}}).to(device());
  EXPECT_EQ(norm(x).item(), 13);
  EXPECT_THAT(norm(x, 2, {1}).to_vector<float>(), ElementsAre(5, 12));
  EXPECT_THAT(norm(x, 1, {1}).to_vector<float>(), ElementsAre(7, 12));
  EXPECT_THAT(norm(x, kInf, {0}).to_vector<float>(), ElementsAre(3, 12));
  EXPECT_THAT(norm(x, -kInf, {0}).to_vector<float>(), ElementsAre(0, 4));
  EXPECT_THAT(norm(x, 0, {1}).to_vector<float>(), ElementsAre(2, 1));
  EXPECT_NEAR(norm(x, 3, {1}).to_vector<float>()[0], std::cbrt(91.0f), 1e-5);
  EXPECT_EQ(norm(x, 2, {0, 1}, true).shape(), Shape({1, 1}));
}

TEST_P(ReduceDevice, GradientsWhereTheyAreSpecial) {
  const Tensor zero = zeros({2, 3}, {.device = device()}).requires_grad_();
  for (const double p : {0.5, 1.0, 2.0, 3.0, std::numeric_limits<double>::infinity()}) {
    zero.zero_grad();
    norm(zero, p, {1}).backward(ones({2}, {.device = device()}));
    EXPECT_EQ(zero.grad().to_vector<float>(), std::vector<float>(6, 0.0f)) << p;
  }
  zero.zero_grad();
  std(zero, {1}).backward(ones({2}, {.device = device()}));
  EXPECT_EQ(zero.grad().to_vector<float>(), std::vector<float>(6, 0.0f));
  const Tensor x = Tensor::from({{2, 0, 5}, {0, 0, 7}, {2, 3, 4}}).to(device()).requires_grad_();
  prod(x, {1}).backward(ones({3}, {.device = device()}));
  EXPECT_THAT(x.grad().to_vector<float>(), ElementsAre(0, 10, 0, 0, 0, 0, 12, 8, 6));
  const Tensor tied = Tensor::from({-4, 4, 1}).to(device()).requires_grad_();
  norm(tied, kInf).backward();
  EXPECT_THAT(tied.grad().to_vector<float>(), ElementsAre(-0.5f, 0.5f, 0));
}

TEST_P(ReduceDevice, LogsumexpNeverOverflows) {
  const Tensor x =
      Tensor::from({{1000, 1000}, {-kInf, -kInf}, {kInf, 0}, {-kInf, 3}, {kNaN, kInf}}).to(device());
  const std::vector<float> y = logsumexp(x, {1}).to_vector<float>();
  EXPECT_NEAR(y[0], 1000 + std::log(2.0), 1e-4);
  EXPECT_EQ(y[1], -kInf);
  EXPECT_EQ(y[2], kInf);
  EXPECT_EQ(y[3], 3);
  EXPECT_TRUE(std::isnan(y[4]));
  EXPECT_EQ(logsumexp(x, {-1}, true).shape(), Shape({5, 1}));
}

TEST_P(ReduceDevice, AnyAllAndCounts) {
  const Tensor x = Tensor::from({{0, 0, 0}, {0, kNaN, 0}, {1, -2, 3}}).to(device());
  EXPECT_EQ(any(x).dtype(), DType::boolean);
  EXPECT_THAT(any(x, {1}).to_vector<std::int64_t>(), ElementsAre(0, 1, 1));
  EXPECT_THAT(all(x, {1}).to_vector<std::int64_t>(), ElementsAre(0, 0, 1));
  EXPECT_THAT(count_nonzero(x, {1}).to_vector<std::int64_t>(), ElementsAre(0, 1, 3));
  EXPECT_EQ(count_nonzero(x).item(), 4);
  EXPECT_EQ(any(x).item(), 1);
  EXPECT_EQ(all(x).item(), 0);
  EXPECT_EQ(all(x.to(DType::boolean), {1}, true).shape(), Shape({3, 1}));
}

TEST_P(ReduceDevice, StatisticsOfNothing) {
  const Tensor x = zeros({2, 0}, {.device = device()});
  EXPECT_THAT(prod(x, {1}).to_vector<float>(), ElementsAre(1, 1));
  EXPECT_EQ(norm(x).item(), 0);
  EXPECT_TRUE(std::isnan(var(x).item()));
  EXPECT_TRUE(std::isnan(std(x).item()));
  EXPECT_EQ(logsumexp(x, {1}).to_vector<float>()[1], -kInf);
  EXPECT_EQ(any(x).item(), 0);
  EXPECT_EQ(all(x).item(), 1);
  EXPECT_EQ(count_nonzero(x).item(), 0);
  EXPECT_EQ(var(x, {0}).shape(), Shape({0}));
  EXPECT_THAT([&] { amin(x, {1}); },
              ThrowsMessage<InvalidArgument>(HasSubstr("[amin] expected at least one")));
  EXPECT_THAT([&] { argmin(x); }, ThrowsMessage<InvalidArgument>(HasSubstr("[argmin]")));
  EXPECT_THAT([&] { norm(x, kInf); }, ThrowsMessage<InvalidArgument>(HasSubstr("[norm]")));
}

TEST_P(ReduceDevice, ExpandIsAViewAndSumToItsOpposite) {
  const Tensor x = Tensor::from({1, 2}).reshape({2, 1}).to(device());
  const Tensor y = expand(x, {4, -1, 3});
  EXPECT_EQ(y.shape(), Shape({4, 2, 3}));
  EXPECT_EQ(&y.storage(), &x.storage());
  EXPECT_THAT(y.select(0, 3).to_vector<float>(), ElementsAre(1, 1, 1, 2, 2, 2));
  EXPECT_THAT(sum_to(y, {2, 1}).to_vector<float>(), ElementsAre(12, 24));
  EXPECT_EQ(sum_to(y, {3}).shape(), Shape({3}));
  EXPECT_EQ(sum_to(y, {}).item(), 36);
  EXPECT_TRUE(sum_to(x, x.shape()).is_same(x));
  EXPECT_EQ(sum_to(zeros({0, 3}, {.device = device()}), {3}).to_vector<float>(), std::vector<float>(3, 0.0f));
}

TEST_P(ReduceDevice, MeanOfALargeVectorKeepsItsDigits) {
  const Tensor x = full({1 << 20}, 0.1, {.device = device()});
  EXPECT_NEAR(mean(x).item(), static_cast<double>(0.1f), 3e-8);
  EXPECT_NEAR(mean(x.reshape({1 << 17, 8}), {0}).to_vector<float>()[3], 0.1f, 3e-8);
}

TEST(Reduce, RejectsBadArguments) {
  const Tensor x = zeros({2, 3}), i = zeros({2, 3}, {.dtype = DType::i64});
  EXPECT_THAT([&] { sum(x, {2}); },
              ThrowsMessage<InvalidArgument>(HasSubstr("[sum] expected dimensions in [-2, 1]")));
  EXPECT_THAT([&] { sum(x, {0, -2}); }, ThrowsMessage<InvalidArgument>(HasSubstr("once")));
  EXPECT_THAT([&] { mean(i); }, ThrowsMessage<InvalidArgument>(HasSubstr(".to()")));
  EXPECT_THAT([&] { max(zeros({2}, {.dtype = DType::u8})); },
              ThrowsMessage<InvalidArgument>(HasSubstr("got u8")));
  EXPECT_THAT([&] { max(x, 2); }, ThrowsMessage<InvalidArgument>(HasSubstr("[max]")));
  EXPECT_THAT([&] { argmax(Tensor(), 0); }, ThrowsMessage<InvalidArgument>(HasSubstr("[argmax]")));
  EXPECT_THAT([&] { sum(Tensor()); }, ThrowsMessage<InvalidArgument>(HasSubstr("undefined")));
  EXPECT_THAT([&] { expand(x, {3}); }, ThrowsMessage<InvalidArgument>(HasSubstr("[expand]")));
  EXPECT_THAT([&] { expand(x, {4, 3}); }, ThrowsMessage<InvalidArgument>(HasSubstr("broadcasts")));
  EXPECT_THAT([&] { expand(x, {-1, 2, 3}); }, ThrowsMessage<InvalidArgument>(HasSubstr("[expand]")));
  EXPECT_THAT([&] { sum_to(x, {2}); }, ThrowsMessage<InvalidArgument>(HasSubstr("[sum_to]")));
  EXPECT_THAT([&] { sum_to(x, {1, 2, 3}); }, ThrowsMessage<InvalidArgument>(HasSubstr("[sum_to]")));
}

TEST(Reduce, RejectsBadArgumentsOfStatistics) {
  const Tensor x = zeros({2, 3}), i = zeros({2, 3}, {.dtype = DType::i64});
  EXPECT_THAT([&] { var(i); }, ThrowsMessage<InvalidArgument>(HasSubstr("[var]")));
  EXPECT_THAT([&] { prod(i); }, ThrowsMessage<InvalidArgument>(HasSubstr("[prod]")));
  EXPECT_THAT([&] { std(x, {2}); }, ThrowsMessage<InvalidArgument>(HasSubstr("[std] expected dimensions")));
  EXPECT_THAT([&] { var(x, {}, kNaN); }, ThrowsMessage<InvalidArgument>(HasSubstr("correction")));
  EXPECT_THAT([&] { norm(x, kNaN); }, ThrowsMessage<InvalidArgument>(HasSubstr("[norm]")));
  EXPECT_THAT([&] { norm(i); }, ThrowsMessage<InvalidArgument>(HasSubstr("[norm]")));
  EXPECT_THAT([&] { logsumexp(x, {0, 0}); }, ThrowsMessage<InvalidArgument>(HasSubstr("once")));
  EXPECT_THAT([&] { logsumexp(i, {0}); }, ThrowsMessage<InvalidArgument>(HasSubstr("[logsumexp]")));
  EXPECT_THAT([&] { any(Tensor()); }, ThrowsMessage<InvalidArgument>(HasSubstr("[any]")));
  EXPECT_THAT([&] { all(x, {-3}); }, ThrowsMessage<InvalidArgument>(HasSubstr("[all]")));
  EXPECT_THAT([&] { min(x, 2); }, ThrowsMessage<InvalidArgument>(HasSubstr("[min]")));
  EXPECT_THAT([&] { min(zeros({2}, {.dtype = DType::boolean})); },
              ThrowsMessage<InvalidArgument>(HasSubstr("got bool")));
}

// ---- derivatives

struct Differentiable {
  const char* name;
  GradFunction f;
  Shape shape;
};

std::vector<Differentiable> differentiable() {
  return {
      {"sum", [](const Inputs& in) { return sum(in[0] * in[0]); }, {2, 3}},
      {"sum over axes", [](const Inputs& in) { return sum(exp(in[0]), {0, 2}); }, {2, 3, 2}},
      {"sum keeping", [](const Inputs& in) { return in[0] * sum(in[0], {1}, true); }, {2, 3}},
      {"mean", [](const Inputs& in) { return mean(tanh(in[0])); }, {7}},
      {"mean over axes", [](const Inputs& in) { return mean(in[0], {1}) * mean(in[0], {1}); }, {3, 4}},
      {"amax", [](const Inputs& in) { return amax(in[0], {1}); }, {3, 4}},
      {"amax of a product", [](const Inputs& in) { return amax(in[0] * in[0], {0, 2}, true); }, {2, 3, 2}},
      {"max of all", [](const Inputs& in) { return max(exp(in[0])); }, {2, 5}},
      {"max with indices", [](const Inputs& in) { return max(in[0] * exp(in[0]), 0).values; }, {4, 3}},
      {"expand",
       [](const Inputs& in) { return expand(in[0], {4, 3, 2}) * expand(in[0], {3, 2}).unsqueeze(0); },
       {3, 1}},
      {"sum_to",
       [](const Inputs& in) {
         const Tensor s = sum_to(in[0], {3, 1});
         return s * s;
       },
       {2, 3, 4}},
      {"of a view", [](const Inputs& in) { return sum(in[0].t() * in[0].t(), {0}); }, {3, 4}},
      {"amin", [](const Inputs& in) { return amin(in[0] * exp(in[0]), {1}); }, {3, 4}},
      {"min of all", [](const Inputs& in) { return min(exp(in[0])); }, {2, 5}},
      {"min with indices", [](const Inputs& in) { return min(in[0] * in[0], 0).values; }, {4, 3}},
      {"prod", [](const Inputs& in) { return prod(in[0]); }, {2, 3}},
      {"prod over axes", [](const Inputs& in) { return prod(exp(in[0]), {0, 2}, true); }, {3, 2, 2}},
      {"prod of one element", [](const Inputs& in) { return prod(in[0] * in[0], {1}); }, {3, 1}},
      {"var", [](const Inputs& in) { return var(in[0]); }, {7}},
      {"var over axes", [](const Inputs& in) { return var(exp(in[0]), {0, 2}, 0, true); }, {3, 2, 2}},
      {"std", [](const Inputs& in) { return std(in[0] * in[0], {1}); }, {2, 4}},
      {"var_mean",
       [](const Inputs& in) {
         const VarMean r = var_mean(in[0], {0});
         return r.var * r.mean;
       },
       {4, 2}},
      {"norm", [](const Inputs& in) { return norm(in[0]); }, {2, 3}},
      {"norm p=2 over axes", [](const Inputs& in) { return norm(tanh(in[0]), 2, {0, 2}); }, {2, 3, 2}},
      {"norm p=1", [](const Inputs& in) { return norm(in[0] * in[0], 1, {1}); }, {3, 4}},
      {"norm p=inf", [](const Inputs& in) { return norm(in[0] * exp(in[0]), kInf, {1}, true); }, {3, 4}},
      {"norm p=-inf", [](const Inputs& in) { return norm(exp(in[0]), -kInf, {0}); }, {3, 4}},
      {"logsumexp", [](const Inputs& in) { return logsumexp(in[0] * in[0], {1}); }, {3, 4}},
      {"logsumexp of all", [](const Inputs& in) { return logsumexp(in[0], {}, true); }, {3, 4}},
      {"large", [](const Inputs& in) { return sum(sigmoid(in[0]), {0}); }, {40, 5}},
  };
}

// Normal numbers: two within 1e-6, where a maximum has a kink, do not occur in these few draws.
TEST(ReduceGradient, FirstDerivatives) {
  for (const Differentiable& d : differentiable())
    EXPECT_TRUE(gradcheck(d.f, {{d.shape, fill::normal(0, 1)}})) << d.name;
}

TEST(ReduceGradient, SecondDerivatives) {
  for (const Differentiable& d : differentiable())
    EXPECT_TRUE(gradgradcheck(d.f, {{d.shape, fill::normal(0, 1)}})) << d.name;
}

TEST(ReduceGradient, ProductsWithZeros) {
  const auto f = [](const Inputs& in) { return prod(in[0], {1}); };
  for (const std::int64_t period : {3, 5, 7}) {
    const std::vector<GradInput> inputs{{{3, 5}, fill::every(period, 0, fill::normal(0, 1))}};
    EXPECT_TRUE(gradcheck(f, inputs)) << period;
    EXPECT_TRUE(gradgradcheck(f, inputs)) << period;
  }
}

TEST(ReduceGradient, GeneralNormsHaveFirstDerivativesOnly) {
  for (const double p : {3.0, 1.5, 0.5}) {
    const auto f = [p](const Inputs& in) { return norm(in[0], p, {1}); };
    EXPECT_TRUE(gradcheck(f, {{{3, 4}, fill::avoid(0, 0.1, fill::normal(0, 1))}})) << p;
  }
  const Tensor x = randn({3}).requires_grad_();
  EXPECT_THROW(norm(x, 3).backward({}, true, true), Unsupported);
}

}  // namespace
}  // namespace gpunn
