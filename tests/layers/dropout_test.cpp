// Dropout as a layer: PyTorch's default, training and evaluation, errors.
#include "gpunn/layers/dropout.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <utility>
#include <vector>

#include "gpunn/core/random.h"
#include "gpunn/layers/sequential.h"
#include "tests/support/devices.h"

namespace gpunn {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

std::vector<float> values(const Tensor& t) { return t.to_vector<float>(); }

class DropoutDevice : public testing::DeviceTest {};
GPUNN_ON_EVERY_DEVICE(DropoutDevice);

TEST_P(DropoutDevice, DropsInTrainingOnly) {
  const Tensor x = ones({1001}, {.device = device()});
  Dropout layer(0.25);
  manual_seed(1);
  const auto first = values(layer(x));
  EXPECT_NE(values(layer(x)), first);
  manual_seed(1);
  EXPECT_EQ(values(dropout(x, 0.25)), first);
  layer.eval();
  EXPECT_TRUE(layer(x).is_same(x));
  layer.train();
  manual_seed(1);
  EXPECT_EQ(values(layer(x)), first);
}

TEST_P(DropoutDevice, BackwardUsesTheForwardsMask) {
  const Tensor x = full({1001}, 1, {.device = device(), .requires_grad = true});
  Dropout layer;
  manual_seed(2);
  const Tensor y = layer(x);
  layer(x);
  y.backward(ones({1001}, {.device = device()}));
  EXPECT_EQ(values(x.grad()), values(y));
}

TEST(DropoutLayer, HasPyTorchsDefault) {
  Dropout layer;
  EXPECT_EQ(layer.p(), 0.5);
  EXPECT_TRUE(layer.is_training());
  EXPECT_TRUE(layer.state_dict().empty());
  EXPECT_EQ(Dropout(0.3).p(), 0.3);
  const Dropout copy = clone(Dropout(0.125));
  EXPECT_EQ(copy.p(), 0.125);
}

TEST(DropoutLayer, RejectsWhatIsNoProbability) {
  for (const double p : {-0.5, 1.5, std::numeric_limits<double>::quiet_NaN()})
    EXPECT_THAT([&] { Dropout layer(p); }, ThrowsMessage<InvalidArgument>(HasSubstr("[0, 1]"))) << p;
  for (const double p : {0.0, 1.0}) EXPECT_NO_THROW(Dropout layer(p));
}

}  // namespace
}  // namespace gpunn
