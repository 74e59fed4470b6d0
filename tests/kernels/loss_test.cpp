#include "gpunn/kernels/loss/loss.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "gpunn/core/error.h"
#include "tests/support/devices.h"
#include "tests/support/expect_parity.h"
#include "tests/support/gradcheck.h"

namespace gpunn {
namespace parity {
void add_loss_cases(Suite& suite);
}

namespace {

using ::testing::ElementsAre;
using ::testing::FloatNear;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

TEST(LossParityRace, Cpu) { parity::expect_parity_on_cpu(parity::add_loss_cases); }
#if GPUNN_HAS_CUDA
TEST(LossParityRace, Cuda) { parity::expect_parity_on_cuda(parity::add_loss_cases); }
#endif

class Losses : public testing::DeviceTest {
 protected:
  Tensor on_device(const std::vector<float>& values, bool grad = false) const {
    return Tensor::from(values, {static_cast<std::int64_t>(values.size())},
                        {.device = device(), .requires_grad = grad});
  }
};
GPUNN_ON_EVERY_DEVICE(Losses);

TEST_P(Losses, MseByHand) {
  const Tensor x = on_device({1, 2, 4}, true), y = on_device({1, 0, 1}, true);
  EXPECT_THAT(mse_loss(x, y, Reduction::none).to_vector<float>(), ElementsAre(0, 4, 9));
  EXPECT_EQ(mse_loss(x, y, Reduction::sum).item(), 13);
  const Tensor loss = mse_loss(x, y);
  EXPECT_EQ(loss.shape(), Shape{});
  EXPECT_FLOAT_EQ(static_cast<float>(loss.item()), 13.0f / 3);
  loss.backward();
  EXPECT_THAT(x.grad().to_vector<float>(), ElementsAre(0, FloatNear(4.0f / 3, 1e-6f), FloatNear(2, 1e-6f)));
  EXPECT_THAT(y.grad().to_vector<float>(), ElementsAre(0, FloatNear(-4.0f / 3, 1e-6f), FloatNear(-2, 1e-6f)));
}

TEST_P(Losses, BinaryCrossEntropyByHand) {
  // -ln 0.8, -ln 0.75, and the bound 100 for a certain mistake.
  const Tensor p = on_device({0.8f, 0.25f, 0.0f, 1.0f}), y = on_device({1, 0, 1, 1});
  EXPECT_THAT(binary_cross_entropy(p, y, Reduction::none).to_vector<float>(),
              ElementsAre(FloatNear(0.22314355f, 1e-6f), FloatNear(0.28768207f, 1e-6f), 100.0f, 0.0f));
  const Tensor logits = on_device({std::log(4.0f), -std::log(3.0f), 0, 500});
  EXPECT_THAT(binary_cross_entropy_with_logits(logits, y, Reduction::none).to_vector<float>(),
              ElementsAre(FloatNear(0.22314355f, 1e-6f), FloatNear(0.28768207f, 1e-6f),
                          FloatNear(0.69314718f, 1e-6f), 0.0f));
}

TEST_P(Losses, LossOfHalvesIsFloat) {
  const Tensor x = on_device({1, 2}).to(DType::f16), y = on_device({0, 0}).to(DType::f16);
  const Tensor loss = mse_loss(x, y);
  EXPECT_EQ(loss.dtype(), DType::f32);
  EXPECT_EQ(loss.item(), 2.5);
}

TEST_P(Losses, OverNothing) {
  const Tensor none = on_device({}, true);
  EXPECT_TRUE(std::isnan(mse_loss(none, none).item()));
  EXPECT_EQ(binary_cross_entropy(none, none, Reduction::sum).item(), 0);
  EXPECT_EQ(mse_loss(none, none, Reduction::none).shape(), Shape{0});
}

TEST_P(Losses, RejectBadArguments) {
  const Tensor x = on_device({1, 2});
  EXPECT_THAT([&] { mse_loss(x, on_device({1})); },
              ThrowsMessage<InvalidArgument>(HasSubstr("[mse_loss] expected y [2] like x, got [1]")));
  EXPECT_THAT([&] { binary_cross_entropy(x, x.to(DType::f16)); },
              ThrowsMessage<InvalidArgument>(HasSubstr("f16")));
  EXPECT_THAT([&] { binary_cross_entropy_with_logits(x.to(DType::i64), x); },
              ThrowsMessage<InvalidArgument>(HasSubstr("i64")));
  EXPECT_THROW(mse_loss(x, Tensor()), InvalidArgument);
}

TEST(LossGradient, FirstAndSecondDerivatives) {
  const Fill anything = fill::normal(0, 1), probability = fill::uniform(0.1, 0.9);
  const struct {
    const char* name;
    Tensor (*loss)(const Tensor&, const Tensor&, Reduction);
    Fill x, y;
  } losses[] = {
      {"mse", mse_loss, anything, anything},
      {"bce", binary_cross_entropy, probability, probability},
      {"bce_with_logits", binary_cross_entropy_with_logits, fill::avoid(0, 1e-3, anything), probability}};
  for (const auto& l : losses) {
    for (const Reduction r : {Reduction::none, Reduction::mean, Reduction::sum}) {
      const GradFunction f = [&](const Inputs& in) { return l.loss(in[0], in[1], r); };
      const std::vector<GradInput> small{{{3, 4}, l.x}, {{3, 4}, l.y}}, large{{{150}, l.x}, {{150}, l.y}};
      EXPECT_TRUE(gradcheck(f, small)) << l.name << " " << name_of(r);
      EXPECT_TRUE(gradcheck(f, large)) << l.name << " " << name_of(r);
      EXPECT_TRUE(gradgradcheck(f, small)) << l.name << " " << name_of(r);
    }
  }
}

}  // namespace
}  // namespace gpunn
