// One table for embedding and output layer: two keys, one parameter, whatever happens to the module.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "gpunn/io/safetensors.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/reduce/reduce.h"
#include "gpunn/layers/linear.h"
#include "gpunn/layers/tied.h"
#include "gpunn/training/optimizer.h"
#include "tests/support/devices.h"
#include "tests/support/expect_values.h"
#include "tests/support/hashed_values.h"

namespace gpunn {
namespace {

using ::testing::ElementsAre;
using testing::hashed;
using ::testing::HasSubstr;

struct Lm : Module {
  TiedEmbedding wte{7, 4};
  Linear body{4, 4};
  Tensor forward(const Tensor& ids) override { return wte.logits(body(wte(ids))); }
  void visit_members(MemberVisitor& visitor) override {
    detail::visit_member(visitor, "wte", wte);
    detail::visit_member(visitor, "body", body);
    visit_tied(visitor, "lm_head.weight", wte.weight);
  }
  std::unique_ptr<Module> copy_module() const override { return std::make_unique<Lm>(*this); }
};

/// The same with two tables.
struct Untied : Module {
  Embedding wte{7, 4};
  Linear body{4, 4}, lm_head{4, 7, false};
  Tensor forward(const Tensor& ids) override { return lm_head(body(wte(ids))); }
  GPUNN_MEMBERS(wte, body, lm_head)
};

Tensor ids() { return Tensor::from(std::vector<std::int64_t>{1, 6, 1, 0}, {2, 2}); }

std::vector<std::string> keys_of(const StateDict& state) {
  std::vector<std::string> keys;
  for (const auto& [key, tensor] : state) keys.push_back(key);
  return keys;
}

/// One parameter under both keys, and gradients of both uses in it.
void expect_tied(Lm& net) {
  EXPECT_THAT(keys_of(net.named_parameters()), ElementsAre("wte.weight", "body.weight", "body.bias"));
  const StateDict state = net.state_dict();
  ASSERT_THAT(keys_of(state), ElementsAre("wte.weight", "body.weight", "body.bias", "lm_head.weight"));
  EXPECT_TRUE(state[0].second.is_same(state[3].second));
  EXPECT_EQ(net.parameter_count(), 7 * 4 + 4 * 4 + 4);
  net.zero_grad();
  sum(net(ids().to(net.wte.weight.device()))).backward();
  const std::vector<float> grad = net.wte.weight.grad().to_vector<float>();
  // Row 2 is not looked up, but scored.
  for (std::size_t d = 8; d < 12; ++d) EXPECT_NE(grad[d], 0);
  net.zero_grad();
}

class TiedTest : public testing::DeviceTest {};
GPUNN_ON_EVERY_DEVICE(TiedTest);

TEST_P(TiedTest, GradientsOfBothUsesAddUp) {
  Lm net;
  testing::fill_state(net);
  Untied two;
  two.load_state_dict(net.state_dict());
  net.to(device());
  two.to(device());
  const Tensor weights = hashed({2, 2, 7}, 3).to(device());
  sum(net(ids().to(device())) * weights).backward();
  sum(two(ids().to(device())) * weights).backward();
  const Tensor both = two.wte.weight.grad() + two.lm_head.weight.grad();
  testing::expect_values(net.wte.weight.grad(), both.to_vector<double>(), "table", 1e-6);
  testing::expect_values(net.body.weight.grad(), two.body.weight.grad().to_vector<double>(), "body", 1e-6);
  expect_tied(net);
}

TEST(Tied, SurvivesCopiesAndMoves) {
  Lm net;
  const Tensor table = net.wte.weight;
  expect_tied(net);
  Lm copy = clone(net);
  EXPECT_FALSE(copy.wte.weight.is_same(table));
  expect_tied(copy);
  const std::unique_ptr<Module> behind = net.copy_module();
  expect_tied(dynamic_cast<Lm&>(*behind));
  copy = net;
  expect_tied(copy);
  Lm moved = std::move(net);
  EXPECT_TRUE(moved.wte.weight.is_same(table));
  expect_tied(moved);
  moved.to(DType::f64);
  moved.to(DType::f32);
  expect_tied(moved);
}

TEST(Tied, AnOptimizerStepsItOnce) {
  Lm net;
  testing::fill_state(net);
  const std::vector<double> before = net.wte.weight.to_vector<double>();
  SGD steps(net.parameters(), {.lr = 0.5});
  sum(net(ids())).backward();
  const std::vector<double> grad = net.wte.weight.grad().to_vector<double>();
  steps.step();
  const std::vector<double> after = net.wte.weight.to_vector<double>();
  for (std::size_t i = 0; i < after.size(); ++i) EXPECT_NEAR(after[i], before[i] - 0.5 * grad[i], 1e-6);
}

StateDict without(const StateDict& state, const std::string& key) {
  StateDict out;
  for (const auto& entry : state)
    if (entry.first != key) out.push_back(entry);
  return out;
}

TEST(Tied, LoadsFromEitherKeyAndSaves) {
  Lm from, into;
  const StateDict state = from.state_dict();
  const std::vector<float> want = from.wte.weight.to_vector<float>();
  for (const char* key : {"wte.weight", "lm_head.weight"}) {
    {
      const NoGrad off;
      into.wte.weight.zero_();
    }
    into.load_state_dict(without(state, key));
    EXPECT_EQ(into.wte.weight.to_vector<float>(), want) << key;
    expect_tied(into);
  }
  try {
    into.load_state_dict(without(without(state, "wte.weight"), "lm_head.weight"));
    ADD_FAILURE() << "neither key";
  } catch (const InvalidArgument& e) {
    EXPECT_THAT(e.what(), HasSubstr("missing: wte.weight, lm_head.weight"));
  }
  EXPECT_THROW(into.load_state_dict(without(state, "body.bias")), InvalidArgument);
  // Of two values the last key's counts.
  StateDict differ = state;
  differ.back().second = ones({7, 4});
  into.load_state_dict(differ);
  EXPECT_EQ(into.wte.weight.to_vector<float>(), std::vector<float>(28, 1));

  const std::string path = ::testing::TempDir() + "gpunn_tied_test.safetensors";
  write_safetensors(path, from.state_dict());
  into.load_state_dict(load_safetensors(path));
  std::filesystem::remove(path);
  EXPECT_EQ(into.wte.weight.to_vector<float>(), want);
  expect_tied(into);
}

}  // namespace
}  // namespace gpunn
