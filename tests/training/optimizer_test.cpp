// Optimizers against trajectories stored from PyTorch (tests/golden/optimizers.py), and their state.
#include "gpunn/training/optimizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "gpunn/core/autograd.h"
#include "gpunn/io/csv.h"
#include "tests/support/devices.h"
#include "tests/support/golden.h"

namespace gpunn {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

constexpr int kSteps = 100;
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

using Make = std::function<std::unique_ptr<Optimizer>(std::vector<Tensor>)>;

template <class Kind, class Options>
Make make(Options options) {
  return [=](std::vector<Tensor> params) { return std::make_unique<Kind>(std::move(params), options); };
}

const std::map<std::string, Make> kCases = {
    {"sgd", make<SGD>(SgdOptions{.lr = 0.1})},
    {"sgd decay", make<SGD>(SgdOptions{.lr = 0.1, .weight_decay = 0.05})},
    {"sgd momentum", make<SGD>(SgdOptions{.lr = 0.05, .momentum = 0.9})},
    {"sgd dampening", make<SGD>(SgdOptions{.lr = 0.05, .momentum = 0.8, .dampening = 0.3})},
    {"sgd nesterov",
     make<SGD>(SgdOptions{.lr = 0.05, .momentum = 0.9, .weight_decay = 0.01, .nesterov = true})},
    {"sgd maximize", make<SGD>(SgdOptions{.lr = 0.01, .momentum = 0.5, .maximize = true})},
    {"sgd l1", make<SGD>(SgdOptions{.lr = 0.1, .momentum = 0.5, .l1_decay = 0.1})},
    {"sgd decoupled",
     make<SGD>(SgdOptions{.lr = 0.1, .momentum = 0.5, .weight_decay = 0.05, .decoupled_weight_decay = true})},
    {"adagrad", make<Adagrad>(AdagradOptions{.lr = 0.1})},
    {"adagrad all",
     make<Adagrad>(AdagradOptions{
         .lr = 0.2, .lr_decay = 0.01, .weight_decay = 0.02, .initial_accumulator_value = 0.1})},
    {"adagrad maximize", make<Adagrad>(AdagradOptions{.lr = 0.05, .maximize = true})},
    {"adadelta", make<Adadelta>(AdadeltaOptions{})},
    {"adadelta all",
     make<Adadelta>(AdadeltaOptions{.lr = 0.5, .rho = 0.8, .eps = 1e-4, .weight_decay = 0.02})},
    {"rmsprop", make<RMSprop>(RmspropOptions{})},
    {"rmsprop momentum",
     make<RMSprop>(RmspropOptions{.lr = 0.005, .alpha = 0.9, .weight_decay = 0.02, .momentum = 0.8})},
    {"rmsprop centered",
     make<RMSprop>(RmspropOptions{.lr = 0.01, .eps = 1e-2, .momentum = 0.5, .centered = true})},
    {"adam", make<Adam>(AdamOptions{.lr = 0.05})},
    {"adam decay", make<Adam>(AdamOptions{.lr = 0.05, .betas = {0.8, 0.95}, .weight_decay = 0.02})},
    {"adam amsgrad", make<Adam>(AdamOptions{.lr = 0.05, .betas = {0.9, 0.9}, .amsgrad = true})},
    {"adam maximize", make<Adam>(AdamOptions{.lr = 0.01, .maximize = true})},
    {"adam l1", make<Adam>(AdamOptions{.lr = 0.05, .l1_decay = 0.1})},
    {"adamw", make<AdamW>(AdamWOptions{.lr = 0.05})},
    {"adamw amsgrad",
     make<AdamW>(AdamWOptions{.lr = 0.05, .betas = {0.9, 0.9}, .weight_decay = 0.1, .amsgrad = true})},
    {"nadam", make<NAdam>(NadamOptions{})},
    {"nadam decay", make<NAdam>(NadamOptions{
                        .lr = 0.05, .betas = {0.8, 0.99}, .weight_decay = 0.02, .momentum_decay = 0.01})},
    {"lion", make<Lion>(LionOptions{.lr = 0.02})},
    {"lion decay", make<Lion>(LionOptions{.lr = 0.01, .betas = {0.8, 0.95}, .weight_decay = 0.1})},
};

/// The script's two parameters and their gradients.
struct Problem {
  Problem(Device device, DType dtype) {
    for (const auto& [first, size] : {std::pair{0, 3}, std::pair{3, 2}}) {
      std::vector<double> start;
      for (int i = first; i < first + size; ++i) start.push_back(3 + 1.1 * i);
      params.push_back(Tensor::from(start, {size}, {.device = device}).to(dtype).requires_grad_());
    }
  }
  void give_gradients(int t) const {
    int place = 0;
    for (std::size_t k = 0; k < params.size(); ++k) {
      const Tensor& p = params[k];
      std::vector<double> g = p.detach().to_vector<double>();
      for (double& v : g) {
        v = 0.5 * (v - 2 - place) + 0.2 * std::cos(0.7 * t + place);
        ++place;
      }
      const bool none = k == 1 && (t == 3 || (t >= 10 && t <= 12));
      p.set_grad(none ? Tensor() : Tensor::from(g, p.shape(), {.device = p.device()}).to(p.dtype()));
    }
  }
  void run(Optimizer& optimizer, int from, int to) const {
    for (int t = from; t < to; ++t) {
      give_gradients(t);
      optimizer.step();
    }
  }
  std::vector<double> values() const {
    std::vector<double> all;
    for (const Tensor& p : params)
      for (const double v : p.detach().to_vector<double>()) all.push_back(v);
    return all;
  }
  std::vector<Tensor> params;
};

class OptimizerDevice : public testing::DeviceTest {};
GPUNN_ON_EVERY_DEVICE(OptimizerDevice);

struct Golden {
  Golden() {
    const CsvTable table = CsvTable::read(testing::golden_path("optimizers.csv"), {.header = true});
    names = table.text(0), steps = table.integers(1), values = table.numbers(3);
  }
  std::vector<std::string> names;
  std::vector<std::int64_t> steps;
  std::vector<double> values;
};

/// Follows every stored trajectory.
void follow_all(Device device, DType dtype) {
  const Golden golden;
  std::size_t row = 0, cases = 0;
  while (row < golden.names.size()) {
    const std::string name = golden.names[row];
    // PyTorch keeps the product of NAdam's momenta in single precision.
    const double in_double = name.rfind("nadam", 0) == 0 ? 1e-7 : 1e-11;
    const Problem problem(device, dtype);
    const auto optimizer = kCases.at(name)(problem.params);
    for (int t = 0; t < kSteps; ++t) {
      problem.run(*optimizer, t, t + 1);
      if (row >= golden.names.size() || golden.names[row] != name || golden.steps[row] != t) continue;
      for (const double got : problem.values()) {
        const double error = std::abs(got / golden.values[row] - 1);
        EXPECT_LE(error, dtype == DType::f32 ? 1e-5 : in_double) << name << ", step " << t << ", row " << row;
        ++row;
      }
    }
    ++cases;
  }
  EXPECT_EQ(cases, kCases.size());
}

TEST_P(OptimizerDevice, EqualsPyTorchOver100Steps) { follow_all(device(), DType::f32); }
TEST(OptimizerTest, EqualsPyTorchInDouble) { follow_all(Device::cpu(), DType::f64); }

TEST_P(OptimizerDevice, StateContinuesEveryRuleBitwise) {
  for (const auto& [name, make_one] : kCases) {
    const Problem whole(device(), DType::f32), parts(device(), DType::f32);
    const auto optimizer = make_one(whole.params);
    whole.run(*optimizer, 0, 20);
    const auto first = make_one(parts.params);
    parts.run(*first, 0, 11);  // between two skipped gradients of the second parameter
    const StateDict state = first->state_dict();
    const auto second = make_one(parts.params);
    second->load_state_dict(state);
    parts.run(*second, 11, 20);
    EXPECT_EQ(parts.values(), whole.values()) << name;
  }
}

TEST_P(OptimizerDevice, MastersFollowTheSinglePrecisionRun) {
  for (const DType dtype : {DType::f16, DType::bf16}) {
    const Problem problem(device(), dtype);
    Adam adam(problem.params, {.lr = 0.01, .master_weights = true});
    problem.run(adam, 0, 10);
    const StateDict state = adam.state_dict();
    std::map<std::string, Tensor> named(state.begin(), state.end());
    ASSERT_TRUE(named.count("master_param.1"));
    EXPECT_EQ(named.at("master_param.1").dtype(), DType::f32);
    EXPECT_EQ(named.at("exp_avg_sq.0").dtype(), DType::f32);
    EXPECT_EQ(named.at("master_param.0").to(dtype).to_vector<float>(),
              problem.params[0].detach().to_vector<float>());
    const Problem single(device(), DType::f32);
    Adam reference(single.params, {.lr = 0.01});
    single.run(reference, 0, 10);
    const std::vector<float> got = named.at("master_param.0").to_vector<float>();
    for (std::size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], single.values()[i], 0.03);

    const Problem again(device(), dtype);
    for (std::size_t i = 0; i < 2; ++i) {
      NoGrad no_grad;
      again.params[i].copy_(problem.params[i]);
    }
    Adam resumed(again.params, {.lr = 0.01, .master_weights = true});
    resumed.load_state_dict(state);
    problem.run(adam, 10, 15);
    again.run(resumed, 10, 15);
    EXPECT_EQ(again.values(), problem.values());
  }
}

TEST_P(OptimizerDevice, MixedDtypesInOneGroup) {
  const Tensor a = ones({3}, {.device = device()}), b = ones({2}, {.dtype = DType::bf16, .device = device()});
  SGD sgd({a, b}, {.lr = 0.5, .master_weights = true});
  a.set_grad(ones_like(a));
  b.set_grad(ones_like(b));
  sgd.step();
  EXPECT_EQ(a.to_vector<float>(), std::vector<float>(3, 0.5f));
  EXPECT_EQ(b.to_vector<float>(), std::vector<float>(2, 0.5f));
}

TEST_P(OptimizerDevice, StatesLieSideBySide) {
  const TensorOptions half{.dtype = DType::f16, .device = device(), .requires_grad = true};
  std::vector<Tensor> params;
  for (const std::int64_t n : {70, 3, 129}) params.push_back(zeros({n}, half));
  Adam optimizer(params, {.master_weights = true});
  for (const Tensor& p : params) p.set_grad(ones(p.shape(), {.dtype = DType::f16, .device = device()}));
  params[1].zero_grad();  // begins later
  optimizer.step();
  params[1].set_grad(ones({3}, {.dtype = DType::f16, .device = device()}));
  optimizer.step();
  const auto check = [](const StateDict& dict) {
    std::map<std::string, const char*> at;
    for (const auto& [name, tensor] : dict) at[name] = static_cast<const char*>(tensor.data());
    for (const std::string kind : {"exp_avg.", "exp_avg_sq.", "master_param."}) {
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(at.at(kind + "0")) % 256, 0u) << kind;
      EXPECT_NE(at.at(kind + "1"), nullptr) << kind;
    }
    return at;
  };
  auto at = check(optimizer.state_dict());
  EXPECT_EQ(at["exp_avg.2"] - at["exp_avg.0"], 512);
  Adam loaded(params, {.master_weights = true});
  loaded.load_state_dict(optimizer.state_dict());
  at = check(loaded.state_dict());
  EXPECT_EQ(at["exp_avg_sq.1"] - at["exp_avg_sq.0"], 512);
  EXPECT_EQ(at["master_param.2"] - at["master_param.1"], 256);
}

TEST_P(OptimizerDevice, AdvanceAndApplyAreAStep) {
  const Problem one(device(), DType::f32), two(device(), DType::f32);
  NAdam whole(one.params), halves(two.params);
  for (int t = 0; t < 5; ++t) {
    one.run(whole, t, t + 1);
    two.give_gradients(t);
    halves.advance();
    halves.apply();
  }
  EXPECT_EQ(one.values(), two.values());
}

TEST(OptimizerTest, GroupsHaveTheirOwnSettings) {
  const Tensor a = ones({1}), b = ones({1}), c = ones({1});
  SGD sgd({{.params = {a}, .options = {.lr = 0.5}},
           {.params = {b, c}, .options = {.lr = 0.25, .weight_decay = 1}}});
  EXPECT_EQ(sgd.group_count(), 2u);
  EXPECT_EQ(sgd.parameters().size(), 3u);
  for (const Tensor& p : sgd.parameters()) p.set_grad(ones({1}));
  sgd.step();
  EXPECT_EQ(a.item(), 0.5);
  EXPECT_EQ(c.item(), 0.5) << "1 - 0.25 * (1 + 1)";
  sgd.set_learning_rate(1, 0);
  sgd.step();
  EXPECT_EQ(a.item(), 0);
  EXPECT_EQ(b.item(), 0.5);
  sgd.set_learning_rate(2);
  EXPECT_EQ(sgd.learning_rate(1), 2);
  EXPECT_THROW(sgd.learning_rate(2), InvalidArgument);
  const StateDict state = sgd.state_dict();
  ASSERT_EQ(state.size(), 2u);
  EXPECT_EQ(state[1].first, "lr.1");
  sgd.set_learning_rate(1);
  sgd.load_state_dict(state);
  EXPECT_EQ(sgd.learning_rate(0), 2);
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
  EXPECT_THROW(SGD({ones({2}, {.dtype = DType::i64})}, {}), InvalidArgument);
  EXPECT_THROW(SGD({{.params = {p}}, {.params = {}}}), InvalidArgument);
  const auto refused = [](const std::function<void()>& f, const char* what) {
    EXPECT_THAT(f, ThrowsMessage<InvalidArgument>(HasSubstr(what)));
  };
  refused([&] { SGD({p}, {.lr = -1}); }, "[SGD] expected lr");
  refused([&] { SGD({p}, {.lr = kNan}); }, "lr");
  refused([&] { SGD({p}, {.momentum = -0.1}); }, "momentum");
  refused([&] { SGD({p}, {.dampening = kNan}); }, "dampening");
  refused([&] { SGD({p}, {.weight_decay = -1}); }, "weight_decay");
  refused([&] { SGD({p}, {.nesterov = true}); }, "nesterov");
  refused([&] { SGD({p}, {.momentum = 0.9, .dampening = 0.1, .nesterov = true}); }, "nesterov");
  refused([&] { SGD({p}, {.l1_decay = -1}); }, "l1_decay");
  refused([&] { Adagrad({p}, {.lr_decay = -1}); }, "[Adagrad] expected lr_decay");
  refused([&] { Adagrad({p}, {.initial_accumulator_value = -1}); }, "initial_accumulator_value");
  refused([&] { Adadelta({p}, {.rho = 1}); }, "rho");
  refused([&] { Adadelta({p}, {.eps = kNan}); }, "eps");
  refused([&] { RMSprop({p}, {.alpha = -0.1}); }, "alpha");
  refused([&] { RMSprop({p}, {.momentum = kNan}); }, "momentum");
  refused([&] { Adam({p}, {.betas = {1, 0.9}}); }, "betas[0]");
  refused([&] { AdamW({p}, {.betas = {0.9, kNan}}); }, "betas[1]");
  refused([&] { AdamW({p}, {.eps = -1}); }, "eps");
  refused([&] { NAdam({p}, {.momentum_decay = -1}); }, "momentum_decay");
  refused([&] { Lion({p}, {.betas = {0.9, 1}}); }, "betas[1]");
  SGD sgd({p}, {.momentum = 0.9});
  EXPECT_THROW(sgd.set_learning_rate(-1), InvalidArgument);
  EXPECT_THROW(sgd.set_momentum(0, 0), InvalidArgument);
  EXPECT_THROW(SGD({p}, {}).set_momentum(0, 0.5), InvalidArgument);
}

TEST(OptimizerTest, RefusesForeignState) {
  const Tensor p = ones({2});
  const auto number = [](double v) { return full({}, v, {.dtype = DType::f64}); };
  const auto refused = [](Optimizer& o, const StateDict& state, const char* what) {
    EXPECT_THAT([&] { o.load_state_dict(state); }, ThrowsMessage<InvalidArgument>(HasSubstr(what)));
  };
  SGD sgd({p}, {.momentum = 0.9});
  refused(sgd, {{"momentum_buffer.1", ones({2})}}, "unexpected key momentum_buffer.1");
  refused(sgd, {{"momentum_buffer.x", ones({2})}}, "unexpected");
  refused(sgd, {{"momentum_buffer", ones({2})}}, "unexpected");
  refused(sgd, {{"momentum_buffer.-1", ones({2})}}, "unexpected");
  refused(sgd, {{"step.0", number(1)}}, "unexpected");
  refused(sgd, {{"momentum_buffer.0", ones({3})}}, "expected [2]");
  refused(sgd, {{"momentum_buffer.0", ones({2})}, {"momentum_buffer.0", ones({2})}}, "twice");
  refused(sgd, {{"momentum_buffer.0", Tensor()}}, "undefined");
  refused(sgd, {{"lr.0", number(-1)}}, "lr.0");
  refused(sgd, {{"lr.1", number(1)}}, "lr.1");
  Adam adam({p});
  p.set_grad(ones({2}));
  adam.step();
  const StateDict before = adam.state_dict();
  refused(adam, {{"exp_avg.0", ones({2})}, {"step.0", number(3)}}, "missing key exp_avg_sq.0");
  refused(adam, {{"exp_avg.0", ones({2})}, {"exp_avg_sq.0", ones({2})}}, "missing key step.0");
  refused(adam, {{"exp_avg.0", ones({2})}, {"exp_avg_sq.0", ones({2})}, {"step.0", number(1.5)}}, "count");
  refused(adam, {{"exp_avg.0", ones({2})}, {"exp_avg_sq.0", ones({2})}, {"step.0", ones({2})}}, "one number");
  refused(adam, {{"max_exp_avg_sq.0", ones({2})}}, "unexpected");
  refused(adam, {{"master_param.0", ones({2})}}, "unexpected");
  const StateDict after = adam.state_dict();
  ASSERT_EQ(after.size(), before.size());
  for (std::size_t i = 0; i < after.size(); ++i) {
    EXPECT_EQ(after[i].first, before[i].first);
    EXPECT_EQ(after[i].second.to_vector<double>(), before[i].second.to_vector<double>());
  }
}

}  // namespace
}  // namespace gpunn
