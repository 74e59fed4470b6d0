#include "gpunn/kernels/softmax/softmax.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "gpunn/core/autograd.h"
#include "gpunn/core/error.h"
#include "gpunn/kernels/cross_entropy/cross_entropy.h"
#include "gpunn/kernels/reduce/reduce.h"
#include "tests/support/expect_parity.h"
#include "tests/support/gradcheck.h"
#include "tests/support/simd_target.h"

namespace gpunn {
namespace parity {
void add_softmax_cases(Suite& suite);
}

namespace {

using ::testing::ElementsAre;
using ::testing::FloatNear;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

TEST(SoftmaxParityRace, Cpu) { parity::expect_parity_on_cpu(parity::add_softmax_cases); }
#if GPUNN_HAS_CUDA
TEST(SoftmaxParityRace, Cuda) { parity::expect_parity_on_cuda(parity::add_softmax_cases); }
#endif

TEST(Softmax, KnownValues) {
  // From the formula by hand: e^1, e^2, e^3 over their sum 30.19287485.
  const std::vector<float> p = softmax(Tensor::from({1, 2, 3}), 0).to_vector<float>();
  EXPECT_THAT(p, ElementsAre(FloatNear(0.09003057f, 1e-7f), FloatNear(0.24472848f, 1e-7f),
                             FloatNear(0.66524094f, 1e-7f)));
  const std::vector<float> l = log_softmax(Tensor::from({1, 2, 3}), 0).to_vector<float>();
  EXPECT_THAT(l, ElementsAre(FloatNear(-2.40760596f, 3e-7f), FloatNear(-1.40760596f, 3e-7f),
                             FloatNear(-0.40760596f, 3e-7f)));
}

TEST(Softmax, LogIsExactWhereTheProbabilityUnderflows) {
  EXPECT_THAT(log_softmax(Tensor::from({0, 1000}), 0).to_vector<float>(), ElementsAre(-1000.0f, 0.0f));
}

TEST(Softmax, AnyDimension) {
  const Tensor x = rand({2, 3, 4});
  for (const int dim : {0, 1, 2, -1, -2, -3}) {
    const Tensor y = softmax(x, dim);
    EXPECT_EQ(y.shape(), x.shape());
    EXPECT_TRUE(y.is_contiguous());
    const Tensor expected = softmax(x.transpose(dim, -1).contiguous(), -1).transpose(dim, -1);
    EXPECT_EQ(y.to_vector<float>(), expected.to_vector<float>()) << "dim " << dim;
  }
}

/// Results of f on x and on x in f64, where the reference runs, within 1e-5 of the largest.
void expect_reference(const char* what, const Tensor& x, Tensor (*f)(const Tensor&)) {
  const std::vector<float> got = f(x).to_vector<float>();
  const std::vector<double> expected = f(x.to(DType::f64)).to_vector<double>();
  double largest = 0;
  for (const double v : expected) largest = std::max(largest, std::abs(v));
  for (std::size_t i = 0; i < got.size(); ++i)
    ASSERT_NEAR(got[i], expected[i], 1e-5 * largest) << what << ", columns " << x.size(1) << ", " << i;
}

Tensor gradient_of(const Tensor& x_in, Tensor (*f)(const Tensor&)) {
  const Tensor x = x_in.clone().requires_grad_();
  const Tensor y = f(x);
  y.backward(y.detach());
  return x.grad();
}

Tensor smoothed_loss(const Tensor& x) {
  const Tensor t = zeros({x.size(0)}, {.dtype = DType::i64});
  return cross_entropy(x, t, {.reduction = Reduction::none, .label_smoothing = 0.1});
}

TEST(Softmax, EverySimdTargetEqualsTheReference) {
  int seen = 0;
  for (const std::int64_t target : {HWY_AVX3, HWY_AVX2, HWY_SSE4, HWY_SSSE3, HWY_NEON}) {
    if ((hwy::SupportedTargets() & HWY_TARGETS & target) == 0) continue;
    const testing::SimdTarget scope(target);
    ++seen;
    for (const std::int64_t cols : {1, 3, 4, 5, 9, 17, 100, 4097, 9001}) {
      const Tensor x = randn({3, cols});
      const char* const name = hwy::TargetName(target);
      expect_reference(name, x, [](const Tensor& v) { return softmax(v, 1); });
      expect_reference(name, x, [](const Tensor& v) { return log_softmax(v, 1); });
      expect_reference(name, x, smoothed_loss);
      if (cols == 1) continue;  // gradients that cancel to nothing
      expect_reference(name, x, [](const Tensor& v) {
        return gradient_of(v, [](const Tensor& u) { return softmax(u, 1); });
      });
      expect_reference(name, x, [](const Tensor& v) { return gradient_of(v, smoothed_loss); });
    }
  }
  EXPECT_GT(seen, 0);
}

TEST(Softmax, GradientsBeyondTheCaches) {
  const Tensor x = randn({701, 3001});  // 8 MB, in rows that start anywhere in a vector
  expect_reference("softmax", x, [](const Tensor& v) {
    return gradient_of(v, [](const Tensor& u) { return softmax(u, 1); });
  });
  expect_reference("cross_entropy", x, [](const Tensor& v) {
    return gradient_of(v, [](const Tensor& u) {
      return cross_entropy(u, zeros({u.size(0)}, {.dtype = DType::i64}), {.reduction = Reduction::none});
    });
  });
}

TEST(Softmax, StridedAndEmptyInputs) {
  const Tensor x = rand({6, 5});
  EXPECT_EQ(softmax(x.t(), 1).to_vector<float>(), softmax(x.t().contiguous(), 1).to_vector<float>());
  EXPECT_EQ(softmax(empty({0, 3}), 1).shape(), Shape({0, 3}));
  const Tensor none = empty({3, 0}).requires_grad_();
  const Tensor y = softmax(none, 1);
  EXPECT_EQ(y.shape(), Shape({3, 0}));
  autograd::backward(std::vector{y}, std::vector{y.detach()});
  EXPECT_EQ(none.grad().shape(), Shape({3, 0}));
}

TEST(Softmax, GradientOfAnExpandedGradient) {
  // A broadcast gradient arrives with stride 0. Probabilities add up to 1, so nothing can change their sum.
  const Tensor x = rand({4, 7}, {.requires_grad = true});
  softmax(x, 1).backward(expand(ones({1, 1}), {4, 7}));
  for (const float g : x.grad().to_vector<float>()) EXPECT_NEAR(g, 0, 1e-7);
}

TEST(Softmax, RejectsBadArguments) {
  EXPECT_THAT([] { softmax(Tensor(), 0); },
              ThrowsMessage<InvalidArgument>(HasSubstr("[softmax] expected x")));
  EXPECT_THAT([] { softmax(zeros({2}, {.dtype = DType::i64}), 0); },
              ThrowsMessage<InvalidArgument>(HasSubstr("got i64")));
  EXPECT_THAT([] { log_softmax(zeros({}), 0); }, ThrowsMessage<InvalidArgument>(HasSubstr("[log_softmax]")));
  EXPECT_THAT([] { softmax(zeros({2, 3}), 2); }, ThrowsMessage<InvalidArgument>(HasSubstr("[softmax]")));
}

TEST(Softmax, OverwritingTheResultIsAnErrorInBackward) {
  const Tensor x = rand({2, 3}, {.requires_grad = true});
  const Tensor y = softmax(x, 1);
  {
    NoGrad off;
    y.zero_();
  }
  EXPECT_THAT([&] { y.backward(ones({2, 3})); },
              ThrowsMessage<InvalidArgument>(HasSubstr("overwritten in place")));
}

const std::vector<GradInput> kMatrix = {{{3, 5}, fill::normal(0, 1)}};
const std::vector<GradInput> kCube = {{{2, 3, 4}, fill::normal(0, 1)}};
const std::vector<GradInput> kWide = {{{2, 150}, fill::normal(0, 1)}};

TEST(SoftmaxGradient, FirstDerivatives) {
  for (const int dim : {0, 1}) {
    EXPECT_TRUE(gradcheck([=](const Inputs& in) { return softmax(in[0], dim); }, kMatrix));
    EXPECT_TRUE(gradcheck([=](const Inputs& in) { return log_softmax(in[0], dim); }, kMatrix));
  }
  EXPECT_TRUE(gradcheck([](const Inputs& in) { return softmax(in[0], 1); }, kCube));
  EXPECT_TRUE(gradcheck([](const Inputs& in) { return softmax(in[0], 1); }, kWide));
  EXPECT_TRUE(gradcheck([](const Inputs& in) { return log_softmax(in[0], 1); }, kWide));
}

TEST(SoftmaxGradient, SecondDerivatives) {
  EXPECT_TRUE(gradgradcheck([](const Inputs& in) { return softmax(in[0], 1); }, kMatrix));
  EXPECT_TRUE(gradgradcheck([](const Inputs& in) { return log_softmax(in[0], 1); }, kMatrix));
  EXPECT_TRUE(gradgradcheck([](const Inputs& in) { return softmax(in[0], 0); }, kCube));
}

}  // namespace
}  // namespace gpunn
