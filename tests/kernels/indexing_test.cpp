#include "gpunn/kernels/indexing/indexing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <utility>
#include <vector>

#include "gpunn/core/autograd.h"
#include "gpunn/core/error.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/reduce/reduce.h"
#include "tests/support/devices.h"
#include "tests/support/expect_parity.h"
#include "tests/support/gradcheck.h"

namespace gpunn {
namespace parity {
void add_indexing_cases(Suite& suite);
}

namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

using Indices = std::vector<std::int64_t>;

TEST(IndexingParityRace, Cpu) { parity::expect_parity_on_cpu(parity::add_indexing_cases); }
#if GPUNN_HAS_CUDA
TEST(IndexingParityRace, Cuda) { parity::expect_parity_on_cuda(parity::add_indexing_cases); }
#endif

class Indexing : public testing::DeviceTest {
 protected:
  /// 0, 1, 2, ...
  Tensor counted(const Shape& shape, bool grad = false) const {
    std::vector<float> values(static_cast<std::size_t>(shape.numel()));
    std::iota(values.begin(), values.end(), 0.0f);
    return Tensor::from(values, shape, {.device = device(), .requires_grad = grad});
  }
  Tensor indices(const Indices& values, const Shape& shape) const {
    return Tensor::from(values, shape, {.dtype = DType::i64, .device = device()});
  }
  Tensor indices(const Indices& values) const {
    return indices(values, {static_cast<std::int64_t>(values.size())});
  }
  /// true where a value is not 0
  Tensor mask(const std::vector<float>& values, const Shape& shape) const {
    return Tensor::from(values, shape, {.device = device()}).to(DType::boolean);
  }
};
GPUNN_ON_EVERY_DEVICE(Indexing);

std::vector<float> values(const Tensor& t) { return t.to_vector<float>(); }

TEST_P(Indexing, GatherAlongAnyDimension) {
  const Tensor x = counted({2, 3});
  EXPECT_THAT(values(gather(x, 1, indices({2, 0, 1, 1}, {2, 2}))), ElementsAre(2, 0, 4, 4));
  EXPECT_THAT(values(gather(x, 0, indices({1, 0, 1}, {1, 3}))), ElementsAre(3, 1, 5));
  EXPECT_THAT(values(gather(x, -1, indices({2}, {1, 1}))), ElementsAre(2));
  EXPECT_THAT(values(gather(x.t(), 0, indices({2, 0}, {1, 2}))), ElementsAre(2, 3));
  EXPECT_EQ(gather(x, 1, indices({}, {2, 0})).shape(), Shape({2, 0}));
  EXPECT_THAT(gather(x.to(DType::i64), 1, indices({2, 0}, {2, 1})).to_vector<std::int64_t>(),
              ElementsAre(2, 3));
}

TEST_P(Indexing, ScatterLetsTheLastOfRepeatedIndicesWin) {
  const Tensor x = counted({5}, true), src = counted({4}, true);
  const Tensor y = scatter(x, 0, indices({1, 3, 1, 4}), src * 1.0 + 10);
  EXPECT_THAT(values(y), ElementsAre(0, 12, 2, 11, 13));
  sum(y * counted({5})).backward();
  EXPECT_THAT(values(x.grad()), ElementsAre(0, 0, 2, 0, 0));
  // Element 0 was overwritten by element 2: it gets no gradient.
  EXPECT_THAT(values(src.grad()), ElementsAre(0, 3, 1, 4));
  EXPECT_EQ(values(scatter(x, 0, indices({}), src)), values(x));
}

TEST_P(Indexing, ScatterAddSumsRepeatedIndices) {
  const Tensor x = counted({2, 3}, true), src = counted({3, 4}, true);
  const Tensor y = scatter_add(x, 1, indices({0, 0, 2, 1, 1, 1}, {2, 3}), src);
  EXPECT_THAT(values(y), ElementsAre(0 + 0 + 1, 1, 2 + 2, 3, 4 + 4 + 5 + 6, 5));
  sum(y * counted({2, 3})).backward();
  EXPECT_THAT(values(x.grad()), ElementsAre(0, 1, 2, 3, 4, 5));
  EXPECT_THAT(values(src.grad()), ElementsAre(0, 0, 2, 0, 4, 4, 4, 0, 0, 0, 0, 0));
}

TEST_P(Indexing, TakeAlongDimBroadcasts) {
  const Tensor x = counted({2, 3});
  EXPECT_THAT(values(take_along_dim(x, indices({2, 0}, {1, 2}), 1)), ElementsAre(2, 0, 5, 3));
  EXPECT_THAT(values(take_along_dim(counted({1, 3}), indices({2, 1}, {2, 1}), 1)), ElementsAre(2, 1));
}

TEST_P(Indexing, IndexSelectAndIndexAdd) {
  const Tensor x = counted({2, 3}, true);
  EXPECT_THAT(values(index_select(x, 0, indices({1, 1, 0}))), ElementsAre(3, 4, 5, 3, 4, 5, 0, 1, 2));
  EXPECT_THAT(values(index_select(x, -1, indices({2, 0}))), ElementsAre(2, 0, 5, 3));
  EXPECT_EQ(index_select(x, 1, indices({})).shape(), Shape({2, 0}));
  EXPECT_THAT(values(index_add(x, 1, indices({2, 2}), counted({2, 2}))), ElementsAre(0, 1, 3, 3, 4, 10));
  EXPECT_EQ(values(index_add(x, 0, indices({}), empty({0, 3}, {.device = device()}))), values(x));
  sum(index_select(x, 1, indices({2, 0, 2})) * counted({2, 3})).backward();
  EXPECT_THAT(values(x.grad()), ElementsAre(1, 0, 0 + 2, 4, 0, 3 + 5));
}

TEST_P(Indexing, Embedding) {
  const Tensor weight = counted({4, 2}, true);
  const Tensor index = indices({3, 0, 3, 1}, {2, 2});
  const Tensor y = embedding(weight, index, {.padding_idx = -4});
  EXPECT_EQ(y.shape(), Shape({2, 2, 2}));
  EXPECT_THAT(values(y), ElementsAre(6, 7, 0, 1, 6, 7, 2, 3));
  sum(y * counted({2, 2, 2})).backward();
  EXPECT_THAT(values(weight.grad()), ElementsAre(0, 0, 6, 7, 0, 0, 0 + 4, 1 + 5));
  EXPECT_EQ(embedding(weight, indices({2}, {})).shape(), Shape({2}));
  EXPECT_EQ(embedding(weight, indices({}, {0, 3})).shape(), Shape({0, 3, 2}));
  EXPECT_EQ(embedding(counted({4, 0}), index).shape(), Shape({2, 2, 0}));
}

// The order of terms decides the bits; a hundred equal rows of mixed magnitudes
// show it.
TEST_P(Indexing, GradientOfRepeatedRowsIsRepeatable) {
  Indices index(500);
  for (std::size_t i = 0; i < index.size(); ++i) index[i] = static_cast<std::int64_t>(i * i % 7);
  const Tensor dy = rand({500, 33}).to(device());
  std::vector<float> first;
  for (int run = 0; run < 3; ++run) {
    const Tensor weight = counted({7, 33}, true);
    embedding(weight, indices(index)).backward(dy);
    if (run == 0) first = values(weight.grad());
    EXPECT_EQ(values(weight.grad()), first);
  }
}

TEST_P(Indexing, MaskedFillAndMaskedSelect) {
  const Tensor x = counted({2, 3}, true);
  EXPECT_THAT(values(masked_fill(x, mask({0, 1, 0}, {3}), -1)), ElementsAre(0, -1, 2, 3, -1, 5));
  EXPECT_THAT(values(masked_fill(x, mask({0, 1}, {2, 1}), INFINITY)),
              ElementsAre(0, 1, 2, INFINITY, INFINITY, INFINITY));
  const Tensor chosen = masked_select(x, mask({1, 0, 1}, {3}));
  EXPECT_THAT(values(chosen), ElementsAre(0, 2, 3, 5));
  EXPECT_EQ(masked_select(x, mask({0, 0, 0}, {3})).shape(), Shape({0}));
  EXPECT_THAT(values(masked_select(counted({2, 1}), mask({1, 0, 1}, {3}))), ElementsAre(0, 0, 1, 1));
  EXPECT_EQ(masked_select(empty({0}, {.device = device()}), mask({}, {0})).shape(), Shape({0}));
  sum(chosen * counted({4})).backward();
  EXPECT_THAT(values(x.grad()), ElementsAre(0, 0, 1, 2, 0, 3));
  x.zero_grad();
  sum(masked_fill(x, mask({0, 1, 0}, {3}), NAN) * counted({2, 3})).backward();
  EXPECT_THAT(values(x.grad()), ElementsAre(0, 0, 2, 3, 0, 5));
}

TEST_P(Indexing, OneHot) {
  const Tensor y = one_hot(indices({1, 0}), 3);
  EXPECT_EQ(y.dtype(), DType::i64);
  EXPECT_THAT(y.to_vector<std::int64_t>(), ElementsAre(0, 1, 0, 1, 0, 0));
  EXPECT_THAT(values(one_hot(indices({0, 2}), -1, DType::f32)), ElementsAre(1, 0, 0, 0, 0, 1));
  EXPECT_EQ(one_hot(indices({1, 0}, {2, 1}), 4).shape(), Shape({2, 1, 4}));
  EXPECT_EQ(one_hot(indices({}), 3).shape(), Shape({0, 3}));
}

template <class F>
void expect_invalid(F f, const char* text) {
  EXPECT_THAT(f, ThrowsMessage<InvalidArgument>(HasSubstr(text)));
}

TEST_P(Indexing, BadIndicesAreNamed) {
  const Tensor x = counted({2, 3}, true);
  for (const std::int64_t bad : {std::int64_t{-1}, std::int64_t{3}, std::int64_t{1} << 62}) {
    const std::string got = "expected indices in [0, 3), got " + std::to_string(bad) + " at position 1";
    const Tensor row = indices({0, bad}), matrix = indices({0, bad}, {1, 2});
    expect_invalid([&] { gather(x, 1, matrix); }, ("[gather] " + got).c_str());
    expect_invalid([&] { scatter(x, 1, matrix, counted({1, 2})); }, ("[scatter] " + got).c_str());
    expect_invalid([&] { scatter_add(x, 1, matrix, counted({1, 2})); }, ("[scatter_add] " + got).c_str());
    expect_invalid([&] { take_along_dim(x, matrix, 1); }, ("[take_along_dim] " + got).c_str());
    expect_invalid([&] { index_select(x, 1, row); }, ("[index_select] " + got).c_str());
    expect_invalid([&] { index_add(x, 1, row, counted({2, 2})); }, ("[index_add] " + got).c_str());
    expect_invalid([&] { embedding(x.t(), row); }, ("[embedding] " + got).c_str());
    expect_invalid([&] { one_hot(row, 3); }, ("[one_hot] " + got).c_str());
  }
  expect_invalid([&] { one_hot(indices({2, -1})); }, "got -1 at position 1");
}

TEST_P(Indexing, UncheckedBadIndicesReadNaNOnAGpuAndAreErrorsOnTheCpu) {
  const Tensor x = counted({2, 3});
  const Tensor bad = indices({0, 7}), matrix = indices({0, 7}, {1, 2});
  if (device().is_cpu()) {
    EXPECT_THROW(index_select(x, 0, bad, {.check_indices = false}), InvalidArgument);
    EXPECT_THROW(gather(x, 1, matrix, {.check_indices = false}), InvalidArgument);
    EXPECT_THROW(embedding(x, bad, {.check_indices = false}), InvalidArgument);
    return;
  }
  const std::vector<float> rows = values(embedding(x, bad, {.check_indices = false}));
  EXPECT_EQ(rows[2], 2);
  EXPECT_TRUE(std::isnan(rows[3]));
  EXPECT_TRUE(std::isnan(values(gather(x, 1, matrix, {.check_indices = false}))[1]));
  EXPECT_EQ(values(scatter_add(x, 1, matrix, counted({1, 2}), {.check_indices = false})), values(x));
}

TEST_P(Indexing, RejectsBadArgumentsOfElements) {
  const Tensor x = counted({2, 3}), index = indices({0, 1}, {2, 1});
  expect_invalid([&] { gather(Tensor(), 0, index); }, "[gather] expected a tensor and an index");
  expect_invalid([&] { gather(x, 0, Tensor()); }, "undefined");
  expect_invalid([&] { gather(x, 2, index); }, "[gather]");
  expect_invalid([&] { gather(x, 0, index.to(DType::i32)); }, "index of i64, got i32");
  expect_invalid([&] { gather(x, 0, indices({0})); }, "of one rank");
  expect_invalid([&] { gather(x, 1, indices({0, 0, 0}, {3, 1})); }, "no larger than [2, 3]");
  expect_invalid([&] { scatter(x, 1, index, counted({1, 1})); }, "at least as large as the index");
  expect_invalid([&] { scatter(x, 1, index, counted({2})); }, "src of the index's rank");
  expect_invalid([&] { scatter(x, 1, index, x.to(DType::f16)); }, "[scatter] expected src of f32");
  expect_invalid([&] { scatter_add(x, 5, index, x); }, "[scatter_add]");
  const Tensor whole = x.to(DType::i64);
  expect_invalid([&] { scatter_add(whole, 1, index, whole); }, "expected floating x");
  expect_invalid([&] { take_along_dim(x, indices({0, 0, 0}, {3, 1}), 1); }, "[take_along_dim]");
}

TEST_P(Indexing, RejectsBadArgumentsOfRowsAndMasks) {
  const Tensor x = counted({2, 3}), index = indices({0, 1});
  expect_invalid([&] { index_select(x, 2, index); }, "[index_select]");
  expect_invalid([&] { index_select(x, 0, indices({0}, {1, 1})); }, "one-dimensional index");
  expect_invalid([&] { index_add(x, 1, index, x); }, "expected src [2, 2], got [2, 3]");
  expect_invalid([&] { index_add(x, 1, index, Tensor()); }, "undefined");
  expect_invalid([&] { embedding(counted({3}), index); }, "weight [V, D]");
  expect_invalid([&] { embedding(x, index, {.padding_idx = 2}); }, "padding_idx in [-2, 2), got 2");
  expect_invalid([&] { embedding(x, x); }, "index of i64");
  expect_invalid([&] { masked_fill(x, x, 0); }, "mask of bool, got f32");
  expect_invalid([&] { masked_fill(x, mask({1, 0}, {2}), 0); }, "[masked_fill]");
  expect_invalid([&] { masked_fill(x, mask({1, 0}, {2, 1, 1}), 0); }, "broadcasts to [2, 3]");
  expect_invalid([&] { masked_select(x, mask({1, 0}, {2})); }, "[masked_select]");
  expect_invalid([&] { masked_select(Tensor(), mask({1}, {1})); }, "undefined");
  expect_invalid([&] { one_hot(index, 0); }, "num_classes >= 1");
  expect_invalid([&] { one_hot(indices({})); }, "num_classes for an empty index");
  expect_invalid([&] { one_hot(x, 3); }, "index of i64");
  expect_invalid([&] { one_hot(index, std::int64_t{1} << 62); }, "[one_hot]");
}

TEST(IndexingDevices, MustAgree) {
  if (cuda_device_count() == 0) GTEST_SKIP() << "no GPU on this machine";
  const Tensor x = zeros({2, 2}, {.device = Device::cuda(0)});
  const Tensor index = zeros({2}, {.dtype = DType::i64}), mask = zeros({2}, {.dtype = DType::boolean});
  expect_invalid([&] { embedding(x, index); }, "expected the index on cuda:0, got cpu");
  expect_invalid([&] { masked_fill(x, mask, 0); }, "expected the mask on cuda:0, got cpu");
}

Tensor index_of(const Indices& values, const Shape& shape) {
  return Tensor::from(values, shape, {.dtype = DType::i64});
}

// Cubed, so that second derivatives do not vanish.
Tensor cube(const Tensor& x) { return x * x * x; }

const std::vector<std::pair<const char*, GradFunction>>& functions() {
  static const Tensor matrix = index_of({0, 2, 2, 1, 0, 0}, {3, 2}), row = index_of({2, 0, 2}, {3});
  static const Tensor mask = Tensor::from({0, 1, 1, 0}).to(DType::boolean);
  static const std::vector<std::pair<const char*, GradFunction>> list = {
      {"gather", [](const Inputs& in) { return cube(gather(in[0], 0, matrix)); }},
      {"scatter", [](const Inputs& in) { return cube(scatter(in[0], 0, matrix, in[1])); }},
      {"scatter_add", [](const Inputs& in) { return cube(scatter_add(in[0], 0, matrix, in[1])); }},
      {"take_along_dim",
       [](const Inputs& in) { return cube(take_along_dim(in[0], matrix.narrow(1, 0, 1), 0)); }},
      {"index_select", [](const Inputs& in) { return cube(index_select(in[0].t(), 1, row)); }},
      {"index_add", [](const Inputs& in) { return cube(index_add(in[0], 0, row, in[1])); }},
      {"embedding",
       [](const Inputs& in) {
         // The row without gradient is 0 here: finite differences would see it
         // move.
         const Tensor used =
             in[0] * Tensor::from(std::vector<double>{1, 0, 1}, {3, 1}, {.dtype = DType::f64});
         return cube(embedding(used, matrix, {.padding_idx = 1}));
       }},
      {"masked_fill", [](const Inputs& in) { return cube(masked_fill(in[0], mask, 0.5)); }},
      {"masked_select", [](const Inputs& in) { return cube(masked_select(in[0], mask)); }},
  };
  return list;
}

const std::vector<GradInput> kInputs = {{{3, 4}, fill::normal(0, 1)}, {{3, 4}, fill::normal(0, 1)}};

/// Only what is used may be asked for.
std::vector<GradInput> inputs_of(const std::string& name) {
  const bool two = name == "scatter" || name == "scatter_add" || name == "index_add";
  return {kInputs.begin(), kInputs.begin() + (two ? 2 : 1)};
}

TEST(IndexingGradient, FirstDerivatives) {
  for (const auto& [name, f] : functions()) EXPECT_TRUE(gradcheck(f, inputs_of(name))) << name;
}

TEST(IndexingGradient, SecondDerivatives) {
  for (const auto& [name, f] : functions()) EXPECT_TRUE(gradgradcheck(f, inputs_of(name))) << name;
}

}  // namespace
}  // namespace gpunn
