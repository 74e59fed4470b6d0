// Conversions between every pair of dtypes at the ends of their ranges. The rules are
// core/primitives_impl.h's; the expected values here are worked out on their own.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "gpunn/core/autograd.h"
#include "gpunn/core/tensor.h"
#include "tests/support/devices.h"

namespace gpunn {
namespace {

constexpr DType kFloating[] = {DType::f32, DType::f64, DType::f16, DType::bf16};
constexpr DType kAll[] = {DType::f32, DType::f64, DType::f16, DType::bf16,
                          DType::i32, DType::i64, DType::u8,  DType::boolean};

struct Range {
  DType dtype;
  double low, high;  // of an integer dtype
};
constexpr Range kIntegers[] = {{DType::i32, -2147483648.0, 2147483647.0}, {DType::u8, 0, 255}};

class ElementwiseCasts : public testing::DeviceTest {};
GPUNN_ON_EVERY_DEVICE(ElementwiseCasts);

TEST_P(ElementwiseCasts, FloatingToIntegerTruncatesAndSaturates) {
  const std::vector<double> values = {0.99, -0.99, 2.5,   -2.5,   254.9,    256,       -1,          65000,
                                      3e9,  -3e9,  1e300, -1e300, HUGE_VAL, -HUGE_VAL, std::nan("")};
  for (const DType from : kFloating) {
    const Tensor x = Tensor::from(values, {static_cast<std::int64_t>(values.size())}).to(from);
    const std::vector<double> rounded = x.to(DType::f64).to_vector<double>();
    for (const Range& to : kIntegers) {
      const std::vector<double> got = x.to(device()).to(to.dtype).to(DType::f64).to_vector<double>();
      for (std::size_t i = 0; i < got.size(); ++i) {
        const double v = rounded[i];
        const double expected = std::isnan(v) ? 0 : std::fmin(std::fmax(std::trunc(v), to.low), to.high);
        EXPECT_EQ(got[i], expected) << name_of(from) << " " << v << " to " << name_of(to.dtype);
      }
    }
    const std::vector<std::int64_t> wide = x.to(device()).to(DType::i64).to_vector<std::int64_t>();
    for (std::size_t i = 0; i < wide.size(); ++i) {
      const double v = rounded[i];
      const std::int64_t expected = std::isnan(v)  ? 0
                                    : v >= 0x1p63  ? std::numeric_limits<std::int64_t>::max()
                                    : v <= -0x1p63 ? std::numeric_limits<std::int64_t>::min()
                                                   : static_cast<std::int64_t>(v);
      EXPECT_EQ(wide[i], expected) << name_of(from) << " " << v << " to i64";
    }
  }
}

TEST_P(ElementwiseCasts, FloatingToFloatingOverflowsAndKeepsSpecials) {
  const std::vector<double> values = {1e-60, 1e-40, 1e-7, 1, 65280, 70000, 1e39, -1e300, HUGE_VAL, -HUGE_VAL};
  const double highest[] = {3.4028234663852886e38, HUGE_VAL, 65504, 3.3895313892515355e38};  // as kFloating
  for (const DType from : kFloating) {
    const Tensor x = Tensor::from(values, {static_cast<std::int64_t>(values.size())}).to(from);
    const std::vector<double> rounded = x.to(DType::f64).to_vector<double>();
    for (std::size_t d = 0; d < 4; ++d) {
      const std::vector<double> got = x.to(device()).to(kFloating[d]).to(DType::f64).to_vector<double>();
      for (std::size_t i = 0; i < got.size(); ++i) {
        const std::string what = std::string(name_of(from)) + " to " + name_of(kFloating[d]);
        if (std::abs(rounded[i]) > highest[d] * 1.01) {
          EXPECT_EQ(got[i], std::copysign(HUGE_VAL, rounded[i])) << what;
        } else if (std::isinf(rounded[i])) {
          EXPECT_EQ(got[i], rounded[i]) << what;
        } else {
          EXPECT_NEAR(got[i], rounded[i], std::abs(rounded[i]) * 0x1p-8 + 0x1p-24) << what;
        }
      }
      EXPECT_TRUE(std::isnan(full({1}, std::nan(""), {.dtype = from}).to(device()).to(kFloating[d]).item()));
      EXPECT_TRUE(std::signbit(full({1}, -0.0, {.dtype = from}).to(device()).to(kFloating[d]).item()));
    }
  }
}

TEST_P(ElementwiseCasts, SmallWholeNumbersSurviveEveryPair) {
  for (const DType from : kAll)
    for (const DType to : kAll) {
      const bool truth = from == DType::boolean || to == DType::boolean;
      const Tensor x = Tensor::from({0, 1, 2, 100, 127}).to(from).to(device()).to(to);
      const std::vector<double> got = x.to(DType::f64).to_vector<double>();
      const std::vector<double> expected =
          truth ? std::vector<double>{0, 1, 1, 1, 1} : std::vector<double>{0, 1, 2, 100, 127};
      EXPECT_EQ(got, expected) << name_of(from) << " to " << name_of(to);
    }
}

TEST_P(ElementwiseCasts, StridedViewsConvert) {
  const Tensor x = Tensor::from({{1, 2, 3}, {4, 5, 6}}).to(device());
  EXPECT_EQ(x.t().to(DType::i64).to_vector<std::int64_t>(), (std::vector<std::int64_t>{1, 4, 2, 5, 3, 6}));
  EXPECT_EQ(x.narrow(1, 1, 2).to(DType::f16).to(DType::f32).to_vector<float>(),
            (std::vector<float>{2, 3, 5, 6}));
}

TEST_P(ElementwiseCasts, GradientsPassBetweenFloatingDtypes) {
  for (const DType to : {DType::f16, DType::bf16, DType::f64}) {
    const Tensor x = Tensor::from({1, 2, 3}).to(device()).requires_grad_();
    const Tensor y = x.to(to);
    y.backward(full({3}, 0.5, {.dtype = to, .device = device()}));
    EXPECT_EQ(x.grad().dtype(), DType::f32);
    EXPECT_EQ(x.grad().to_vector<float>(), (std::vector<float>{0.5f, 0.5f, 0.5f})) << name_of(to);
  }
}

}  // namespace
}  // namespace gpunn
