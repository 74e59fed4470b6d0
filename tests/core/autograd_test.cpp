#include "gpunn/core/autograd.h"

#include <gtest/gtest.h>

#include <thread>

#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/reduce/reduce.h"
#include "tests/support/devices.h"

namespace gpunn {
namespace {

using Floats = std::vector<float>;

class AutogradTest : public testing::DeviceTest {
 protected:
  Tensor leaf(std::initializer_list<float> values) const {
    return Tensor::from(values).to(device()).requires_grad_();
  }
};
GPUNN_ON_EVERY_DEVICE(AutogradTest);

TEST_P(AutogradTest, ChainRule) {
  const Tensor x = leaf({1, 2, 3});
  const Tensor y = sum(mul(mul(x, x), 3.0));
  y.backward();
  EXPECT_EQ(x.grad().to_vector<float>(), (Floats{6, 12, 18}));
  EXPECT_FALSE(x.grad().requires_grad());
}

TEST_P(AutogradTest, GradientsAccumulateUntilZeroed) {
  const Tensor x = leaf({1, 2});
  EXPECT_FALSE(x.grad().defined());
  for (int i = 1; i <= 3; ++i) {
    sum(x).backward();
    EXPECT_EQ(x.grad().to_vector<float>(), Floats(2, static_cast<float>(i)));
  }
  x.zero_grad();
  EXPECT_FALSE(x.grad().defined());
}

TEST_P(AutogradTest, FanOutSumsAndSharedGradientsAreNotAliased) {
  const Tensor a = leaf({1, 2}), b = leaf({3, 4});
  const Tensor s = add(a, b);  // its rule hands the same gradient to both
  sum(add(s, s)).backward();
  EXPECT_EQ(a.grad().to_vector<float>(), Floats(2, 2.0f));
  EXPECT_NE(a.grad().data(), b.grad().data());
  a.grad().fill_(7);
  EXPECT_EQ(b.grad().to_vector<float>(), Floats(2, 2.0f));
}

TEST_P(AutogradTest, DiamondRunsEachNodeOnce) {
  const Tensor x = leaf({2});
  Tensor y = x;
  for (int i = 0; i < 20; ++i) y = add(y, y);  // 2^20 paths, 20 nodes
  sum(y).backward();
  EXPECT_EQ(x.grad().item(), 1 << 20);
}

TEST_P(AutogradTest, ViewsPassGradients) {
  const Tensor x = leaf({0, 1, 2, 3, 4, 5});
  const Tensor m = x.reshape({2, 3}).t().narrow(0, 1, 2).select(1, 1);  // elements 4 and 5
  sum(mul(m, m)).backward();
  EXPECT_EQ(x.grad().to_vector<float>(), (Floats{0, 0, 0, 0, 8, 10}));
}

TEST_P(AutogradTest, ConversionsAndCopiesPassGradients) {
  const Tensor x = leaf({1, 2});
  sum(mul(x.to(DType::f16).clone(), 2.0)).backward();
  EXPECT_EQ(x.grad().dtype(), DType::f32);
  EXPECT_EQ(x.grad().to_vector<float>(), Floats(2, 2.0f));
  x.zero_grad();
  sum(x.to(Device::cpu())).backward();
  EXPECT_EQ(x.grad().device(), device());
}

TEST_P(AutogradTest, SecondDerivatives) {
  const Tensor x = leaf({1, 2, 3});
  const Tensor y = sum(mul(mul(x, x), x));
  const Tensor first = autograd::grad({&y, 1}, {&x, 1}, {}, false, true)[0];
  EXPECT_EQ(first.to_vector<float>(), (Floats{3, 12, 27}));
  sum(first).backward();
  EXPECT_EQ(x.grad().to_vector<float>(), (Floats{6, 12, 18}));
}

TEST_P(AutogradTest, SecondDerivativeThroughViews) {
  const Tensor x = leaf({1, 2, 3, 4});
  const Tensor part = x.narrow(0, 1, 2);
  const Tensor y = sum(mul(mul(part, part), part));
  const Tensor first = autograd::grad({&y, 1}, {&x, 1}, {}, false, true)[0];
  sum(mul(first, first)).backward();  // d/dx (3x^2)^2 = 36 x^3
  EXPECT_EQ(x.grad().to_vector<float>(), (Floats{0, 288, 972, 0}));
}

TEST_P(AutogradTest, GradOfIntermediatesAndUnusedInputs) {
  const Tensor x = leaf({3}), unused = leaf({1});
  const Tensor h = mul(x, x);
  const Tensor y = sum(mul(h, 2.0));
  const Tensor inputs[] = {h, x};
  const auto g = autograd::grad({&y, 1}, inputs, {}, true);
  EXPECT_EQ(g[0].item(), 2);
  EXPECT_EQ(g[1].item(), 12);
  EXPECT_FALSE(x.grad().defined());
  EXPECT_THROW(autograd::grad({&y, 1}, {&unused, 1}, {}, true), InvalidArgument);
  EXPECT_FALSE(autograd::grad({&y, 1}, {&unused, 1}, {}, true, false, true)[0].defined());
}

TEST_P(AutogradTest, OverwrittenSavedTensorIsAnError) {
  const Tensor x = leaf({1, 2});
  const Tensor y = sum(mul(x, x));
  {
    NoGrad guard;
    x.fill_(5);
  }
  EXPECT_THROW(y.backward(), InvalidArgument);
}

TEST_P(AutogradTest, InPlaceOnARecordedTensorIsRefused) {
  const Tensor x = leaf({1, 2});
  EXPECT_THROW(x.fill_(0), Unsupported);
  EXPECT_THROW(mul(x, x).copy_(x), Unsupported);
  NoGrad guard;
  x.fill_(0);
}

TEST_P(AutogradTest, SecondBackwardNeedsRetainGraph) {
  const Tensor x = leaf({1, 2});
  const Tensor y = sum(mul(x, x));
  y.backward({}, true);
  y.backward();
  EXPECT_EQ(x.grad().to_vector<float>(), (Floats{4, 8}));
  EXPECT_THROW(y.backward(), InvalidArgument);
}

TEST_P(AutogradTest, BadStartsAreRefused) {
  const Tensor x = leaf({1, 2});
  const Tensor y = mul(x, x);
  EXPECT_THROW(y.backward(), InvalidArgument);  // no implied gradient
  EXPECT_THROW(y.backward(ones({3}, {.device = device()})), InvalidArgument);
  EXPECT_THROW(y.backward(ones({2}, {.dtype = DType::f64, .device = device()})), InvalidArgument);
  EXPECT_THROW(x.detach().backward(), InvalidArgument);
  EXPECT_THROW(zeros({2}, {.dtype = DType::i64}).requires_grad_(), InvalidArgument);
}

TEST_P(AutogradTest, NoGradRecordsNothing) {
  const Tensor x = leaf({1});
  const std::int64_t before = autograd::live_nodes();
  {
    NoGrad guard;
    EXPECT_FALSE(mul(x, x).requires_grad());
    EXPECT_EQ(autograd::live_nodes(), before);
    GradMode on(true);
    EXPECT_TRUE(mul(x, x).requires_grad());
  }
  EXPECT_TRUE(grad_enabled());
  EXPECT_FALSE(mul(x.detach(), x.detach()).requires_grad());
}

TEST(Autograd, DeepGraphsAreDestroyedIteratively) {
  const std::int64_t before = autograd::live_nodes();
  {
    Tensor y = Tensor::from({1.0f}).requires_grad_();
    for (int i = 0; i < 200000; ++i) y = mul(y, 1.0);
  }
  EXPECT_EQ(autograd::live_nodes(), before);
}

TEST(Autograd, BackwardFreesTheGraphAndLeavesDie) {
  const std::int64_t before = autograd::live_nodes();
  Tensor y;
  {
    const Tensor x = Tensor::from({1, 2}).requires_grad_();
    y = sum(mul(x, x));
  }
  y.backward();  // the leaf is gone, except for what the graph saved
  y = {};
  EXPECT_EQ(autograd::live_nodes(), before);
}

TEST(Autograd, ModeIsPerThread) {
  NoGrad guard;
  bool enabled = false;
  std::thread([&] { enabled = grad_enabled(); }).join();
  EXPECT_TRUE(enabled);
}

TEST(Autograd, ErrorsInBackwardNameTheLayer) {
  const Tensor x = Tensor::from({1, 2}).requires_grad_();
  Tensor y;
  {
    const LayerScope layer("fc1");
    y = sum(mul(x, x));
  }
  {
    NoGrad guard;
    x.zero_();
  }
  try {
    y.backward();
    FAIL();
  } catch (const InvalidArgument& e) {
    EXPECT_NE(std::string(e.what()).find("fc1"), std::string::npos) << e.what();
  }
}

TEST(AutogradRaceTest, ThreadsTrainTheirOwnTensors) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([] {
      for (int i = 0; i < 50; ++i) {
        const Tensor x = Tensor::from({1, 2, 3}).requires_grad_();
        sum(mul(x, x)).backward();
        ASSERT_EQ(x.grad().to_vector<float>(), (Floats{2, 4, 6}));
      }
    });
  for (auto& t : threads) t.join();
}

}  // namespace
}  // namespace gpunn
