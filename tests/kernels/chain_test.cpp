#include "gpunn/kernels/chain/chain.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "gpunn/core/autograd.h"
#include "gpunn/core/error.h"
#include "gpunn/core/random.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/elementwise/math_functions.h"
#include "gpunn/kernels/elementwise/stream_cpu_impl.h"
#include "gpunn/kernels/reduce/reduce.h"
#include "hwy/targets.h"
#include "tests/support/devices.h"
#include "tests/support/expect_parity.h"
#include "tests/support/gradcheck.h"

namespace gpunn {
namespace parity {
void add_chain_cases(Suite& suite);
}

namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

TEST(ChainParityRace, Cpu) { parity::expect_parity_on_cpu(parity::add_chain_cases); }
#if GPUNN_HAS_CUDA
TEST(ChainParityRace, Cuda) { parity::expect_parity_on_cuda(parity::add_chain_cases); }
#endif

class ChainDevice : public testing::DeviceTest {};
GPUNN_ON_EVERY_DEVICE(ChainDevice);

TEST_P(ChainDevice, KnownValues) {
  const Tensor x = Tensor::from({{1, -2, 3}, {-4, 5, -6}}).to(device());
  const Tensor row = Tensor::from({1, 2, 3}).to(device());
  const Tensor y = chain(x).mul(2).add(row).relu();
  EXPECT_THAT(y.to_vector<float>(), ElementsAre(3, 0, 9, 0, 12, 0));
  EXPECT_EQ(y.shape(), Shape({2, 3}));
  EXPECT_THAT(chain(x).rsub(1).abs().clamp(2, 5).eval().to_vector<float>(), ElementsAre(2, 3, 2, 5, 4, 5));
  // A wider operand widens the result.
  EXPECT_THAT(chain(row).add(x).eval().to_vector<float>(), ElementsAre(2, 0, 6, -3, 7, -3));
  EXPECT_THAT(chain(x.t()).neg().square().eval().to_vector<float>(), ElementsAre(1, 16, 4, 25, 9, 36));
}

TEST_P(ChainDevice, RoundsOnce) {
  // 2048 + 1 is not a number of f16; rounded after the first step the result would be 0.
  const Tensor x = full({40}, 2048, {.dtype = DType::f16, .device = device()});
  for (const float v : chain(x).add(1).sub(2048).eval().to(DType::f32).to_vector<float>()) EXPECT_EQ(v, 1);
}

TEST_P(ChainDevice, GradientsOfSumsAndBroadcastOperands) {
  const Tensor x = Tensor::from({{1, -2, 3}, {-4, 5, -6}}).to(device()).requires_grad_();
  const Tensor bias = Tensor::from({1, 2, 3}).to(device()).requires_grad_();
  const Tensor column = Tensor::from({2, 3}).reshape({2, 1}).to(device()).requires_grad_();
  const Tensor residual = ones({2, 3}, {.device = device()}).requires_grad_();
  const Tensor y = chain(x).add(bias).mul(column).relu().add(residual);
  y.backward(full({2, 3}, 10, {.device = device()}));
  EXPECT_THAT(x.grad().to_vector<float>(), ElementsAre(20, 0, 20, 0, 30, 0));
  EXPECT_THAT(bias.grad().to_vector<float>(), ElementsAre(20, 30, 20));
  EXPECT_THAT(column.grad().to_vector<float>(), ElementsAre(80, 70));
  EXPECT_THAT(residual.grad().to_vector<float>(), ElementsAre(10, 10, 10, 10, 10, 10));
}

TEST_P(ChainDevice, GradientsWithoutAStepToCompute) {
  // Sums only: every gradient is dy, except behind sub.
  const Tensor x = ones({2, 2}, {.device = device()}).requires_grad_();
  const Tensor a = ones({2}, {.device = device()}).requires_grad_();
  const Tensor b = ones({2, 2}, {.device = device()}).requires_grad_();
  chain(x).add(a).sub(b).sub(3).eval().backward(full({2, 2}, 2, {.device = device()}));
  EXPECT_THAT(x.grad().to_vector<float>(), ElementsAre(2, 2, 2, 2));
  EXPECT_THAT(a.grad().to_vector<float>(), ElementsAre(4, 4));
  EXPECT_THAT(b.grad().to_vector<float>(), ElementsAre(-2, -2, -2, -2));
}

TEST_P(ChainDevice, OnlyAnOperandWantsAGradient) {
  const Tensor x = Tensor::from({1, 2, -3}).to(device());
  const Tensor bias = zeros({3}, {.device = device()}).requires_grad_(),
               scale = ones({1}, {.device = device()}).requires_grad_();
  chain(x).add(bias).relu().mul(scale).eval().backward(ones({3}, {.device = device()}));
  EXPECT_THAT(bias.grad().to_vector<float>(), ElementsAre(1, 1, 0));
  EXPECT_THAT(scale.grad().to_vector<float>(), ElementsAre(3));
}

TEST_P(ChainDevice, EmptyTensorsAndEmptyChains) {
  const Tensor none = empty({3, 0}, {.device = device()}).requires_grad_();
  const Tensor row = empty({0}, {.device = device()});
  const Tensor y = chain(none).add(row).gelu();
  EXPECT_EQ(y.shape(), Shape({3, 0}));
  autograd::backward(std::vector{y}, std::vector{y.detach()});
  EXPECT_EQ(none.grad().shape(), Shape({3, 0}));
  const Tensor x = ones({2}, {.device = device()});
  EXPECT_TRUE(chain(x).eval().is_same(x));
  EXPECT_EQ(chain(full({}, 4, {.device = device()})).sqrt().eval().item(), 2);
}

TEST(Chain, GrowsAndRunsAgain) {
  Chain c = chain(Tensor::from({1, -1}));
  c.add(1);
  EXPECT_THAT(c.eval().to_vector<float>(), ElementsAre(2, 0));
  c.mul(3);
  EXPECT_THAT(c.eval().to_vector<float>(), ElementsAre(6, 0));
}

TEST(Chain, RejectsBadArguments) {
  const Tensor x = ones({2, 3});
  EXPECT_THAT([] { chain(Tensor()); }, ThrowsMessage<InvalidArgument>(HasSubstr("[chain] expected x")));
  EXPECT_THAT([] { chain(zeros({2}, {.dtype = DType::i64})); },
              ThrowsMessage<InvalidArgument>(HasSubstr("got i64")));
  EXPECT_THAT([&] { chain(x).add(Tensor()); }, ThrowsMessage<InvalidArgument>(HasSubstr("[chain]")));
  EXPECT_THAT([&] { chain(x).add(ones({3}, {.dtype = DType::f64})); },
              ThrowsMessage<InvalidArgument>(HasSubstr("[chain]")));
  EXPECT_THAT([&] { chain(x).add(ones({2})).eval(); }, ThrowsMessage<InvalidArgument>(HasSubstr("[chain]")));
  EXPECT_THAT([&] { chain(x).clamp({}, {}); }, ThrowsMessage<InvalidArgument>(HasSubstr("bound")));
  EXPECT_THAT([&] { chain(x).clamp(std::numeric_limits<double>::quiet_NaN()); },
              ThrowsMessage<InvalidArgument>(HasSubstr("NaN")));
  Chain steps = chain(x);
  for (int i = 0; i < kChainSteps; ++i) steps.neg();
  EXPECT_THAT([&] { steps.neg(); }, ThrowsMessage<InvalidArgument>(HasSubstr("at most 16 steps")));
  Chain tensors = chain(x);
  for (int i = 0; i < kChainOperands; ++i) tensors.add(x);
  EXPECT_THAT([&] { tensors.add(x); }, ThrowsMessage<InvalidArgument>(HasSubstr("at most 6 tensors")));
  EXPECT_EQ(tensors.program().steps, kChainOperands);
}

TEST(Chain, OverwritingAnInputIsAnErrorInBackward) {
  const Tensor x = rand({4}, {.requires_grad = true}), b = rand({4});
  const Tensor y = chain(x).mul(b).tanh();
  b.zero_();
  EXPECT_THAT([&] { y.backward(ones({4})); },
              ThrowsMessage<InvalidArgument>(HasSubstr("overwritten in place")));
}

TEST(Chain, StreamedResultsEqualThoseOfTheirRows) {
  // Rows that start anywhere in a vector; parts of seven are too small to be streamed.
  const Tensor x = randn({101, 1001}), row = randn({1001}), residual = randn({101, 1001});
  const auto run = [&](std::int64_t first, std::int64_t rows) {
    const Tensor v = x.narrow(0, first, rows).clone().requires_grad_();
    const Tensor r = residual.narrow(0, first, rows).clone().requires_grad_();
    const Tensor y = chain(v).mul(row).mul(r).tanh().add(r);
    y.backward(y.detach());
    return std::vector<Tensor>{y, v.grad(), r.grad()};
  };
  elementwise::force_streaming(elementwise::kLeastStreamed);
  const std::vector<Tensor> whole = run(0, 101);
  elementwise::force_streaming(0);
  for (const std::int64_t first : {0, 50, 94}) {
    const std::vector<Tensor> part = run(first, 7);
    for (std::size_t k = 0; k < part.size(); ++k)
      EXPECT_EQ(part[k].to_vector<float>(), whole[k].narrow(0, first, 7).to_vector<float>()) << k;
  }
}

// ---- random programs

/// The same step in the public ops, and appended to a chain.
struct RandomStep {
  int kind;
  double number;
  int operand;  // -1: none
};

constexpr int kKinds = 20;

Tensor composed(const RandomStep& step, const Tensor& v, const Tensor& b) {
  const bool tensor = step.operand >= 0;
  const double s = step.number;
  switch (step.kind) {
    case 0:
      return tensor ? v + b : v + s;
    case 1:
      return tensor ? v - b : v - s;
    case 2:
      return tensor ? b - v : s - v;
    case 3:
      return tensor ? v * b : v * s;
    case 4:
      return tensor ? v / b : v / s;
    case 5:  // a bounded divisor
      return tensor ? b / (square(v) + 1) : s / (square(v) + 1);
    case 6:
      return maximum(v, tensor ? b : full({}, s, {.dtype = v.dtype()}));
    case 7:
      return minimum(v, tensor ? b : full({}, s, {.dtype = v.dtype()}));
    case 8:
      return neg(v);
    case 9:
      return exp(clamp(v, -3, 1));
    case 10:
      return log(square(v) + 0.5);
    case 11:
      return relu(v);
    case 12:
      return sigmoid(v);
    case 13:
      return tanh(v);
    case 14:
      return gelu(v);
    case 15:
      return gelu(v, GeluApproximate::tanh);
    case 16:
      return silu(v);
    case 17:
      return sqrt(abs(v) + 0.25);
    case 18:
      return rsqrt(square(v) + 0.5);
    default:
      return leaky_relu(v, s);
  }
}

void append(Chain& c, const RandomStep& step, const Tensor& b) {
  const bool tensor = step.operand >= 0;
  const double s = step.number;
  switch (step.kind) {
    case 0:
      tensor ? c.add(b) : c.add(s);
      return;
    case 1:
      tensor ? c.sub(b) : c.sub(s);
      return;
    case 2:
      tensor ? c.rsub(b) : c.rsub(s);
      return;
    case 3:
      tensor ? c.mul(b) : c.mul(s);
      return;
    case 4:
      tensor ? c.div(b) : c.div(s);
      return;
    case 5:
      c.square().add(1);
      tensor ? c.rdiv(b) : c.rdiv(s);
      return;
    case 6:
      tensor ? c.maximum(b) : c.maximum(s);
      return;
    case 7:
      tensor ? c.minimum(b) : c.minimum(s);
      return;
    case 8:
      c.neg();
      return;
    case 9:
      c.clamp(-3, 1).exp();
      return;
    case 10:
      c.square().add(0.5).log();
      return;
    case 11:
      c.relu();
      return;
    case 12:
      c.sigmoid();
      return;
    case 13:
      c.tanh();
      return;
    case 14:
      c.gelu();
      return;
    case 15:
      c.gelu(GeluApproximate::tanh);
      return;
    case 16:
      c.silu();
      return;
    case 17:
      c.abs().add(0.25).sqrt();
      return;
    case 18:
      c.square().add(0.5).rsqrt();
      return;
    default:
      c.leaky_relu(s);
  }
}

/// Steps, and the tensors they use: whole, rows, columns and single elements, some of them strided.
struct RandomChain {
  std::vector<RandomStep> steps;
  Tensor x;
  std::vector<Tensor> operands;
};

RandomChain random_chain(PhiloxStream& random, DType dtype) {
  const auto below = [&](int n) { return static_cast<int>(random.below(static_cast<std::uint64_t>(n))); };
  const auto draw = [&](const Shape& shape) {
    std::vector<double> values(static_cast<std::size_t>(shape.numel()));
    for (double& v : values) v = (below(2) == 0 ? -1 : 1) * (0.5 + static_cast<double>(random.uniform()));
    return Tensor::from(values, shape).to(dtype);
  };
  const std::int64_t rows = 1 + below(9), cols = 1 + below(70);
  const Shape shapes[] = {{rows, cols}, {cols}, {rows, 1}, {1}, {}};
  RandomChain chain;
  chain.x = draw({rows, cols});
  for (int length = 1 + below(5); length > 0; --length) {
    RandomStep step{below(kKinds), 0.5 + static_cast<double>(random.uniform()), -1};
    if (step.kind < 8 && below(3) > 0) {
      step.operand = static_cast<int>(chain.operands.size());
      const int form = below(6);
      chain.operands.push_back(form == 5 ? draw({cols, rows}).t() : draw(shapes[form]));
    }
    chain.steps.push_back(step);
  }
  return chain;
}

struct Outcome {
  std::vector<std::vector<double>> tensors;  // y, then the gradients
};

/// y and the gradients of a random chain for the gradient `dy` = cos(y), fused or composed.
Outcome outcome(const RandomChain& r, bool fused, DType dtype, Device device) {
  const auto leaf = [&](const Tensor& t) { return t.to(dtype).to(device).clone().requires_grad_(); };
  std::vector<Tensor> leaves{leaf(r.x)};
  for (const Tensor& b : r.operands) leaves.push_back(leaf(b));
  Tensor y = leaves[0];
  Chain c = chain(leaves[0]);
  for (const RandomStep& step : r.steps) {
    const Tensor b = step.operand < 0 ? Tensor() : leaves[static_cast<std::size_t>(1 + step.operand)];
    if (fused)
      append(c, step, b);
    else
      y = composed(step, y, b);
  }
  if (fused) y = c.eval();
  y.backward(cos(y.detach()));
  Outcome o;
  o.tensors.push_back(y.to(Device::cpu()).to(DType::f64).to_vector<double>());
  for (const Tensor& t : leaves)
    o.tensors.push_back(t.grad().to(Device::cpu()).to(DType::f64).to_vector<double>());
  return o;
}

/// Within `bound` of the largest value of each tensor.
void expect_close(const Outcome& got, const Outcome& expected, double bound, const std::string& what) {
  ASSERT_EQ(got.tensors.size(), expected.tensors.size());
  for (std::size_t k = 0; k < got.tensors.size(); ++k) {
    double largest = 1;
    for (const double v : expected.tensors[k]) largest = std::max(largest, std::abs(v));
    ASSERT_EQ(got.tensors[k].size(), expected.tensors[k].size()) << what;
    for (std::size_t i = 0; i < got.tensors[k].size(); ++i) {
      const double error = std::abs(got.tensors[k][i] - expected.tensors[k][i]);
      ASSERT_TRUE(error <= bound * largest)
          << what << (k == 0 ? ", y" : ", gradient ") << k << " [" << i << "]: " << got.tensors[k][i]
          << " instead of " << expected.tensors[k][i];
    }
  }
}

TEST(ChainRandomPrograms, EqualTheComposedOpsInDouble) {
  PhiloxStream random(1, 0);
  for (int i = 0; i < 60; ++i) {
    const RandomChain r = random_chain(random, DType::f64);
    expect_close(outcome(r, true, DType::f64, Device::cpu()), outcome(r, false, DType::f64, Device::cpu()),
                 1e-12, "program " + std::to_string(i));
  }
}

TEST_P(ChainDevice, RandomProgramsEqualTheComposedOps) {
  PhiloxStream random(2, 0);
  for (int i = 0; i < 30; ++i) {
    const RandomChain r = random_chain(random, DType::f64);
    // Five steps of a few roundings each, whose slopes multiply.
    expect_close(outcome(r, true, DType::f32, device()), outcome(r, false, DType::f64, Device::cpu()), 1e-4,
                 "program " + std::to_string(i));
  }
}

TEST(Chain, EverySimdTargetEqualsTheReference) {
  int seen = 0;
  for (const std::int64_t target : {HWY_AVX3, HWY_AVX2, HWY_SSE4, HWY_NEON}) {
    if ((hwy::SupportedTargets() & HWY_TARGETS & target) == 0) continue;
    SCOPED_TRACE(hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    PhiloxStream random(3, 0);
    for (int i = 0; i < 12; ++i) {
      const RandomChain r = random_chain(random, DType::f64);
      expect_close(outcome(r, true, DType::f32, Device::cpu()), outcome(r, false, DType::f64, Device::cpu()),
                   1e-4, "program " + std::to_string(i));
    }
    hwy::SetSupportedTargetsForTest(0);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    ++seen;
  }
  EXPECT_GT(seen, 0);
}

// ---- derivatives

const std::vector<GradInput> kLayer = {{{3, 5}, fill::normal(0, 1)},
                                       {{5}, fill::uniform(0.5, 2)},
                                       {{3, 1}, fill::uniform(0.5, 2)},
                                       {{3, 5}, fill::normal(0, 1)}};

Tensor layer(const Inputs& in) { return chain(in[0]).mul(in[1]).add(in[2]).gelu().add(in[3]); }
Tensor quotients(const Inputs& in) {
  return chain(in[0]).square().add(1).rdiv(in[1]).div(in[2]).sub(in[3]).tanh().rsub(in[1]).silu();
}
Tensor roots(const Inputs& in) {
  return chain(in[0]).exp().add(in[1]).log().sigmoid().sqrt().add(in[2]).rsqrt().mul(in[3]).gelu(
      GeluApproximate::tanh);
}

TEST(ChainGradient, FirstDerivatives) {
  for (Tensor (*f)(const Inputs&) : {layer, quotients, roots}) EXPECT_TRUE(gradcheck(f, kLayer));
  // Kinks are kept away from the values.
  const std::vector<GradInput> apart = {{{4, 4}, fill::avoid(0, 0.1, fill::normal(0, 1))},
                                        {{4, 4}, fill::uniform(3, 4)},
                                        {{4, 4}, fill::uniform(-4, -3)}};
  EXPECT_TRUE(gradcheck(
      [](const Inputs& in) {
        return chain(in[0]).leaky_relu(0.2).abs().minimum(in[1]).maximum(in[2]).neg().clamp(-9, 9).relu().add(
            in[0]);
      },
      apart));
}

TEST(ChainGradient, SecondDerivatives) {
  for (Tensor (*f)(const Inputs&) : {layer, quotients, roots}) EXPECT_TRUE(gradgradcheck(f, kLayer));
  // An operand that depends on x, and x as an operand.
  EXPECT_TRUE(gradgradcheck(
      [](const Inputs& in) { return chain(in[0]).mul(square(in[0])).add(in[0]).tanh().mul(in[1]).eval(); },
      {{{3, 4}, fill::normal(0, 1)}, {{4}, fill::normal(0, 1)}}));
}

}  // namespace
}  // namespace gpunn
