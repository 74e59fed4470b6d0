#include "gpunn/kernels/cross_entropy/cross_entropy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "gpunn/core/error.h"
#include "gpunn/kernels/softmax/softmax.h"
#include "tests/support/devices.h"
#include "tests/support/expect_parity.h"
#include "tests/support/gradcheck.h"

namespace gpunn {
namespace parity {
void add_cross_entropy_cases(Suite& suite);
}

namespace {

using ::testing::ElementsAre;
using ::testing::FloatNear;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

using Labels = std::vector<std::int64_t>;

TEST(CrossEntropyParityRace, Cpu) { parity::expect_parity_on_cpu(parity::add_cross_entropy_cases); }
#if GPUNN_HAS_CUDA
TEST(CrossEntropyParityRace, Cuda) { parity::expect_parity_on_cuda(parity::add_cross_entropy_cases); }
#endif

class CrossEntropy : public testing::DeviceTest {
 protected:
  Tensor logits(const std::vector<float>& values, const Shape& shape) const {
    return Tensor::from(values, shape, {.device = device(), .requires_grad = true});
  }
  Tensor labels(const Labels& values) const {
    return Tensor::from(values, {static_cast<std::int64_t>(values.size())},
                        {.dtype = DType::i64, .device = device()});
  }
};
GPUNN_ON_EVERY_DEVICE(CrossEntropy);

TEST_P(CrossEntropy, KnownValuesAndGradient) {
  // By hand: -ln softmax([1, 2, 3])[2] = 0.40760596, softmax = 0.09003057, 0.24472847, 0.66524096; uniform:
  // ln 3.
  const Tensor x = logits({1, 2, 3, 5, 5, 5}, {2, 3});
  const Tensor t = labels({2, 0});
  const std::vector<float> rows = cross_entropy(x, t, {.reduction = Reduction::none}).to_vector<float>();
  EXPECT_THAT(rows, ElementsAre(FloatNear(0.40760596f, 1e-6f), FloatNear(std::log(3.0f), 1e-6f)));
  EXPECT_NEAR(cross_entropy(x, t, {.reduction = Reduction::sum}).item(), 0.40760596 + std::log(3.0), 1e-6);
  const Tensor loss = cross_entropy(x, t);
  EXPECT_EQ(loss.shape(), Shape{});
  EXPECT_NEAR(loss.item(), (0.40760596 + std::log(3.0)) / 2, 1e-6);
  loss.backward();
  const float third = 1.0f / 6;
  EXPECT_THAT(x.grad().to_vector<float>(),
              ElementsAre(FloatNear(0.09003057f / 2, 1e-7f), FloatNear(0.24472847f / 2, 1e-7f),
                          FloatNear(-0.33475904f / 2, 1e-7f), FloatNear(-2 * third, 1e-7f),
                          FloatNear(third, 1e-7f), FloatNear(third, 1e-7f)));
}

TEST_P(CrossEntropy, IgnoredRows) {
  const float nan = std::nanf("");
  const Tensor x = logits({1, 2, nan, nan, 2, 1}, {3, 2});
  const Tensor loss = cross_entropy(x, labels({1, -100, 0}));
  EXPECT_NEAR(loss.item(), 0.31326169, 1e-6);
  loss.backward();
  const std::vector<float> dx = x.grad().to_vector<float>();
  EXPECT_EQ(dx[2], 0.0f);
  EXPECT_EQ(dx[3], 0.0f);
  const Tensor all = labels({-100, -100, -100});
  EXPECT_TRUE(std::isnan(cross_entropy(x, all).item()));
  EXPECT_EQ(cross_entropy(x, all, {.reduction = Reduction::sum}).item(), 0);
  EXPECT_EQ(cross_entropy(x, labels({1, 1, 1}), {.ignore_index = 1, .check_targets = true}).shape(), Shape{});
}

TEST_P(CrossEntropy, NoRows) {
  const Tensor x = logits({}, {0, 4});
  EXPECT_TRUE(std::isnan(cross_entropy(x, labels({})).item()));
  EXPECT_EQ(cross_entropy(x, labels({}), {.reduction = Reduction::sum}).item(), 0);
  const Tensor none = cross_entropy(x, labels({}), {.reduction = Reduction::none});
  EXPECT_EQ(none.shape(), Shape{0});
}

TEST_P(CrossEntropy, BadTargetNamesRowLabelAndClasses) {
  const Tensor x = logits({1, 2, 3, 4, 5, 6}, {3, 2});
  for (const bool ignored : {false, true}) {
    const Tensor t = labels({ignored ? -100 : 0, 2, -1});
    EXPECT_THAT([&] { cross_entropy(x, t); },
                ThrowsMessage<InvalidArgument>(HasSubstr(
                    "[cross_entropy] expected labels in [0, 2) or ignore_index -100, got 2 in row 1")));
  }
  EXPECT_THAT([&] { cross_entropy(x, labels({0, -100, 1}), {.ignore_index = -1}); },
              ThrowsMessage<InvalidArgument>(HasSubstr("got -100 in row 1")));
}

TEST_P(CrossEntropy, UncheckedBadTargetIsNanOnAGpuAndAnErrorOnTheCpu) {
  const Tensor x = logits({1, 2, 3, 4}, {2, 2});
  const CrossEntropyOptions options{.reduction = Reduction::none, .check_targets = false};
  if (device().is_cpu()) {
    EXPECT_THROW(cross_entropy(x, labels({0, 7}), options), InvalidArgument);
    return;
  }
  const std::vector<float> loss = cross_entropy(x, labels({0, 7}), options).to_vector<float>();
  EXPECT_NEAR(loss[0], 1.31326169, 1e-6);
  EXPECT_TRUE(std::isnan(loss[1]));
}

TEST_P(CrossEntropy, RejectsBadArguments) {
  const Tensor x = logits({1, 2, 3, 4}, {2, 2});
  EXPECT_THAT([&] { cross_entropy(Tensor(), labels({0})); },
              ThrowsMessage<InvalidArgument>(HasSubstr("logits")));
  EXPECT_THAT([&] { cross_entropy(x.select(0, 0).select(0, 0), labels({0})); },
              ThrowsMessage<InvalidArgument>(HasSubstr("expected logits [N, C]")));
  EXPECT_THAT([&] { cross_entropy(x.reshape({4}), labels({0})); },
              ThrowsMessage<InvalidArgument>(HasSubstr("expected target [], got [1]")));
  EXPECT_THAT([&] { cross_entropy(x, labels({0})); },
              ThrowsMessage<InvalidArgument>(HasSubstr("[2], got [1]")));
  EXPECT_THAT([&] { cross_entropy(x, labels({0, 1}).to(DType::i32)); },
              ThrowsMessage<InvalidArgument>(HasSubstr("target of i64, got i32")));
  EXPECT_THAT([&] { cross_entropy(x, Tensor()); }, ThrowsMessage<InvalidArgument>(HasSubstr("target")));
  EXPECT_THAT([&] { cross_entropy(zeros({2, 0}, {.device = device()}), labels({0, 0})); },
              ThrowsMessage<InvalidArgument>(HasSubstr("C >= 1")));
}

TEST_P(CrossEntropy, RejectsBadOptions) {
  const Tensor x = logits({1, 2, 3, 4}, {2, 2}), t = labels({0, 1});
  const Tensor weight = logits({1, 2}, {2}).detach();
  EXPECT_THAT([&] { cross_entropy(x, t, {.weight = logits({1, 2, 3}, {3}).detach()}); },
              ThrowsMessage<InvalidArgument>(HasSubstr("[cross_entropy] expected weight [2], got [3]")));
  EXPECT_THAT([&] { nll_loss(x, t, {.weight = logits({1}, {1}).detach()}); },
              ThrowsMessage<InvalidArgument>(HasSubstr("[nll_loss] expected weight [2], got [1]")));
  EXPECT_THAT([&] { cross_entropy(x, t, {.weight = logits({1, 2}, {2})}); },
              ThrowsMessage<InvalidArgument>(HasSubstr("weight without gradient")));
  EXPECT_THAT([&] { cross_entropy(x, t, {.weight = weight.to(DType::i64)}); },
              ThrowsMessage<InvalidArgument>(HasSubstr("i64")));
  for (const double smoothing : {-0.1, 1.1, static_cast<double>(NAN)})
    EXPECT_THAT([&] { cross_entropy(x, t, {.label_smoothing = smoothing}); },
                ThrowsMessage<InvalidArgument>(HasSubstr("label_smoothing in [0, 1]")));
  EXPECT_THAT(
      [&] { cross_entropy(x, x.reshape({4})); },
      ThrowsMessage<InvalidArgument>(HasSubstr("expected probabilities [2, 2] like logits, got [4]")));
  EXPECT_THROW(cross_entropy(x, x.to(DType::f16)), InvalidArgument);
  EXPECT_THAT([&] { cross_entropy(logits({}, {2, 2, 0}), labels({})); },
              ThrowsMessage<InvalidArgument>(HasSubstr("expected target [2, 0], got [0]")));
  EXPECT_THAT([&] { nll_loss(x, x); }, ThrowsMessage<InvalidArgument>(HasSubstr("target of i64, got f32")));
  EXPECT_THAT([&] { nll_loss(x, Tensor()); }, ThrowsMessage<InvalidArgument>(HasSubstr("target")));
  EXPECT_THAT([&] { nll_loss(x, labels({0, 2})); },
              ThrowsMessage<InvalidArgument>(HasSubstr("got 2 in row 1")));
  EXPECT_THAT([&] { nll_loss(Tensor(), t); }, ThrowsMessage<InvalidArgument>(HasSubstr("log_probabilities")));
}

TEST_P(CrossEntropy, MoreDimensionsAreRows) {
  std::vector<float> values;
  for (int i = 0; i < 24; ++i) values.push_back(std::sin(static_cast<float>(i)));
  const Tensor x = logits(values, {2, 3, 4});
  const Tensor t = labels({0, 1, 2, -100, 2, 1, 0, 0}).reshape({2, 4});
  const Tensor rows = x.permute({0, 2, 1}).contiguous().reshape({8, 3});
  const CrossEntropyOptions none{.reduction = Reduction::none, .label_smoothing = 0.1};
  const Tensor loss = cross_entropy(x, t, none);
  EXPECT_EQ(loss.shape(), Shape({2, 4}));
  EXPECT_EQ(loss.to_vector<float>(), cross_entropy(rows, t.reshape({8}), none).to_vector<float>());
  EXPECT_EQ(cross_entropy(x, t).item(), cross_entropy(rows, t.reshape({8})).item());
  cross_entropy(x, t).backward();
  EXPECT_EQ(x.grad().shape(), x.shape());
  EXPECT_EQ(x.grad().to_vector<float>()[3], 0.0f);  // the ignored position
  // One sample without a batch, and the negative log likelihood of the same.
  const Tensor one = x.select(0, 0).select(1, 1).contiguous(), label = labels({1}).select(0, 0);
  EXPECT_EQ(cross_entropy(one, label).item(), cross_entropy(one.reshape({1, 3}), labels({1})).item());
  const std::vector<float> nll =
      nll_loss(log_softmax(x, 1), t, {.reduction = Reduction::none}).to_vector<float>();
  const std::vector<float> fused = cross_entropy(x, t, {.reduction = Reduction::none}).to_vector<float>();
  for (std::size_t i = 0; i < fused.size(); ++i) EXPECT_NEAR(nll[i], fused[i], 1e-6);
  EXPECT_EQ(nll_loss(one, label).item(), -one.to_vector<float>()[1]);
}

TEST_P(CrossEntropy, ProbabilitiesOfOneClassAreThatClass) {
  const Tensor x = logits({1, 2, 3, 0, -1, 5}, {2, 3});
  const Tensor soft = Tensor::from(std::vector<float>{0, 0, 1, 1, 0, 0}, {2, 3}, {.device = device()});
  EXPECT_NEAR(cross_entropy(x, soft).item(), cross_entropy(x, labels({2, 0})).item(), 1e-6);
  const CrossEntropyOptions smooth{.label_smoothing = 0.3};
  EXPECT_NEAR(cross_entropy(x, soft, smooth).item(), cross_entropy(x, labels({2, 0}), smooth).item(), 1e-6);
  EXPECT_TRUE(std::isnan(nll_loss(logits({}, {0, 3}), labels({})).item()));
  EXPECT_EQ(nll_loss(logits({}, {0, 3}), labels({}), {.reduction = Reduction::sum}).item(), 0);
}

TEST(CrossEntropyDevices, MustAgree) {
  if (cuda_device_count() == 0) GTEST_SKIP() << "no GPU on this machine";
  const Tensor t = zeros({2}, {.dtype = DType::i64});
  EXPECT_THAT([&] { cross_entropy(zeros({2, 2}, {.device = Device::cuda(0)}), t); },
              ThrowsMessage<InvalidArgument>(HasSubstr("expected target on cuda:0 like logits, got cpu")));
}

Tensor some_labels(const Tensor& x) {
  Labels labels;
  for (std::int64_t n = 0; n < x.size(0); ++n) labels.push_back(n % 4 == 3 ? -100 : n % x.size(1));
  return Tensor::from(labels, {x.size(0)}, {.dtype = DType::i64});
}

Tensor some_weights(std::int64_t classes) {
  std::vector<double> w;
  for (std::int64_t c = 0; c < classes; ++c) w.push_back(0.5 + 0.3 * static_cast<double>(c % 4));
  return Tensor::from(w, {classes});
}

Tensor loss_of(const Tensor& x, Reduction r) { return cross_entropy(x, some_labels(x), {.reduction = r}); }

TEST(CrossEntropyGradient, FirstAndSecondDerivatives) {
  const std::vector<GradInput> small{{{5, 4}, fill::normal(0, 1)}}, wide{{{3, 60}, fill::normal(0, 1)}};
  for (const Reduction r : {Reduction::none, Reduction::mean, Reduction::sum}) {
    const GradFunction f = [=](const Inputs& in) { return loss_of(in[0], r); };
    EXPECT_TRUE(gradcheck(f, small)) << name_of(r);
    EXPECT_TRUE(gradcheck(f, wide)) << name_of(r);
    EXPECT_TRUE(gradgradcheck(f, small)) << name_of(r);
  }
}

TEST(CrossEntropyGradient, WeightsAndSmoothing) {
  const std::vector<GradInput> small{{{5, 4}, fill::normal(0, 1)}};
  for (const Reduction r : {Reduction::none, Reduction::mean}) {
    const GradFunction f = [=](const Inputs& in) {
      return cross_entropy(in[0], some_labels(in[0]),
                           {.reduction = r, .weight = some_weights(4), .label_smoothing = 0.2});
    };
    EXPECT_TRUE(gradcheck(f, small)) << name_of(r);
    EXPECT_TRUE(gradgradcheck(f, small)) << name_of(r);
  }
}

TEST(CrossEntropyGradient, Probabilities) {
  const std::vector<GradInput> small{{{3, 4}, fill::normal(0, 1)}, {{3, 4}, fill::uniform(0, 0.5)}};
  for (const Reduction r : {Reduction::none, Reduction::mean, Reduction::sum}) {
    for (const bool weighted : {false, true}) {
      const GradFunction f = [=](const Inputs& in) {
        return cross_entropy(
            in[0], in[1],
            {.reduction = r, .weight = weighted ? some_weights(4) : Tensor(), .label_smoothing = 0.1});
      };
      EXPECT_TRUE(gradcheck(f, small)) << name_of(r);
      EXPECT_TRUE(gradgradcheck(f, small)) << name_of(r);
    }
  }
}

TEST(NllLossGradient, FirstAndSecondDerivatives) {
  const std::vector<GradInput> small{{{3, 4, 2}, fill::normal(0, 1)}};
  const Tensor t = Tensor::from(Labels{0, 1, -100, 3, 2, 2}, {3, 2}, {.dtype = DType::i64});
  for (const Reduction r : {Reduction::none, Reduction::mean, Reduction::sum}) {
    const GradFunction f = [=](const Inputs& in) {
      return nll_loss(in[0], t, {.reduction = r, .weight = some_weights(4)});
    };
    EXPECT_TRUE(gradcheck(f, small)) << name_of(r);
    EXPECT_TRUE(gradgradcheck(f, small)) << name_of(r);
  }
}

}  // namespace
}  // namespace gpunn
