// Schedules in the trainer: the rate of every step, and runs that are stopped in the middle of one and go on.
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "gpunn/core/random.h"
#include "gpunn/layers/linear.h"
#include "gpunn/training/checkpoint.h"
#include "gpunn/training/run_folder.h"
#include "gpunn/training/trainer.h"
#include "tests/support/devices.h"

namespace gpunn {
namespace {

constexpr std::int64_t kRows = 40, kBatch = 8, kStepsPerEpoch = 5, kEpochs = 4;

using Make = std::function<TrainSchedule(Optimizer&)>;

struct Case {
  const char* name;
  Make make;
};

const Case kCases[] = {
    {"one-cycle",
     [](Optimizer& o) {
       return TrainSchedule{.rate = std::make_shared<OneCycleLR>(o, 0.3, kEpochs * kStepsPerEpoch),
                            .unit = ScheduleUnit::step};
     }},
    {"step by epoch",
     [](Optimizer& o) { return TrainSchedule{.rate = std::make_shared<StepLR>(o, 1, 0.5)}; }},
    {"warm-up cosine",
     [](Optimizer& o) {
       return TrainSchedule{
           .rate = std::make_shared<SequentialLR>(
               o,
               std::vector<std::shared_ptr<const LRScheduler>>{std::make_shared<LinearLR>(o, 0.1, 1.0, 7),
                                                               std::make_shared<CosineAnnealingLR>(o, 13)},
               std::vector<std::int64_t>{7}),
           .unit = ScheduleUnit::step};
     }},
    // Improvements of less than 90 % do not count, so that the rate falls several times.
    {"plateau", [](Optimizer& o) {
       return TrainSchedule{.plateau = std::make_shared<ReduceLROnPlateau>(
                                o, PlateauOptions{.factor = 0.5, .patience = 0, .threshold = 0.9})};
     }}};

std::shared_ptr<const Dataset> rows() {
  PhiloxStream random(11, 5);
  std::vector<float> x, y;
  for (std::int64_t i = 0; i < kRows; ++i) {
    for (int f = 0; f < 4; ++f) x.push_back(random.normal());
    y.push_back(x[x.size() - 1] - 2 * x[x.size() - 3]);
  }
  return std::make_shared<TensorDataset>(Tensor::from(x, {kRows, 4}, {.device = Device::cpu()}),
                                         Tensor::from(y, {kRows, 1}, {.device = Device::cpu()}));
}

struct Problem {
  Linear model{4, 1};
  MSELoss loss;
  SGD optimizer;
  DataLoader loader;
  TrainSchedule schedule;
  std::vector<double> rates, momenta;  // of every step

  Problem(Device device, const Make& make)
      : optimizer((manual_seed(2), model = Linear(4, 1), model.to(device), model.parameters()),
                  {.lr = 0.1, .momentum = 0.9}),
        loader(rows(), {.batch_size = kBatch, .shuffle = true, .seed = 3, .device = device}),
        schedule(make ? make(optimizer) : TrainSchedule()) {}

  TrainResult train(TrainerOptions options) {
    options.epochs = kEpochs;
    options.schedule = schedule;
    const TrainStep step = supervised_step(model, loss, optimizer);
    return gpunn::train(
        [&](const Batch& batch) {
          rates.push_back(optimizer.learning_rate());
          momenta.push_back(optimizer.momentum());
          return step(batch);
        },
        loader, [&] { return evaluate(model, loss, loader); }, options);
  }
  std::string hash() { return weights_sha256(model.state_dict()); }
};

class TrainScheduleTest : public testing::DeviceTest {
 protected:
  std::string path() const {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    return ::testing::TempDir() + "gpunn-schedule-" + info->name()[0] + GetParam().substr(0, 3) +
           ".safetensors";
  }
  void TearDown() override { std::filesystem::remove(path()); }
};
GPUNN_ON_EVERY_DEVICE(TrainScheduleTest);

TEST_P(TrainScheduleTest, ResumedRunsEqualUninterruptedOnes) {
  const DeviceScope scope(device());
  for (const Case& c : kCases) {
    if (!device().is_cpu() && &c != &kCases[0] && &c != &kCases[3]) continue;  // emulated steps take long
    Problem whole(device(), c.make);
    whole.train({});
    EXPECT_GT(std::set<double>(whole.rates.begin(), whole.rates.end()).size(), 2u) << c.name;
    for (const int stop_after :
         device().is_cpu() ? std::vector{1, 13, 15, 18} : std::vector{13}) {  // 15: an epoch's end
      Problem first(device(), c.make), second(device(), c.make);
      int asked = 0;
      TrainerOptions options{.stop = [&] { return ++asked == stop_after; }};
      options.on_epoch = [&](const EpochRecord& r) {
        save_checkpoint(path(), "test", first.model, first.optimizer, r.position, first.schedule);
      };
      EXPECT_TRUE(first.train(options).stopped);
      const TrainPosition start =
          load_checkpoint(path(), "test", second.model, second.optimizer, second.schedule);
      EXPECT_EQ(start.steps, stop_after);
      second.train({.start = start});
      first.rates.insert(first.rates.end(), second.rates.begin(), second.rates.end());
      first.momenta.insert(first.momenta.end(), second.momenta.begin(), second.momenta.end());
      EXPECT_EQ(first.rates, whole.rates) << c.name << ", stopped after " << stop_after;
      EXPECT_EQ(first.momenta, whole.momenta) << c.name << ", stopped after " << stop_after;
      EXPECT_EQ(second.hash(), whole.hash()) << c.name << ", stopped after " << stop_after;
    }
  }
}

TEST_P(TrainScheduleTest, LoadsOnlyWhatFits) {
  const DeviceScope scope(device());
  const auto save = [&](Problem& run) {
    save_checkpoint(path(), "test", run.model, run.optimizer, {}, run.schedule);
  };
  const auto load = [&](Problem& run) {
    return load_checkpoint(path(), "test", run.model, run.optimizer, run.schedule);
  };
  Problem plain(device(), nullptr), cycle(device(), kCases[0].make), plateau(device(), kCases[3].make);
  plain.train({.max_steps = 3});
  save(plain);
  EXPECT_NO_THROW(load(plain)) << "neither has a schedule";
  const std::string before = cycle.hash();
  cycle.schedule.rate->step();
  const double rate = cycle.optimizer.learning_rate(), momentum = cycle.optimizer.momentum();
  EXPECT_THROW(load(cycle), DataError) << "no schedule in the file";
  EXPECT_THROW(load(plateau), DataError);
  Problem other(device(), kCases[3].make);
  save(other);
  EXPECT_THROW(load(cycle), DataError) << "a schedule of another kind";
  EXPECT_THROW(load(plain), DataError) << "a schedule that nobody would follow";

  // The model refuses last, when schedule and optimizer have taken their part.
  Problem wrong(device(), kCases[0].make);
  wrong.schedule.rate->step();
  wrong.schedule.rate->step();
  Linear wider(5, 1);
  save_checkpoint(path(), "test", wider, wrong.optimizer, {}, wrong.schedule);
  EXPECT_THROW(load(cycle), DataError);
  EXPECT_EQ(cycle.schedule.rate->last_epoch(), 1);
  EXPECT_EQ(cycle.optimizer.learning_rate(), rate);
  EXPECT_EQ(cycle.optimizer.momentum(), momentum);
  EXPECT_EQ(cycle.hash(), before);
}

TEST(TrainScheduleCpuTest, EveryStepHasItsRate) {
  for (const ScheduleUnit unit : {ScheduleUnit::epoch, ScheduleUnit::step}) {
    Problem run(Device::cpu(), [&](Optimizer& o) {
      return TrainSchedule{.rate = std::make_shared<ExponentialLR>(o, 0.9), .unit = unit};
    });
    const TrainResult result = run.train({});
    ASSERT_EQ(run.rates.size(), static_cast<std::size_t>(kEpochs * kStepsPerEpoch));
    for (std::size_t k = 0; k < run.rates.size(); ++k) {
      const auto at = static_cast<std::int64_t>(k) / (unit == ScheduleUnit::step ? 1 : kStepsPerEpoch);
      EXPECT_EQ(run.rates[k], run.schedule.rate->rate(0.1, 0, at)) << k;
    }
    for (const EpochRecord& r : result.history)
      EXPECT_EQ(r.learning_rate, run.rates[static_cast<std::size_t>(r.steps) - 1]);
  }
  Problem plain(Device::cpu(), nullptr);
  for (const EpochRecord& r : plain.train({}).history) EXPECT_FALSE(r.learning_rate);
}

TEST(TrainScheduleCpuTest, PlateausFollowTheEvaluationsAskedFor) {
  Problem run(Device::cpu(), kCases[3].make);
  run.train({.evaluate_every = 3});
  EXPECT_EQ(run.schedule.plateau->last_epoch(), 1) << "not the evaluation at the end";
  Problem broken(Device::cpu(), kCases[3].make);
  broken.train({.max_steps = 7});
  EXPECT_EQ(broken.schedule.plateau->last_epoch(), 1) << "not that of a broken epoch";

  TrainerOptions never{.evaluate_every = 0};
  EXPECT_THROW(run.train(never), InvalidArgument);
  run.schedule.rate = std::make_shared<StepLR>(run.optimizer, 2);
  EXPECT_THROW(run.train({}), InvalidArgument);
}

}  // namespace
}  // namespace gpunn
