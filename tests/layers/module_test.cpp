// Module: names, keys, moves, copies, state dicts, errors with the layer's name.
#include "gpunn/layers/module.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "gpunn/core/autograd.h"
#include "gpunn/kernels/reduce/reduce.h"
#include "gpunn/layers/activations.h"
#include "gpunn/layers/linear.h"
#include "gpunn/layers/losses.h"
#include "gpunn/layers/sequential.h"
#include "gpunn/layers/summary.h"
#include "tests/support/devices.h"

namespace gpunn {
namespace {

struct Block : Module {
  Linear inner{4, 4};
  Buffer scale{ones({1})};
  GPUNN_MEMBERS(inner, scale)
  Tensor forward(const Tensor& x) override { return inner(x) * scale; }
};

struct Net : Module {
  Linear fc1{3, 4};
  std::vector<Block> blocks = std::vector<Block>(2);
  std::optional<Linear> extra;
  Linear fc2{4, 2};
  GPUNN_MEMBERS(fc1, blocks, extra, fc2)
  Tensor forward(const Tensor& x) override {
    Tensor h = relu(fc1(x));
    for (Block& block : blocks) h = block(h);
    return fc2(h);
  }
};

std::vector<std::string> keys_of(const StateDict& state) {
  std::vector<std::string> keys;
  for (const auto& [key, tensor] : state) keys.push_back(key);
  return keys;
}

template <class F>
std::string message_of(F f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

TEST(ModuleTest, KeysArePyTorchs) {
  Net net;
  EXPECT_EQ(
      keys_of(net.named_parameters()),
      (std::vector<std::string>{"fc1.weight", "fc1.bias", "blocks.0.inner.weight", "blocks.0.inner.bias",
                                "blocks.1.inner.weight", "blocks.1.inner.bias", "fc2.weight", "fc2.bias"}));
  EXPECT_EQ(keys_of(net.named_buffers()), (std::vector<std::string>{"blocks.0.scale", "blocks.1.scale"}));
  EXPECT_EQ(net.state_dict().size(), 10u);
  EXPECT_EQ(net.parameter_count(), 3 * 4 + 4 + 2 * (16 + 4) + 4 * 2 + 2);
  net.extra.emplace(1, 1, false);
  EXPECT_EQ(net.state_dict().size(), 11u);
}

TEST(ModuleTest, SequentialKeysAreNumbers) {
  Sequential net(Linear(3, 4), ReLU(), Linear(4, 2, false));
  EXPECT_EQ(keys_of(net.state_dict()), (std::vector<std::string>{"0.weight", "0.bias", "2.weight"}));
  EXPECT_EQ(net.size(), 3u);
  EXPECT_THROW(net[3], InvalidArgument);
}

TEST(ModuleTest, ErrorsNameTheLayer) {
  Net net;
  const std::string message = message_of([&] { net(zeros({5, 7})); });
  EXPECT_EQ(message.rfind("[fc1: linear]", 0), 0u) << message;
  EXPECT_NE(message.find("[5, 7]"), std::string::npos) << message;

  Net broken;
  broken.blocks[1].inner = Linear(9, 4);
  const std::string nested = message_of([&] { broken(zeros({5, 3})); });
  EXPECT_EQ(nested.rfind("[blocks.1.inner: linear]", 0), 0u) << nested;

  Sequential sequence(Linear(3, 4), ReLU(), Linear(5, 2));
  const std::string numbered = message_of([&] { sequence(zeros({1, 3})); });
  EXPECT_EQ(numbered.rfind("[2: linear]", 0), 0u) << numbered;
}

TEST(ModuleTest, DtypeMismatchNamesTheLayer) {
  Net net;
  net.fc2.to(DType::bf16);
  const std::string message = message_of([&] { net(zeros({5, 3})); });
  EXPECT_EQ(message.rfind("[fc2: linear]", 0), 0u) << message;
}

TEST(ModuleTest, NamesSurviveMoves) {
  Net net;
  net(zeros({1, 3}));
  std::vector<Net> many;
  many.push_back(std::move(net));
  many.emplace_back();
  many.emplace_back();  // reallocates: every module moves
  for (Net& moved : many) {
    const std::string message = message_of([&] { moved(zeros({1, 9})); });
    EXPECT_EQ(message.rfind("[fc1: linear]", 0), 0u) << message;
  }
  // A layer that moves to another place is called by that place's name.
  Net other;
  other.fc2 = std::move(many[0].fc1);
  const std::string message = message_of([&] { other(zeros({1, 3})); });
  EXPECT_EQ(message.rfind("[fc2: linear]", 0), 0u) << message;
}

TEST(ModuleTest, MovingKeepsTensorsCopyingCopiesValues) {
  Net net;
  const Tensor weight = net.fc1.weight;
  Net copy = clone(net);
  EXPECT_FALSE(copy.fc1.weight.is_same(weight));
  EXPECT_EQ(copy.fc1.weight.to_vector<float>(), weight.to_vector<float>());
  EXPECT_TRUE(copy.fc1.weight.requires_grad());
  {
    NoGrad no_grad;
    copy.fc1.weight.fill_(1);
  }
  EXPECT_NE(copy.fc1.weight.to_vector<float>(), weight.to_vector<float>());

  Net moved = std::move(net);
  EXPECT_TRUE(moved.fc1.weight.is_same(weight));
  EXPECT_FALSE(moved.state_dict().empty());
}

TEST(ModuleTest, SequentialCopiesItsLayers) {
  Sequential net(Linear(3, 4), ReLU(), Sequential(Linear(4, 4), Tanh()));
  Sequential copy(net);
  ASSERT_EQ(copy.size(), 3u);
  EXPECT_EQ(keys_of(copy.state_dict()), keys_of(net.state_dict()));
  EXPECT_FALSE(copy.parameters()[0].is_same(net.parameters()[0]));
  EXPECT_EQ(copy(ones({2, 3})).to_vector<float>(), net(ones({2, 3})).to_vector<float>());
}

struct Unlisted : Module {};

TEST(ModuleTest, ModulesWithoutAListSaySo) {
  Unlisted unlisted;
  EXPECT_THROW(unlisted(ones({1})), Unsupported);
  EXPECT_THROW(unlisted.copy_module(), Unsupported);
  EXPECT_EQ(unlisted.type_name(), "Unlisted");
}

struct Tied : Module {
  Linear a{2, 2, false}, b{2, 2, false};
  Tied() { b.weight = Parameter(Tensor(a.weight)); }
  GPUNN_MEMBERS(a, b)
};

TEST(ModuleTest, TiedParametersComeOnce) {
  Tied tied;
  EXPECT_EQ(tied.parameters().size(), 1u);
  EXPECT_EQ(tied.parameter_count(), 4);
  EXPECT_EQ(tied.state_dict().size(), 2u);
}

TEST(ModuleTest, FrozenParametersStayParameters) {
  Linear layer(2, 2);
  layer.bias.requires_grad_(false);
  EXPECT_EQ(layer.parameters().size(), 2u);
  Linear copy(layer);
  EXPECT_FALSE(copy.bias.requires_grad());
}

TEST(ModuleTest, StateDictRoundTrip) {
  Net from, into;
  StateDict saved;
  for (const auto& [key, tensor] : from.state_dict()) saved.emplace_back(key, tensor.detach().clone());
  into.load_state_dict(saved);
  for (std::size_t i = 0; i < saved.size(); ++i)
    EXPECT_EQ(into.state_dict()[i].second.to_vector<float>(), saved[i].second.to_vector<float>())
        << saved[i].first;
}

TEST(ModuleTest, LoadListsEverythingThatIsWrongAndChangesNothing) {
  Net net;
  StateDict state = clone(net).state_dict();
  const std::vector<float> before = net.fc2.weight.to_vector<float>();
  for (auto& [key, tensor] : state) {
    if (key == "fc1.weight") key = "fc9.weight";
    if (key == "fc2.bias") tensor = zeros({5});
    if (key == "fc2.weight") tensor = zeros({2, 4});
  }
  const std::string message = message_of([&] { net.load_state_dict(state); });
  EXPECT_NE(message.find("missing: fc1.weight"), std::string::npos) << message;
  EXPECT_NE(message.find("unexpected: fc9.weight"), std::string::npos) << message;
  EXPECT_NE(message.find("fc2.bias expected [2], got [5]"), std::string::npos) << message;
  EXPECT_EQ(net.fc2.weight.to_vector<float>(), before);

  // Not strict: keys may differ, shapes may not.
  EXPECT_THROW(net.load_state_dict(state, false), InvalidArgument);
  net.load_state_dict({{"fc2.weight", zeros({2, 4})}, {"other", zeros({1})}}, false);
  EXPECT_EQ(net.fc2.weight.to_vector<float>(), std::vector<float>(8, 0.0f));
}

TEST(ModuleTest, TrainAndEvalReachChildren) {
  Net net;
  net.eval();
  EXPECT_FALSE(net.is_training());
  EXPECT_FALSE(net.blocks[1].inner.is_training());
  net.train();
  EXPECT_TRUE(net.blocks[1].inner.is_training());
}

TEST(ModuleTest, ConvertingKeepsHandles) {
  Linear layer(2, 2);
  const Tensor handle = layer.weight;
  layer.to(DType::f64);
  EXPECT_EQ(handle.dtype(), DType::f64);
  EXPECT_TRUE(handle.is_same(layer.weight));
  EXPECT_TRUE(handle.requires_grad());
  EXPECT_THROW(layer.to(DType::i64), InvalidArgument);
}

class ModuleDeviceTest : public testing::DeviceTest {};
GPUNN_ON_EVERY_DEVICE(ModuleDeviceTest);

TEST_P(ModuleDeviceTest, MovesWithItsHandlesAndGradients) {
  Net net;
  const std::vector<Tensor> handles = net.parameters();
  const std::vector<float> before = net(ones({2, 3})).to_vector<float>();
  sum(net(ones({2, 3}))).backward();
  net.to(device());
  for (const Tensor& handle : handles) {
    EXPECT_TRUE(handle.device() == device());
    EXPECT_TRUE(handle.requires_grad() && handle.grad().device() == device());
  }
  const std::vector<float> after = net(ones({2, 3}).to(device())).to_vector<float>();
  for (std::size_t i = 0; i < after.size(); ++i) EXPECT_NEAR(after[i], before[i], 1e-6f);
  if (device().is_cpu()) return;
  const std::string message = message_of([&] { net(ones({2, 3})); });
  EXPECT_EQ(message.rfind("[fc1: linear]", 0), 0u) << message;
  EXPECT_NE(message.find("cuda:0"), std::string::npos) << message;
}

TEST(ModuleTest, GradientsReachParametersAndGo) {
  Net net;
  sum(net(ones({2, 3}))).backward();
  for (const auto& [key, p] : net.named_parameters()) EXPECT_TRUE(p.grad().defined()) << key;
  net.zero_grad();
  for (const auto& [key, p] : net.named_parameters()) EXPECT_FALSE(p.grad().defined()) << key;
}

TEST(ModuleTest, SequentialFusesWithEqualValues) {
  Sequential net(Linear(5, 8), ReLU(), Linear(8, 8), Tanh(), Linear(8, 8), GELU(), Linear(8, 8),
                 GELU(GeluApproximate::tanh), Linear(8, 3), Sigmoid());
  const Tensor x = randn({7, 5}, {.requires_grad = true});
  Tensor h = x;
  for (std::size_t i = 0; i < net.size(); ++i) h = net[i](h);
  const Tensor y = net(x);
  const std::vector<float> fused = y.to_vector<float>(), plain = h.to_vector<float>();
  for (std::size_t i = 0; i < plain.size(); ++i) EXPECT_NEAR(fused[i], plain[i], 1e-6f) << i;
  sum(h * h).backward();
  const std::vector<float> wanted = x.grad().to_vector<float>();
  x.zero_grad();
  sum(y * y).backward();
  const std::vector<float> got = x.grad().to_vector<float>();
  for (std::size_t i = 0; i < wanted.size(); ++i) EXPECT_NEAR(got[i], wanted[i], 1e-6f) << i;
}

TEST(ModuleTest, SummaryNamesLayersAndCounts) {
  Net net;
  const std::string text = summary(net);
  for (const char* part : {"fc1", "blocks.1.inner", "Linear", "weight [4, 3]", "total", "66"})
    EXPECT_NE(text.find(part), std::string::npos) << part << " in\n" << text;
}

TEST(LossesTest, AreModulesWithTwoArguments) {
  MSELoss mse;
  EXPECT_DOUBLE_EQ(mse(full({2}, 3), full({2}, 1)).item(), 4);
  EXPECT_DOUBLE_EQ(MSELoss(Reduction::sum)(full({2}, 3), full({2}, 1)).item(), 8);
  CrossEntropyLoss cross_entropy_loss;
  EXPECT_NEAR(cross_entropy_loss(zeros({2, 4}), zeros({2}, {.dtype = DType::i64})).item(), std::log(4.0),
              1e-6);
  EXPECT_NEAR(BCELoss()(full({3}, 0.5), ones({3})).item(), std::log(2.0), 1e-6);
  EXPECT_NEAR(BCEWithLogitsLoss()(zeros({3}), ones({3})).item(), std::log(2.0), 1e-6);
  EXPECT_THROW(mse(ones({1})), Unsupported);
}

}  // namespace
}  // namespace gpunn
