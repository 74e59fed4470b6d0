// Freezing parts of a model: what gradients, optimizers and running statistics do then.
#include "gpunn/layers/freeze.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "gpunn/core/autograd.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/reduce/reduce.h"
#include "gpunn/layers/linear.h"
#include "gpunn/training/optimizer.h"

namespace gpunn {
namespace {

/// A layer with a running mean, as batch norm has one.
struct Running : Module {
  Parameter weight{ones({3}, {.device = Device::cpu()})};
  Buffer running_mean{zeros({3}, {.device = Device::cpu()})};
  GPUNN_MEMBERS(weight, running_mean)
  Tensor forward(const Tensor& x) override {
    if (is_training()) {
      NoGrad no_grad;
      running_mean.copy_(running_mean * 0.9 + mean(x.detach(), {0}) * 0.1);
    }
    return (x - running_mean.detach()) * weight;
  }
};

struct Net : Module {
  Linear fc1{2, 3}, fc10{3, 3};
  Running norm;
  Linear head{3, 1};
  GPUNN_MEMBERS(fc1, fc10, norm, head)
  Tensor forward(const Tensor& x) override { return head(norm(fc10(fc1(x)))); }
};

std::vector<float> values(const Tensor& t) { return t.detach().to_vector<float>(); }

void backward_of(Net& net) {
  const Tensor x = Tensor::from({{1, 2}, {3, -1}, {0.5F, 0.25F}});
  sum(net(x)).backward();
}

std::string refusal(Net& net, const char* prefix) {
  try {
    freeze(net, prefix);
  } catch (const InvalidArgument& e) {
    return e.what();
  }
  return "nothing thrown";
}

TEST(FreezeTest, ByPrefixOfWholeNames) {
  Net net;
  const std::int64_t all = trainable_count(net);
  EXPECT_EQ(all, net.parameter_count());
  EXPECT_EQ(freeze(net, "fc1"), 2);
  EXPECT_FALSE(net.fc1.weight.requires_grad());
  EXPECT_TRUE(net.fc10.weight.requires_grad());
  EXPECT_EQ(trainable_count(net), all - 9);
  EXPECT_EQ(trainable_parameters(net).size(), 5u);
  EXPECT_EQ(freeze(net, "head.bias"), 1);
  EXPECT_TRUE(net.head.weight.requires_grad());
  EXPECT_EQ(freeze(net), 7);
  EXPECT_TRUE(trainable_parameters(net).empty());
  EXPECT_EQ(unfreeze(net, "head"), 2);
  EXPECT_EQ(trainable_count(net), 4);
  EXPECT_EQ(unfreeze(net), 7);
  EXPECT_EQ(trainable_count(net), all);

  for (const char* wrong : {"fc", "fc1.", "fc1.weigh", "fc11", "norm.running_mean", "."}) {
    const std::string message = refusal(net, wrong);
    EXPECT_NE(message.find("fc1, fc10, norm, head"), std::string::npos) << message;
  }
  EXPECT_EQ(trainable_count(net), all);  // nothing was frozen on the way
}

TEST(FreezeTest, OptimizersLeaveFrozenParametersAlone) {
  Net net;
  AdamW adam(net.parameters(), {.lr = 0.1, .weight_decay = 0.5});
  const auto step = [&] {
    adam.zero_grad();
    backward_of(net);
    adam.step();
  };
  step();
  backward_of(net);  // a gradient is there when the layer is frozen
  ASSERT_TRUE(net.fc1.weight.grad().defined());
  freeze(net, "fc1");
  EXPECT_FALSE(net.fc1.weight.grad().defined());
  const std::vector<float> frozen = values(net.fc1.weight), head = values(net.head.weight);
  adam.step();  // decay and momentum would move it too
  step();
  EXPECT_EQ(values(net.fc1.weight), frozen);
  EXPECT_NE(values(net.head.weight), head);
  EXPECT_FALSE(net.fc1.weight.grad().defined());
  EXPECT_TRUE(net.fc10.weight.grad().defined());
  unfreeze(net, "fc1");
  step();
  EXPECT_NE(values(net.fc1.weight), frozen);
}

TEST(FreezeTest, GradientsReachTheLayersBefore) {
  Net net, same(net);
  freeze(same, "head");
  backward_of(net);
  backward_of(same);
  EXPECT_EQ(values(same.fc1.weight.grad()), values(net.fc1.weight.grad()));
  EXPECT_FALSE(same.head.weight.grad().defined());
}

TEST(FreezeTest, RunningStatisticsGoOnUntilEval) {
  Net net;
  freeze(net);
  const Tensor x = Tensor::from({{1, 2}, {3, 4}});
  const std::vector<float> start = values(net.norm.running_mean);
  net(x);
  const std::vector<float> moved = values(net.norm.running_mean);
  EXPECT_NE(moved, start);
  net.norm.eval();
  net(x);
  EXPECT_EQ(values(net.norm.running_mean), moved);
  net.train();
  net(x);
  EXPECT_NE(values(net.norm.running_mean), moved);
}

TEST(FreezeTest, CopiesStayFrozen) {
  Net net;
  freeze(net, "fc10");
  Net copy(net);
  EXPECT_FALSE(copy.fc10.weight.requires_grad());
  EXPECT_TRUE(copy.head.weight.requires_grad());
  unfreeze(copy, "fc10");
  EXPECT_FALSE(net.fc10.weight.requires_grad());
}

struct Tied : Module {
  Linear a{2, 2}, b{2, 2};
  Tied() { static_cast<Tensor&>(b.weight) = a.weight; }
  GPUNN_MEMBERS(a, b)
};

TEST(FreezeTest, TiedParametersByEitherName) {
  Tied net;
  EXPECT_EQ(freeze(net, "b.weight"), 1);
  EXPECT_FALSE(net.a.weight.requires_grad());
  EXPECT_EQ(unfreeze(net), 3);
  EXPECT_TRUE(net.b.weight.requires_grad());
}

}  // namespace
}  // namespace gpunn
