// The trainer on a tiny problem: it learns, counts, stops, and gives equal bits for equal seeds.
#include "gpunn/training/trainer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "gpunn/core/autograd.h"
#include "gpunn/core/random.h"
#include "gpunn/core/runtime.h"
#include "gpunn/io/file.h"
#include "gpunn/layers/activations.h"
#include "gpunn/layers/linear.h"
#include "gpunn/layers/sequential.h"
#include "gpunn/training/history.h"
#include "gpunn/training/run_folder.h"
#include "tests/support/devices.h"
#include "tests/training/clouds.h"

namespace gpunn {
namespace {

using testing::clouds;

struct Problem {
  Sequential model;
  CrossEntropyLoss loss;
  SGD optimizer;
  DataLoader train, test;

  Problem(Device device, std::int64_t rows, int workers = 0)
      : model(Linear(12, 40), ReLU(), Linear(40, 3)),
        optimizer(model.parameters(), {.lr = 0.1, .momentum = 0.9}),
        train(clouds(rows, 12, 1),
              {.batch_size = 16, .shuffle = true, .workers = workers, .seed = 5, .device = device}),
        test(clouds(60, 12, 2), {.batch_size = 32, .device = device}) {}

  TrainResult run(TrainerOptions options) {
    return gpunn::train(
        supervised_step(model, loss, optimizer), train, [this] { return evaluate(model, loss, test); },
        options);
  }
};

class TrainerTest : public testing::DeviceTest {
 protected:
  void SetUp() override { manual_seed(3); }
};
GPUNN_ON_EVERY_DEVICE(TrainerTest);

TEST_P(TrainerTest, Learns) {
  const DeviceScope scope(device());
  Problem setup(device(), 160);
  const TrainResult result = setup.run({.epochs = 6});
  EXPECT_EQ(result.epochs, 6);
  EXPECT_EQ(result.steps, 60);
  ASSERT_EQ(result.history.size(), 6u);
  EXPECT_LT(result.train_loss, 0.25 * result.history[0].train_loss);
  ASSERT_TRUE(result.test);
  EXPECT_GT(result.test->accuracy.value(), 0.9);
  EXPECT_EQ(result.test->samples, 60);
  EXPECT_GT(result.steps_per_second, 0);
  EXPECT_GE(result.seconds, result.history.back().seconds);
  EXPECT_TRUE(setup.model.is_training()) << "evaluation puts the mode back";
}

TEST_P(TrainerTest, WorkersChangeNothing) {
  const DeviceScope scope(device());
  std::vector<std::string> hashes;
  for (const int workers : {0, 1, 3}) {
    manual_seed(3);
    Problem setup(device(), 80, workers);
    setup.run({.epochs = 2, .evaluate_every = 0});
    hashes.push_back(weights_sha256(setup.model.state_dict()));
  }
  EXPECT_EQ(hashes[1], hashes[0]);
  EXPECT_EQ(hashes[2], hashes[0]);
}

TEST(TrainerCpuTest, StopsWhereAsked) {
  Problem setup(Device::cpu(), 160);
  int asked = 0;
  const TrainResult stopped = setup.run({.epochs = 5, .stop = [&] { return ++asked == 13; }});
  EXPECT_TRUE(stopped.stopped);
  EXPECT_EQ(stopped.steps, 13);
  EXPECT_EQ(stopped.epochs, 1);
  EXPECT_EQ(stopped.history.size(), 2u) << "the broken epoch is recorded as far as it went";
  EXPECT_TRUE(stopped.test);

  const TrainResult limited = setup.run({.epochs = 5, .max_steps = 7});
  EXPECT_FALSE(limited.stopped);
  EXPECT_EQ(limited.steps, 7);
  EXPECT_EQ(limited.steps_per_second, 0) << "nothing is measured within the warm-up";

  const TrainResult none = setup.run({.epochs = 0});
  EXPECT_EQ(none.steps, 0);
  EXPECT_TRUE(none.history.empty());
  EXPECT_TRUE(std::isnan(none.train_loss));
  EXPECT_TRUE(none.test) << "the model as it is, evaluated";
}

TEST(TrainerCpuTest, TheMeanOfABrokenEpochGoesOn) {
  manual_seed(3);
  Problem whole(Device::cpu(), 70);  // five steps, the last one smaller
  const double mean = whole.run({.epochs = 2}).train_loss;
  manual_seed(3);
  Problem parts(Device::cpu(), 70);
  TrainPosition at;
  for (const std::int64_t steps : {2, 7, 8, 10})
    at = parts.run({.epochs = 2, .start = at, .max_steps = steps}).position;
  EXPECT_EQ(at.epoch, 2);
  EXPECT_EQ(at.loss_samples, 70);
  EXPECT_EQ(at.loss_sum / 70, mean);
  const TrainResult none = parts.run({.epochs = 2, .start = at});
  EXPECT_EQ(none.steps, 10);
  EXPECT_EQ(none.train_loss, mean) << "of the epoch before";
}

TEST(TrainerCpuTest, RecordsAsOftenAsAsked) {
  Problem setup(Device::cpu(), 32);
  std::vector<std::int64_t> recorded, tested;
  TrainerOptions options{.epochs = 10, .evaluate_every = 4, .record_every = 3};
  options.on_epoch = [&](const EpochRecord& r) {
    recorded.push_back(r.epoch);
    if (r.test) tested.push_back(r.epoch);
  };
  setup.run(options);
  EXPECT_EQ(recorded, (std::vector<std::int64_t>{1, 3, 6, 9, 10}));
  EXPECT_EQ(tested, (std::vector<std::int64_t>{10}));
}

TEST(TrainerCpuTest, ErrorsOfTheDataPassThrough) {
  struct Broken final : Dataset {
    std::int64_t size() const override { return 4; }
    Batch get(std::span<const std::int64_t>) const override { throw DataError("disk on fire"); }
  };
  Linear model(2, 2);
  MSELoss loss;
  SGD optimizer(model.parameters(), {});
  DataLoader loader(std::make_shared<Broken>(), {.batch_size = 2, .workers = 2});
  EXPECT_THROW(train(supervised_step(model, loss, optimizer), loader, {}, {}), DataError);
}

TEST(TrainerCpuTest, EqualBitsForEqualSeedsAndAnyNumberOfThreads) {
  std::vector<std::string> hashes;
  for (const int threads : {1, 1, 1, 2, 8}) {
    Runtime runtime;
    RuntimeScope scope(runtime);
    runtime.set_threads(threads);
    manual_seed(3);
    Sequential model(Linear(300, 200), ReLU(), Linear(200, 50), Tanh(), Linear(50, 3));
    CrossEntropyLoss loss;
    SGD optimizer(model.parameters(), {.lr = 0.05, .momentum = 0.9});
    const DataLoader loader(clouds(640, 300, 4), {.batch_size = 64, .shuffle = true, .seed = 1});
    train(supervised_step(model, loss, optimizer), loader, {}, {.epochs = 3});
    hashes.push_back(weights_sha256(model.state_dict()));
  }
  for (const std::string& hash : hashes) EXPECT_EQ(hash, hashes[0]);
}

TEST(HistoryTest, LinesAreReadBack) {
  const std::string path = ::testing::TempDir() + "gpunn-history.jsonl";
  EpochRecord first{.epoch = 1, .steps = 10, .train_loss = 0.75, .seconds = 1.5};
  EpochRecord broken = first, second = first;
  broken.epoch = second.epoch = 2;
  broken.train_loss = std::numeric_limits<double>::quiet_NaN();
  second.test = Evaluation{.loss = 0.5, .accuracy = 0.875};
  write_file_atomic(
      path, record_line(first) + "\n" + record_line(broken) + "\n" + record_line(second) + "\n{\"epoch\":3");
  const std::vector<EpochRecord> read = read_history(path);
  ASSERT_EQ(read.size(), 2u);
  EXPECT_EQ(read[0].train_loss, 0.75);
  EXPECT_FALSE(read[0].test);
  EXPECT_EQ(read[1].epoch, 2);
  EXPECT_EQ(read[1].test->loss, 0.5);
  EXPECT_EQ(read[1].test->accuracy, 0.875);
  write_file_atomic(path, record_line(broken) + "\n");
  EXPECT_TRUE(std::isnan(read_history(path)[0].train_loss));
  write_file_atomic(path, std::string_view("{\"epoch\":1}\n"));
  EXPECT_THROW(read_history(path), DataError);
  EXPECT_THROW(read_history(path + ".none"), DataError);
}

TEST(MetricsTest, MeanLossIsWeighted) {
  MeanLoss loss;
  EXPECT_TRUE(std::isnan(loss.mean()));
  loss.add(full({}, 1), 3);
  loss.add(full({}, 5), 1);
  EXPECT_DOUBLE_EQ(loss.mean(), 2);
  EXPECT_EQ(loss.samples(), 4);
  EXPECT_DOUBLE_EQ(loss.last(), 5);
  loss.reset();
  for (int i = 0; i < 200; ++i) loss.add(full({}, i), 1);
  EXPECT_DOUBLE_EQ(loss.mean(), 99.5);
}

TEST(MetricsTest, CountsCorrectRows) {
  const Tensor scores = Tensor::from({{1, 2, 0}, {5, 1, 1}, {0, 0, 1}});
  EXPECT_EQ(count_correct(scores, Tensor::from(std::vector<std::int64_t>{1, 0, 0}, {3})), 2);
  EXPECT_EQ(count_correct(zeros({0, 3}), zeros({0}, {.dtype = DType::i64})), 0);
  EXPECT_THROW(count_correct(scores, zeros({3})), InvalidArgument);
  EXPECT_THROW(count_correct(scores, zeros({2}, {.dtype = DType::i64})), InvalidArgument);
}

}  // namespace
}  // namespace gpunn
