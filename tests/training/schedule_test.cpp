// Schedules against rates stored from PyTorch (tests/golden/schedules.py), and their state.
#include "gpunn/training/schedule.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "gpunn/io/csv.h"
#include "tests/support/golden.h"

namespace gpunn {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

constexpr int kSteps = 100;

/// The script's two groups.
std::unique_ptr<SGD> make_sgd() {
  return std::make_unique<SGD>(std::vector<ParameterGroup<SgdOptions>>{
      {{zeros({1})}, {.lr = 0.1, .momentum = 0.9}}, {{zeros({1})}, {.lr = 0.04, .momentum = 0.9}}});
}

using Make = std::function<std::unique_ptr<LRScheduler>(Optimizer&)>;

template <class Kind, class... A>
Make make(A... arguments) {
  return [=](Optimizer& o) { return std::make_unique<Kind>(o, arguments...); };
}

const std::map<std::string, Make> kCases = {
    {"lambda", make<LambdaLR>(std::vector<LambdaLR::Lambda>{
                   [](std::int64_t t) { return std::pow(0.95, static_cast<double>(t)); },
                   [](std::int64_t t) { return 1 / (1 + static_cast<double>(t)); }})},
    {"step", make<StepLR>(30)},
    {"step gamma", make<StepLR>(7, 0.8)},
    {"multistep", make<MultiStepLR>(std::vector<std::int64_t>{10, 40, 40, 77}, 0.3)},
    {"exponential", make<ExponentialLR>(0.97)},
    {"constant", make<ConstantLR>()},
    {"linear", make<LinearLR>()},
    {"linear down", make<LinearLR>(1.0, 0.1, 60)},
    {"polynomial", make<PolynomialLR>(80, 2.0)},
    {"cosine", make<CosineAnnealingLR>(100)},
    {"cosine again", make<CosineAnnealingLR>(30, 0.001)},
    {"restarts", make<CosineAnnealingWarmRestarts>(15)},
    {"restarts double", make<CosineAnnealingWarmRestarts>(10, 2, 0.002)},
    {"onecycle", make<OneCycleLR>(0.5, 101)},
    {"onecycle linear", make<OneCycleLR>(std::vector<double>{0.5, 0.2}, 120,
                                         OneCycleOptions{.pct_start = 0.25,
                                                         .linear = true,
                                                         .base_momentum = 0.8,
                                                         .max_momentum = 0.9,
                                                         .div_factor = 10,
                                                         .final_div_factor = 100})},
    {"onecycle three", make<OneCycleLR>(0.3, 101, OneCycleOptions{.pct_start = 0.4, .three_phase = true})},
    {"onecycle alone", make<OneCycleLR>(0.3, 101, OneCycleOptions{.cycle_momentum = false})},
    {"warm-up cosine",
     [](Optimizer& o) {
       return std::make_unique<SequentialLR>(
           o,
           std::vector<std::shared_ptr<const LRScheduler>>{std::make_shared<LinearLR>(o, 0.01, 1.0, 5),
                                                           std::make_shared<CosineAnnealingLR>(o, 95)},
           std::vector<std::int64_t>{5});
     }},
    {"warm-up steps",
     [](Optimizer& o) {
       return std::make_unique<SequentialLR>(
           o,
           std::vector<std::shared_ptr<const LRScheduler>>{std::make_shared<ConstantLR>(o, 0.1, 20),
                                                           std::make_shared<ExponentialLR>(o, 0.9),
                                                           std::make_shared<StepLR>(o, 20)},
           std::vector<std::int64_t>{10, 40});
     }},
};

const std::map<std::string, PlateauOptions> kPlateaus = {
    {"plateau", {}},
    {"plateau max",
     {.maximize = true, .factor = 0.5, .patience = 3, .threshold = 0.01, .cooldown = 4, .min_lr = 0.001}},
    {"plateau abs", {.factor = 0.7, .patience = 2, .threshold = 0.005, .absolute = true, .eps = 1e-3}},
};

double metric(const PlateauOptions& o, int t) {
  const double value = 1.0 / (1 + std::min(t, 20)) + 0.05 * std::cos(t);
  return o.maximize ? -value : value;
}

struct Row {
  double lr[2], momentum;
};

/// Rates and momentum by name, one row per step from 0.
std::map<std::string, std::vector<Row>> golden() {
  const CsvTable table = CsvTable::read(testing::golden_path("schedules.csv"), {.header = true});
  const auto names = table.text(0);
  const auto first = table.numbers(2), second = table.numbers(3), momentum = table.numbers(4);
  std::map<std::string, std::vector<Row>> rows;
  for (std::size_t i = 0; i < names.size(); ++i)
    rows[names[i]].push_back({{first[i], second[i]}, momentum[i]});
  return rows;
}

void expect_row(const Optimizer& o, const Row& row, const std::string& where) {
  for (std::size_t g = 0; g < 2; ++g)
    EXPECT_NEAR(o.learning_rate(g), row.lr[g], 1e-12 * row.lr[g] + 1e-17) << where << ", group " << g;
  EXPECT_NEAR(o.momentum(), row.momentum, 1e-12) << where;
}

TEST(ScheduleTest, EqualsPyTorchOver100Steps) {
  const auto rows = golden();
  EXPECT_EQ(rows.size(), kCases.size() + kPlateaus.size());
  for (const auto& [name, make_one] : kCases) {
    const auto sgd = make_sgd();
    const auto schedule = make_one(*sgd);
    ASSERT_EQ(rows.at(name).size(), kSteps + 1u) << name;
    for (int t = 0;; ++t) {
      expect_row(*sgd, rows.at(name)[static_cast<std::size_t>(t)], name + ", step " + std::to_string(t));
      if (t == kSteps) break;
      schedule->step();
    }
    EXPECT_EQ(schedule->last_epoch(), kSteps);
    EXPECT_EQ(schedule->get_last_lr(), (std::vector<double>{sgd->learning_rate(0), sgd->learning_rate(1)}));
  }
}

TEST(ScheduleTest, PlateausEqualPyTorch) {
  const auto rows = golden();
  for (const auto& [name, options] : kPlateaus) {
    const auto sgd = make_sgd();
    ReduceLROnPlateau schedule(*sgd, options);
    for (int t = 0; t < kSteps; ++t) {
      expect_row(*sgd, rows.at(name)[static_cast<std::size_t>(t)], name + ", step " + std::to_string(t));
      schedule.step(metric(options, t));
    }
    expect_row(*sgd, rows.at(name)[kSteps], name + " at the end");
    EXPECT_LT(sgd->learning_rate(0), 0.1) << name << " must have reduced the rate";
  }
}

TEST(ScheduleTest, StateContinuesBitwise) {
  for (const auto& [name, make_one] : kCases) {
    const auto whole = make_sgd(), first = make_sgd(), second = make_sgd();
    const auto schedule = make_one(*whole), before = make_one(*first), after = make_one(*second);
    for (int t = 0; t < 37; ++t) schedule->step(), before->step();
    after->load_state_dict(before->state_dict());
    EXPECT_EQ(second->learning_rate(1), whole->learning_rate(1)) << name;
    for (int t = 37; t < 60; ++t) schedule->step(), after->step();
    EXPECT_EQ(after->get_last_lr(), schedule->get_last_lr()) << name;
    EXPECT_EQ(second->momentum(), whole->momentum()) << name;
  }
}

TEST(ScheduleTest, PlateauStateContinues) {
  for (const auto& [name, options] : kPlateaus) {
    const auto whole = make_sgd(), part = make_sgd(), resumed = make_sgd();
    ReduceLROnPlateau schedule(*whole, options), first(*part, options), second(*resumed, options);
    for (int t = 0; t < 30; ++t) schedule.step(metric(options, t)), first.step(metric(options, t));
    second.load_state_dict(first.state_dict());
    resumed->load_state_dict(part->state_dict());
    EXPECT_EQ(second.best(), first.best());
    EXPECT_EQ(second.num_bad_epochs(), first.num_bad_epochs());
    for (int t = 30; t < 80; ++t) schedule.step(metric(options, t)), second.step(metric(options, t));
    EXPECT_EQ(second.get_last_lr(), schedule.get_last_lr()) << name;
    EXPECT_EQ(second.last_epoch(), 80);
  }
}

TEST(ScheduleTest, NanIsNoImprovement) {
  const auto sgd = make_sgd();
  ReduceLROnPlateau schedule(*sgd, {.patience = 1});
  for (int t = 0; t < 2; ++t) schedule.step(std::nan(""));
  EXPECT_DOUBLE_EQ(sgd->learning_rate(0), 0.01);
}

TEST(ScheduleTest, CyclesTheFirstBetaOfAdam) {
  const Tensor p = zeros({1});
  Adam adam({p});
  OneCycleLR schedule(adam, 0.1, 10);
  EXPECT_DOUBLE_EQ(adam.momentum(), 0.95);
  for (int t = 0; t < 9; ++t) schedule.step();
  EXPECT_DOUBLE_EQ(adam.learning_rate(), 0.1 / 25 / 1e4);
  EXPECT_THAT([&] { schedule.step(); }, ThrowsMessage<InvalidArgument>(HasSubstr("total_steps")));
  EXPECT_EQ(schedule.last_epoch(), 9);
}

TEST(ScheduleTest, RefusesNonsense) {
  const auto sgd = make_sgd();
  SGD& o = *sgd;
  const auto refused = [](const std::function<void()>& f, const char* what) {
    EXPECT_THAT(f, ThrowsMessage<InvalidArgument>(HasSubstr(what)));
  };
  refused([&] { StepLR(o, 0); }, "[StepLR] expected step_size");
  refused([&] { StepLR(o, 3, std::nan("")); }, "gamma");
  refused([&] { MultiStepLR(o, {5, 3}); }, "milestones");
  refused([&] { ExponentialLR(o, -1); }, "gamma");
  refused([&] { ConstantLR(o, 1.5); }, "factor");
  refused([&] { LinearLR(o, 0); }, "start_factor");
  refused([&] { LinearLR(o, 0.5, 2); }, "end_factor");
  refused([&] { LinearLR(o, 0.5, 1, 0); }, "total_iters");
  refused([&] { PolynomialLR(o, 0); }, "total_iters");
  refused([&] { CosineAnnealingLR(o, 0); }, "T_max");
  refused([&] { CosineAnnealingWarmRestarts(o, 3, 0); }, "T_mult");
  refused([&] { OneCycleLR(o, 0.1, 0); }, "total_steps");
  refused([&] { OneCycleLR(o, std::vector<double>{0.1}, 10); }, "max_lr");
  refused([&] { OneCycleLR(o, 0.1, 10, {.pct_start = 2}); }, "pct_start");
  refused([&] { OneCycleLR(o, 0.1, 10, {.max_momentum = 1}); }, "momentum");
  SGD plain({zeros({1})}, {});
  refused([&] { OneCycleLR(plain, 0.1, 10); }, "cycle_momentum");
  refused([&] { SequentialLR(o, {}, {}); }, "milestone");
  refused([&] { SequentialLR(o, {nullptr}, {}); }, "null");
  refused([&] { LambdaLR(o, LambdaLR::Lambda()); }, "function");
  refused([&] { LambdaLR(o, [](std::int64_t) { return -1.0; }); }, "lr");
  refused([&] { ReduceLROnPlateau(o, {.factor = 1}); }, "factor");
  refused([&] { ReduceLROnPlateau(o, {.patience = -1}); }, "patience");
  StepLR schedule(o, 3);
  refused([&] { schedule.load_state_dict({{"last_epoch", zeros({})}}); }, "missing key base_lrs");
  refused([&] { schedule.load_state_dict({{"last_epoch", full({}, -1)}, {"base_lrs", ones({2})}}); },
          "count");
  refused([&] { schedule.load_state_dict({{"last_epoch", zeros({})}, {"base_lrs", ones({3})}}); }, "groups");
  refused([&] { schedule.load_state_dict({{"epoch", zeros({})}}); }, "unexpected key");
  EXPECT_EQ(schedule.last_epoch(), 0);
}

}  // namespace
}  // namespace gpunn
