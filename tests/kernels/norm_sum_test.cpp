// Norms of residual + dropout(x).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "gpunn/core/autograd.h"
#include "gpunn/core/error.h"
#include "gpunn/core/random.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/norm/add_norm_impl.h"
#include "gpunn/kernels/norm/norm.h"
#include "gpunn/kernels/random/random.h"
#include "tests/support/devices.h"
#include "tests/support/expect_parity.h"
#include "tests/support/gradcheck.h"
#include "tests/support/simd_target.h"

namespace gpunn {
namespace parity {
void add_norm_sum_cases(Suite& suite);
}

namespace {

using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

constexpr std::uint64_t kSeed = 5;
constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

TEST(NormSumParityRace, Cpu) { parity::expect_parity_on_cpu(parity::add_norm_sum_cases); }
#if GPUNN_HAS_CUDA
TEST(NormSumParityRace, Cuda) { parity::expect_parity_on_cuda(parity::add_norm_sum_cases); }
#endif

std::vector<double> doubles(const Tensor& t) { return t.to(DType::f64).contiguous().to_vector<double>(); }

/// Leaves of one call; the weights are of the last dimension.
struct Leaves {
  Tensor x, residual, weight, bias;

  Leaves(const Shape& shape, DType dtype, Device device, bool wide = false) {
    manual_seed(kSeed);
    const auto leaf = [&](const Shape& s, DType d) {
      return (randn(s) + 0.5).to(d).to(device).detach().requires_grad_();
    };
    const Shape row{shape[shape.rank() - 1]};
    x = leaf(shape, dtype);
    residual = leaf(shape, dtype);
    weight = leaf(row, wide ? DType::f32 : dtype);
    bias = leaf(row, wide ? DType::f32 : dtype);
  }
};

struct How {
  bool rms = false, fused = true;
  double p = 0;
  bool training = true;
};

AddNormOutput call(const Leaves& in, const How& how) {
  manual_seed(kSeed + 1);
  if (how.fused) {
    const AddNormOptions options{.eps = 1e-3, .dropout_p = how.p, .training = how.training};
    return how.rms ? add_rms_norm(in.x, in.residual, in.weight, options)
                   : add_layer_norm(in.x, in.residual, in.weight, in.bias, options);
  }
  const Tensor sum = in.residual + dropout(in.x, how.p, how.training);
  const Shape row{sum.size(-1)};
  return {how.rms ? rms_norm(sum, row, in.weight, 1e-3) : layer_norm(sum, row, in.weight, in.bias, 1e-3),
          sum};
}

/// y, sum, gradients of all leaves, and a number drawn afterwards. `uses`: 1 y, 2 the sum, 3 both.
std::vector<std::vector<double>> results(const Leaves& in, const How& how, int uses = 3) {
  for (const Tensor* t : {&in.x, &in.residual, &in.weight, &in.bias}) t->zero_grad();
  const AddNormOutput out = call(in, how);
  std::vector<std::vector<double>> all{doubles(out.y), doubles(out.sum), doubles(randn({1}))};
  const auto falling = [&](const Tensor& t, double step) {
    std::vector<double> v;
    for (std::int64_t i = 0; i < t.numel(); ++i) v.push_back(std::cos(step * static_cast<double>(i)));
    return Tensor::from(v, t.shape()).to(t.dtype()).to(t.device());
  };
  std::vector<Tensor> outputs, gradients;
  if (uses & 1) outputs.push_back(out.y), gradients.push_back(falling(out.y, 0.4));
  if (uses & 2) outputs.push_back(out.sum), gradients.push_back(falling(out.sum, 0.3));
  autograd::backward(outputs, gradients);
  for (const Tensor* t : {&in.x, &in.residual, &in.weight, &in.bias})
    all.push_back(t->grad().defined() ? doubles(t->grad()) : std::vector<double>{});
  return all;
}

void expect_near(const std::vector<std::vector<double>>& got,
                 const std::vector<std::vector<double>>& expected, double bound, const std::string& what) {
  ASSERT_EQ(got.size(), expected.size()) << what;
  for (std::size_t k = 0; k < got.size(); ++k) {
    ASSERT_EQ(got[k].size(), expected[k].size()) << what << ", result " << k;
    for (std::size_t i = 0; i < got[k].size(); ++i)
      ASSERT_NEAR(got[k][i], expected[k][i], bound * std::max(1.0, std::abs(expected[k][i])))
          << what << ", result " << k << ", " << i;
  }
}

class NormSumOnDevice : public testing::DeviceTest {};
GPUNN_ON_EVERY_DEVICE(NormSumOnDevice);

TEST_P(NormSumOnDevice, EqualsItsOpsBitForBit) {
  for (const Shape& shape : {Shape{3, 5, 8}, Shape{7, 37}, Shape{1, 1100}, Shape{2, 1030}})
    for (const bool rms : {false, true}) {
      const Leaves in(shape, DType::f32, device());
      for (const double p : {0.3, 0.0, 1.0}) {
        if (p != 0.3 && shape[shape.rank() - 1] > 100) continue;
        const auto fused = results(in, {.rms = rms, .p = p});
        EXPECT_EQ(fused, results(in, {.rms = rms, .fused = false, .p = p})) << to_string(shape) << p << rms;
        const auto dropped = std::count(fused[3].begin(), fused[3].end(), 0.0);  // gradient of x
        EXPECT_NEAR(static_cast<double>(dropped) / static_cast<double>(fused[3].size()), p,
                    p == 0.3 ? 0.1 : 0);
      }
    }
}

TEST_P(NormSumOnDevice, OneResultAloneMayBeUsed) {
  const Leaves in({6, 24}, DType::f32, device());
  for (const int uses : {1, 2})
    for (const double p : {0.0, 0.4})
      EXPECT_EQ(results(in, {.p = p}, uses), results(in, {.fused = false, .p = p}, uses)) << uses << p;
}

TEST_P(NormSumOnDevice, OnlyWhatIsAskedForGetsAGradient) {
  for (int needed = 0; needed < 4; ++needed) {
    Leaves in({6, 24}, DType::f32, device());
    const auto whole = results(in, {.p = 0.4});
    const Tensor* const leaves[] = {&in.x, &in.residual, &in.weight, &in.bias};
    for (int i = 0; i < 4; ++i) {
      leaves[i]->zero_grad();
      leaves[i]->requires_grad_(i == needed);
    }
    const auto one = results(in, {.p = 0.4}, needed >= 2 ? 1 : 3);
    for (std::size_t i = 0; i < 4; ++i)
      EXPECT_EQ(one[3 + i], static_cast<int>(i) == needed ? whole[3 + i] : std::vector<double>{}) << needed;
  }
}

TEST_P(NormSumOnDevice, NothingIsDroppedOutsideTraining) {
  const Leaves in({6, 24}, DType::f32, device());
  EXPECT_EQ(results(in, {.p = 0.4, .training = false}), results(in, {.p = 0}));
}

TEST_P(NormSumOnDevice, HalvesEqualTheirOpsToRounding) {
  for (const DType dtype : {DType::f16, DType::bf16})
    for (const bool wide : {false, true}) {
      const Leaves in({5, 48}, dtype, device(), wide);
      const AddNormOutput out = call(in, {.p = 0.25});
      EXPECT_EQ(out.y.dtype(), dtype);
      EXPECT_EQ(out.sum.dtype(), dtype);
      const double unit = dtype == DType::f16 ? 0x1p-10 : 0x1p-7;
      expect_near(results(in, {.p = 0.25}), results(in, {.fused = false, .p = 0.25}), 8 * unit, "halves");
      EXPECT_EQ(in.weight.grad().dtype(), wide ? DType::f32 : dtype);
      EXPECT_EQ(in.x.grad().dtype(), dtype);
    }
}

TEST_P(NormSumOnDevice, StridedInputs) {
  Leaves in({6, 24}, DType::f32, device());
  const auto whole = results(in, {.p = 0.4});
  for (Tensor* t : {&in.x, &in.residual})
    *t = t->detach().transpose(0, 1).contiguous().transpose(0, 1).requires_grad_();
  EXPECT_EQ(results(in, {.p = 0.4}), whole);
}

TEST_P(NormSumOnDevice, NormOverSeveralDimensionsOrTheLast) {
  const TensorOptions here{.device = device()};
  const Tensor x = randn({4, 3, 5}, here), residual = randn({4, 3, 5}, here), weight = randn({3, 5}, here);
  const AddNormOutput both = add_layer_norm(x, residual, weight);
  EXPECT_EQ(doubles(both.y), doubles(layer_norm(both.sum, {3, 5}, weight)));
  const AddNormOutput last = add_layer_norm(x, residual);
  EXPECT_EQ(doubles(last.y), doubles(layer_norm(last.sum, {5})));
  EXPECT_EQ(doubles(add_rms_norm(x, residual).y), doubles(rms_norm(last.sum, {5})));
  EXPECT_EQ(doubles(add_layer_norm(x, residual, {}, weight).y),
            doubles(layer_norm(last.sum, {3, 5}, {}, weight)));
}

TEST_P(NormSumOnDevice, NanAndInfinityStayInTheirRow) {
  for (const double special : {kNan, kInfinity, -kInfinity})
    for (const bool in_x : {false, true}) {
      Leaves in({3, 40}, DType::f32, device());
      Tensor& touched = in_x ? in.x : in.residual;
      touched = touched.detach();
      touched.select(0, 1).narrow(0, 7, 1).fill_(special);
      const AddNormOutput out = call(in, {});
      const std::vector<double> y = doubles(out.y), sum = doubles(out.sum);
      for (std::size_t i = 0; i < y.size(); ++i) {
        ASSERT_EQ(std::isnan(y[i]), i / 40 == 1) << special << i;
        ASSERT_EQ(std::isfinite(sum[i]), i != 47) << special << i;
      }
    }
}

TEST_P(NormSumOnDevice, Empty) {
  const TensorOptions here{.device = device(), .requires_grad = true};
  const Tensor x = empty({0, 4}, here), residual = empty({0, 4}, here), weight = ones({4}, here);
  const AddNormOutput out = add_layer_norm(x, residual, weight, {}, {.dropout_p = 0.5});
  EXPECT_EQ(out.y.shape(), x.shape());
  EXPECT_EQ(out.sum.shape(), x.shape());
  out.y.backward(out.y.detach());
  EXPECT_EQ(x.grad().shape(), x.shape());
  EXPECT_THAT(weight.grad().to_vector<float>(), Each(0.0f));
  EXPECT_EQ(add_rms_norm(empty({3, 0}, here), empty({3, 0}, here)).y.shape(), Shape({3, 0}));
}

/// In f32 and in f64, where the reference runs.
void expect_reference(const Shape& shape, const std::string& what) {
  for (const bool rms : {false, true})
    for (const double p : {0.0, 0.3}) {
      const Leaves in(shape, DType::f32, Device::cpu());
      Leaves wide = in;
      for (Tensor* t : {&wide.x, &wide.residual, &wide.weight, &wide.bias})
        *t = t->detach().to(DType::f64).requires_grad_();
      expect_near(results(in, {.rms = rms, .p = p}), results(wide, {.rms = rms, .p = p}), 2e-5, what);
    }
}

TEST(NormSum, EverySimdTargetEqualsTheReference) {
  int seen = 0;
  for (const std::int64_t target : {HWY_AVX3, HWY_AVX2, HWY_SSE4, HWY_SSSE3, HWY_NEON}) {
    if ((hwy::SupportedTargets() & HWY_TARGETS & target) == 0) continue;
    const testing::SimdTarget scope(target);
    ++seen;
    for (const Shape& shape : {Shape{7, 35}, Shape{3, 130}}) expect_reference(shape, hwy::TargetName(target));
  }
  EXPECT_GT(seen, 0);
}

TEST(NormSum, ResultsBeyondTheCaches) {
  // Over 4 MiB, which is written around the caches: rows that a buffer holds, and longer ones.
  for (const Shape& shape : {Shape{2731, 387}, Shape{128, 8193}}) {
    const Leaves in(shape, DType::f32, Device::cpu());
    const std::vector<Tensor> leaves{in.x, in.residual, in.weight, in.bias}, dy{randn(shape), randn(shape)};
    std::vector<Tensor> results[2];
    for (const bool fused : {false, true}) {
      const AddNormOutput out = call(in, {.fused = fused, .p = 0.3});
      results[fused] = autograd::grad(std::vector{out.y, out.sum}, leaves, dy);
      results[fused].insert(results[fused].end(), {out.y.detach(), out.sum.detach()});
    }
    for (std::size_t i = 0; i < results[0].size(); ++i)
      EXPECT_EQ(results[1][i].to_vector<float>(), results[0][i].to_vector<float>()) << to_string(shape) << i;
  }
}

TEST(NormSum, WhatIsKeptIsTheSum) {
  // Overwriting the inputs is allowed; overwriting the sum is found.
  const Tensor x = randn({3, 4}), residual = randn({3, 4}), weight = ones({4}).requires_grad_();
  AddNormOutput out = add_layer_norm(x, residual, weight);
  x.zero_();
  residual.zero_();
  out.y.backward(ones({3, 4}));
  EXPECT_TRUE(weight.grad().defined());
  out = add_layer_norm(x, residual, weight);
  {
    const NoGrad off;
    out.sum.zero_();
  }
  EXPECT_THROW(out.y.backward(ones({3, 4})), InvalidArgument);
}

TEST(NormSum, RejectsBadArguments) {
  const Tensor x = ones({4, 3}), three = ones({3});
  const auto expect = [](auto f, const char* text) {
    EXPECT_THAT(f, ThrowsMessage<InvalidArgument>(HasSubstr(text)));
  };
  expect([&] { add_layer_norm(Tensor(), x); }, "[add_layer_norm] expected x");
  expect([&] { add_layer_norm(x, Tensor()); }, "expected residual");
  expect([&] { add_layer_norm(x.to(DType::i64), x); }, "[add_layer_norm] expected floating x");
  expect([&] { add_layer_norm(x, ones({3})); }, "expected residual [4, 3] like x, got [3]");
  expect([&] { add_layer_norm(x, x.to(DType::bf16)); }, "expected residual of dtype f32 like x, got bf16");
  expect([&] { add_layer_norm(ones({}), ones({})); }, "expected x [*, features]");
  expect([&] { add_layer_norm(x, x, ones({4})); }, "[add_layer_norm] expected x");
  expect([&] { add_layer_norm(x, x, three, ones({4})); }, "expected bias [3], got [4]");
  expect([&] { add_layer_norm(x, x, three.to(DType::f64)); }, "expected weight of dtype f32");
  expect([&] { add_layer_norm(x, x, three, {}, {.eps = -1.0}); }, "eps");
  expect([&] { add_layer_norm(x, x, three, {}, {.eps = kNan}); }, "eps");
  for (const double p : {-0.1, 1.5, kNan})
    expect([&] { add_layer_norm(x, x, three, {}, {.dropout_p = p}); }, "expected dropout_p in [0, 1]");
  expect([&] { add_rms_norm(x, ones({3, 4}), three); }, "[add_rms_norm] expected residual [4, 3]");
  expect([&] { add_rms_norm(x, x, ones({4})); }, "[add_rms_norm] expected x");
  if (cuda_device_count() > 0) {
    expect([&] { add_rms_norm(x, x.to(Device::cuda(0))); }, "expected residual on cpu like x, got cuda:0");
  }
}

// ---- derivatives, with the sum as the next block's residual and on its own

GradFunction summed(bool rms, double p, bool use_sum) {
  return [=](const Inputs& in) {
    manual_seed(41);  // finite differences see one mask
    const AddNormOptions options{.eps = 1e-3, .dropout_p = p};
    const AddNormOutput out = rms ? add_rms_norm(in[0], in[1], in[2], options)
                                  : add_layer_norm(in[0], in[1], in[2], in[3], options);
    return use_sum ? out.y * out.y + out.sum : out.y;
  };
}
std::vector<GradInput> grad_inputs(bool rms) {
  const Fill normal = fill::normal(0.3, 1);
  std::vector<GradInput> in{{{3, 5}, normal}, {{3, 5}, normal}, {{5}, normal}};
  if (!rms) in.push_back({{5}, normal});
  return in;
}

TEST(NormSumGradient, FirstDerivatives) {
  for (const bool rms : {false, true})
    for (const double p : {0.0, 0.3})
      for (const bool use_sum : {false, true})
        EXPECT_TRUE(gradcheck(summed(rms, p, use_sum), grad_inputs(rms))) << rms << p << use_sum;
}

TEST(NormSumGradient, SecondDerivatives) {
  for (const bool rms : {false, true})
    for (const double p : {0.0, 0.3})
      EXPECT_TRUE(
          gradgradcheck(summed(rms, p, true), grad_inputs(rms), {.full_jacobian = 8, .directions = 3}))
          << rms << p;
}

// ---- planted bugs, which the cases must find

template <class P>
const char* takes_f32(const P& p) {
  return p.dtype == DType::f32 ? nullptr : "takes f32";
}

/// The CPU's implementation of a problem that was changed.
template <class P, auto kChange, auto kRun>
const Implementation<P> kSpoiled[] = {
    {"spoiled", DeviceType::cpu, takes_f32<P>,
     [](const P& p) -> std::size_t {
       if constexpr (std::is_same_v<P, AddNormBackwardProblem>) return add_norm_bwd_cpu_workspace(p);
       return 0;
     },
     Determinism::bitwise,
     [](const P& original, const Exec& exec) {
       P p = original;
       kChange(p);
       kRun(p, exec);
     }},
    {"ref", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise, [](const P& p, const Exec& exec) {
       if constexpr (std::is_same_v<P, AddNormBackwardProblem>)
         add_norm_bwd_ref(p, exec);
       else
         add_norm_fwd_ref(p, exec);
     }}};
template <class P, auto kChange, auto kRun>
const ImplementationList<P> kSpoiledList{"add_norm", "spoiled", kSpoiled<P, kChange, kRun>};

constexpr auto kNothing = [](auto&) {};
constexpr auto kOtherMask = [](auto& p) { ++p.mask.offset; };

template <auto kChange>
parity::Report forward_report() {
  parity::Suite suite;
  AddNormProblem p{};
  p.sizes = {3, 24, 1, 1}, p.eps = 1e-5, p.save = p.drop = true, p.mask = {1, 3, 0x7fffffffu, 2};
  suite.add(kSpoiledList<AddNormProblem, kChange, add_norm_fwd_cpu>, "3x24", [=] { return p; }, {.k = 24});
  return parity::run(suite, {.implementation = "spoiled"});
}

template <auto kChange>
parity::Report backward_report() {
  parity::Suite suite;
  AddNormBackwardProblem p{};
  p.sizes = {3, 24, 1, 1}, p.has_dsum = p.want_dbranch = true, p.mask = {1, 3, 0x7fffffffu, 2};
  suite.add(kSpoiledList<AddNormBackwardProblem, kChange, add_norm_bwd_cpu>, "3x24", [=] { return p; },
            {.k = 24, .c = 16, .scale = Scale::operand, .zeros_ok = {"dbranch"}});
  return parity::run(suite, {.implementation = "spoiled"});
}

void expect_found(const parity::Report& report, const std::string& operand) {
  ASSERT_FALSE(report.ok());
  std::vector<std::string> operands;
  for (const parity::Failure& f : report.failures) operands.push_back(f.operand);
  EXPECT_THAT(operands, ::testing::Contains(operand));
}

TEST(NormSumPlantedBugs, AreFound) {
  EXPECT_TRUE(forward_report<kNothing>().ok());
  expect_found(forward_report<kOtherMask>(), "sum");
  expect_found(forward_report<[](AddNormProblem& p) { p.drop = false; }>(), "sum");
  expect_found(forward_report<[](AddNormProblem& p) { p.residual = p.x; }>(), "sum");
  EXPECT_TRUE(backward_report<kNothing>().ok());
  expect_found(backward_report<kOtherMask>(), "dbranch");
  expect_found(backward_report<[](AddNormBackwardProblem& p) { p.mask.scale = 1; }>(), "dbranch");
  expect_found(backward_report<[](AddNormBackwardProblem& p) { p.has_dsum = false; }>(), "dx");
  expect_found(backward_report<[](AddNormBackwardProblem& p) { p.rms = true; }>(), "dx");
}

}  // namespace
}  // namespace gpunn
