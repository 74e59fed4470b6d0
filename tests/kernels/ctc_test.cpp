#include "gpunn/kernels/ctc/ctc.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "gpunn/core/autograd.h"
#include "gpunn/core/error.h"
#include "gpunn/io/csv.h"
#include "gpunn/kernels/softmax/softmax.h"
#include "tests/support/devices.h"
#include "tests/support/expect_parity.h"
#include "tests/support/golden.h"
#include "tests/support/gradcheck.h"

namespace gpunn {
namespace parity {
void add_ctc_cases(Suite& suite);
}

namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;
using Numbers = std::vector<std::int64_t>;

TEST(CtcParityRace, Cpu) { parity::expect_parity_on_cpu(parity::add_ctc_cases); }
#if GPUNN_HAS_CUDA
TEST(CtcParityRace, Cuda) { parity::expect_parity_on_cuda(parity::add_ctc_cases); }
#endif

class Ctc : public testing::DeviceTest {
 protected:
  Tensor numbers(const Numbers& v, const Shape& shape) const {
    return Tensor::from(v, shape, {.device = device()});
  }
  Tensor list(const Numbers& v) const { return numbers(v, {static_cast<std::int64_t>(v.size())}); }
  /// scale * sin(0.7 i), f32
  Tensor pattern(const Shape& shape, double scale = 1) const {
    std::vector<float> v;
    for (std::int64_t i = 0; i < shape.numel(); ++i)
      v.push_back(static_cast<float>(scale * std::sin(0.7 * static_cast<double>(i))));
    return Tensor::from(v, shape, {.device = device(), .requires_grad = true});
  }
};
GPUNN_ON_EVERY_DEVICE(Ctc);

/// What is left of an alignment when repeats are merged and blanks dropped.
Numbers collapsed(const Numbers& alignment, std::int64_t blank) {
  Numbers out;
  for (std::size_t t = 0; t < alignment.size(); ++t)
    if (alignment[t] != blank && (t == 0 || alignment[t] != alignment[t - 1])) out.push_back(alignment[t]);
  return out;
}

/// Sum over all alignments of length `steps`, one by one; `mass[t * classes + c]` gets that of alignments
/// through c.
double enumerate(const std::vector<double>& log_probs, std::int64_t steps, std::int64_t classes,
                 const Numbers& target, std::int64_t blank, std::vector<double>& mass) {
  Numbers alignment(static_cast<std::size_t>(steps), 0);
  mass.assign(static_cast<std::size_t>(steps * classes), 0.0);
  double total = 0;
  while (true) {
    if (collapsed(alignment, blank) == target) {
      double log_p = 0;
      for (std::int64_t t = 0; t < steps; ++t)
        log_p += log_probs[static_cast<std::size_t>(t * classes + alignment[static_cast<std::size_t>(t)])];
      total += std::exp(log_p);
      for (std::int64_t t = 0; t < steps; ++t)
        mass[static_cast<std::size_t>(t * classes + alignment[static_cast<std::size_t>(t)])] +=
            std::exp(log_p);
    }
    std::size_t digit = 0;
    while (digit < alignment.size() && ++alignment[digit] == classes) alignment[digit++] = 0;
    if (digit == alignment.size()) return total;
  }
}

TEST_P(Ctc, EqualsTheSumOverAllAlignments) {
  constexpr std::int64_t kSteps = 6, kClasses = 3, kBlank = 1;
  for (const Numbers& target : {Numbers{}, Numbers{0}, Numbers{2, 2}, Numbers{0, 2, 0}, Numbers{0, 0, 2}}) {
    const Tensor x = log_softmax(pattern({kSteps, 1, kClasses}, 2), 2).detach().requires_grad_();
    std::vector<double> log_probs;
    for (const float v : x.to_vector<float>()) log_probs.push_back(static_cast<double>(v));
    std::vector<double> mass;
    const double total = enumerate(log_probs, kSteps, kClasses, target, kBlank, mass);
    const Tensor loss =
        ctc_loss(x, list(target), list({kSteps}), list({static_cast<std::int64_t>(target.size())}),
                 {.blank = kBlank, .reduction = Reduction::sum});
    EXPECT_NEAR(loss.item(), -std::log(total), 1e-5);
    loss.backward();
    const std::vector<float> dx = x.grad().to_vector<float>();
    for (std::size_t i = 0; i < dx.size(); ++i) EXPECT_NEAR(dx[i], -mass[i] / total, 1e-5) << i;
  }
}

TEST_P(Ctc, BothFormsOfTargetsAndReductions) {
  const Tensor x = log_softmax(pattern({7, 3, 5}), 2);
  const Tensor rows = numbers({1, 2, 0, 3, 9, 9, 4, 4, 1}, {3, 3});
  const Tensor joined = list({1, 2, 3, 4, 4, 1}), inputs = list({7, 5, 6}), lengths = list({2, 1, 3});
  const std::vector<float> each =
      ctc_loss(x, rows, inputs, lengths, {.reduction = Reduction::none}).to_vector<float>();
  EXPECT_EQ(ctc_loss(x, joined, inputs, lengths, {.reduction = Reduction::none}).to_vector<float>(), each);
  EXPECT_NEAR(ctc_loss(x, rows, inputs, lengths, {.reduction = Reduction::sum}).item(),
              each[0] + each[1] + each[2], 1e-5);
  EXPECT_NEAR(ctc_loss(x, rows, inputs, lengths).item(), (each[0] / 2 + each[1] + each[2] / 3) / 3, 1e-6);
  const Tensor none = list({});
  EXPECT_TRUE(std::isnan(ctc_loss(pattern({7, 0, 5}), none, none, none).item()));
}

TEST_P(Ctc, ImpossibleTargets) {
  const Tensor x = pattern({2, 1, 3}), t = list({1, 1}), inputs = list({2}), lengths = list({2});
  EXPECT_TRUE(std::isinf(ctc_loss(x, t, inputs, lengths).item()));
  const Tensor zero = ctc_loss(x, t, inputs, lengths, {.zero_infinity = true});
  EXPECT_EQ(zero.item(), 0);
  zero.backward();
  for (const float g : x.grad().to_vector<float>()) EXPECT_EQ(g, 0.0f);
}

TEST_P(Ctc, RejectsBadArguments) {
  const Tensor x = pattern({4, 2, 3}), t = numbers({1, 2, 2, 1}, {2, 2});
  const Tensor inputs = list({4, 3}), lengths = list({2, 1});
  const auto expect = [](auto f, const char* text) {
    EXPECT_THAT(f, ThrowsMessage<InvalidArgument>(HasSubstr(text)));
  };
  expect([&] { ctc_loss(x.select(0, 0), t, inputs, lengths); }, "[ctc_loss] expected log_probs [T, N, C]");
  expect([&] { ctc_loss(Tensor(), t, inputs, lengths); }, "log_probs");
  expect([&] { ctc_loss(x, t, inputs, lengths, {.blank = 3}); }, "expected blank in [0, 3), got 3");
  expect([&] { ctc_loss(x, t, inputs, lengths, {.blank = -1}); }, "expected blank in [0, 3), got -1");
  expect([&] { ctc_loss(x, t, inputs, lengths, {.blank = 2}); }, "without the blank 2, got 2 in sample 0");
  expect([&] { ctc_loss(x, numbers({1, 3, 2, 1}, {2, 2}), inputs, lengths); }, "got 3 in sample 0");
  expect([&] { ctc_loss(x, t, list({5, 3}), lengths); },
         "expected input_lengths in [1, 4], got 5 for sample 0");
  expect([&] { ctc_loss(x, t, list({4, 0}), lengths); }, "got 0 for sample 1");
  expect([&] { ctc_loss(x, t, inputs, list({2, 3})); },
         "expected target_lengths in [0, 2], got 3 for sample 1");
  expect([&] { ctc_loss(x, t, inputs, list({-1, 1})); }, "got -1 for sample 0");
  expect([&] { ctc_loss(x, t, list({4}), lengths); }, "expected input_lengths [2], got [1]");
  expect([&] { ctc_loss(x, list({1, 2}), inputs, lengths); }, "expected 3 targets");
  expect([&] { ctc_loss(x, t.reshape({1, 4}), inputs, lengths); }, "expected targets [2, S]");
  expect([&] { ctc_loss(x, t.to(DType::f32), inputs, lengths); }, "targets of i64, got f32");
  expect([&] { ctc_loss(x, t, inputs.to(DType::i32), lengths); }, "input_lengths of i64, got i32");
  expect([&] { ctc_loss(x, t, inputs, Tensor()); }, "target_lengths");
}

TEST_P(Ctc, EqualsPyTorch) {
  const Tensor targets = numbers({1, 2, 2, 4, 4, 1, 3, 9, 9}, {3, 3});
  const CsvTable golden = CsvTable::read(testing::golden_path("ctc.csv"), {.header = true});
  const std::vector<std::string> reductions = golden.text(0), whats = golden.text(1);
  const std::vector<std::int64_t> elements = golden.integers(2);
  const std::vector<double> values = golden.numbers(3);
  ASSERT_GT(values.size(), 300u);
  for (const char* name : {"none", "mean", "sum"}) {
    const std::string which = name;
    const Reduction r = which == "none"   ? Reduction::none
                        : which == "mean" ? Reduction::mean
                                          : Reduction::sum;
    const Tensor x = pattern({8, 3, 5}, 2);
    const Tensor loss =
        ctc_loss(log_softmax(x, 2), targets, list({8, 6, 5}), list({3, 3, 1}), {.reduction = r});
    loss.backward(full(loss.shape(), 1, {.device = device()}));
    const std::vector<float> forward = loss.to_vector<float>(), backward = x.grad().to_vector<float>();
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (reductions[i] != which) continue;
      const float got = (whats[i] == "loss" ? forward : backward)[static_cast<std::size_t>(elements[i])];
      // 1e-5 relative; a gradient is a difference of probabilities.
      EXPECT_NEAR(got, values[i], 1e-5 * std::max(std::abs(values[i]), 0.1)) << name << " " << whats[i];
    }
  }
}

TEST(CtcGradient, FirstDerivativesOnly) {
  const std::vector<GradInput> small{{{6, 2, 4}, fill::uniform(-3, -0.5)}};
  const Tensor t = Tensor::from(Numbers{1, 2, 3, 3}, {2, 2}), inputs = Tensor::from(Numbers{6, 4}, {2});
  for (const Reduction r : {Reduction::none, Reduction::mean, Reduction::sum}) {
    const GradFunction f = [=](const Inputs& in) {
      return ctc_loss(in[0], t, inputs, Tensor::from(Numbers{2, 2}, {2}), {.reduction = r});
    };
    EXPECT_TRUE(gradcheck(f, small)) << name_of(r);
    EXPECT_THROW(static_cast<void>(gradgradcheck(f, small)), Unsupported);
  }
}

}  // namespace
}  // namespace gpunn
