#include "gpunn/kernels/rnn/rnn.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "gpunn/core/autograd.h"
#include "gpunn/core/error.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/movement/movement.h"
#include "gpunn/kernels/reduce/reduce.h"
#include "gpunn/kernels/rnn/packed.h"
#include "gpunn/kernels/rnn/rnn_impl.h"
#include "gpunn/kernels/rnn/rnn_ops_impl.h"
#include "tests/support/devices.h"
#include "tests/support/expect_parity.h"
#include "tests/support/gradcheck.h"
#include "tests/support/rnn_runs.h"

namespace gpunn {
namespace parity {
void add_rnn_cases(Suite& suite);
}

namespace {

using ::testing::HasSubstr;
using testing::kRnnKinds;
using testing::rnn_inputs;
using testing::rnn_run;
using testing::rnn_tensors;
using testing::rnn_weights;
using testing::RnnKind;
using ::testing::ThrowsMessage;

TEST(RnnParityRace, Cpu) { parity::expect_parity_on_cpu(parity::add_rnn_cases); }
#if GPUNN_HAS_CUDA
TEST(RnnParityRace, Cuda) { parity::expect_parity_on_cuda(parity::add_rnn_cases); }
#endif

class RnnOnDevice : public testing::DeviceTest {};
GPUNN_ON_EVERY_DEVICE(RnnOnDevice);

/// Everything that carries a gradient, as one number; without `y` from the last states alone.
Tensor summary(const RnnOutput& r, bool y = true) {
  Tensor s = sum(r.h * 0.7);
  if (r.c.defined()) s = s + sum(r.c * r.c);
  return y ? s + sum(r.y * r.y) : s;
}

std::vector<Tensor> gradients(const Tensor& loss, const Inputs& inputs) {
  return autograd::grad(std::span(&loss, 1), inputs, {}, true, false, true);
}

/// Within `tolerance` of the largest value expected.
void expect_near(const Tensor& got, const Tensor& expected, double tolerance, const std::string& what) {
  ASSERT_EQ(got.defined(), expected.defined()) << what;
  if (!got.defined()) return;
  ASSERT_EQ(got.shape(), expected.shape()) << what;
  const auto a = got.to(DType::f64).to_vector<double>(), b = expected.to(DType::f64).to_vector<double>();
  double largest = 1e-3;
  for (const double v : b) largest = std::max(largest, std::abs(v));
  for (std::size_t i = 0; i < a.size(); ++i)
    ASSERT_NEAR(a[i], b[i], tolerance * largest) << what << "[" << i << "]";
}

void expect_near(const std::vector<Tensor>& got, const std::vector<Tensor>& expected, double tolerance,
                 const std::string& what) {
  ASSERT_EQ(got.size(), expected.size());
  for (std::size_t i = 0; i < got.size(); ++i)
    expect_near(got[i], expected[i], tolerance, what + ", input " + std::to_string(i));
}

TEST(Rnn, KnownValues) {
  // Without weights every gate is sigmoid(0) = 1/2 and every candidate tanh(0) = 0.
  const Tensor x = ones({1, 1, 1}), h0 = full({1, 1}, 0.8), c0 = full({1, 1}, 0.6);
  const RnnOutput lstm = rnn_sequence(RnnMode::lstm, x, h0, c0, {zeros({4, 1}), zeros({4, 1}), {}, {}});
  EXPECT_NEAR(lstm.c.item(), 0.3, 1e-7);
  EXPECT_NEAR(lstm.h.item(), 0.5 * std::tanh(0.3), 1e-7);
  const RnnOutput gru = rnn_sequence(RnnMode::gru, x, h0, {}, {zeros({3, 1}), zeros({3, 1}), {}, {}});
  EXPECT_NEAR(gru.h.item(), 0.4, 1e-7);
  // tanh(2 x + 3 h + 0.1 + 0.2), by hand.
  const RnnWeights w{full({1, 1}, 2), full({1, 1}, 3), full({1}, 0.1), full({1}, 0.2)};
  const RnnOutput plain = rnn_sequence(RnnMode::tanh, full({1, 1, 1}, -1), h0, {}, w);
  EXPECT_NEAR(plain.y.item(), std::tanh(-2 + 2.4 + 0.3), 1e-7);
  EXPECT_EQ(rnn_sequence(RnnMode::relu, full({1, 1, 1}, -3), h0, {}, w).y.item(), 0);
}

TEST_P(RnnOnDevice, EqualsTheDefinition) {
  const std::int64_t lengths[] = {4, 4, 2, 1};
  const Packing packing(lengths, device());
  for (const RnnKind& kind : kRnnKinds)
    for (const bool reverse : {false, true})
      for (const Packing* const packed : {static_cast<const Packing*>(nullptr), &packing}) {
        const Inputs in = rnn_tensors(kind.mode, packed ? Shape{11, 3} : Shape{4, 4, 3}, 4, 5, device());
        const RnnSequenceOptions options{
            .reverse = reverse, .reset_after = kind.reset_after, .packed = packed};
        const RnnOutput got = rnn_run(kind, in, options);
        const RnnOutput expected = detail::rnn_by_steps(
            kind.mode, in[0], in[5], in.size() > 6 ? in[6] : Tensor(), rnn_weights(in), options);
        const std::string what =
            std::string(kind.name) + (reverse ? " reverse" : "") + (packed ? " packed" : "");
        expect_near(got.y, expected.y, 2e-6, what);
        expect_near(got.h, expected.h, 2e-6, what);
        expect_near(got.c, expected.c, 2e-6, what);
        for (const bool y : {true, false})
          expect_near(gradients(summary(got, y), in), gradients(summary(expected, y), in), 1e-5, what);
      }
}

TEST_P(RnnOnDevice, OneGradientAtATime) {
  // What is not asked for is not computed; what is must not change by that.
  for (const RnnKind& kind : kRnnKinds) {
    Inputs in = rnn_tensors(kind.mode, {3, 2, 4}, 2, 3, device());
    const std::vector<Tensor> all = gradients(summary(rnn_run(kind, in)), in);
    for (std::size_t i = 0; i < in.size(); ++i) {
      Inputs one = in;
      for (Tensor& t : one) t = t.detach();
      one[i].requires_grad_();
      const std::vector<Tensor> got = gradients(summary(rnn_run(kind, one)), {one[i]});
      EXPECT_EQ(got[0].to_vector<float>(), all[i].to_vector<float>()) << kind.name << ", input " << i;
    }
  }
}

TEST_P(RnnOnDevice, OneOutputAtATime) {
  // Gradients that did not arrive are zeros.
  for (const RnnKind& kind : kRnnKinds) {
    const Inputs in = rnn_tensors(kind.mode, {3, 2, 4}, 2, 3, device());
    const RnnOutput r = rnn_run(kind, in);
    std::vector<Tensor> sums;
    for (const Tensor* t : {&r.y, &r.h, &r.c}) {
      if (!t->defined()) continue;
      const Tensor loss = sum(*t);
      const std::vector<Tensor> part = autograd::grad(std::span(&loss, 1), in, {}, true);
      for (std::size_t i = 0; i < part.size(); ++i)
        i < sums.size() ? static_cast<void>(sums[i] = sums[i] + part[i]) : sums.push_back(part[i]);
    }
    Tensor loss = sum(r.y) + sum(r.h);
    if (r.c.defined()) loss = loss + sum(r.c);
    expect_near(gradients(loss, in), sums, 1e-5, kind.name);
  }
}

TEST_P(RnnOnDevice, MissingStatesAreZeros) {
  for (const RnnKind& kind : kRnnKinds)
    for (const bool reverse : {false, true}) {
      Inputs in = rnn_tensors(kind.mode, {3, 2, 4}, 2, 3, device());
      for (std::size_t i = 5; i < in.size(); ++i) in[i] = zeros_like(in[i].detach());
      const Inputs weights(in.begin(), in.begin() + 5);
      const RnnOutput with = rnn_run(kind, in, {.reverse = reverse});
      for (std::size_t i = 5; i < in.size(); ++i) in[i] = Tensor();
      const RnnOutput without = rnn_run(kind, in, {.reverse = reverse});
      EXPECT_EQ(with.y.to_vector<float>(), without.y.to_vector<float>()) << kind.name;
      expect_near(gradients(summary(without), weights), gradients(summary(with), weights), 1e-6, kind.name);
    }
}

TEST_P(RnnOnDevice, ReverseIsForwardOnTheFlippedSequence) {
  for (const RnnKind& kind : kRnnKinds) {
    Inputs in = rnn_tensors(kind.mode, {5, 2, 4}, 2, 3, device());
    const RnnOutput reverse = rnn_run(kind, in, {.reverse = true});
    in[0] = flip(in[0].detach(), {0});
    const RnnOutput forward = rnn_run(kind, in);
    expect_near(reverse.y, flip(forward.y, {0}), 1e-6, kind.name);
    expect_near(reverse.h, forward.h, 1e-6, kind.name);
  }
}

TEST_P(RnnOnDevice, WithoutBiases) {
  for (const RnnKind& kind : kRnnKinds) {
    Inputs in = rnn_tensors(kind.mode, {3, 2, 4}, 2, 3, device());
    in[3] = zeros_like(in[3].detach());
    in[4] = zeros_like(in[4].detach());
    const RnnOutput with = rnn_run(kind, in);
    in[3] = in[4] = Tensor();
    const RnnOutput without = rnn_run(kind, in);
    EXPECT_EQ(with.y.to_vector<float>(), without.y.to_vector<float>()) << kind.name;
    const Inputs rest{in[0], in[1], in[2], in[5]};
    expect_near(gradients(summary(without), rest), gradients(summary(with), rest), 1e-6, kind.name);
  }
}

TEST_P(RnnOnDevice, HalvesFollowF32) {
  for (const RnnKind& kind : kRnnKinds)
    for (const DType dtype : {DType::f16, DType::bf16}) {
      const Inputs half = rnn_tensors(kind.mode, {4, 3, 8}, 3, 8, device(), dtype);
      Inputs full;
      for (const Tensor& t : half) full.push_back(t.detach().to(DType::f32).requires_grad_());
      const RnnOutput a = rnn_run(kind, half), b = rnn_run(kind, full);
      const double tolerance = dtype == DType::f16 ? 4e-3 : 3e-2;
      EXPECT_EQ(a.y.dtype(), dtype);
      expect_near(a.y, b.y, tolerance, kind.name);
      expect_near(gradients(summary(a), half), gradients(summary(b), full), 2 * tolerance, kind.name);
    }
}

TEST_P(RnnOnDevice, GatesAndCellsOnRequest) {
  const Inputs in = rnn_tensors(RnnMode::lstm, {3, 2, 4}, 2, 5, device());
  const RnnOutput plain = rnn_run({"lstm", RnnMode::lstm}, in);
  EXPECT_FALSE(plain.gates.defined() || plain.cells.defined());
  const RnnOutput kept = rnn_run({"lstm", RnnMode::lstm}, in, {.keep_gates = true});
  EXPECT_EQ(kept.gates.shape(), Shape({3, 2, 4, 5}));
  EXPECT_EQ(kept.cells.shape(), Shape({3, 2, 5}));
  EXPECT_FALSE(kept.gates.requires_grad() || kept.cells.requires_grad());
  EXPECT_EQ(kept.cells.select(0, 2).to_vector<float>(), kept.c.to_vector<float>());
  // h_t = o tanh(c_t), at every step.
  expect_near(kept.gates.select(2, 3) * tanh(kept.cells), kept.y.detach(), 1e-6, "gates");
  const NoGrad off;
  EXPECT_EQ(rnn_run({"gru", RnnMode::gru}, rnn_tensors(RnnMode::gru, {3, 2, 4}, 2, 5, device()),
                    {.keep_gates = true})
                .gates.shape(),
            Shape({3, 2, 3, 5}));
}

TEST_P(RnnOnDevice, StridedInputs) {
  for (const RnnKind& kind : kRnnKinds) {
    Inputs in = rnn_tensors(kind.mode, {3, 2, 4}, 2, 3, device());
    const RnnOutput expected = rnn_run(kind, in);
    const std::vector<Tensor> grads = gradients(summary(expected), in);
    Inputs strided = in;
    for (Tensor& t : strided) t = t.dim() < 2 ? t : t.transpose(0, 1).contiguous().transpose(0, 1);
    const RnnOutput got = rnn_run(kind, strided);
    EXPECT_EQ(got.y.to_vector<float>(), expected.y.to_vector<float>()) << kind.name;
    expect_near(gradients(summary(got), in), grads, 1e-6, kind.name);
  }
}

TEST_P(RnnOnDevice, NoStepsAndNoSequences) {
  for (const RnnKind& kind : kRnnKinds) {
    const Inputs in = rnn_tensors(kind.mode, {0, 2, 4}, 2, 3, device());
    const RnnOutput r = rnn_run(kind, in);
    EXPECT_EQ(r.y.shape(), Shape({0, 2, 3}));
    EXPECT_EQ(r.h.to_vector<float>(), in[5].to_vector<float>());
    const std::vector<Tensor> grads = gradients(summary(r), in);
    for (const float g : grads[5].to_vector<float>()) EXPECT_EQ(g, 0.7f);
    for (const float g : grads[2].to_vector<float>()) EXPECT_EQ(g, 0);
    const Inputs none = rnn_tensors(kind.mode, {3, 0, 4}, 0, 3, device());
    const RnnOutput empty_batch = rnn_run(kind, none);
    EXPECT_EQ(empty_batch.y.shape(), Shape({3, 0, 3}));
    EXPECT_EQ(empty_batch.h.shape(), Shape({0, 3}));
    EXPECT_EQ(gradients(summary(empty_batch), none)[0].shape(), Shape({3, 0, 4}));
  }
}

TEST_P(RnnOnDevice, NoFeatures) {
  const Inputs in = rnn_tensors(RnnMode::tanh, {3, 2, 0}, 2, 3, device());
  const RnnOutput r = rnn_run({"tanh", RnnMode::tanh}, in);
  expect_near(gradients(summary(r), {in[2]})[0],
              gradients(summary(detail::rnn_by_steps(RnnMode::tanh, in[0], in[5], {}, rnn_weights(in), {})),
                        {in[2]})[0],
              1e-5, "w_hh");
}

TEST(Rnn, OverwritingWhatWasKeptIsAnErrorInBackward) {
  const Inputs in = rnn_tensors(RnnMode::lstm, {3, 2, 4}, 2, 3, Device::cpu());
  const RnnOutput r = rnn_run({"lstm", RnnMode::lstm}, in);
  {
    const NoGrad off;
    r.y.zero_();
  }
  EXPECT_THAT([&] { sum(r.h).backward(); },
              ThrowsMessage<InvalidArgument>(HasSubstr("overwritten in place")));
}

// ---- derivatives

TEST(RnnGradient, FirstDerivatives) {
  for (const RnnKind& kind : kRnnKinds)
    for (const bool reverse : {false, true})
      EXPECT_TRUE(
          gradcheck([&](const Inputs& in) { return summary(rnn_run(kind, in, {.reverse = reverse})); },
                    rnn_inputs(kind.mode, {3, 2, 2}, 2, 3)))
          << kind.name << " reverse " << reverse;
}

TEST(RnnGradient, FirstDerivativesPacked) {
  const std::int64_t lengths[] = {4, 2, 1};
  const Packing packing(lengths, Device::cpu());
  for (const RnnKind& kind : kRnnKinds)
    for (const bool reverse : {false, true})
      EXPECT_TRUE(gradcheck(
          [&](const Inputs& in) {
            return summary(rnn_run(kind, in, {.reverse = reverse, .packed = &packing}));
          },
          rnn_inputs(kind.mode, {7, 2}, 3, 2)))
          << kind.name << " reverse " << reverse;
}

TEST(RnnGradient, SecondDerivatives) {
  const GradcheckOptions options{.full_jacobian = 1, .directions = 1};
  const std::int64_t lengths[] = {2, 1};
  const Packing packing(lengths, Device::cpu());
  for (const RnnKind& kind : kRnnKinds) {
    EXPECT_TRUE(gradgradcheck([&](const Inputs& in) { return summary(rnn_run(kind, in)); },
                              rnn_inputs(kind.mode, {2, 1, 2}, 1, 2), options))
        << kind.name;
    EXPECT_TRUE(gradgradcheck(
        [&](const Inputs& in) { return summary(rnn_run(kind, in, {.reverse = true, .packed = &packing})); },
        rnn_inputs(kind.mode, {3, 1}, 2, 2), options))
        << kind.name << " packed, reverse";
  }
}

TEST(RnnGradient, OneInputMayDependOnAnother) {
  // x and h0 made of w_hh, and one tensor as both biases.
  const auto stacked = [](const Inputs& in) {
    Inputs all = in;
    all[0] = in[0] * sum(in[2] * in[2]);
    all[5] = in[5] * sum(in[2]);
    all[3] = all[4] = in[3] * in[4];
    return summary(rnn_run({"gru", RnnMode::gru}, all));
  };
  EXPECT_TRUE(gradcheck(stacked, rnn_inputs(RnnMode::gru, {2, 3, 2}, 3, 2)));
  EXPECT_TRUE(gradgradcheck(stacked, rnn_inputs(RnnMode::gru, {2, 3, 2}, 3, 2),
                            {.full_jacobian = 1, .directions = 1}));
}

TEST(RnnGradient, IsTheSameWhenItIsRecorded) {
  // x and h0 made of w_hh, one tensor as both biases: the recorded gradient's inner walk must count each way
  // once.
  for (const RnnKind& kind : kRnnKinds) {
    const Inputs in = rnn_tensors(kind.mode, {2, 3, 2}, 3, 2, Device::cpu(), DType::f64);
    Inputs all = in;
    all[0] = in[0] * sum(in[2] * in[2]);
    all[3] = all[4] = in[3] * in[4];
    all[5] = in[5] * sum(in[2]);
    const Tensor loss = summary(rnn_run(kind, all));
    expect_near(autograd::grad(std::span(&loss, 1), in, {}, true, true), gradients(loss, in), 1e-12,
                kind.name);
  }
}

// ---- errors

void expect_invalid(const RnnKind& kind, const Inputs& in, const char* message,
                    RnnSequenceOptions options = {}) {
  EXPECT_THAT([&] { rnn_run(kind, in, options); },
              ThrowsMessage<InvalidArgument>(::testing::AllOf(HasSubstr("[rnn]"), HasSubstr(message))));
}

TEST(Rnn, RejectsBadArguments) {
  const RnnKind lstm{"lstm", RnnMode::lstm}, gru{"gru", RnnMode::gru};
  const Inputs good = rnn_tensors(RnnMode::lstm, {3, 2, 4}, 2, 5, Device::cpu());
  EXPECT_NO_THROW(rnn_run(lstm, good));
  const auto with = [&](std::size_t i, const Tensor& t) {
    Inputs in = good;
    in[i] = t;
    return in;
  };
  expect_invalid(lstm, with(0, Tensor()), "expected x, got an undefined tensor");
  expect_invalid(lstm, with(0, zeros({3, 2, 4}, {.dtype = DType::i64})), "expected floating x");
  expect_invalid(lstm, with(0, zeros({2, 4})), "expected x [T, B, K], got [2, 4]");
  expect_invalid(lstm, with(0, zeros({3, 2, 7})), "expected w_ih [20, 7], got [20, 4]");
  expect_invalid(lstm, with(0, zeros({3, 2, 4}, {.dtype = DType::f64})), "f64");
  expect_invalid(lstm, with(1, zeros({15, 4})), "expected w_ih [20, 4]");
  expect_invalid(lstm, with(1, Tensor()), "undefined");
  expect_invalid(lstm, with(2, zeros({15, 5})), "expected w_hh [4 H, H]");
  expect_invalid(lstm, with(2, zeros({0, 0})), "with H >= 1");
  expect_invalid(lstm, with(3, Tensor()), "expected both biases or none, got b_hh only");
  expect_invalid(lstm, with(4, Tensor()), "expected both biases or none, got b_ih only");
  expect_invalid(lstm, with(4, zeros({5})), "expected b_hh [20]");
  expect_invalid(lstm, with(5, zeros({5})), "expected h0 [2, 5]");
  expect_invalid(lstm, with(5, zeros({3, 5})), "expected h0 [2, 5]");
  expect_invalid(lstm, with(6, zeros({2, 4})), "expected c0 [2, 5]");
  expect_invalid(lstm, with(6, zeros({2, 5}, {.dtype = DType::f16})), "c0 of f32");
  Inputs cells = rnn_tensors(RnnMode::gru, {3, 2, 4}, 2, 5, Device::cpu());
  cells.push_back(zeros({2, 5}));
  expect_invalid(gru, cells, "expected no c0");
  const std::int64_t lengths[] = {3, 2};
  const Packing packing(lengths, Device::cpu());
  expect_invalid(lstm, good, "expected x [5, K] as the packing says", {.packed = &packing});
  expect_invalid(lstm, with(0, zeros({4, 4})), "expected x [5, K]", {.packed = &packing});
}

}  // namespace
}  // namespace gpunn
