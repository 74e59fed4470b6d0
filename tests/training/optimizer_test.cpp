// SGD against trajectories stored from PyTorch (tests/golden/sgd.py), and its state.
#include "gpunn/training/optimizer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "gpunn/core/autograd.h"
#include "gpunn/io/csv.h"
#include "tests/support/devices.h"
#include "tests/support/golden.h"

namespace gpunn {
namespace {

constexpr std::int64_t kSize = 5;
constexpr int kSteps = 8;

const std::map<std::string, SgdOptions> kCases = {
    {"plain", {.lr = 0.1}},
    {"decay", {.lr = 0.1, .weight_decay = 0.05}},
    {"momentum", {.lr = 0.05, .momentum = 0.9}},
    {"dampening", {.lr = 0.05, .momentum = 0.8, .dampening = 0.3}},
    {"nesterov", {.lr = 0.05, .momentum = 0.9, .weight_decay = 0.01, .nesterov = true}},
    {"maximize", {.lr = 0.02, .momentum = 0.5, .maximize = true}},
};

// The script's formulas: start sin(i + 1), gradient at step t: p cos(0.5 t) + 0.1 (i - 2), no gradient at
// step 3.
Tensor start(Device device) {
  std::vector<float> v;
  for (int i = 0; i < kSize; ++i) v.push_back(static_cast<float>(std::sin(i + 1.0)));
  return Tensor::from(v, {kSize}).to(device).requires_grad_();
}
void give_gradient(const Tensor& p, int t) {
  if (t == 3) return p.zero_grad();
  std::vector<float> g = p.to_vector<float>();
  for (int i = 0; i < kSize; ++i)
    g[static_cast<std::size_t>(i)] = g[static_cast<std::size_t>(i)] * static_cast<float>(std::cos(0.5 * t)) +
                                     static_cast<float>(0.1 * (i - 2));
  p.set_grad(Tensor::from(g, {kSize}).to(p.device()));
}

class SgdTest : public testing::DeviceTest {};
GPUNN_ON_EVERY_DEVICE(SgdTest);

TEST_P(SgdTest, EqualsPyTorch) {
  const CsvTable golden = CsvTable::read(testing::golden_path("sgd.csv"), {.header = true});
  const std::vector<std::string> names = golden.text(0);
  const std::vector<std::int64_t> steps = golden.integers(1), places = golden.integers(2);
  const std::vector<double> values = golden.numbers(3);
  std::size_t row = 0;
  for (; row < names.size(); row += static_cast<std::size_t>(kSteps * kSize)) {
    const Tensor p = start(device());
    SGD optimizer({p}, kCases.at(names[row]));
    for (int t = 0; t < kSteps; ++t) {
      give_gradient(p, t);
      optimizer.step();
      const std::vector<float> got = p.to_vector<float>();
      for (int i = 0; i < kSize; ++i) {
        const std::size_t at = row + static_cast<std::size_t>(t * kSize + i);
        ASSERT_EQ(steps[at], t);
        ASSERT_EQ(places[at], i);
        EXPECT_NEAR(got[static_cast<std::size_t>(i)], values[at], 2e-6)
            << names[row] << ", step " << t << ", element " << i;
      }
    }
  }
  EXPECT_EQ(row, kCases.size() * kSteps * kSize);
}

TEST_P(SgdTest, StateContinuesARun) {
  const SgdOptions options{.lr = 0.05, .momentum = 0.9, .dampening = 0.2};
  const Tensor p = start(device()), q = start(device());
  SGD whole({p}, options);
  for (int t = 0; t < kSteps; ++t) {
    give_gradient(p, t);
    whole.step();
  }
  StateDict state;
  {
    SGD first({q}, options);
    for (int t = 0; t < 5; ++t) {
      give_gradient(q, t);
      first.step();
    }
    state = first.state_dict();
  }
  ASSERT_EQ(state.size(), 1u);
  EXPECT_EQ(state[0].first, "momentum_buffer.0");
  SGD second({q}, options);
  second.load_state_dict(state);
  for (int t = 5; t < kSteps; ++t) {
    give_gradient(q, t);
    second.step();
  }
  EXPECT_EQ(q.to_vector<float>(), p.to_vector<float>());
}

TEST(OptimizerTest, ParametersThatStartLaterTakeTheirFirstStepThen) {
  const Tensor a = ones({1}), b = ones({1});
  SGD optimizer({a, b}, {.lr = 1, .momentum = 0.5, .dampening = 0.5});
  a.set_grad(ones({1}));
  optimizer.step();
  EXPECT_EQ(b.item(), 1);
  b.set_grad(ones({1}));
  optimizer.step();
  EXPECT_FLOAT_EQ(static_cast<float>(b.item()), 0) << "the first step is not dampened";
  EXPECT_FLOAT_EQ(static_cast<float>(a.item()), 1 - 1 - (0.5f + 0.5f));
}

TEST(OptimizerTest, ZeroGradAndLearningRate) {
  const Tensor p = ones({2}).requires_grad_();
  SGD optimizer({p}, {.lr = 0.1});
  p.set_grad(ones({2}));
  optimizer.zero_grad();
  EXPECT_FALSE(p.grad().defined());
  optimizer.step();
  EXPECT_EQ(p.to_vector<float>(), (std::vector<float>{1, 1}));
  optimizer.set_learning_rate(2);
  EXPECT_EQ(optimizer.learning_rate(), 2);
  p.set_grad(ones({2}));
  optimizer.step();
  EXPECT_EQ(p.to_vector<float>(), (std::vector<float>{-1, -1}));
}

TEST(OptimizerTest, RefusesNonsense) {
  const Tensor p = ones({2});
  EXPECT_THROW(SGD({}, {}), InvalidArgument);
  EXPECT_THROW(SGD({Tensor()}, {}), InvalidArgument);
  EXPECT_THROW(SGD({p, p}, {}), InvalidArgument);
  EXPECT_THROW(SGD({p}, {.lr = -1}), InvalidArgument);
  EXPECT_THROW(SGD({p}, {.lr = std::numeric_limits<double>::quiet_NaN()}), InvalidArgument);
  EXPECT_THROW(SGD({p}, {.momentum = -0.1}), InvalidArgument);
  EXPECT_THROW(SGD({p}, {.weight_decay = -1}), InvalidArgument);
  EXPECT_THROW(SGD({p}, {.nesterov = true}), InvalidArgument);
  EXPECT_THROW(SGD({p}, {.momentum = 0.9, .dampening = 0.1, .nesterov = true}), InvalidArgument);
  SGD optimizer({p}, {.momentum = 0.9});
  EXPECT_THROW(optimizer.load_state_dict({{"momentum_buffer.1", ones({2})}}), InvalidArgument);
  EXPECT_THROW(optimizer.load_state_dict({{"momentum_buffer.x", ones({2})}}), InvalidArgument);
  EXPECT_THROW(optimizer.load_state_dict({{"momentum_buffer.0", ones({3})}}), InvalidArgument);
  EXPECT_THROW(optimizer.set_learning_rate(-1), InvalidArgument);
}

}  // namespace
}  // namespace gpunn
