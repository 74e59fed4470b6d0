// Activations, mathematical functions, comparisons: parity, accuracy, special values and errors. Their
// derivatives are in elementwise_test.cpp.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "gpunn/core/error.h"
#include "gpunn/kernels/elementwise/activations.h"
#include "gpunn/kernels/elementwise/compare.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/elementwise/math_functions.h"
#include "gpunn/kernels/elementwise/stream_cpu_impl.h"
#include "hwy/targets.h"
#include "tests/support/devices.h"
#include "tests/support/expect_parity.h"

namespace gpunn {
namespace parity {
void add_elementwise_functions_cases(Suite& suite);
}

namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

TEST(ElementwiseFunctionsParity, Cpu) {
  parity::expect_parity_on_cpu(parity::add_elementwise_functions_cases);
}
#if GPUNN_HAS_CUDA
TEST(ElementwiseFunctionsParity, Cuda) {
  parity::expect_parity_on_cuda(parity::add_elementwise_functions_cases);
}
#endif

// ---- accuracy of the vector functions of the CPU, in ulp of the exact value

double ulps(float got, double exact) {
  int exponent = 0;
  std::frexp(exact, &exponent);
  return std::abs(static_cast<double>(got) - exact) / std::ldexp(1.0, std::max(exponent - 24, -149));
}

struct Accuracy {
  const char* name;
  Tensor (*op)(const Tensor&);
  double (*exact)(double);
  double bound;
};

double softplus_exact(double v) { return (v > 0 ? v : 0) + std::log1p(std::exp(-std::abs(v))); }
double mish_exact(double v) {
  const double e = std::exp(std::min(v, 40.0)), n = e * (e + 2);
  return v * (n / (n + 2));
}
double silu_exact(double v) { return v < 0 ? v * std::exp(v) / (1 + std::exp(v)) : v / (1 + std::exp(-v)); }

void expect_accuracy(std::uint64_t step) {
  std::vector<float> x;
  for (std::uint64_t bits = 0; bits <= 0xffffffffu; bits += step)
    if (const float v = std::bit_cast<float>(static_cast<std::uint32_t>(bits)); std::isfinite(v))
      x.push_back(v);
  const Accuracy functions[] = {
      {"sqrt", sqrt, [](double v) { return std::sqrt(v); }, 0.5},
      {"rsqrt", rsqrt, [](double v) { return 1 / std::sqrt(v); }, 1.5},
      {"expm1", expm1, [](double v) { return std::expm1(v); }, 2},
      {"log1p", log1p, [](double v) { return std::log1p(v); }, 2},
      {"erf", erf, [](double v) { return std::erf(v); }, 2},
      {"pow 0.3", [](const Tensor& t) { return pow(t, 0.3); },
       [](double v) { return std::pow(v, static_cast<double>(0.3f)); }, 1},
      {"pow -7", [](const Tensor& t) { return pow(t, -7); }, [](double v) { return std::pow(v, -7.0); }, 1},
      {"pow of 1.7", [](const Tensor& t) { return pow(1.7, t); },
       [](double v) { return std::pow(static_cast<double>(1.7f), v); }, 1},
      {"silu", silu, silu_exact, 4},
      {"softplus", [](const Tensor& t) { return softplus(t); },
       [](double v) { return v > 20 ? v : softplus_exact(v); }, 4},
      {"logsigmoid", logsigmoid, [](double v) { return -softplus_exact(-v); }, 4},
      {"elu", [](const Tensor& t) { return elu(t); }, [](double v) { return v > 0 ? v : std::expm1(v); }, 4},
      {"gelu", [](const Tensor& t) { return gelu(t); },
       [](double v) { return v * 0.5 * std::erfc(-v * std::sqrt(0.5)); }, 8},
      {"mish", mish, mish_exact, 8},
  };
  for (const Accuracy& f : functions) {
    const std::vector<float> y =
        f.op(Tensor::from(x, {static_cast<std::int64_t>(x.size())})).to_vector<float>();
    double worst = 0;
    float at = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double exact = f.exact(static_cast<double>(x[i]));
      if (std::isnan(exact)) {
        ASSERT_TRUE(std::isnan(y[i])) << f.name << "(" << x[i] << ") = " << y[i];
      } else if (std::isinf(static_cast<float>(exact))) {
        ASSERT_EQ(y[i], static_cast<float>(exact)) << f.name << "(" << x[i] << ")";
      } else if (const double error = ulps(y[i], exact); !(error <= worst)) {
        // x times an exponential that has been rounded to a subnormal number: as many units as x is large.
        if (std::abs(exact) < 0x1p-119 && error <= 64) continue;
        worst = error;
        at = x[i];
      }
    }
    EXPECT_TRUE(worst <= f.bound) << f.name << "(" << at << "): " << worst << " ulp";
    ::testing::Test::RecordProperty(f.name, std::to_string(worst));
  }
}

TEST(ElementwiseFunctionsAccuracy, WithinTheStatedBoundsOverTheWholeRange) { expect_accuracy(9973); }

TEST(ElementwiseFunctionsAccuracy, OnEverySimdTarget) {
  int seen = 0;
  for (const std::int64_t target : {HWY_AVX3, HWY_AVX2, HWY_SSE4, HWY_SSSE3, HWY_NEON}) {
    if ((hwy::SupportedTargets() & HWY_TARGETS & target) == 0) continue;
    SCOPED_TRACE(hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    expect_accuracy(99991);
    hwy::SetSupportedTargetsForTest(0);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    ++seen;
  }
  EXPECT_GT(seen, 0);
}

TEST(ElementwiseFunctionsAccuracy, ValueDoesNotDependOnPosition) {
  const Tensor x = randn({300});
  for (Tensor (*op)(const Tensor&) : {silu, mish, sinh, floor}) {
    const std::vector<float> whole = op(x).to_vector<float>();
    for (const std::int64_t start : {1, 7, 290}) {
      const std::vector<float> part = op(x.narrow(0, start, 300 - start)).to_vector<float>();
      EXPECT_EQ(part, std::vector<float>(whole.begin() + start, whole.end())) << start;
    }
  }
}

TEST(ElementwiseFunctions, StreamedResultsEqualThoseOfTheirRows) {
  // Rows that start anywhere in a vector; parts of seven are too small to be streamed.
  const Tensor x = randn({101, 1001}), y = randn({101, 1001}), row = randn({1001});
  const auto expect_equal = [&](const char* what, auto f) {
    elementwise::force_streaming(elementwise::kLeastStreamed);
    const Tensor whole = f(x, y);
    elementwise::force_streaming(0);
    for (const std::int64_t first : {0, 50, 94})
      EXPECT_EQ(f(x.narrow(0, first, 7), y.narrow(0, first, 7)).template to_vector<float>(),
                whole.narrow(0, first, 7).to_vector<float>())
          << what;
  };
  expect_equal("add", [](const Tensor& a, const Tensor& b) { return a + b; });
  expect_equal("add row", [&](const Tensor& a, const Tensor&) { return a + row; });
  expect_equal("relu", [](const Tensor& a, const Tensor&) { return relu(a); });
  expect_equal("gelu", [](const Tensor& a, const Tensor&) { return gelu(a); });
  expect_equal("maximum of a row", [&](const Tensor& a, const Tensor&) { return maximum(a, row); });
}

// ---- values as PyTorch has them, on every device

class ElementwiseFunctionsDevice : public testing::DeviceTest {
 protected:
  Tensor make(std::initializer_list<float> values) const { return Tensor::from(values).to(device()); }
};
GPUNN_ON_EVERY_DEVICE(ElementwiseFunctionsDevice);

/// Equal, NaN and the sign of zero included; finite values within a few units of the last place.
void expect_same(const Tensor& got, const std::vector<float>& expected, const char* what) {
  const std::vector<float> values = got.to_vector<float>();
  ASSERT_EQ(values.size(), expected.size()) << what;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    if (std::isnan(expected[i])) {
      EXPECT_TRUE(std::isnan(values[i])) << what << " [" << i << "] is " << values[i];
      continue;
    }
    EXPECT_FLOAT_EQ(values[i], expected[i]) << what << " [" << i << "]";
    if (expected[i] == 0) {
      EXPECT_EQ(std::signbit(values[i]), std::signbit(expected[i])) << what << " [" << i << "]";
    }
  }
}

TEST_P(ElementwiseFunctionsDevice, SpecialValuesOfActivations) {
  const Tensor x = make({kNaN, kInf, -kInf, 0, 1, -1});
  expect_same(leaky_relu(x), {kNaN, kInf, -kInf, 0, 1, -0.01f}, "leaky_relu");
  expect_same(elu(x), {kNaN, kInf, -1, 0, 1, -0.63212056f}, "elu");
  expect_same(selu(x), {kNaN, kInf, -1.7580993f, 0, 1.050701f, -1.1113307f}, "selu");
  expect_same(celu(x, 2), {kNaN, kInf, -2, 0, 1, -0.78693867f}, "celu");
  expect_same(gelu(x), {kNaN, kInf, kNaN, 0, 0.84134475f, -0.15865525f}, "gelu");
  expect_same(gelu(x, GeluApproximate::tanh), {kNaN, kInf, kNaN, 0, 0.84119199f, -0.15880801f}, "gelu tanh");
  expect_same(silu(x), {kNaN, kInf, kNaN, 0, 0.73105858f, -0.26894142f}, "silu");
  expect_same(mish(x), {kNaN, kInf, kNaN, 0, 0.86509839f, -0.30340147f}, "mish");
  expect_same(softplus(x), {kNaN, kInf, 0, 0.69314718f, 1.3132617f, 0.31326169f}, "softplus");
  expect_same(softplus(make({2, 3, 4}), 2, 5), {2.0090748f, 3, 4}, "softplus beta threshold");
  expect_same(softsign(x), {kNaN, kNaN, kNaN, 0, 0.5f, -0.5f}, "softsign");
  expect_same(hardtanh(x), {kNaN, 1, -1, 0, 1, -1}, "hardtanh");
  expect_same(relu6(make({kNaN, kInf, -2, 3, 7})), {kNaN, 6, 0, 3, 6}, "relu6");
  expect_same(hardsigmoid(x), {kNaN, 1, 0, 0.5f, 4.0f / 6, 2.0f / 6}, "hardsigmoid");
  expect_same(hardswish(x), {kNaN, kInf, kNaN, 0, 4.0f / 6, -2.0f / 6}, "hardswish");
  expect_same(logsigmoid(x), {kNaN, 0, -kInf, -0.69314718f, -0.31326169f, -1.3132617f}, "logsigmoid");
  expect_same(prelu(make({kNaN, 2, -2}), make({0.25f})), {kNaN, 2, -0.5f}, "prelu");
  expect_same(glu(make({1, 2, 0, 200})), {0.5f, 2}, "glu");
  expect_same(swiglu(make({0, 200}), make({3, 2})), {0, 400}, "swiglu");
  expect_same(geglu(make({0, 200}), make({3, 2})), {0, 400}, "geglu");
}

TEST_P(ElementwiseFunctionsDevice, SpecialValuesOfMathematicalFunctions) {
  const Tensor x = make({kNaN, kInf, -kInf, 0, -0.0f, 2.5f, -2.5f, 3.5f});
  expect_same(abs(x), {kNaN, kInf, kInf, 0, 0, 2.5f, 2.5f, 3.5f}, "abs");
  expect_same(sign(x), {kNaN, 1, -1, 0, 0, 1, -1, 1}, "sign");
  expect_same(round(x), {kNaN, kInf, -kInf, 0, -0.0f, 2, -2, 4}, "round");
  expect_same(floor(x), {kNaN, kInf, -kInf, 0, -0.0f, 2, -3, 3}, "floor");
  expect_same(ceil(x), {kNaN, kInf, -kInf, 0, -0.0f, 3, -2, 4}, "ceil");
  expect_same(trunc(x), {kNaN, kInf, -kInf, 0, -0.0f, 2, -2, 3}, "trunc");
  expect_same(sqrt(x), {kNaN, kInf, kNaN, 0, -0.0f, std::sqrt(2.5f), kNaN, std::sqrt(3.5f)}, "sqrt");
  expect_same(erf(make({kNaN, kInf, -kInf, 0, 1})), {kNaN, 1, -1, 0, 0.84270079f}, "erf");
  expect_same(expm1(make({kNaN, kInf, -kInf, 0, -0.0f})), {kNaN, kInf, -1, 0, -0.0f}, "expm1");
  expect_same(log1p(make({kNaN, kInf, -1, -2, 0, -0.0f})), {kNaN, kInf, -kInf, kNaN, 0, -0.0f}, "log1p");
  expect_same(log2(make({8, 0, -1})), {3, -kInf, kNaN}, "log2");
  expect_same(log10(make({1000, 0, -1})), {3, -kInf, kNaN}, "log10");
  expect_same(clamp(x, -1, 3), {kNaN, 3, -1, 0, -0.0f, 2.5f, -1, 3}, "clamp");
  expect_same(clamp(make({-5, 5}), std::nullopt, 2), {-5, 2}, "clamp max");
  expect_same(clamp(make({-5, 5}), 3, 1), {1, 1}, "clamp with exchanged bounds");
  expect_same(maximum(make({1, kNaN, 3, -0.0f}), make({2, 1, kNaN, -1})), {2, kNaN, kNaN, -0.0f}, "maximum");
  expect_same(minimum(make({1, kNaN, 3}), make({2, 1, kNaN})), {1, kNaN, kNaN}, "minimum");
  const Tensor a = make({7, -7, 7, -7, 6, 1, 1}), b = make({3, 3, -3, -3, 3, 0, kInf});
  expect_same(fmod(a, b), {1, -1, 1, -1, 0, kNaN, 1}, "fmod");
  expect_same(remainder(a, b), {1, 2, -2, -1, 0, kNaN, 1}, "remainder");
  expect_same(remainder(make({5.5f, -5.5f}), 2), {1.5f, 0.5f}, "remainder of a number");
  expect_same(fmod(make({5.5f, -5.5f}), 2), {1.5f, -1.5f}, "fmod of a number");
  expect_same(atan2(make({0, -0.0f, 1, 0}), make({-1, -1, 0, 1})), {3.1415927f, -3.1415927f, 1.5707964f, 0},
              "atan2");
  expect_same(lerp(make({1, 2}), make({3, 6}), 1), {3, 6}, "lerp");
  expect_same(addcmul(make({1}), make({2}), make({3}), 0.5), {4}, "addcmul");
  expect_same(addcdiv(make({1}), make({3}), make({2})), {2.5f}, "addcdiv");
}

TEST_P(ElementwiseFunctionsDevice, PowersAsTheCLibrary) {
  const std::vector<float> bases = {0, -0.0f, 1, -1, 2, -2, 0.5f, kInf, -kInf, kNaN, 1e-40f, -3, 3e38f};
  const std::vector<float> exponents = {0,     -0.0f, 1,     -1,   2,    3,      -3, 0.5f,
                                        -0.5f, kInf,  -kInf, kNaN, 2.5f, 1e-30f, 200};
  for (const float e : exponents) {
    std::vector<float> expected;
    for (const float v : bases) expected.push_back(std::pow(v, e));
    const auto n = static_cast<std::int64_t>(bases.size());
    const Tensor x = Tensor::from(bases, {n}).to(device()),
                 y = full({n}, static_cast<double>(e)).to(device());
    expect_same(pow(x, y), expected, "pow of tensors");
    expect_same(pow(x, static_cast<double>(e)), expected, "pow by a number");
    for (std::size_t i = 0; i < bases.size(); ++i)
      expect_same(pow(static_cast<double>(bases[i]), y.narrow(0, 0, 1)), {expected[i]}, "pow of a number");
  }
}

TEST_P(ElementwiseFunctionsDevice, GradientsAtKinks) {
  const auto gradient = [&](Tensor (*f)(const Tensor&), std::initializer_list<float> values) {
    const Tensor x = make(values).requires_grad_();
    f(x).backward(ones_like(x));
    return x.grad().to_vector<float>();
  };
  EXPECT_THAT(gradient(abs, {-1, 0, 1}), ElementsAre(-1, 0, 1));
  EXPECT_THAT(gradient([](const Tensor& x) { return clamp(x, -1, 1); }, {-2, -1, 0, 1, 2}),
              ElementsAre(0, 1, 1, 1, 0));
  EXPECT_THAT(gradient([](const Tensor& x) { return hardtanh(x); }, {-2, -1, 0, 1, 2}),
              ElementsAre(0, 0, 1, 0, 0));
  EXPECT_THAT(gradient(relu6, {-1, 0, 1, 6, 7}), ElementsAre(0, 0, 1, 0, 0));
  EXPECT_THAT(gradient([](const Tensor& x) { return leaky_relu(x, 0.5); }, {-1, 0, 1}),
              ElementsAre(0.5, 0.5, 1));
  EXPECT_THAT(gradient(hardsigmoid, {-3, 0, 3}), ElementsAre(0, 1.0f / 6, 0));
  EXPECT_THAT(gradient([](const Tensor& x) { return pow(x, 0); }, {0, 2}), ElementsAre(0, 0));
  const Tensor a = make({1, 2, 3}).requires_grad_(), b = make({2, 2, 2}).requires_grad_();
  maximum(a, b).backward(make({4, 4, 4}));
  EXPECT_THAT(a.grad().to_vector<float>(), ElementsAre(0, 2, 4));
  EXPECT_THAT(b.grad().to_vector<float>(), ElementsAre(4, 2, 0));
  const Tensor zero = make({0}).requires_grad_(), two = make({2}).requires_grad_();
  pow(zero, two).backward(make({1}));
  EXPECT_THAT(zero.grad().to_vector<float>(), ElementsAre(0));
  EXPECT_THAT(two.grad().to_vector<float>(), ElementsAre(0));
}

TEST_P(ElementwiseFunctionsDevice, EmptyTensorsAndViews) {
  const Tensor none = zeros({0, 3}, {.device = device()});
  EXPECT_EQ(gelu(none).shape(), Shape({0, 3}));
  EXPECT_EQ(pow(none, zeros({3}, {.device = device()})).shape(), Shape({0, 3}));
  EXPECT_EQ(lt(none, 1).dtype(), DType::boolean);
  EXPECT_EQ(where(lt(none, 1), none, none).numel(), 0);
  EXPECT_EQ(glu(zeros({4, 0}, {.device = device()}), 0).shape(), Shape({2, 0}));
  const Tensor x = Tensor::from({{1, 4, 9}, {16, 25, 36}}).to(device());
  EXPECT_THAT(sqrt(x.t()).to_vector<float>(), ElementsAre(1, 4, 2, 5, 3, 6));
  EXPECT_THAT(maximum(x.t(), make({5, 20})).to_vector<float>(), ElementsAre(5, 20, 5, 25, 9, 36));
}

TEST_P(ElementwiseFunctionsDevice, Integers) {
  const auto make64 = [&](std::vector<std::int64_t> v) { return Tensor::from(v, {2}).to(device()); };
  EXPECT_THAT(abs(make64({-3, INT64_MIN})).to_vector<std::int64_t>(), ElementsAre(3, INT64_MIN));
  EXPECT_THAT(clamp(make64({-3, 1LL << 60}), 0).to_vector<std::int64_t>(), ElementsAre(0, 1LL << 60));
  EXPECT_THAT(maximum(make64({-3, 5}), make64({2, 4})).to_vector<std::int64_t>(), ElementsAre(2, 5));
  EXPECT_THAT(where(gt(make64({-3, 5}), 0), make64({1, 2}), make64({3, 4})).to_vector<std::int64_t>(),
              ElementsAre(3, 2));
}

// ---- errors

TEST(ElementwiseFunctions, RejectBadArguments) {
  const Tensor x = zeros({2, 3}), i = zeros({2, 3}, {.dtype = DType::i64}), none;
  EXPECT_THAT([&] { gelu(i); }, ThrowsMessage<InvalidArgument>(HasSubstr("[gelu] expected floating tensor")));
  EXPECT_THAT([&] { silu(none); }, ThrowsMessage<InvalidArgument>(HasSubstr("[silu]")));
  EXPECT_THAT([&] { celu(x, 0); }, ThrowsMessage<InvalidArgument>(HasSubstr("alpha")));
  EXPECT_THAT([&] { hardtanh(x, 1, -1); }, ThrowsMessage<InvalidArgument>(HasSubstr("min_val <= max_val")));
  EXPECT_THAT([&] { prelu(x, zeros({2})); }, ThrowsMessage<InvalidArgument>(HasSubstr("[1] or [3]")));
  EXPECT_THAT([&] { prelu(x, none); }, ThrowsMessage<InvalidArgument>(HasSubstr("[prelu]")));
  EXPECT_THAT([&] { glu(x); }, ThrowsMessage<InvalidArgument>(HasSubstr("even extent")));
  EXPECT_THAT([&] { glu(x, 2); }, ThrowsMessage<InvalidArgument>(HasSubstr("[glu]")));
  EXPECT_THAT([&] { clamp(x, std::nullopt); }, ThrowsMessage<InvalidArgument>(HasSubstr("neither")));
  EXPECT_THAT([&] { clamp(x, std::nan("")); }, ThrowsMessage<InvalidArgument>(HasSubstr("NaN")));
  EXPECT_THAT([&] { clamp(i, 0.5); }, ThrowsMessage<InvalidArgument>(HasSubstr("whole number")));
  EXPECT_THAT([&] { sqrt(i); }, ThrowsMessage<InvalidArgument>(HasSubstr("[sqrt]")));
  EXPECT_THAT([&] { pow(x, i); }, ThrowsMessage<InvalidArgument>(HasSubstr("[pow]")));
  EXPECT_THAT([&] { pow(x, zeros({2})); }, ThrowsMessage<InvalidArgument>(HasSubstr("[pow]")));
  EXPECT_THAT([&] { fmod(none, 2); }, ThrowsMessage<InvalidArgument>(HasSubstr("[fmod]")));
  EXPECT_THAT([&] { abs(gt(x, 0)); }, ThrowsMessage<InvalidArgument>(HasSubstr("got bool")));
  EXPECT_THAT([&] { lt(x, none); }, ThrowsMessage<InvalidArgument>(HasSubstr("[lt]")));
  EXPECT_THAT([&] { lt(i, 0.5); }, ThrowsMessage<InvalidArgument>(HasSubstr("a value of i64")));
  EXPECT_THAT([&] { eq(gt(x, 0), 2); }, ThrowsMessage<InvalidArgument>(HasSubstr("a value of bool")));
  EXPECT_THAT([&] { where(x, x, x); }, ThrowsMessage<InvalidArgument>(HasSubstr("condition of bool")));
  EXPECT_THAT([&] { where(gt(x, 0), x, i); }, ThrowsMessage<InvalidArgument>(HasSubstr("[where]")));
  EXPECT_THAT([&] { where(none, x, x); }, ThrowsMessage<InvalidArgument>(HasSubstr("[where]")));
}

}  // namespace
}  // namespace gpunn
