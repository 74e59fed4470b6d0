#include "gpunn/training/clip_grad.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "gpunn/core/autograd.h"
#include "tests/support/devices.h"

namespace gpunn {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

class ClipGrad : public testing::DeviceTest {
 protected:
  Tensor with_gradient(const std::vector<float>& gradient) const {
    const auto n = static_cast<std::int64_t>(gradient.size());
    const Tensor p = zeros({n}, {.device = device(), .requires_grad = true});
    p.set_grad(Tensor::from(gradient, {n}, {.device = device()}));
    return p;
  }
};
GPUNN_ON_EVERY_DEVICE(ClipGrad);

TEST_P(ClipGrad, ScalesByTheNormOfAllGradients) {
  const Tensor a = with_gradient({3, 4}), b = with_gradient({12}), none = zeros({2}, {.device = device()});
  const Tensor norm = clip_grad_norm_({a, none, b}, 6.5);
  EXPECT_EQ(norm.device(), device());
  EXPECT_EQ(norm.shape(), Shape{});
  EXPECT_NEAR(norm.item(), 13, 1e-5);
  EXPECT_NEAR(a.grad().to_vector<float>()[1], 2, 1e-6);
  EXPECT_NEAR(b.grad().to_vector<float>()[0], 6, 1e-6);
  EXPECT_FALSE(none.grad().defined());
  EXPECT_NEAR(clip_grad_norm_({a, b}, 100, 1).item(), 1.5 + 2 + 6, 1e-5);
  EXPECT_NEAR(b.grad().to_vector<float>()[0], 6, 1e-6) << "short enough";
  EXPECT_EQ(clip_grad_norm_({none}, 1).item(), 0);
}

TEST_P(ClipGrad, SaysWhatIsNotFinite) {
  const Tensor a = with_gradient({1, std::numeric_limits<float>::infinity()});
  EXPECT_THAT(
      [&] { clip_grad_norm_({a}, 1, 2, true); },
      ThrowsMessage<InvalidArgument>(HasSubstr("[clip_grad_norm_] expected gradients with a finite")));
  EXPECT_EQ(a.grad().to_vector<float>()[0], 1);
}

TEST_P(ClipGrad, ClampsValues) {
  const Tensor a = with_gradient({3, -0.5f}), b = with_gradient({-12});
  clip_grad_value_({a, b}, 1);
  EXPECT_EQ(a.grad().to_vector<float>(), (std::vector<float>{1, -0.5f}));
  EXPECT_EQ(b.grad().to_vector<float>(), (std::vector<float>{-1}));
}

TEST(ClipGradTest, RefusesNonsense) {
  const std::vector<Tensor> p{ones({2})};
  EXPECT_THROW(clip_grad_norm_({Tensor()}, 1), InvalidArgument);
  EXPECT_THROW(clip_grad_norm_(p, -1), InvalidArgument);
  EXPECT_THROW(clip_grad_norm_(p, 1, 0), InvalidArgument);
  EXPECT_THROW(clip_grad_value_(p, -1), InvalidArgument);
}

}  // namespace
}  // namespace gpunn
