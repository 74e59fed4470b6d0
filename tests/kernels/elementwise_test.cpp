#include "gpunn/kernels/elementwise/elementwise.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "gpunn/core/autograd.h"
#include "gpunn/core/error.h"
#include "gpunn/kernels/elementwise/activations.h"
#include "gpunn/kernels/elementwise/compare.h"
#include "gpunn/kernels/elementwise/math_functions.h"
#include "gpunn/kernels/reduce/reduce.h"
#include "tests/support/devices.h"
#include "tests/support/expect_parity.h"
#include "tests/support/gradcheck.h"

namespace gpunn {
namespace parity {
void add_elementwise_cases(Suite& suite);
}

namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

TEST(ElementwiseParity, Cpu) { parity::expect_parity_on_cpu(parity::add_elementwise_cases); }
#if GPUNN_HAS_CUDA
TEST(ElementwiseParity, Cuda) { parity::expect_parity_on_cuda(parity::add_elementwise_cases); }
#endif

// ---- accuracy

/// Distance of `got` from `exact` in units of the last place of a float of that size.
double ulps(float got, double exact) {
  int exponent = 0;
  std::frexp(exact, &exponent);
  return std::abs(static_cast<double>(got) - exact) / std::ldexp(1.0, std::max(exponent - 24, -149));
}

struct Accuracy {
  const char* name;
  Tensor (*op)(const Tensor&);
  double (*exact)(double);
};

/// Floats of all magnitudes, positive and negative, subnormal ones included: every `step`-th bit pattern.
std::vector<float> all_magnitudes(std::uint32_t step) {
  std::vector<float> values;
  for (std::uint64_t bits = 0; bits <= 0xffffffffu; bits += step)
    values.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(bits)));
  return values;
}

TEST(ElementwiseAccuracy, FourUlpOverTheWholeRange) {
  const std::vector<float> x = all_magnitudes(4999);
  const Accuracy functions[] = {
      {"exp", exp, [](double v) { return std::exp(v); }},
      {"log", log, [](double v) { return std::log(v); }},
      {"tanh", tanh, [](double v) { return std::tanh(v); }},
      {"sigmoid", sigmoid,
       [](double v) { return v < 0 ? std::exp(v) / (1 + std::exp(v)) : 1 / (1 + std::exp(-v)); }},
  };
  for (const Accuracy& f : functions) {
    const std::vector<float> y =
        f.op(Tensor::from(x, {static_cast<std::int64_t>(x.size())})).to_vector<float>();
    double worst = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double exact = f.exact(static_cast<double>(x[i]));
      if (std::isnan(exact)) {
        ASSERT_TRUE(std::isnan(y[i])) << f.name << "(" << x[i] << ") = " << y[i];
      } else if (std::isinf(static_cast<float>(exact))) {
        ASSERT_EQ(y[i], static_cast<float>(exact)) << f.name << "(" << x[i] << ")";
      } else {
        const double error = ulps(y[i], exact);
        ASSERT_TRUE(error <= 4) << f.name << "(" << x[i] << ") = " << y[i] << ", expected " << exact << ": "
                                << error << " ulp";
        worst = std::max(worst, error);
      }
    }
    RecordProperty(f.name, std::to_string(worst));
  }
}

TEST(ElementwiseAccuracy, ValueDoesNotDependOnPosition) {
  const Tensor x = randn({300});
  const std::vector<float> whole = exp(x).to_vector<float>();
  for (const std::int64_t start : {1, 7, 64, 290}) {
    const std::vector<float> part = exp(x.narrow(0, start, 300 - start)).to_vector<float>();
    EXPECT_EQ(part, std::vector<float>(whole.begin() + start, whole.end())) << start;
  }
}

// ---- values as PyTorch has them, on every device

class ElementwiseDevice : public testing::DeviceTest {
 protected:
  Tensor make(std::initializer_list<float> values) const { return Tensor::from(values).to(device()); }
};
GPUNN_ON_EVERY_DEVICE(ElementwiseDevice);

/// Equal, NaN included, the sign of zero included.
void expect_same(const Tensor& got, const std::vector<float>& expected, const char* what) {
  const std::vector<float> values = got.to_vector<float>();
  ASSERT_EQ(values.size(), expected.size()) << what;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    if (std::isnan(expected[i]))
      EXPECT_TRUE(std::isnan(values[i])) << what << " [" << i << "] is " << values[i];
    else
      EXPECT_EQ(values[i], expected[i]) << what << " [" << i << "]";
  }
}

TEST_P(ElementwiseDevice, SpecialValuesAsPyTorch) {
  const Tensor x = make({kNaN, kInf, -kInf, 0.0f, -0.0f, 1.0f, -1.0f});
  expect_same(neg(x), {kNaN, -kInf, kInf, 0, 0, -1, 1}, "neg");
  expect_same(relu(x), {kNaN, kInf, 0, 0, 0, 1, 0}, "relu");
  expect_same(exp(make({kNaN, kInf, -kInf, 0, -0.0f, 89, -104})), {kNaN, kInf, 0, 1, 1, kInf, 0}, "exp");
  expect_same(log(make({kNaN, kInf, -kInf, 0, -0.0f, 1, -1})), {kNaN, kInf, kNaN, -kInf, -kInf, 0, kNaN},
              "log");
  expect_same(sigmoid(make({kNaN, kInf, -kInf, 0, 200, -200})), {kNaN, 1, 0, 0.5f, 1, 0}, "sigmoid");
  expect_same(tanh(make({kNaN, kInf, -kInf, 0, -0.0f, 50, -50})), {kNaN, 1, -1, 0, -0.0f, 1, -1}, "tanh");
  const Tensor y = make({1, kInf, kInf, 0, 2, kNaN, -0.0f});
  expect_same(add(x, y), {kNaN, kInf, kNaN, 0, 2, kNaN, -1}, "add");
  expect_same(sub(x, y), {kNaN, kNaN, -kInf, 0, -2, kNaN, -1}, "sub");
  expect_same(mul(x, y), {kNaN, kInf, -kInf, 0, 0, kNaN, 0}, "mul");
  expect_same(div(x, y), {kNaN, kNaN, kNaN, kNaN, 0, kNaN, kInf}, "div");
  EXPECT_TRUE(std::signbit(tanh(x).to_vector<float>()[4]));
}

TEST_P(ElementwiseDevice, BroadcastingAndOperators) {
  const Tensor a = Tensor::from({{1, 2, 3}, {4, 5, 6}}).to(device());
  const Tensor row = make({10, 20, 30}), column = make({100, 200}).reshape({2, 1});
  EXPECT_THAT((a + row).to_vector<float>(), ElementsAre(11, 22, 33, 14, 25, 36));
  EXPECT_THAT((column - a).to_vector<float>(), ElementsAre(99, 98, 97, 196, 195, 194));
  EXPECT_THAT((row * column).to_vector<float>(), ElementsAre(1000, 2000, 3000, 2000, 4000, 6000));
  EXPECT_THAT((a / a).to_vector<float>(), ElementsAre(1, 1, 1, 1, 1, 1));
  EXPECT_THAT((a.t() + make({1, 2})).to_vector<float>(), ElementsAre(2, 6, 3, 7, 4, 8));
  EXPECT_EQ((a.unsqueeze(1) + row.unsqueeze(0)).shape(), Shape({2, 1, 3}));
  EXPECT_THAT((-a).to_vector<float>(), ElementsAre(-1, -2, -3, -4, -5, -6));
}

TEST_P(ElementwiseDevice, Scalars) {
  const Tensor x = make({1, 2, 4});
  EXPECT_THAT((x + 1).to_vector<float>(), ElementsAre(2, 3, 5));
  EXPECT_THAT((1 + x).to_vector<float>(), ElementsAre(2, 3, 5));
  EXPECT_THAT((x - 1).to_vector<float>(), ElementsAre(0, 1, 3));
  EXPECT_THAT((1 - x).to_vector<float>(), ElementsAre(0, -1, -3));
  EXPECT_THAT((x * 3).to_vector<float>(), ElementsAre(3, 6, 12));
  EXPECT_THAT((x / 2).to_vector<float>(), ElementsAre(0.5f, 1, 2));
  EXPECT_THAT((1 / x).to_vector<float>(), ElementsAre(1, 0.5f, 0.25f));
}

TEST_P(ElementwiseDevice, IntegersWrapAround) {
  const auto make64 = [&](std::vector<std::int64_t> v) { return Tensor::from(v, {2}).to(device()); };
  constexpr auto kMax = std::numeric_limits<std::int64_t>::max(),
                 kMin = std::numeric_limits<std::int64_t>::min();
  EXPECT_THAT(add(make64({kMax, 5}), make64({1, -7})).to_vector<std::int64_t>(), ElementsAre(kMin, -2));
  EXPECT_THAT(sub(make64({kMin, 5}), make64({1, -7})).to_vector<std::int64_t>(), ElementsAre(kMax, 12));
  EXPECT_THAT(mul(make64({kMax, 5}), make64({2, -7})).to_vector<std::int64_t>(), ElementsAre(-2, -35));
  EXPECT_THAT(neg(make64({kMin, 5})).to_vector<std::int64_t>(), ElementsAre(kMin, -5));
  const Tensor x = Tensor::from(std::vector<std::int32_t>{0, -1}, {2}).to(device());
  EXPECT_THAT(sub(x, -0x1p31).to_vector<std::int32_t>(), ElementsAre(INT32_MIN, INT32_MAX));
  EXPECT_THAT(mul(x, 3).to_vector<std::int32_t>(), ElementsAre(0, -3));
}

TEST_P(ElementwiseDevice, ComparisonsAndLogic) {
  const auto truths = [](const Tensor& t) {
    EXPECT_EQ(t.dtype(), DType::boolean);
    return t.to(DType::i32).to_vector<std::int32_t>();
  };
  const Tensor a = make({1, 2, kNaN, kInf}), b = make({2, 2, kNaN, -kInf}), z = make({0, -0.0f, kNaN, 3});
  EXPECT_THAT(truths(eq(a, b)), ElementsAre(0, 1, 0, 0));
  EXPECT_THAT(truths(ne(a, b)), ElementsAre(1, 0, 1, 1));
  EXPECT_THAT(truths(lt(a, b)), ElementsAre(1, 0, 0, 0));
  EXPECT_THAT(truths(le(a, b)), ElementsAre(1, 1, 0, 0));
  EXPECT_THAT(truths(gt(a, b)), ElementsAre(0, 0, 0, 1));
  EXPECT_THAT(truths(ge(a, b)), ElementsAre(0, 1, 0, 1));
  EXPECT_THAT(truths(gt(a, 1.5)), ElementsAre(0, 1, 0, 1));
  EXPECT_THAT(truths(le(a, 2)), ElementsAre(1, 1, 0, 0));
  EXPECT_THAT(truths(logical_and(a, z)), ElementsAre(0, 0, 1, 1));
  EXPECT_THAT(truths(logical_or(z, z)), ElementsAre(0, 0, 1, 1));
  EXPECT_THAT(truths(logical_xor(a, z)), ElementsAre(1, 1, 0, 0));
  EXPECT_THAT(truths(logical_not(z)), ElementsAre(1, 1, 0, 0));
  EXPECT_THAT(truths(isnan(a)), ElementsAre(0, 0, 1, 0));
  EXPECT_THAT(truths(isinf(b)), ElementsAre(0, 0, 0, 1));
  EXPECT_THAT(truths(isfinite(a)), ElementsAre(1, 1, 0, 0));
  const Tensor flags = gt(a, 1.5),
               big = Tensor::from(std::vector<std::int64_t>{1, 1LL << 53, (1LL << 53) + 1}, {3});
  EXPECT_THAT(truths(logical_and(flags, logical_not(flags))), ElementsAre(0, 0, 0, 0));
  EXPECT_THAT(truths(eq(flags, 1)), ElementsAre(0, 1, 0, 1));
  EXPECT_THAT(truths(eq(big.to(device()), 0x1p53)), ElementsAre(0, 1, 0));
  expect_same(where(flags, a, 7), {7, 2, 7, kInf}, "where");
  expect_same(heaviside(z, make({9, 8, 7, 6})), {9, 8, 0, 1}, "heaviside");
}

/// Pictures stay in channels-last order where every operand has it; values do not depend on the order.
TEST_P(ElementwiseDevice, ChannelsLastStaysSo) {
  const Tensor x = randn({2, 3, 4, 5}, {.device = device()}), y = randn({2, 3, 4, 5}, {.device = device()});
  const Tensor a = x.contiguous(Layout::channels_last), b = y.contiguous(Layout::channels_last);
  const auto expect = [](const Tensor& got, const Tensor& expected, Layout layout) {
    EXPECT_EQ(got.layout(), layout);
    EXPECT_EQ(got.to_vector<float>(), expected.to_vector<float>());
  };
  expect(relu(a), relu(x), Layout::channels_last);
  expect(a * 3, x * 3, Layout::channels_last);
  expect(a + b, x + y, Layout::channels_last);
  expect(silu(a), silu(x), Layout::channels_last);
  expect(maximum(a, b), maximum(x, y), Layout::channels_last);
  EXPECT_EQ(gt(a, b).layout(), Layout::channels_last);
  expect(a + y, x + y, Layout::contiguous);
  expect(maximum(a, y), maximum(x, y), Layout::contiguous);
  const Tensor row = y.narrow(0, 0, 1).narrow(2, 0, 1).narrow(3, 0, 1);
  expect(a * row, x * row, Layout::contiguous);
  expect(a.narrow(3, 1, 3) + b.narrow(3, 1, 3), x.narrow(3, 1, 3) + y.narrow(3, 1, 3), Layout::contiguous);
  const Tensor leaf = a.detach();
  leaf.requires_grad_();
  const std::vector<Tensor> dx =
      autograd::grad(std::vector{relu(leaf) + relu(leaf)}, std::vector{leaf}, std::vector{b});
  EXPECT_EQ(dx[0].layout(), Layout::channels_last);
}

TEST_P(ElementwiseDevice, EmptyTensors) {
  const Tensor x = zeros({0, 3}, {.device = device()});
  EXPECT_EQ(exp(x).shape(), Shape({0, 3}));
  EXPECT_EQ((x + zeros({3}, {.device = device()})).shape(), Shape({0, 3}));
  EXPECT_EQ((x * 2).numel(), 0);
}

TEST_P(ElementwiseDevice, GradientsOfReluAtKinksAndNaN) {
  const Tensor x = make({-1, 0, 2, kNaN}).requires_grad_();
  relu(x).backward(make({5, 5, 5, 5}));
  EXPECT_THAT(x.grad().to_vector<float>(),
              ElementsAre(0, 0, 5, 5));  // as PyTorch: NaN passes the gradient on
}

TEST_P(ElementwiseDevice, FusedGradientsEqualTheFormulas) {
  for (Tensor (*op)(const Tensor&) :
       {+[](const Tensor& t) { return sigmoid(t); }, +[](const Tensor& t) { return tanh(t); }}) {
    const Tensor x = randn({3, 50}).to(device()).requires_grad_();
    const Tensor y = op(x);
    y.backward(ones_like(y), true);
    const std::vector<float> fused = x.grad().to_vector<float>();
    // With a graph the rule runs its composed definition.
    const std::vector<Tensor> composed =
        autograd::grad(std::vector{y}, std::vector{x}, std::vector{ones_like(y)}, false, true);
    const std::vector<float> expected = composed[0].to_vector<float>();
    for (std::size_t i = 0; i < fused.size(); ++i) EXPECT_NEAR(fused[i], expected[i], 2e-7);
  }
}

TEST_P(ElementwiseDevice, GradientOfABroadcastOperandIsSummed) {
  const Tensor a = randn({5, 7}).to(device()).requires_grad_(), b = randn({7}).to(device()).requires_grad_();
  (a * b).backward(ones_like(a));
  EXPECT_EQ(b.grad().shape(), Shape({7}));
  const std::vector<float> expected = sum(a.detach(), {0}).to_vector<float>();
  const std::vector<float> got = b.grad().to_vector<float>();
  for (std::size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], expected[i], 1e-6);
}

// ---- errors

TEST(Elementwise, RejectsBadArguments) {
  const Tensor x = zeros({2, 3}), i = zeros({2, 3}, {.dtype = DType::i64}),
               u = zeros({3}, {.dtype = DType::u8});
  EXPECT_THAT([&] { add(x, zeros({2})); }, ThrowsMessage<InvalidArgument>(HasSubstr("[add]")));
  EXPECT_THAT([&] { add(x, i); }, ThrowsMessage<InvalidArgument>(HasSubstr(".to()")));
  EXPECT_THAT([&] { div(i, i); },
              ThrowsMessage<InvalidArgument>(HasSubstr("[div] expected floating tensor, got i64")));
  EXPECT_THAT([&] { div(i, 2); }, ThrowsMessage<InvalidArgument>(HasSubstr(".to()")));
  EXPECT_THAT([&] { exp(i); }, ThrowsMessage<InvalidArgument>(HasSubstr("[exp]")));
  EXPECT_THAT([&] { add(u, u); }, ThrowsMessage<InvalidArgument>(HasSubstr("got u8")));
  EXPECT_THAT([&] { add(i, 0.5); }, ThrowsMessage<InvalidArgument>(HasSubstr("whole number")));
  EXPECT_THAT([&] { mul(i, 1e30); }, ThrowsMessage<InvalidArgument>(HasSubstr("whole number")));
  EXPECT_THAT([&] { add(i, std::nan("")); }, ThrowsMessage<InvalidArgument>(HasSubstr("whole number")));
  EXPECT_THAT([&] { relu(Tensor()); }, ThrowsMessage<InvalidArgument>(HasSubstr("[relu]")));
  EXPECT_THAT([&] { mul(x, Tensor()); }, ThrowsMessage<InvalidArgument>(HasSubstr("undefined")));
  EXPECT_THAT([&] { sub(1, Tensor()); }, ThrowsMessage<InvalidArgument>(HasSubstr("undefined")));
}

TEST(Elementwise, OverwritingASavedTensorIsAnErrorInBackward) {
  const Tensor a = randn({4}, {.requires_grad = true}), b = randn({4}, {.requires_grad = true});
  const Tensor y = mul(a, b);
  {
    NoGrad off;
    b.fill_(0);
  }
  EXPECT_THAT([&] { y.backward(ones({4})); }, ThrowsMessage<InvalidArgument>(HasSubstr("mul")));
}

// ---- derivatives

struct Differentiable {
  const char* name;
  GradFunction f;
  std::vector<GradInput> inputs;
};

std::vector<Differentiable> differentiable() {
  const Fill any = fill::normal(0, 1), positive = fill::uniform(0.5, 3);
  const Fill off_zero = fill::avoid(0, 0.05, fill::normal(0, 1));
  return {
      {"add", [](const Inputs& in) { return in[0] + in[1]; }, {{{2, 3}, any}, {{3}, any}}},
      {"sub", [](const Inputs& in) { return in[0] - in[1]; }, {{{2, 1}, any}, {{1, 3}, any}}},
      {"mul", [](const Inputs& in) { return in[0] * in[1]; }, {{{2, 3}, any}, {{2, 1}, any}}},
      {"div", [](const Inputs& in) { return in[0] / in[1]; }, {{{3}, any}, {{2, 3}, positive}}},
      {"div by the broadcast one",
       [](const Inputs& in) { return in[0] / in[1]; },
       {{{2, 3}, any}, {{3}, positive}}},
      {"square", [](const Inputs& in) { return in[0] * in[0]; }, {{{5}, any}}},
      {"x / x^2", [](const Inputs& in) { return in[0] / (in[0] * in[0]); }, {{{4}, positive}}},
      {"scalars", [](const Inputs& in) { return 1 - (in[0] * 3 + 2 - 0.5) / 4; }, {{{2, 2}, any}}},
      {"scalars squared",
       [](const Inputs& in) {
         const Tensor t = 1 - (in[0] * 3 + 2) / 4;
         return t * t;
       },
       {{{4}, any}}},
      {"reciprocal", [](const Inputs& in) { return 2.5 / in[0]; }, {{{5}, positive}}},
      {"neg", [](const Inputs& in) { return neg(in[0]) * in[0]; }, {{{5}, any}}},
      {"exp", [](const Inputs& in) { return exp(in[0]); }, {{{2, 3}, any}}},
      {"log", [](const Inputs& in) { return log(in[0]); }, {{{2, 3}, positive}}},
      {"relu", [](const Inputs& in) { return relu(in[0]); }, {{{2, 3}, off_zero}}},
      {"relu of a square", [](const Inputs& in) { return relu(in[0] * in[0] * in[0]); }, {{{6}, off_zero}}},
      {"sigmoid", [](const Inputs& in) { return sigmoid(in[0]); }, {{{2, 3}, any}}},
      {"tanh", [](const Inputs& in) { return tanh(in[0]); }, {{{2, 3}, any}}},
      {"strided", [](const Inputs& in) { return tanh(in[0].t()) * in[1]; }, {{{2, 3}, any}, {{3, 2}, any}}},
      {"large", [](const Inputs& in) { return sigmoid(in[0] * in[1]); }, {{{20, 9}, any}, {{9}, any}}},
  };
}

/// Functions of one tensor, on inputs away from their kinks and poles.
std::vector<Differentiable> functions_of_one() {
  struct Function {
    const char* name;
    Tensor (*f)(const Tensor&);
    Fill values;
  };
  const Fill any = fill::normal(0, 1), positive = fill::uniform(0.3, 3), inside = fill::uniform(-0.8, 0.8);
  const Fill off_zero = fill::avoid(0, 0.05, fill::normal(0, 1));
  const Fill off_three = fill::avoid(3, 0.05, fill::avoid(-3, 0.05, fill::normal(0, 3)));
  const Fill off_six = fill::avoid(6, 0.05, fill::avoid(0, 0.05, fill::normal(3, 4)));
  const Function functions[] = {
      {"abs", abs, off_zero},
      {"square", square, any},
      {"sqrt", sqrt, positive},
      {"rsqrt", rsqrt, positive},
      {"reciprocal", reciprocal, positive},
      {"exp2", exp2, any},
      {"expm1", expm1, any},
      {"log1p", log1p, positive},
      {"log2", log2, positive},
      {"log10", log10, positive},
      {"sin", sin, any},
      {"cos", cos, any},
      {"tan", tan, inside},
      {"asin", asin, inside},
      {"acos", acos, inside},
      {"atan", atan, any},
      {"sinh", sinh, any},
      {"cosh", cosh, any},
      {"erf", erf, any},
      {"clamp", [](const Tensor& x) { return clamp(x, 0, 6); }, off_six},
      {"clamp from below", [](const Tensor& x) { return clamp(x, 0); }, off_zero},
      {"pow", [](const Tensor& x) { return pow(x, 2.5); }, positive},
      {"pow 2", [](const Tensor& x) { return pow(x, 2); }, any},
      {"pow 1", [](const Tensor& x) { return pow(x, 1); }, any},
      {"pow 0", [](const Tensor& x) { return pow(x, 0) * x; }, any},
      {"pow of 1.5", [](const Tensor& x) { return pow(1.5, x); }, any},
      {"leaky_relu", [](const Tensor& x) { return leaky_relu(x, 0.2); }, off_zero},
      {"elu", [](const Tensor& x) { return elu(x, 1.3); }, off_zero},
      {"selu", selu, off_zero},
      {"celu", [](const Tensor& x) { return celu(x, 1.3); }, off_zero},
      {"gelu", [](const Tensor& x) { return gelu(x); }, any},
      {"gelu tanh", [](const Tensor& x) { return gelu(x, GeluApproximate::tanh); }, any},
      {"silu", silu, any},
      {"mish", mish, any},
      {"softplus", [](const Tensor& x) { return softplus(x, 1.5, 6); },
       fill::avoid(4, 0.05, fill::normal(2, 3))},
      {"softsign", softsign, off_zero},
      {"hardtanh", [](const Tensor& x) { return hardtanh(x, 0, 6); }, off_six},
      {"relu6", relu6, off_six},
      {"hardsigmoid", hardsigmoid, off_three},
      {"hardswish", hardswish, off_three},
      {"logsigmoid", logsigmoid, any},
  };
  std::vector<Differentiable> list;
  for (const Function& f : functions)
    list.push_back({f.name, [g = f.f](const Inputs& in) { return g(in[0]); }, {{{2, 4}, f.values}}});
  return list;
}

std::vector<Differentiable> functions_of_several() {
  const Fill any = fill::normal(0, 1), positive = fill::uniform(0.3, 3);
  const Fill off_zero = fill::avoid(0, 0.05, fill::normal(0, 1));
  return {
      {"glu", [](const Inputs& in) { return glu(in[0], 0); }, {{{4, 3}, any}}},
      {"swiglu", [](const Inputs& in) { return swiglu(in[0], in[1]); }, {{{2, 3}, any}, {{3}, any}}},
      {"geglu", [](const Inputs& in) { return geglu(in[0], in[1]); }, {{{3}, any}, {{2, 3}, any}}},
      {"prelu", [](const Inputs& in) { return prelu(in[0], in[1]); }, {{{2, 3, 2}, off_zero}, {{3}, any}}},
      {"prelu, one weight",
       [](const Inputs& in) { return prelu(in[0], in[1]); },
       {{{5}, off_zero}, {{1}, any}}},
      {"pow", [](const Inputs& in) { return pow(in[0], in[1]); }, {{{2, 3}, positive}, {{3}, positive}}},
      {"maximum", [](const Inputs& in) { return maximum(in[0], in[1]); }, {{{2, 3}, any}, {{2, 1}, any}}},
      {"minimum", [](const Inputs& in) { return minimum(in[0], in[1]); }, {{{3}, any}, {{2, 3}, any}}},
      // Quotients between 1.1 and 1.9: no jump is near.
      {"fmod",
       [](const Inputs& in) { return fmod(in[0], in[1]); },
       {{{3}, fill::uniform(3.4, 3.6)}, {{2, 3}, fill::uniform(1.9, 3)}}},
      {"remainder",
       [](const Inputs& in) { return remainder(in[0] * in[0], -in[1]); },
       {{{3}, fill::uniform(1.85, 1.9)}, {{2, 3}, fill::uniform(1.9, 3)}}},
      {"atan2", [](const Inputs& in) { return atan2(in[0], in[1]); }, {{{2, 3}, any}, {{3}, positive}}},
      {"lerp",
       [](const Inputs& in) { return lerp(in[0], in[1], in[2]); },
       {{{2, 3}, any}, {{3}, any}, {{2, 1}, any}}},
      {"lerp by a number",
       [](const Inputs& in) { return lerp(in[0], in[1], 0.3); },
       {{{2, 3}, any}, {{3}, any}}},
      {"addcmul",
       [](const Inputs& in) { return addcmul(in[0], in[1], in[2], 0.7); },
       {{{3}, any}, {{2, 3}, any}, {{2, 1}, any}}},
      {"addcdiv",
       [](const Inputs& in) { return addcdiv(in[0], in[1], in[2], 0.7); },
       {{{2, 3}, any}, {{3}, any}, {{2, 1}, positive}}},
      {"where",
       [](const Inputs& in) { return where(gt(in[0], 0), in[0] * in[1], in[1]); },
       {{{2, 3}, off_zero}, {{3}, any}}},
      {"where with numbers",
       [](const Inputs& in) { return where(gt(in[0], 0), in[0], 1) * where(lt(in[0], 0), 2, in[0]); },
       {{{5}, off_zero}}},
  };
}

TEST(ElementwiseGradient, FirstDerivatives) {
  for (const auto& list : {differentiable(), functions_of_one(), functions_of_several()})
    for (const Differentiable& d : list) EXPECT_TRUE(gradcheck(d.f, d.inputs)) << d.name;
}

TEST(ElementwiseGradient, SecondDerivatives) {
  for (const auto& list : {differentiable(), functions_of_one(), functions_of_several()})
    for (const Differentiable& d : list) EXPECT_TRUE(gradgradcheck(d.f, d.inputs)) << d.name;
}

TEST(ElementwiseGradient, OfStepsIsZero) {
  for (Tensor (*step)(const Tensor&) : {sign, floor, ceil, round, trunc}) {
    const Tensor x = Tensor::from({-1.5, 0.2f, 3}).requires_grad_();
    (step(x) + x).backward(Tensor::from({1, 2, 3}));
    EXPECT_THAT(x.grad().to_vector<float>(), ElementsAre(1, 2, 3));
  }
}

TEST(ElementwiseGradient, ThirdDerivativeOfTheExponential) {
  const Tensor x = Tensor::from(std::vector<double>{0.3}, {1}).requires_grad_();
  Tensor y = exp(x * 2);
  for (int order = 1; order <= 3; ++order)
    y = autograd::grad(std::vector{y}, std::vector{x}, {}, true, true)[0];
  EXPECT_NEAR(y.item(), 8 * std::exp(0.6), 1e-12);
}

}  // namespace
}  // namespace gpunn
