#include "gpunn/kernels/count/count.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <vector>

#include "gpunn/core/error.h"
#include "gpunn/core/random.h"
#include "tests/support/devices.h"
#include "tests/support/expect_parity.h"

namespace gpunn {
namespace parity {
void add_count_cases(Suite& suite);
}

namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

using Whole = std::vector<std::int64_t>;

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

Tensor whole(const Whole& values) { return Tensor::from(values, {static_cast<std::int64_t>(values.size())}); }
Whole values_of(const Tensor& t) { return t.to_vector<std::int64_t>(); }

TEST(CountParityRace, Cpu) { parity::expect_parity_on_cpu(parity::add_count_cases); }
#if GPUNN_HAS_CUDA
TEST(CountParityRace, Cuda) { parity::expect_parity_on_cuda(parity::add_count_cases); }
#endif

class CountDevice : public testing::DeviceTest {
 protected:
  Tensor here(const Tensor& t) const { return t.to(device()); }
};
GPUNN_ON_EVERY_DEVICE(CountDevice);

TEST_P(CountDevice, UniqueElements) {
  const Tensor x = here(Tensor::from({{3, 1, 2}, {1, 1, 3}}));
  const UniqueResult all = unique(x, true, true, true);
  EXPECT_THAT(all.values.to_vector<float>(), ElementsAre(1, 2, 3));
  EXPECT_EQ(all.inverse.shape(), x.shape());
  EXPECT_THAT(values_of(all.inverse), ElementsAre(2, 0, 1, 0, 0, 2));
  EXPECT_THAT(values_of(all.counts), ElementsAre(3, 1, 2));
  EXPECT_FALSE(unique(x).inverse.defined());
  EXPECT_FALSE(unique(x).counts.defined());
  EXPECT_THAT(unique(x.t()).values.to_vector<float>(), ElementsAre(1, 2, 3));
  const Tensor scalar = full({}, 5, {.device = device()});
  EXPECT_THAT(unique(scalar, true, true).values.to_vector<float>(), ElementsAre(5));
  EXPECT_EQ(unique(scalar, true, true).inverse.shape(), Shape());
}

TEST_P(CountDevice, EveryNanIsDistinctAndTheFirstZeroStays) {
  const UniqueResult u = unique(here(Tensor::from({kNaN, -0.0f, kInf, 0, kNaN, -kInf})), true, true, true);
  const std::vector<float> values = u.values.to_vector<float>();
  ASSERT_EQ(values.size(), 5u);
  EXPECT_EQ(values[0], -kInf);
  EXPECT_TRUE(values[1] == 0 && std::signbit(values[1]));
  EXPECT_EQ(values[2], kInf);
  EXPECT_TRUE(std::isnan(values[3]) && std::isnan(values[4]));
  EXPECT_THAT(values_of(u.inverse), ElementsAre(3, 1, 2, 1, 4, 0));
  EXPECT_THAT(values_of(u.counts), ElementsAre(1, 2, 1, 1, 1));
}

TEST_P(CountDevice, UniqueOfIntegersAndTruth) {
  const Tensor x = here(whole({5, INT64_MIN, 5, INT64_MAX, -1}));
  EXPECT_THAT(values_of(unique(x).values), ElementsAre(INT64_MIN, -1, 5, INT64_MAX));
  const UniqueResult truth = unique(here(whole({0, 1, 1}).to(DType::boolean)), true, true, true);
  EXPECT_EQ(truth.values.dtype(), DType::boolean);
  EXPECT_THAT(values_of(truth.inverse), ElementsAre(0, 1, 1));
  EXPECT_THAT(values_of(truth.counts), ElementsAre(1, 2));
}

// Against a map, at sizes with several tiles.
TEST_P(CountDevice, UniqueOfManyReturnsWhatItWasGiven) {
  PhiloxStream random(11, 0);
  Whole numbers;
  for (int i = 0; i < 5003; ++i) numbers.push_back(static_cast<std::int64_t>(random.uniform() * 700) - 350);
  std::map<std::int64_t, std::int64_t> counts;
  for (const std::int64_t v : numbers) ++counts[v];
  for (const DType dtype : {DType::i64, DType::f32}) {
    const UniqueResult u = unique(here(whole(numbers)).to(dtype), true, true, true);
    const Whole values = values_of(u.values.to(DType::i64)), many = values_of(u.counts),
                inverse = values_of(u.inverse);
    ASSERT_EQ(values.size(), counts.size());
    std::size_t k = 0;
    for (const auto& [value, count] : counts) {
      EXPECT_EQ(values[k], value);
      EXPECT_EQ(many[k++], count);
    }
    for (std::size_t i = 0; i < numbers.size(); ++i)
      ASSERT_EQ(values[static_cast<std::size_t>(inverse[i])], numbers[i]) << i;
  }
}

TEST_P(CountDevice, UniqueSlices) {
  const Tensor x = here(Tensor::from({{1, 2, 1}, {0, 9, 9}, {1, 2, 1}, {1, 2, 0}}));
  const UniqueResult rows = unique(x, true, true, true, 0);
  EXPECT_THAT(rows.values.to_vector<float>(), ElementsAre(0, 9, 9, 1, 2, 0, 1, 2, 1));
  EXPECT_EQ(rows.values.shape(), Shape({3, 3}));
  EXPECT_THAT(values_of(rows.inverse), ElementsAre(2, 0, 2, 1));
  EXPECT_THAT(values_of(rows.counts), ElementsAre(1, 1, 2));
  const Tensor wide = here(Tensor::from({{2, 1, 2}, {0, 5, 0}}));
  const UniqueResult columns = unique(wide, true, true, false, -1);
  EXPECT_EQ(columns.values.shape(), Shape({2, 2}));
  EXPECT_THAT(columns.values.to_vector<float>(), ElementsAre(1, 2, 5, 0));
  EXPECT_THAT(values_of(columns.inverse), ElementsAre(1, 0, 1));
  const UniqueResult cubes = unique(here(zeros({2, 3, 4})), true, false, true, 1);
  EXPECT_EQ(cubes.values.shape(), Shape({2, 1, 4}));
  EXPECT_THAT(values_of(cubes.counts), ElementsAre(3));
}

TEST_P(CountDevice, UniqueConsecutive) {
  const Tensor x = here(Tensor::from({1, 1, 2, 1, 1, 1}));
  const UniqueResult u = unique_consecutive(x, true, true);
  EXPECT_THAT(u.values.to_vector<float>(), ElementsAre(1, 2, 1));
  EXPECT_THAT(values_of(u.inverse), ElementsAre(0, 0, 1, 2, 2, 2));
  EXPECT_THAT(values_of(u.counts), ElementsAre(2, 1, 3));
  const UniqueResult rows = unique_consecutive(here(Tensor::from({{1, 2}, {1, 2}, {0, 2}})), false, true, 0);
  EXPECT_THAT(rows.values.to_vector<float>(), ElementsAre(1, 2, 0, 2));
  EXPECT_THAT(values_of(rows.counts), ElementsAre(2, 1));
}

TEST_P(CountDevice, UniqueOfNothing) {
  const UniqueResult u = unique(here(zeros({0, 3})), true, true, true);
  EXPECT_EQ(u.values.shape(), Shape({0}));
  EXPECT_EQ(u.inverse.shape(), Shape({0, 3}));
  EXPECT_EQ(u.counts.shape(), Shape({0}));
  const UniqueResult rows = unique(here(zeros({0, 3})), true, true, true, 0);
  EXPECT_EQ(rows.values.shape(), Shape({0, 3}));
  EXPECT_EQ(rows.inverse.shape(), Shape({0}));
}

TEST_P(CountDevice, Bincount) {
  for (const DType dtype : {DType::i32, DType::i64, DType::u8}) {
    const Tensor x = here(whole({4, 0, 1, 4, 4}).to(dtype));
    EXPECT_THAT(values_of(bincount(x)), ElementsAre(1, 1, 0, 0, 3));
    EXPECT_THAT(values_of(bincount(x, {}, 6)), ElementsAre(1, 1, 0, 0, 3, 0));
    const Tensor weights = here(Tensor::from({1, 0.5f, -2, 3, 0.25f}));
    EXPECT_THAT(bincount(x, weights).to_vector<float>(), ElementsAre(0.5f, -2, 0, 0, 4.25f));
    EXPECT_EQ(bincount(x, weights.to(DType::f16)).dtype(), DType::f32);
    EXPECT_THAT(bincount(x, weights.to(DType::bf16), 6).to_vector<float>(),
                ElementsAre(0.5f, -2, 0, 0, 4.25f, 0));
  }
  const Tensor none = here(whole({}));
  EXPECT_EQ(bincount(none).shape(), Shape({0}));
  EXPECT_THAT(values_of(bincount(none, {}, 2)), ElementsAre(0, 0));
  EXPECT_THAT(bincount(none, here(zeros({0})), 2).to_vector<float>(), ElementsAre(0, 0));
  const Tensor strided = here(whole({0, 7, 1, 7, 1, 7})).reshape({3, 2}).select(1, 0);
  EXPECT_THAT(values_of(bincount(strided)), ElementsAre(1, 2));
}

TEST_P(CountDevice, WeightedBincountRepeatsItsBits) {
  manual_seed(5);
  const Tensor x = here((rand({4000}).to(DType::f32)).to(DType::i64)), weights = here(randn({4000}));
  const std::vector<float> first = bincount(x, weights, 3).to_vector<float>();
  EXPECT_EQ(bincount(x, weights, 3).to_vector<float>(), first);
  double sum = 0;
  for (const float w : weights.to_vector<float>()) sum += static_cast<double>(w);
  EXPECT_NEAR(first[0], sum, 1e-3);
  EXPECT_EQ(first[1], 0);
}

TEST_P(CountDevice, Histc) {
  const Tensor x = here(Tensor::from({1, 2, 1, kNaN, 5, -1}));
  EXPECT_THAT(histc(x, 4, 0, 3).to_vector<float>(), ElementsAre(0, 2, 1, 0));
  // The last bin holds its upper edge, and no range is the data's.
  EXPECT_THAT(histc(here(Tensor::from({0, 1, 2, 4})), 2).to_vector<float>(), ElementsAre(2, 2));
  EXPECT_THAT(histc(here(full({3}, 2)), 3).to_vector<float>(), ElementsAre(0, 3, 0));
  EXPECT_THAT(histc(here(zeros({0})), 2).to_vector<float>(), ElementsAre(0, 0));
  EXPECT_EQ(histc(here(zeros({5}))).shape(), Shape({100}));
  EXPECT_EQ(histc(here(full({3000}, 0.5).to(DType::f16)), 2, 0, 1).to_vector<float>()[1], 3000);
}

TEST_P(CountDevice, Histogram) {
  const Tensor x = here(Tensor::from({1, 2, 1}));
  const HistogramResult even = histogram(x, 4, {.range = std::pair(0.0, 3.0)});
  EXPECT_THAT(even.hist.to_vector<float>(), ElementsAre(0, 2, 1, 0));
  EXPECT_THAT(even.bin_edges.to_vector<float>(), ElementsAre(0, 0.75f, 1.5f, 2.25f, 3));
  const Tensor weights = here(Tensor::from({1, 2, 4}));
  EXPECT_THAT(histogram(x, 4, {.range = std::pair(0.0, 3.0), .weights = weights}).hist.to_vector<float>(),
              ElementsAre(0, 5, 2, 0));
  const Tensor edges = here(Tensor::from({0, 1, 3}));
  EXPECT_THAT(histogram(x, edges).hist.to_vector<float>(), ElementsAre(0, 3));
  EXPECT_THAT(histogram(x, here(Tensor::from({0, 1.5f, 3.5f})), {.density = true}).hist.to_vector<float>(),
              ElementsAre(2.0f / 3 / 1.5f, 1.0f / 3 / 2));
  EXPECT_THAT(histogram(x, edges, {.weights = weights}).hist.to_vector<float>(), ElementsAre(0, 7));
  EXPECT_THAT(histogram(here(full({2}, 3)), 2).bin_edges.to_vector<float>(), ElementsAre(2.5f, 3, 3.5f));
  EXPECT_THAT(histogram(here(zeros({0})), 1).bin_edges.to_vector<float>(), ElementsAre(0, 1));
  EXPECT_THAT(histogram(here(zeros({0})), 2, {.weights = here(zeros({0}))}).hist.to_vector<float>(),
              ElementsAre(0, 0));
}

TEST_P(CountDevice, SearchSorted) {
  const Tensor row = here(Tensor::from({1, 3, 3, 7}));
  const Tensor values = here(Tensor::from({{0, 3}, {4, kNaN}}));
  EXPECT_THAT(values_of(searchsorted(row, values)), ElementsAre(0, 1, 3, 4));
  EXPECT_THAT(values_of(searchsorted(row, values, true)), ElementsAre(0, 3, 3, 4));
  EXPECT_THAT(values_of(bucketize(values, row)), ElementsAre(0, 1, 3, 4));
  const Tensor rows = here(Tensor::from({{1, 2}, {5, 6}}));
  EXPECT_THAT(values_of(searchsorted(rows, here(Tensor::from({{2, 0, 9}, {2, 6, 9}})))),
              ElementsAre(1, 0, 2, 0, 1, 2));
  EXPECT_EQ(searchsorted(row, here(zeros({0}))).shape(), Shape({0}));
  EXPECT_THAT(values_of(searchsorted(here(zeros({0})), values)), ElementsAre(0, 0, 0, 0));
  EXPECT_EQ(searchsorted(row, full({}, 5, {.device = device()})).item(), 3);
}

TEST(Count, DoublesOnTheCpu) {
  const Tensor x = Tensor::from(std::vector<double>{1e-300, 2, 1e-300}, {3});
  EXPECT_EQ(unique(x).values.to_vector<double>(), (std::vector<double>{1e-300, 2}));
  const HistogramResult h = histogram(x, 2, {.weights = x});
  EXPECT_EQ(h.hist.dtype(), DType::f64);
  EXPECT_EQ(h.hist.to_vector<double>()[1], 2);
  EXPECT_EQ(values_of(bucketize(x, x.narrow(0, 0, 2), true)), (Whole{1, 2, 1}));
  EXPECT_EQ(bincount(whole({1, 1}), x.narrow(0, 0, 2)).to_vector<double>()[1], 2);
}

TEST(Count, NothingIsRecorded) {
  const Tensor x = Tensor::from({1, 2}).requires_grad_();
  EXPECT_FALSE(unique(x).values.requires_grad());
  EXPECT_FALSE(histc(x).requires_grad());
  EXPECT_FALSE(histogram(x, 2, {.weights = x}).hist.requires_grad());
  EXPECT_FALSE(bincount(whole({0, 1}), x).requires_grad());
}

TEST(Count, UniqueRejectsBadArguments) {
  const Tensor x = zeros({2, 3});
  EXPECT_THAT([&] { unique(Tensor()); }, ThrowsMessage<InvalidArgument>(HasSubstr("[unique]")));
  EXPECT_THAT([&] { unique(x, true, false, false, 2); },
              ThrowsMessage<InvalidArgument>(HasSubstr("[unique]")));
  EXPECT_THAT([&] { unique(full({}, 1), true, false, false, 0); },
              ThrowsMessage<InvalidArgument>(HasSubstr("scalar")));
  EXPECT_THAT(
      [&] { unique_consecutive(zeros({2, 0}), false, false, 0); },
      ThrowsMessage<InvalidArgument>(HasSubstr("[unique_consecutive] expected slices with elements")));
}

TEST(Count, BincountRejectsBadArguments) {
  const auto fails = [](const auto& call, const char* text) {
    EXPECT_THAT(call, ThrowsMessage<InvalidArgument>(HasSubstr(text)));
  };
  fails([] { bincount(Tensor()); }, "[bincount]");
  fails([] { bincount(zeros({2})); }, "expected a tensor of i32, i64 or u8, got f32");
  fails([] { bincount(whole({0, 1}).reshape({1, 2})); }, "rank 1");
  fails([] { bincount(whole({0, -3})); }, "expected elements >= 0, got -3");
  fails([] { bincount(whole({0}), {}, -1); }, "minlength");
  fails([] { bincount(whole({0}), zeros({2})); }, "weights of shape [1]");
  fails([] { bincount(whole({0}), whole({1})); }, "weights");
  fails([] { bincount(whole({INT64_MAX})); }, "[bincount]");
}

TEST(Count, HistogramsRejectBadArguments) {
  const Tensor x = zeros({2, 3});
  const auto fails = [](const auto& call, const char* text) {
    EXPECT_THAT(call, ThrowsMessage<InvalidArgument>(HasSubstr(text)));
  };
  fails([&] { histc(x, 0); }, "[histc] expected bins >= 1");
  fails([&] { histc(x, 3, 2, 1); }, "rises");
  fails([&] { histc(x, 3, 0, std::numeric_limits<double>::infinity()); }, "finite");
  fails([&] { histc(Tensor::from({1, kNaN})); }, "finite");
  fails([&] { histc(whole({1})); }, "[histc]");
  fails([&] { histogram(x, 3, {.weights = zeros({3})}); }, "weights of shape [2, 3]");
  fails([&] { histogram(x, 3, {.weights = zeros({2, 3}, {.dtype = DType::f16})}); }, "[histogram]");
  fails([&] { histogram(x, zeros({1})); }, "bin_edges");
  fails([&] { histogram(x, Tensor()); }, "bin_edges");
  fails([&] { histogram(x, zeros({3}), {.range = std::pair(0.0, 1.0)}); }, "no range");
}

TEST(Count, SearchesRejectBadArguments) {
  const Tensor x = zeros({2, 3});
  EXPECT_THAT([&] { searchsorted(x, zeros({3})); },
              ThrowsMessage<InvalidArgument>(HasSubstr("[searchsorted] expected a sorted_sequence")));
  EXPECT_THAT([&] { searchsorted(x, zeros({3, 3})); }, ThrowsMessage<InvalidArgument>(HasSubstr("[3, 3]")));
  EXPECT_THAT([&] { searchsorted(full({}, 1), x); }, ThrowsMessage<InvalidArgument>(HasSubstr("[L]")));
  EXPECT_THAT([&] { bucketize(x, x); }, ThrowsMessage<InvalidArgument>(HasSubstr("[bucketize]")));
  EXPECT_THAT([&] { bucketize(x, whole({1})); }, ThrowsMessage<InvalidArgument>(HasSubstr("[bucketize]")));
  EXPECT_THAT([&] { bucketize(Tensor(), x); }, ThrowsMessage<InvalidArgument>(HasSubstr("undefined")));
}

}  // namespace
}  // namespace gpunn
