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

}  // namespace
}  // namespace gpunn
