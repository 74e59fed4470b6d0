#include "gpunn/kernels/sort/sort.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "gpunn/core/autograd.h"
#include "gpunn/core/error.h"
#include "gpunn/core/random.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/sort/sort_impl.h"
#include "tests/support/devices.h"
#include "tests/support/expect_parity.h"
#include "tests/support/gradcheck.h"

namespace gpunn {
namespace parity {
void add_sort_cases(Suite& suite);
}

namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

TEST(SortParityRace, Cpu) { parity::expect_parity_on_cpu(parity::add_sort_cases); }
#if GPUNN_HAS_CUDA
TEST(SortParityRace, Cuda) { parity::expect_parity_on_cuda(parity::add_sort_cases); }
#endif

class SortDevice : public testing::DeviceTest {};
GPUNN_ON_EVERY_DEVICE(SortDevice);

TEST_P(SortDevice, AlongEachDimension) {
  const Tensor x = Tensor::from({{3, 1, 2}, {0, 5, 1}}).to(device());
  const SortResult rows = sort(x);
  EXPECT_THAT(rows.values.to_vector<float>(), ElementsAre(1, 2, 3, 0, 1, 5));
  EXPECT_THAT(rows.indices.to_vector<std::int64_t>(), ElementsAre(1, 2, 0, 0, 2, 1));
  EXPECT_THAT(sort(x, 0).values.to_vector<float>(), ElementsAre(0, 1, 1, 3, 5, 2));
  EXPECT_THAT(argsort(x.t(), 1, true).to_vector<std::int64_t>(), ElementsAre(0, 1, 1, 0, 0, 1));
}

TEST_P(SortDevice, StableBothWaysAndNanIsGreatest) {
  const Tensor x = Tensor::from({1, kNaN, -0.0f, kInf, 0, 1, -kInf, kNaN}).to(device());
  EXPECT_THAT(argsort(x).to_vector<std::int64_t>(), ElementsAre(6, 2, 4, 0, 5, 3, 1, 7));
  EXPECT_THAT(argsort(x, 0, true).to_vector<std::int64_t>(), ElementsAre(1, 7, 3, 0, 5, 2, 4, 6));
  EXPECT_TRUE(std::signbit(sort(x).values.to_vector<float>()[1]));
}

TEST_P(SortDevice, ExtremesOfIntegers) {
  const Tensor x = Tensor::from(std::vector<std::int64_t>{5, INT64_MIN, INT64_MAX, -1}, {4}).to(device());
  EXPECT_THAT(sort(x).values.to_vector<std::int64_t>(), ElementsAre(INT64_MIN, -1, 5, INT64_MAX));
  EXPECT_THAT(argsort(x, 0, true).to_vector<std::int64_t>(), ElementsAre(2, 0, 3, 1));
  const Tensor narrow = Tensor::from(std::vector<std::int32_t>{INT32_MAX, 0, INT32_MIN}, {3}).to(device());
  EXPECT_THAT(argsort(narrow).to_vector<std::int64_t>(), ElementsAre(2, 1, 0));
}

TEST_P(SortDevice, TopK) {
  const Tensor x = Tensor::from({{3, 1, 2, 3}, {0, 5, kNaN, 1}}).to(device());
  const SortResult most = topk(x, 2);
  EXPECT_THAT(most.indices.to_vector<std::int64_t>(), ElementsAre(0, 3, 2, 1));
  EXPECT_EQ(most.values.shape(), Shape({2, 2}));
  EXPECT_THAT(topk(x, 2, 1, false).values.to_vector<float>(), ElementsAre(1, 2, 0, 1));
  EXPECT_THAT(topk(x, 1, 0).indices.to_vector<std::int64_t>(), ElementsAre(0, 1, 1, 0));
  EXPECT_EQ(topk(x, 0).values.shape(), Shape({2, 0}));
}

TEST_P(SortDevice, ScalarsAndEmptyTensors) {
  const Tensor scalar = full({}, 3, {.device = device()});
  EXPECT_EQ(sort(scalar).values.item(), 3);
  EXPECT_EQ(sort(scalar, 0).indices.item(), 0);
  EXPECT_EQ(topk(scalar, 1).values.shape(), Shape());
  for (const Shape& shape : {Shape{0}, Shape{3, 0}, Shape{0, 3}}) {
    const Tensor x = zeros(shape, {.device = device()}).requires_grad_();
    EXPECT_EQ(sort(x).indices.shape(), shape);
    sort(x).values.backward(zeros(shape, {.device = device()}));
    EXPECT_EQ(x.grad().shape(), shape);
  }
}

TEST_P(SortDevice, GradientsGoWhereTheValuesCameFrom) {
  const Tensor x = Tensor::from({{3, 1, 2}, {0, 5, 1}}).to(device()).requires_grad_();
  const Tensor dy = Tensor::from({{1, 2, 3}, {4, 5, 6}}).to(device());
  sort(x).values.backward(dy);
  EXPECT_THAT(x.grad().to_vector<float>(), ElementsAre(3, 1, 2, 4, 6, 5));
  x.zero_grad();
  topk(x, 1).values.backward(Tensor::from({7, 8}).reshape({2, 1}).to(device()));
  EXPECT_THAT(x.grad().to_vector<float>(), ElementsAre(7, 0, 0, 0, 8, 0));
}

TEST_P(SortDevice, RandpermIsAPermutationAndTheSameEverywhere) {
  manual_seed(7);
  const std::vector<std::int64_t> host = randperm(1000).to_vector<std::int64_t>();
  manual_seed(7);
  const Tensor here = randperm(1000, {.dtype = DType::i32, .device = device()});
  EXPECT_EQ(here.to(DType::i64).to_vector<std::int64_t>(), host);
  EXPECT_NE(randperm(1000).to_vector<std::int64_t>(), host);
  std::vector<std::int64_t> sorted = host;
  std::sort(sorted.begin(), sorted.end());
  for (std::int64_t i = 0; i < 1000; ++i) EXPECT_EQ(sorted[static_cast<std::size_t>(i)], i);
  EXPECT_EQ(randperm(0).shape(), Shape({0}));
  EXPECT_THAT(randperm(1).to_vector<std::int64_t>(), ElementsAre(0));
}

TEST(Sort, EveryPermutationIsEquallyLikely) {
  manual_seed(3);
  int counts[6] = {};
  constexpr int kDraws = 6000;
  for (int i = 0; i < kDraws; ++i) {
    const std::vector<std::int64_t> p = randperm(3).to_vector<std::int64_t>();
    ++counts[p[0] * 2 + (p[1] > p[2])];
  }
  // Six standard deviations of a count are 173.
  for (const int count : counts) EXPECT_NEAR(count, kDraws / 6, 173);
}

/// Keys of all values of a half type, in order, that differ but not in their bits from `begin` on.
template <class T>
int indistinct(int begin, bool descending) {
  std::vector<std::uint32_t> keys;
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    T half;
    half.bits = static_cast<std::uint16_t>(bits);
    const std::uint32_t key = sort_key(static_cast<float>(half));
    keys.push_back(descending ? ~key : key);
  }
  std::sort(keys.begin(), keys.end());
  int count = 0;
  for (std::size_t i = 1; i < keys.size(); ++i)
    count += keys[i] != keys[i - 1] && keys[i] >> begin <= keys[i - 1] >> begin;
  return count;
}

TEST(Sort, TheUpperBitsOfAHalfsKeyOrderIt) {
  for (const bool descending : {false, true}) {
    EXPECT_EQ(indistinct<Half>(key_bits<Half>().begin, descending), 0);
    EXPECT_EQ(indistinct<BFloat16>(key_bits<BFloat16>().begin, descending), 0);
    EXPECT_GT(indistinct<Half>(key_bits<Half>().begin + 1, descending), 0);
    EXPECT_GT(indistinct<BFloat16>(key_bits<BFloat16>().begin + 1, descending), 0);
  }
}

TEST(Sort, RejectsBadArguments) {
  const Tensor x = zeros({2, 3});
  EXPECT_THAT([&] { sort(x, 2); }, ThrowsMessage<InvalidArgument>(HasSubstr("[sort]")));
  EXPECT_THAT([&] { argsort(x, -3); }, ThrowsMessage<InvalidArgument>(HasSubstr("[argsort]")));
  EXPECT_THAT([&] { sort(Tensor()); }, ThrowsMessage<InvalidArgument>(HasSubstr("undefined")));
  EXPECT_THAT([&] { topk(x, 4); }, ThrowsMessage<InvalidArgument>(HasSubstr("[topk] expected k in [0, 3]")));
  EXPECT_THAT([&] { topk(x, -1); }, ThrowsMessage<InvalidArgument>(HasSubstr("[topk]")));
  EXPECT_THAT([&] { topk(full({}, 1), 0); }, ThrowsMessage<InvalidArgument>(HasSubstr("scalar")));
  EXPECT_THAT([&] { randperm(-1); }, ThrowsMessage<InvalidArgument>(HasSubstr("[randperm]")));
  EXPECT_THAT([&] { randperm(3, {.dtype = DType::f32}); },
              ThrowsMessage<InvalidArgument>(HasSubstr("got f32")));
}

struct Differentiable {
  const char* name;
  GradFunction f;
  Shape shape;
};

// Normal numbers: two within 1e-6, where the order has a kink, do not occur in these few draws.
TEST(SortGradient, FirstAndSecondDerivatives) {
  const std::vector<Differentiable> list = {
      {"sort", [](const Inputs& in) { return sort(in[0]).values * in[0]; }, {3, 4}},
      {"sort of columns", [](const Inputs& in) { return sort(exp(in[0]), 1, true).values; }, {2, 4, 3}},
      {"of a view", [](const Inputs& in) { return sort(in[0].t() * in[0].t(), 0).values; }, {3, 4}},
      {"topk", [](const Inputs& in) { return topk(in[0] * in[0], 2, 0).values; }, {5, 3}},
      {"least", [](const Inputs& in) { return topk(tanh(in[0]), 3, -1, false).values; }, {2, 5}},
  };
  for (const Differentiable& d : list) {
    EXPECT_TRUE(gradcheck(d.f, {{d.shape, fill::normal(0, 1)}})) << d.name;
    EXPECT_TRUE(gradgradcheck(d.f, {{d.shape, fill::normal(0, 1)}})) << d.name;
  }
}

}  // namespace
}  // namespace gpunn
