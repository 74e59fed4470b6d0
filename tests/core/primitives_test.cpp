#include "gpunn/core/primitives_impl.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "gpunn/core/detail/strided.h"
#include "gpunn/core/tensor.h"
#include "tests/support/devices.h"
#include "tests/support/expect_parity.h"

namespace gpunn {
namespace parity {
void add_primitives_cases(Suite& suite);
}

namespace {

constexpr DType kAll[] = {DType::f32, DType::f64, DType::f16, DType::bf16,
                          DType::i32, DType::i64, DType::u8,  DType::boolean};

TEST(PrimitivesParity, Cpu) { parity::expect_parity_on_cpu(parity::add_primitives_cases); }
#if GPUNN_HAS_CUDA
TEST(PrimitivesParity, Cuda) { parity::expect_parity_on_cuda(parity::add_primitives_cases); }
#endif

// ---- the helpers

TEST(Strided, CoalesceMergesWhatEveryOperandWalksAsOne) {
  std::int64_t shape[] = {2, 1, 3, 4, 5}, a[] = {60, 7, 20, 5, 1}, b[] = {0, 9, 20, 5, 1};
  ASSERT_EQ(detail::coalesce<2>({5, shape, {a, b}}), 2);
  EXPECT_EQ(shape[0], 2);
  EXPECT_EQ(shape[1], 60);
  EXPECT_EQ(a[0], 60);
  EXPECT_EQ(b[0], 0);
  EXPECT_EQ(a[1], 1);
  EXPECT_EQ(b[1], 1);
}

TEST(Strided, CoalesceOfSingleElementsHasRankOne) {
  std::int64_t shape[] = {1, 1}, a[] = {3, 9};
  EXPECT_EQ(detail::coalesce<1>({2, shape, {a}}), 1);
  EXPECT_EQ(shape[0], 1);
  EXPECT_EQ(detail::coalesce<1>({0, shape, {a}}), 1);
}

TEST(Strided, AWalkInPiecesVisitsWhatAWholeOneDoes) {
  const std::int64_t shape[] = {3, 4, 5}, strides[] = {40, 1, 6};
  std::vector<std::int64_t> whole, pieces;
  const auto into = [&](std::vector<std::int64_t>& out) {
    return [&](std::int64_t n, const std::int64_t(&at)[1]) {
      for (std::int64_t i = 0; i < n; ++i) out.push_back(at[0] + i * 6);
    };
  };
  detail::walk<1>(3, shape, {strides}, 0, 60, into(whole));
  for (std::int64_t begin = 0; begin < 60; begin += 7)
    detail::walk<1>(3, shape, {strides}, begin, std::min<std::int64_t>(60, begin + 7), into(pieces));
  EXPECT_EQ(whole.size(), 60u);
  EXPECT_EQ(whole[23], 1 * 40 + 0 * 1 + 3 * 6);
  EXPECT_EQ(pieces, whole);
}

// ---- conversions

class PrimitivesDevice : public testing::DeviceTest {};
GPUNN_ON_EVERY_DEVICE(PrimitivesDevice);

template <class To>
std::vector<To> converted(const std::vector<float>& values, DType dtype, Device device) {
  return Tensor::from(values, {static_cast<std::int64_t>(values.size())})
      .to(device)
      .to(dtype)
      .to_vector<To>();
}

TEST_P(PrimitivesDevice, FloatToIntegerTruncatesAndSaturates) {
  constexpr float kInf = std::numeric_limits<float>::infinity(),
                  kNaN = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> x = {0.9f,   -0.9f, 2.5f,  -2.5f, 3e9f,   -3e9f, 1e30f,
                                -1e30f, kInf,  -kInf, kNaN,  255.9f, 256};
  constexpr auto kHigh32 = std::numeric_limits<std::int32_t>::max(),
                 kLow32 = std::numeric_limits<std::int32_t>::min();
  EXPECT_EQ(converted<std::int32_t>(x, DType::i32, device()),
            (std::vector<std::int32_t>{0, 0, 2, -2, kHigh32, kLow32, kHigh32, kLow32, kHigh32, kLow32, 0, 255,
                                       256}));
  constexpr auto kHigh = std::numeric_limits<std::int64_t>::max(),
                 kLow = std::numeric_limits<std::int64_t>::min();
  EXPECT_EQ(converted<std::int64_t>(x, DType::i64, device()),
            (std::vector<std::int64_t>{0, 0, 2, -2, 3000000000, -3000000000, kHigh, kLow, kHigh, kLow, 0, 255,
                                       256}));
  EXPECT_EQ(converted<std::uint8_t>(x, DType::u8, device()),
            (std::vector<std::uint8_t>{0, 0, 2, 0, 255, 0, 255, 0, 255, 0, 0, 255, 255}));
}

TEST_P(PrimitivesDevice, AnythingToBoolIsNotZero) {
  const std::vector<float> x = {0, -0.0f, 1e-40f, -3, std::nanf("")};
  const Tensor flags = Tensor::from(x, {5}).to(device()).to(DType::boolean);
  EXPECT_EQ(flags.to(DType::i32).to_vector<std::int32_t>(), (std::vector<std::int32_t>{0, 0, 1, 1, 1}));
}

TEST_P(PrimitivesDevice, IntegersConvertExactlyOrWrap) {
  const std::vector<std::int64_t> x = {(std::int64_t{1} << 53) + 1, -1, 257, std::int64_t{1} << 32};
  const Tensor t = Tensor::from(x, {4}).to(device());
  EXPECT_EQ(t.clone().to_vector<std::int64_t>(), x);
  EXPECT_EQ(t.to(DType::u8).to_vector<std::uint8_t>(), (std::vector<std::uint8_t>{1, 255, 1, 0}));
  EXPECT_EQ(t.to(DType::i32).to_vector<std::int32_t>(), (std::vector<std::int32_t>{1, -1, 257, 0}));
}

TEST_P(PrimitivesDevice, HalvesRoundToNearestEven) {
  // 1 + 2^-11 lies halfway between 1 and 1 + 2^-10 in f16; 65520 halfway between the largest f16 and
  // infinity.
  const std::vector<float> x = {1 + 0x1p-11f, 1 + 3 * 0x1p-11f, 65519, 65520, 0x1p-25f, 3 * 0x1p-25f};
  const std::vector<float> y =
      Tensor::from(x, {6}).to(device()).to(DType::f16).to(DType::f32).to_vector<float>();
  EXPECT_EQ(y, (std::vector<float>{1, 1 + 0x1p-9f, 65504, HUGE_VALF, 0, 0x1p-23f}));
  const std::vector<float> b = {1 + 0x1p-8f, 1 + 3 * 0x1p-8f};
  EXPECT_EQ(Tensor::from(b, {2}).to(device()).to(DType::bf16).to(DType::f32).to_vector<float>(),
            (std::vector<float>{1, 1 + 0x1p-6f}));
}

TEST_P(PrimitivesDevice, EveryPairOfDtypesAgreesWithTheReference) {
  for (const DType from : kAll) {
    const Tensor x = (from == DType::boolean ? Tensor::from({0, 1, 1, 0, 1, 0, 0})
                                             : Tensor::from({0, 1, 2.75f, 100, 3, 250, -7}))
                         .to(from);
    for (const DType to : kAll) {
      const Tensor expected = empty({7}, {.dtype = to});
      copy_ref(detail::copy_problem(x, expected), {});
      const Tensor got = x.to(device()).to(to);
      EXPECT_EQ(got.to(DType::f64).to_vector<double>(), expected.to(DType::f64).to_vector<double>())
          << name_of(from) << " to " << name_of(to);
    }
  }
}

// ---- copies and fills of views

/// Distinct values, exact in every dtype with at least 8 bits of them.
Tensor counting(const Shape& shape, DType dtype, Device device) {
  std::vector<float> values(static_cast<std::size_t>(shape.numel()));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i * 7 % 251);
  return Tensor::from(values, shape).to(dtype).to(device);
}

TEST_P(PrimitivesDevice, ContiguousCopiesOfEveryPermutation) {
  const Dims orders[] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
  for (const DType dtype : {DType::u8, DType::f16, DType::f32, DType::i64}) {
    for (const Shape& shape : {Shape{3, 33, 65}, Shape{40, 1, 70}, Shape{130, 70, 2}}) {
      const Tensor x = counting(shape, dtype, device());
      const std::vector<double> values = x.to(DType::f64).to_vector<double>();
      for (const Dims& order : orders) {
        const Tensor y = x.permute(order).clone();
        ASSERT_TRUE(y.is_contiguous());
        const std::vector<double> got = y.to(DType::f64).to_vector<double>();
        const Shape& s = y.shape();
        std::size_t wrong = 0, i = 0;
        std::int64_t index[3];
        for (index[0] = 0; index[0] < s[0]; ++index[0])
          for (index[1] = 0; index[1] < s[1]; ++index[1])
            for (index[2] = 0; index[2] < s[2]; ++index[2], ++i) {
              std::int64_t offset = 0;
              for (int d = 0; d < 3; ++d) offset += index[d] * x.strides()[static_cast<int>(order[d])];
              wrong += got[i] != values[static_cast<std::size_t>(offset)];
            }
        EXPECT_EQ(wrong, 0u) << name_of(dtype) << " " << to_string(shape) << " permuted " << to_string(order);
      }
    }
  }
}

TEST_P(PrimitivesDevice, WritingAViewLeavesTheRestAlone) {
  for (const bool transposed : {false, true}) {
    const Tensor base = zeros({50, 60}, {.device = device()});
    const Tensor inner = base.narrow(0, 3, 40).narrow(1, 5, 33);
    const Tensor view = transposed ? inner.t() : inner;
    view.copy_(full(view.shape(), 2, {.device = device()}));
    view.narrow(0, 0, 2).fill_(5);
    const std::vector<float> values = base.to_vector<float>();
    for (std::int64_t r = 0; r < 50; ++r)
      for (std::int64_t c = 0; c < 60; ++c) {
        const bool inside = r >= 3 && r < 43 && c >= 5 && c < 38;
        const bool filled = inside && (transposed ? c < 7 : r < 5);
        ASSERT_EQ(values[static_cast<std::size_t>(r * 60 + c)], filled ? 5 : inside ? 2 : 0) << r << " " << c;
      }
  }
}

TEST_P(PrimitivesDevice, FillsInEveryDtype) {
  for (const DType dtype : kAll)
    for (const double value : {0.0, 1.0, 7.0}) {
      const Tensor x = full({3, 1000}, value, {.dtype = dtype, .device = device()});
      const double expected = dtype == DType::boolean && value != 0 ? 1 : value;
      for (const double v : x.to(DType::f64).to_vector<double>()) ASSERT_EQ(v, expected) << name_of(dtype);
    }
  EXPECT_TRUE(std::isnan(full({1}, std::nan(""), {.device = device()}).item()));
  EXPECT_TRUE(std::signbit(full({1}, -0.0, {.device = device()}).to_vector<float>()[0]));
}

TEST_P(PrimitivesDevice, AddsGradientsInEveryFloatingDtype) {
  for (const DType dtype : {DType::f32, DType::f64, DType::f16, DType::bf16}) {
    const Tensor a = counting({33, 5}, dtype, device()),
                 b = full({33, 5}, 0.5, {.dtype = dtype, .device = device()});
    const Tensor y = detail::raw_add(a, b.t().clone().t());
    detail::raw_add_(a, b);
    EXPECT_EQ(y.to(DType::f64).to_vector<double>(), a.to(DType::f64).to_vector<double>());
    EXPECT_EQ(y.to(DType::f64).to_vector<double>()[2], 14.5);
  }
}

}  // namespace
}  // namespace gpunn
