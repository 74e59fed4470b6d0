#include "gpunn/kernels/norm/norm.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "gpunn/core/autograd.h"
#include "gpunn/core/error.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/reduce/reduce.h"
#include "tests/support/devices.h"
#include "tests/support/expect_parity.h"
#include "tests/support/gradcheck.h"
#include "tests/support/simd_target.h"

namespace gpunn {
namespace parity {
void add_norm_cases(Suite& suite);
}

namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;
using Operation = std::function<Tensor(const Tensor&)>;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
const BatchNormOptions kTraining{.training = true};

TEST(NormParityRace, Cpu) { parity::expect_parity_on_cpu(parity::add_norm_cases); }
#if GPUNN_HAS_CUDA
TEST(NormParityRace, Cuda) { parity::expect_parity_on_cuda(parity::add_norm_cases); }
#endif

/// Each normalisation of a picture with 6 channels, without weights.
struct Named {
  const char* name;
  Operation f;
};
const std::vector<Named> kEach = {
    {"batch_norm", [](const Tensor& x) { return batch_norm(x, {}, {}, {}, {}, kTraining); }},
    {"batch_norm channels last",
     [](const Tensor& x) {
       return batch_norm(x.contiguous(Layout::channels_last), {}, {}, {}, {}, kTraining);
     }},
    {"layer_norm", [](const Tensor& x) { return layer_norm(x, {x.size(2), x.size(3)}); }},
    {"rms_norm", [](const Tensor& x) { return rms_norm(x, {x.size(2), x.size(3)}, {}, 1e-5); }},
    {"group_norm", [](const Tensor& x) { return group_norm(x, 3); }},
    {"instance_norm", [](const Tensor& x) { return instance_norm(x); }},
};

std::vector<double> doubles(const Tensor& t) { return t.to(DType::f64).to_vector<double>(); }

/// f(x) and its gradient, for dy that falls along the elements.
std::vector<double> value_and_gradient(const Tensor& x_in, const Operation& f) {
  const Tensor x = x_in.clone().requires_grad_();
  const Tensor y = f(x);
  std::vector<double> dy;
  for (std::int64_t i = 0; i < y.numel(); ++i) dy.push_back(std::cos(0.4 * static_cast<double>(i)));
  y.backward(Tensor::from(dy, y.shape()).to(y.dtype()).to(y.device()));
  std::vector<double> all = doubles(y);
  const std::vector<double> gradient = doubles(x.grad());
  all.insert(all.end(), gradient.begin(), gradient.end());
  return all;
}

void expect_near(const std::vector<double>& got, const std::vector<double>& expected, double bound,
                 const std::string& what) {
  ASSERT_EQ(got.size(), expected.size()) << what;
  for (std::size_t i = 0; i < got.size(); ++i)
    ASSERT_NEAR(got[i], expected[i], bound * std::max(1.0, std::abs(expected[i]))) << what << ", " << i;
}

/// In f32 on the CPU and in f64, where the reference runs.
void expect_reference(const std::string& what, const Tensor& x, const Operation& f) {
  expect_near(value_and_gradient(x, f), value_and_gradient(x.to(DType::f64), f), 2e-5, what);
}

TEST(Norm, EverySimdTargetEqualsTheReference) {
  int seen = 0;
  for (const std::int64_t target : {HWY_AVX3, HWY_AVX2, HWY_SSE4, HWY_SSSE3, HWY_NEON}) {
    if ((hwy::SupportedTargets() & HWY_TARGETS & target) == 0) continue;
    const testing::SimdTarget scope(target);
    ++seen;
    for (const Shape& shape : {Shape{3, 6, 5, 7}, Shape{2, 66, 3, 1}})
      for (const Named& each : kEach)
        expect_reference(std::string(hwy::TargetName(target)) + " " + each.name, randn(shape), each.f);
  }
  EXPECT_GT(seen, 0);
}

TEST(Norm, ResultsBeyondTheCaches) {
  // Over 4 MiB, in planes and rows that start anywhere in a vector; groups share weights with nobody.
  const Tensor x = randn({5, 24, 94, 95});
  for (const char* name : {"batch_norm", "batch_norm channels last", "layer_norm"})
    for (const Named& each : kEach)
      if (std::string(each.name) == name) expect_reference(name, x, each.f);
}

class NormOnDevice : public testing::DeviceTest {};
GPUNN_ON_EVERY_DEVICE(NormOnDevice);

TEST_P(NormOnDevice, FusedReluAndResidualEqualTheirOps) {
  for (const Layout layout : {Layout::contiguous, Layout::channels_last})
    for (const bool training : {false, true}) {
      const Shape shape{3, 5, 4, 3};
      std::vector<std::vector<double>> results[2];
      const Tensor values = randn(shape), more = randn(shape), dy = randn(shape, {.device = device()});
      for (const bool fused : {false, true}) {
        const Tensor x = values.to(device()).contiguous(layout).detach().requires_grad_();
        const Tensor residual = more.to(device()).contiguous(layout).detach().requires_grad_();
        const Tensor weight = full({5}, 1.5, {.device = device(), .requires_grad = true});
        const Tensor bias = full({5}, 0.25, {.device = device(), .requires_grad = true});
        const Tensor mean = full({5}, 0.1, {.device = device()}), var = full({5}, 1.2, {.device = device()});
        const BatchNormOptions options{.training = training, .relu = fused};
        const Tensor y = fused ? batch_norm(x, mean, var, weight, bias, options, residual)
                               : relu(batch_norm(x, mean, var, weight, bias, options) + residual);
        y.backward(dy);
        for (const Tensor& t : {y, x.grad(), residual.grad(), weight.grad(), bias.grad(), mean, var})
          results[fused].push_back(doubles(t));
        if (fused) {
          EXPECT_EQ(y.layout(), layout);
        }
      }
      for (std::size_t i = 0; i < results[0].size(); ++i)
        expect_near(results[1][i], results[0][i], 1e-5, "result " + std::to_string(i));
    }
}

TEST_P(NormOnDevice, ChannelsLastGivesTheSame) {
  const Tensor x = randn({2, 6, 3, 5}, {.device = device()});
  for (const Named& each : kEach) {
    const Tensor y = each.f(x.contiguous(Layout::channels_last));
    expect_near(doubles(y), doubles(each.f(x)), 1e-6, each.name);
    if (std::string(each.name) == "group_norm" || std::string(each.name) == "instance_norm") {
      EXPECT_EQ(y.layout(), Layout::channels_last) << each.name;
    }
  }
}

TEST_P(NormOnDevice, NanAndInfinityStayWhereTheyAre) {
  const Shape shape{2, 6, 3, 4};
  for (const double special : {kNan, kInfinity, -kInfinity})
    for (const Named& each : kEach) {
      std::vector<double> values = doubles(randn(shape));
      constexpr std::size_t kAt = 12 + 5;  // sample 0, channel 1
      values[kAt] = special;
      const std::vector<double> y = doubles(each.f(Tensor::from(values, shape).to(DType::f32).to(device())));
      const std::string name = each.name;
      for (std::size_t i = 0; i < y.size(); ++i) {
        const std::size_t sample = i / 72, channel = i / 12 % 6;
        const bool batch = name.find("batch") == 0;
        const bool touched =
            batch ? channel == 1 : sample == 0 && channel / 2 == 0 && (name == "group_norm" || channel == 1);
        // RMS norm divides what is finite by infinity.
        const bool vanishes = name == "rms_norm" && !std::isnan(special) && i != kAt;
        const bool good = !touched ? std::isfinite(y[i]) : vanishes ? y[i] == 0 : std::isnan(y[i]);
        ASSERT_TRUE(good) << name << " of " << special << ", " << i << ": " << y[i];
      }
    }
}

TEST_P(NormOnDevice, FiniteInputNeverGivesNan) {
  const Shape shape{2, 6, 3, 4};
  for (const double size : {3.4e38, 1e38, 1e30, 1e20, 1e19, 1e-20, 1e-38, 1e-45, 0.0})
    for (const Named& each : kEach) {
      std::vector<double> values = doubles(randn(shape));
      for (double& v : values) v = size * std::clamp(v, -1.0, 1.0);
      const Tensor x = Tensor::from(values, shape).to(DType::f32);
      const std::vector<double> y = doubles(each.f(x.to(device()))),
                                exact = doubles(each.f(x.to(DType::f64)));
      for (std::size_t i = 0; i < y.size(); ++i) {
        ASSERT_TRUE(std::isfinite(y[i])) << each.name << " of " << size << ", " << i;
        // The CPU goes on in double where f32 overflows. 1 / deviation is subnormal beyond 1e38.
        if (device().is_cpu()) {
          ASSERT_NEAR(y[i], exact[i], 1e-5) << each.name << " of " << size;
        }
      }
    }
}

TEST_P(NormOnDevice, EmptyInputs) {
  const TensorOptions here{.device = device(), .requires_grad = true};
  const Tensor mean = zeros({3}, {.device = device()}), var = ones({3}, {.device = device()});
  const Tensor weight = ones({3}, here);
  const Tensor x = empty({0, 3, 2, 2}, here);
  const Tensor y = batch_norm(x, mean, var, weight);
  EXPECT_EQ(y.shape(), x.shape());
  y.backward(y.detach());
  EXPECT_EQ(x.grad().shape(), x.shape());
  EXPECT_EQ(weight.grad().to_vector<float>(), std::vector<float>(3, 0.0f));
  const Tensor scale = ones({4}, here), rows = empty({0, 4}, here);
  const Tensor z = layer_norm(rows, {4}, scale);
  z.backward(z.detach());
  EXPECT_EQ(scale.grad().to_vector<float>(), std::vector<float>(4, 0.0f));
  EXPECT_EQ(rms_norm(empty({3, 0}, here), {0}).shape(), Shape({3, 0}));
  EXPECT_EQ(group_norm(empty({0, 4, 2}, here), 2).shape(), Shape({0, 4, 2}));
  EXPECT_EQ(instance_norm(x, mean, var).shape(), x.shape());
  EXPECT_EQ(local_response_norm(x, 3).shape(), x.shape());
}

TEST_P(NormOnDevice, WeightsInF32BesideHalves) {
  for (const DType dtype : {DType::f16, DType::bf16}) {
    const Tensor x = randn({4, 6, 5}, {.device = device()}).to(dtype).requires_grad_();
    const Tensor weight = ones({6}, {.device = device(), .requires_grad = true});
    const Tensor mean = zeros({6}, {.device = device()}), var = ones({6}, {.device = device()});
    const Tensor y = batch_norm(x, mean, var, weight, {}, kTraining);
    EXPECT_EQ(y.dtype(), dtype);
    y.backward(ones_like(y.detach()));
    EXPECT_EQ(weight.grad().dtype(), DType::f32);
    EXPECT_EQ(x.grad().dtype(), dtype);
    const Tensor same = ones({6}, {.dtype = dtype, .device = device(), .requires_grad = true});
    group_norm(x, 2, same).backward(ones_like(x.detach()));
    EXPECT_EQ(same.grad().dtype(), dtype);
  }
}

TEST(Norm, EvaluationLeavesRunningStatisticsAlone) {
  const Tensor mean = full({3}, 0.5), var = full({3}, 2);
  const Tensor x = randn({4, 3});
  batch_norm(x, mean, var);
  instance_norm(x.reshape({2, 3, 2}), mean, var, {}, {}, false);
  EXPECT_EQ(mean.to_vector<float>(), std::vector<float>(3, 0.5f));
  EXPECT_EQ(var.to_vector<float>(), std::vector<float>(3, 2.0f));
}

TEST(Norm, AGradientTakenAfterAnotherStepIsStillItsOwn) {
  // Running statistics move on before backward; what it needs was kept.
  const Tensor mean = zeros({3}), var = ones({3}), x = randn({5, 3}).requires_grad_();
  const Tensor y = batch_norm(x, mean, var);
  batch_norm(randn({5, 3}), mean, var, {}, {}, kTraining);
  y.backward(ones({5, 3}));
  for (const float g : x.grad().to_vector<float>()) EXPECT_NEAR(g, 1 / std::sqrt(1 + 1e-5), 1e-6);
}

TEST(Norm, RejectsBadArguments) {
  const Tensor x = ones({4, 3, 2}), three = ones({3}), two = ones({2});
  const auto expect = [](auto call, const char* text) {
    EXPECT_THAT(call, ThrowsMessage<InvalidArgument>(HasSubstr(text)));
  };
  expect([&] { batch_norm(Tensor(), three, three); }, "[batch_norm] expected x");
  expect([&] { batch_norm(ones({3}), three, three); }, "expected x [N, C]");
  expect([&] { batch_norm(ones({1, 3}), {}, {}, {}, {}, kTraining); }, "more than one value per channel");
  expect([&] { batch_norm(ones({1, 3, 1, 1}), {}, {}, {}, {}, kTraining); },
         "more than one value per channel");
  expect([&] { batch_norm(empty({0, 3, 2}), {}, {}, {}, {}, kTraining); }, "more than one value per channel");
  expect([&] { batch_norm(x, {}, {}); }, "expected running_mean and running_var, or training");
  expect([&] { batch_norm(x, three, {}); }, "both or neither");
  expect([&] { batch_norm(x, two, three); }, "expected running_mean [3], got [2]");
  expect([&] { batch_norm(x, three, three, two); }, "expected weight [3], got [2]");
  expect([&] { batch_norm(x, three, three, three, two); }, "expected bias [3], got [2]");
  expect([&] { batch_norm(x, three, three, three.to(DType::f64)); }, "expected weight of dtype f32");
  expect([&] { batch_norm(x.to(DType::bf16), three, three, three.to(DType::bf16)); },
         "expected running_mean of");
  expect([&] { batch_norm(x, three, three, {}, {}, {.momentum = 1.5}); }, "momentum");
  expect([&] { batch_norm(x, three, three, {}, {}, {.eps = -1}); }, "eps");
  expect([&] { batch_norm(x, three, three, {}, {}, {}, ones({4, 3, 1})); }, "expected residual [4, 3, 2]");
  expect([&] { layer_norm(x, {3}); }, "[layer_norm] expected x");
  expect([&] { layer_norm(x, {}); }, "normalized_shape");
  expect([&] { layer_norm(x, {2}, three); }, "expected weight [2], got [3]");
  expect([&] { rms_norm(x, {3}); }, "[rms_norm] expected x");
  expect([&] { rms_norm(x, {2}, {}, -1); }, "eps");
  expect([&] { group_norm(x, 2); }, "groups that divide the 3 channels");
  expect([&] { group_norm(x, 0); }, "groups that divide");
  expect([&] { group_norm(ones({2, 3}), 3); }, "more than one value per group");
  expect([&] { instance_norm(ones({2, 3, 1})); }, "more than one value per channel");
  expect([&] { instance_norm(x, {}, {}, {}, {}, false); }, "use_input_stats");
  expect([&] { instance_norm(ones({3})); }, "[instance_norm] expected x");
  expect([&] { local_response_norm(x, 0); }, "size >= 1");
  expect([&] { local_response_norm(ones({3}), 3); }, "[local_response_norm] expected x");
  const Tensor leaf = ones({3}).requires_grad_();
  EXPECT_THROW(batch_norm(x, leaf, three, {}, {}, kTraining), Unsupported);
}

const Fill kNormal = fill::normal(0.3, 1);

/// Every normalisation with weights, at first and second derivatives.
struct Differentiable {
  const char* name;
  GradFunction f;
  std::vector<GradInput> inputs;
};
std::vector<Differentiable> differentiable() {
  const auto inputs = [](const Shape& x, const Shape& weight) {
    return std::vector<GradInput>{{x, kNormal}, {weight, kNormal}, {weight, kNormal}};
  };
  const auto running = [](double value) { return full({3}, value, {.dtype = DType::f64}); };
  std::vector<GradInput> with_residual = inputs({3, 3, 4}, {3});
  with_residual.push_back({{3, 3, 4}, kNormal});
  return {
      {"batch_norm", [](const Inputs& in) { return batch_norm(in[0], {}, {}, in[1], in[2], kTraining); },
       inputs({5, 3}, {3})},
      {"batch_norm, evaluation",
       [=](const Inputs& in) { return batch_norm(in[0], running(0.2), running(1.3), in[1], in[2]); },
       inputs({2, 3, 4}, {3})},
      {"batch_norm, relu and residual",
       [](const Inputs& in) {
         return batch_norm(in[0], {}, {}, in[1], in[2], {.training = true, .relu = true}, in[3]);
       },
       with_residual},
      {"batch_norm, channels last",
       [](const Inputs& in) {
         return batch_norm(in[0].contiguous(Layout::channels_last), {}, {}, in[1], in[2], kTraining);
       },
       inputs({2, 3, 2, 3}, {3})},
      {"layer_norm", [](const Inputs& in) { return layer_norm(in[0], {5}, in[1], in[2]); },
       inputs({4, 5}, {5})},
      {"layer_norm, two dimensions", [](const Inputs& in) { return layer_norm(in[0], {3, 2}, in[1], in[2]); },
       inputs({3, 3, 2}, {3, 2})},
      {"rms_norm",
       [](const Inputs& in) { return rms_norm(in[0], {5}, in[1], 1e-3); },
       {{{4, 5}, kNormal}, {{5}, kNormal}}},
      {"group_norm", [](const Inputs& in) { return group_norm(in[0], 2, in[1], in[2]); },
       inputs({2, 4, 3}, {4})},
      {"instance_norm", [](const Inputs& in) { return instance_norm(in[0], {}, {}, in[1], in[2]); },
       inputs({2, 3, 4}, {3})},
      {"instance_norm, running",
       [=](const Inputs& in) { return instance_norm(in[0], running(0), running(1), in[1], in[2]); },
       inputs({2, 3, 4}, {3})},
      {"local_response_norm",
       [](const Inputs& in) { return local_response_norm(in[0], 3, 0.5); },
       {{{2, 5, 2}, kNormal}}},
  };
}

TEST(NormGradient, FirstDerivatives) {
  for (const Differentiable& d : differentiable()) EXPECT_TRUE(gradcheck(d.f, d.inputs)) << d.name;
}

TEST(NormGradient, SecondDerivatives) {
  for (const Differentiable& d : differentiable()) EXPECT_TRUE(gradgradcheck(d.f, d.inputs)) << d.name;
}

}  // namespace
}  // namespace gpunn
