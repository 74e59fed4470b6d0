#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "gpunn/core/autograd.h"
#include "gpunn/core/error.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/reduce/reduce.h"
#include "gpunn/kernels/rnn/rnn.h"
#include "tests/support/devices.h"
#include "tests/support/gradcheck.h"
#include "tests/support/rnn_runs.h"

namespace gpunn {
namespace {

using ::testing::HasSubstr;
using testing::kRnnKinds;
using testing::rnn_inputs;
using testing::rnn_run;
using testing::rnn_tensors;
using testing::rnn_weights;
using testing::RnnKind;
using ::testing::ThrowsMessage;

class RnnCellOnDevice : public testing::DeviceTest {};
GPUNN_ON_EVERY_DEVICE(RnnCellOnDevice);

/// One step of the cell; inputs in the order of rnn_inputs().
LstmState step(const RnnKind& kind, const Inputs& in) {
  const RnnWeights w = rnn_weights(in);
  switch (kind.mode) {
    case RnnMode::lstm:
      return lstm_cell(in[0], {in[5], in[6]}, w);
    case RnnMode::gru:
      return {gru_cell(in[0], in[5], w, kind.reset_after), {}};
    case RnnMode::tanh:
      return {rnn_tanh_cell(in[0], in[5], w), {}};
    default:
      return {rnn_relu_cell(in[0], in[5], w), {}};
  }
}

Tensor summary(const LstmState& s) {
  const Tensor h = sum(s.h * s.h);
  return s.c.defined() ? h + sum(s.c * 0.7) : h;
}

void expect_near(const Tensor& got, const Tensor& expected, double tolerance, const char* what) {
  ASSERT_EQ(got.shape(), expected.shape()) << what;
  const auto a = got.to_vector<float>(), b = expected.to_vector<float>();
  for (std::size_t i = 0; i < a.size(); ++i)
    ASSERT_NEAR(a[i], b[i], tolerance * std::max(1.0f, std::abs(b[i]))) << what << "[" << i << "]";
}

TEST_P(RnnCellOnDevice, IsASequenceOfOneStep) {
  for (const RnnKind& kind : kRnnKinds) {
    const Inputs in = rnn_tensors(kind.mode, {3, 4}, 3, 5, device());
    Inputs sequence = in;
    sequence[0] = in[0].unsqueeze(0);
    const RnnOutput r = rnn_run(kind, sequence);
    const LstmState s = step(kind, in);
    expect_near(s.h, r.h, 1e-6, kind.name);
    if (s.c.defined()) expect_near(s.c, r.c, 1e-6, kind.name);
    const Tensor a = summary(s), b = summary({r.h, r.c});
    const auto got = autograd::grad(std::span(&a, 1), in), expected = autograd::grad(std::span(&b, 1), in);
    for (std::size_t i = 0; i < in.size(); ++i) expect_near(got[i], expected[i], 1e-5, kind.name);
  }
}

TEST_P(RnnCellOnDevice, WithoutABatch) {
  for (const RnnKind& kind : kRnnKinds) {
    const Inputs batch = rnn_tensors(kind.mode, {1, 4}, 1, 5, device());
    Inputs one = batch;
    for (const std::size_t i : {std::size_t{0}, std::size_t{5}, std::size_t{6}})
      if (i < one.size()) one[i] = one[i].squeeze(0);
    const LstmState s = step(kind, one), expected = step(kind, batch);
    EXPECT_EQ(s.h.shape(), Shape({5}));
    EXPECT_EQ(s.h.to_vector<float>(), expected.h.to_vector<float>()) << kind.name;
    if (!s.c.defined()) continue;
    EXPECT_EQ(s.c.to_vector<float>(), expected.c.to_vector<float>());
  }
}

TEST_P(RnnCellOnDevice, MissingStatesAreZeros) {
  for (const RnnKind& kind : kRnnKinds) {
    Inputs in = rnn_tensors(kind.mode, {2, 4}, 2, 3, device());
    for (std::size_t i = 5; i < in.size(); ++i) in[i] = zeros_like(in[i].detach());
    const LstmState with = step(kind, in);
    for (std::size_t i = 5; i < in.size(); ++i) in[i] = Tensor();
    EXPECT_EQ(step(kind, in).h.to_vector<float>(), with.h.to_vector<float>()) << kind.name;
  }
}

TEST_P(RnnCellOnDevice, OneOutputAlone) {
  // The gradient of c, which does not come through h, and of h without c.
  const RnnKind kind{"lstm", RnnMode::lstm};
  const Inputs in = rnn_tensors(RnnMode::lstm, {2, 4}, 2, 3, device());
  const LstmState s = step(kind, in);
  const Tensor h = sum(s.h), c = sum(s.c), both = h + c;
  const auto by_h = autograd::grad(std::span(&h, 1), in, {}, true);
  const auto by_c = autograd::grad(std::span(&c, 1), in, {}, true);
  const auto by_both = autograd::grad(std::span(&both, 1), in);
  for (std::size_t i = 0; i < in.size(); ++i) expect_near(by_h[i] + by_c[i], by_both[i], 1e-5, "lstm");
}

TEST_P(RnnCellOnDevice, NoSequences) {
  for (const RnnKind& kind : kRnnKinds) {
    const Inputs in = rnn_tensors(kind.mode, {0, 4}, 0, 3, device());
    const LstmState s = step(kind, in);
    EXPECT_EQ(s.h.shape(), Shape({0, 3}));
    summary(s).backward();
    EXPECT_EQ(in[0].grad().shape(), Shape({0, 4}));
    for (const float g : in[2].grad().to_vector<float>()) EXPECT_EQ(g, 0);
  }
}

TEST(RnnCellGradient, FirstAndSecondDerivatives) {
  const GradcheckOptions second{.full_jacobian = 2, .directions = 2};
  for (const RnnKind& kind : kRnnKinds) {
    const auto f = [&](const Inputs& in) { return summary(step(kind, in)); };
    EXPECT_TRUE(gradcheck(f, rnn_inputs(kind.mode, {2, 3}, 2, 2))) << kind.name;
    EXPECT_TRUE(gradgradcheck(f, rnn_inputs(kind.mode, {2, 1}, 2, 2), second)) << kind.name;
  }
}

TEST(RnnCellGradient, TwoStepsOnTheSameWeights) {
  const auto twice = [](const Inputs& in) {
    const RnnKind kind{"lstm", RnnMode::lstm};
    Inputs next = in;
    const LstmState first = step(kind, in);
    next[5] = first.h;
    next[6] = first.c;
    return summary(step(kind, next));
  };
  EXPECT_TRUE(gradcheck(twice, rnn_inputs(RnnMode::lstm, {2, 3}, 2, 2)));
  EXPECT_TRUE(
      gradgradcheck(twice, rnn_inputs(RnnMode::lstm, {2, 1}, 2, 2), {.full_jacobian = 2, .directions = 2}));
}

TEST(RnnCell, RejectsBadArguments) {
  const Tensor x = zeros({2, 4}), h = zeros({2, 3});
  const auto weights = [](std::int64_t G) {
    return RnnWeights{zeros({G * 3, 4}), zeros({G * 3, 3}), {}, {}};
  };
  const auto expect = [](auto f, const char* op, const char* message) {
    EXPECT_THAT(f, ThrowsMessage<InvalidArgument>(::testing::AllOf(HasSubstr(op), HasSubstr(message))));
  };
  expect([&] { lstm_cell(zeros({1, 2, 4}), {h, h}, weights(4)); }, "[lstm_cell]", "expected x [B, K] or [K]");
  expect([&] { lstm_cell(Tensor(), {h, h}, weights(4)); }, "[lstm_cell]", "expected x, got an undefined");
  expect([&] { lstm_cell(x, {h, zeros({2, 4})}, weights(4)); }, "[lstm_cell]", "expected c [2, 3]");
  expect([&] { lstm_cell(x, {zeros({3}), h}, weights(4)); }, "[lstm_cell]", "expected h [2, 3]");
  expect([&] { lstm_cell(x, {h, h}, weights(3)); }, "[lstm_cell]", "expected w_hh [4 H, H]");
  expect([&] { gru_cell(x, zeros({2, 3}, {.dtype = DType::f16}), weights(3)); }, "[gru_cell]", "h of f32");
  expect([&] { gru_cell(zeros({2, 5}), h, weights(3), false); }, "[gru_cell]", "expected w_ih [9, 5]");
  expect([&] { rnn_tanh_cell(x, h, weights(4)); }, "[rnn_tanh_cell]", "expected w_hh [H, H]");
  expect([&] { rnn_relu_cell(x, zeros({1, 3}), weights(1)); }, "[rnn_relu_cell]", "expected h [2, 3]");
}

}  // namespace
}  // namespace gpunn
