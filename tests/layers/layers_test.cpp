// Activation layers and Embedding: each runs its op with its settings; keys, initial values and errors are
// PyTorch's.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "gpunn/core/autograd.h"
#include "gpunn/core/random.h"
#include "gpunn/kernels/elementwise/activations.h"
#include "gpunn/kernels/reduce/reduce.h"
#include "gpunn/layers/activations.h"
#include "gpunn/layers/embedding.h"
#include "gpunn/layers/sequential.h"

namespace gpunn {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

std::vector<float> values(const Tensor& t) { return t.to_vector<float>(); }
Tensor indices(std::vector<std::int64_t> list) {
  const auto count = static_cast<std::int64_t>(list.size());
  return Tensor::from(list, {count});
}

TEST(ActivationLayers, RunTheirOpsWithTheirSettings) {
  const Tensor x = Tensor::from({-4, -2.5, -1, -0.25, 0, 0.5, 1.5, 7});
  struct Row {
    std::shared_ptr<Module> layer;
    std::function<Tensor(const Tensor&)> op;
  };
  const auto row = [](auto layer, std::function<Tensor(const Tensor&)> op) {
    return Row{std::make_shared<decltype(layer)>(std::move(layer)), std::move(op)};
  };
  const std::vector<Row> rows{
      row(LeakyReLU(), [](const Tensor& t) { return leaky_relu(t, 0.01); }),
      row(LeakyReLU(0.2), [](const Tensor& t) { return leaky_relu(t, 0.2); }),
      row(PReLU(), [](const Tensor& t) { return leaky_relu(t, 0.25); }),
      row(ELU(), [](const Tensor& t) { return elu(t, 1); }),
      row(ELU(0.5), [](const Tensor& t) { return elu(t, 0.5); }),
      row(SELU(), [](const Tensor& t) { return selu(t); }),
      row(CELU(2), [](const Tensor& t) { return celu(t, 2); }),
      row(GELU(), [](const Tensor& t) { return gelu(t); }),
      row(GELU(GeluApproximate::tanh), [](const Tensor& t) { return gelu(t, GeluApproximate::tanh); }),
      row(SiLU(), [](const Tensor& t) { return silu(t); }),
      row(Mish(), [](const Tensor& t) { return mish(t); }),
      row(Softplus(), [](const Tensor& t) { return softplus(t); }),
      row(Softplus(3, 2), [](const Tensor& t) { return softplus(t, 3, 2); }),
      row(Softsign(), [](const Tensor& t) { return softsign(t); }),
      row(LogSigmoid(), [](const Tensor& t) { return logsigmoid(t); }),
      row(Hardtanh(), [](const Tensor& t) { return hardtanh(t); }),
      row(Hardtanh(-2, 3), [](const Tensor& t) { return hardtanh(t, -2, 3); }),
      row(ReLU6(), [](const Tensor& t) { return relu6(t); }),
      row(Hardsigmoid(), [](const Tensor& t) { return hardsigmoid(t); }),
      row(Hardswish(), [](const Tensor& t) { return hardswish(t); }),
      row(GLU(), [](const Tensor& t) { return glu(t); }),
  };
  for (std::size_t i = 0; i < rows.size(); ++i)
    EXPECT_EQ(values(rows[i].layer->forward(x)), values(rows[i].op(x))) << "row " << i;
}

TEST(ActivationLayers, PReLUHasASlopePerChannel) {
  PReLU layer(3);
  EXPECT_EQ(layer.state_dict().at(0).first, "weight");
  EXPECT_THAT(values(layer.weight), ElementsAre(0.25f, 0.25f, 0.25f));
  {
    NoGrad off;
    layer.weight.copy_(Tensor::from({0, 0.5, 2}));
  }
  const Tensor y = layer(full({1, 3}, -2));
  EXPECT_THAT(values(y), ElementsAre(0, -1, -4));
  sum(y).backward();
  EXPECT_THAT(values(layer.weight.grad()), Each(-2));
  EXPECT_THAT([] { PReLU none(0); }, ThrowsMessage<InvalidArgument>(HasSubstr("at least one")));
}

TEST(ActivationLayers, ErrorsNameTheLayer) {
  Sequential net{ReLU(), GLU()};
  EXPECT_THAT([&] { net(ones({2, 3})); }, ThrowsMessage<InvalidArgument>(HasSubstr("[1: glu]")));
}

TEST(EmbeddingLayer, TakesRows) {
  manual_seed(3);
  Embedding layer(5, 4);
  EXPECT_EQ(layer.weight.shape(), (Shape{5, 4}));
  const Tensor y = layer(indices({4, 0, 4}).reshape({3, 1}));
  EXPECT_EQ(y.shape(), (Shape{3, 1, 4}));
  EXPECT_EQ(values(y.select(0, 0)), values(layer.weight.select(0, 4)));
  EXPECT_EQ(values(y.select(0, 1)), values(layer.weight.select(0, 0)));
  sum(y).backward();
  EXPECT_THAT(values(layer.weight.grad().select(0, 4)), Each(2));
  EXPECT_THAT(values(layer.weight.grad().select(0, 1)), Each(0));
}

TEST(EmbeddingLayer, PaddingIsZeroAndLearnsNothing) {
  Embedding layer(5, 4, -2);
  EXPECT_THAT(values(layer.weight.select(0, 3)), Each(0));
  sum(layer(indices({3, 1}))).backward();
  EXPECT_THAT(values(layer.weight.grad().select(0, 3)), Each(0));
  EXPECT_THAT(values(layer.weight.grad().select(0, 1)), Each(1));
}

TEST(EmbeddingLayer, BadArguments) {
  EXPECT_THAT([] { Embedding(0, 4); }, ThrowsMessage<InvalidArgument>(HasSubstr("sizes of at least 1")));
  EXPECT_THAT([] { Embedding(3, 4, 3); }, ThrowsMessage<InvalidArgument>(HasSubstr("-3 to 2, got 3")));
  Embedding layer(5, 4);
  EXPECT_THROW(layer(indices({5})), InvalidArgument);
  EXPECT_THROW(layer(ones({2})), InvalidArgument);
}

}  // namespace
}  // namespace gpunn
