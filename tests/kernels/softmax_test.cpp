#include "gpunn/kernels/softmax/softmax.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "gpunn/core/autograd.h"
#include "gpunn/core/error.h"
#include "gpunn/kernels/reduce/reduce.h"
#include "tests/support/expect_parity.h"
#include "tests/support/gradcheck.h"

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
