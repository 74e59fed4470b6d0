// Hashes of steps: the hash itself, the file, and runs whose every step is the same.
#include "gpunn/training/step_hashes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <set>
#include <string>
#include <vector>

#include "gpunn/core/device_api.h"
#include "gpunn/core/error.h"
#include "gpunn/core/random.h"
#include "gpunn/core/runtime.h"
#include "gpunn/io/file.h"
#include "gpunn/layers/activations.h"
#include "gpunn/layers/linear.h"
#include "gpunn/layers/sequential.h"
#include "gpunn/training/trainer.h"
#include "tests/support/devices.h"
#include "tests/training/clouds.h"

namespace gpunn {
namespace {

using testing::clouds;
using ::testing::HasSubstr;

TEST(TensorHashTest, IsAsDocumented) {
  const DeviceScope scope(Device::cpu());
  // Computed in Python from the definition in step_hashes.h.
  EXPECT_EQ(tensor_hash(Tensor::from(std::vector<float>{1, 2, 3}, {3})), 0xb8ed34d092f9ef95);
  EXPECT_EQ(tensor_hash(empty({0})), 0x89e29eb068b720d0);
  EXPECT_EQ(tensor_hash(Tensor::from(std::vector<std::int64_t>{-1, 7}, {1, 2})), 0x72bb4016a700d3bf);
  EXPECT_EQ(tensor_hash(Tensor::from(std::vector<std::int64_t>{1, 2, 3, 4, 5}, {5})), 0x48e612bba681f61e);
  EXPECT_THROW(tensor_hash(Tensor()), InvalidArgument);
}

TEST(TensorHashTest, SeesEveryBitPlaceShapeAndDtype) {
  const DeviceScope scope(Device::cpu());
  std::vector<float> values(101, 0.0f);
  std::set<std::uint64_t> seen{tensor_hash(Tensor::from(values, {101}))};
  for (std::size_t i = 0; i < values.size(); ++i) {
    for (const float other : {-0.0f, 1.0f, std::nextafter(0.0f, 1.0f)}) {
      std::vector<float> changed = values;
      changed[i] = other;
      seen.insert(tensor_hash(Tensor::from(changed, {101})));
    }
  }
  EXPECT_EQ(seen.size(), 1 + 3 * values.size());
  // Two signs turned, in every pair of places: the sums must not cancel.
  std::set<std::uint64_t> pairs;
  for (std::size_t i = 0; i < 40; ++i)
    for (std::size_t j = 0; j < i; ++j) {
      std::vector<float> changed = values;
      changed[i] = changed[j] = -0.0f;
      pairs.insert(tensor_hash(Tensor::from(changed, {101})));
    }
  EXPECT_EQ(pairs.size(), 40u * 39 / 2);
  const Tensor x = Tensor::from(std::vector<float>{0, 1, 2, 3, 4, 5}, {6});
  std::set<std::uint64_t> kinds{tensor_hash(x),
                                tensor_hash(x.reshape({2, 3})),
                                tensor_hash(x.reshape({3, 2})),
                                tensor_hash(x.reshape({6, 1})),
                                tensor_hash(x.to(DType::f16)),
                                tensor_hash(x.to(DType::i32)),
                                tensor_hash(x.reshape({2, 3}).transpose(0, 1))};
  EXPECT_EQ(kinds.size(), 7u);
}

class TensorHashDeviceTest : public testing::DeviceTest {};
GPUNN_ON_EVERY_DEVICE(TensorHashDeviceTest);

TEST_P(TensorHashDeviceTest, IsOneOnEveryDeviceAndForAnyStridesAndThreads) {
  const DeviceScope scope(Device::cpu());
  manual_seed(5);
  const Tensor x = randn({401, 350});  // more than one chunk
  const std::uint64_t hash = tensor_hash(x);
  EXPECT_EQ(tensor_hash(x.to(device())), hash);
  EXPECT_EQ(tensor_hash(x.to(device()).transpose(0, 1).contiguous().transpose(0, 1)), hash);
  for (const int threads : {1, 2, 3, 8}) {
    Runtime runtime;
    RuntimeScope other(runtime);
    runtime.set_threads(threads);
    EXPECT_EQ(tensor_hash(x), hash) << threads << " threads";
  }
}

class StepHashesTest : public ::testing::Test {
 protected:
  StepHashesTest() : path_(::testing::TempDir() + "gpunn-hashes.jsonl") { std::remove(path_.c_str()); }
  ~StepHashesTest() override { std::remove(path_.c_str()); }

  struct Run {
    std::int64_t steps = 6, every = 1, from = 0;
    bool continues = false;
    double lr = 0.05;
    std::int64_t width = 20;
    std::uint64_t seed = 1;
    int workers = 0;
  };

  // Trains and returns the file. A run from step n on first makes the n steps again, unrecorded.
  std::string hashes_of(Device device, const Run& run) {
    const DeviceScope scope(device);
    manual_seed(3);
    Sequential model(Linear(12, run.width), ReLU(), Linear(run.width, 3));
    CrossEntropyLoss loss;
    SGD optimizer(model.parameters(), {.lr = run.lr, .momentum = 0.9});
    const DataLoader loader(
        clouds(64, 12, 4),
        {.batch_size = 16, .shuffle = true, .workers = run.workers, .seed = run.seed, .device = device});
    const TrainStep step = supervised_step(model, loss, optimizer);
    TrainerOptions options{.epochs = 1000, .max_steps = run.from};
    if (run.from > 0) options.start = train(step, loader, {}, options).position;
    options.max_steps = run.steps;
    StepHashWriter writer(path_, {"test", run.seed, device, run.every}, model, optimizer, options.start.steps,
                          run.continues);
    options.on_step = [&](const TrainPosition& at, const Batch& batch, const Tensor& value) {
      writer.record(at, batch, value);
    };
    train(step, loader, {}, options);
    return read_text_file(path_);
  }
  std::string hashes_of(const Run& run) { return hashes_of(Device::cpu(), run); }

  std::vector<StepHashes> read() const {
    StepHashReader reader(path_);
    std::vector<StepHashes> out;
    while (std::optional<StepHashes> step = reader.next()) out.push_back(*step);
    return out;
  }

  // The message when the file with this text is read to its end.
  std::string refusal(const std::string& text) const {
    write_file_atomic(path_, text);
    try {
      read();
    } catch (const DataError& e) {
      return e.what();
    }
    return "";
  }

  std::string path_;
};

TEST_F(StepHashesTest, HoldsEveryPartOfEveryStep) {
  hashes_of({});
  StepHashReader reader(path_);
  EXPECT_EQ(reader.run().at("recipe").as_string(), "test");
  EXPECT_EQ(reader.run().at("device").as_string(), "cpu");
  EXPECT_EQ(reader.run().at("dtype").as_string(), "f32");
  const std::vector<StepHashes> steps = read();
  ASSERT_EQ(steps.size(), 7u);
  EXPECT_EQ(steps[0].step, 0);
  EXPECT_TRUE(std::isnan(steps[0].loss));
  const auto names = [](const std::vector<StepHashes::Entry>& entries) {
    std::vector<std::string> out;
    for (const auto& entry : entries) out.push_back(entry.name);
    return out;
  };
  const std::vector<std::string> parameters{"0.weight", "0.bias", "2.weight", "2.bias"};
  const std::vector<std::string> backward{"2.bias", "2.weight", "0.bias", "0.weight"};
  EXPECT_EQ(names(steps[0].parts[5]), parameters);
  for (std::size_t i = 1; i < steps.size(); ++i) {
    EXPECT_EQ(steps[i].step, static_cast<std::int64_t>(i));
    EXPECT_GT(steps[i].loss, 0);
    EXPECT_EQ(names(steps[i].parts[0]), (std::vector<std::string>{"inputs", "targets"}));
    EXPECT_EQ(names(steps[i].parts[2]), (std::vector<std::string>{"loss"}));
    EXPECT_EQ(names(steps[i].parts[3]), backward);
    EXPECT_THAT(names(steps[i].parts[4]), ::testing::Contains("momentum_buffer.0"));
    EXPECT_EQ(names(steps[i].parts[5]), parameters);
    EXPECT_NE(steps[i].parts[5][0].hash, steps[i - 1].parts[5][0].hash) << "the weights moved";
  }
}

TEST_F(StepHashesTest, EveryNthStepOnly) {
  hashes_of({.steps = 10, .every = 4});
  const std::vector<StepHashes> some = read();
  ASSERT_EQ(some.size(), 3u);
  EXPECT_EQ(some[1].step, 4);
  hashes_of({.steps = 10});
  EXPECT_EQ(read()[8].parts[5][0].hash, some[2].parts[5][0].hash);
  EXPECT_THROW(hashes_of({.every = 0}), InvalidArgument);
}

TEST_F(StepHashesTest, AResumedRunGoesOnWithTheFile) {
  const std::string whole = hashes_of({.steps = 12});
  // Stopped at step 9, resumed from a checkpoint after step 5, half a line in between.
  hashes_of({.steps = 9});
  AppendFile(path_).append("{\"step\":10,\"ba");
  EXPECT_EQ(hashes_of({.steps = 12, .from = 5, .continues = true}), whole);
  EXPECT_THROW(hashes_of({.steps = 12, .every = 2, .from = 5, .continues = true}), DataError);
  std::remove(path_.c_str());
  hashes_of({.steps = 12, .from = 5, .continues = true});
  EXPECT_EQ(read().front().step, 5);
  write_file_atomic(path_, std::string_view("{}\n"));
  EXPECT_THROW(hashes_of({.steps = 12, .from = 5, .continues = true}), DataError);
}

TEST_F(StepHashesTest, DamageIsNamedWithItsLine) {
  const std::string good = hashes_of({.steps = 2});
  EXPECT_EQ(refusal(good), "");
  EXPECT_EQ(refusal(good + "{\"step\":3,\"bat"), "") << "half a line at the end is skipped";
  const auto line_end = [&](int n) {
    std::size_t at = 0;
    for (; n > 0; --n) at = good.find('\n', at) + 1;
    return at;
  };
  const auto with_line = [&](const std::string& line) { return good.substr(0, line_end(2)) + line + "\n"; };
  EXPECT_THAT(refusal(""), HasSubstr("line 1"));
  EXPECT_THAT(refusal("{}\n"), HasSubstr("line 1"));
  EXPECT_THAT(refusal("[]\n"), HasSubstr("line 1"));
  EXPECT_THAT(refusal("{\"format\":\"gpunn step hashes\",\"version\":2,\"every\":1}\n"),
              HasSubstr("version 1"));
  EXPECT_THAT(refusal("{\"format\":\"gpunn step hashes\",\"version\":1,\"every\":0}\n"),
              HasSubstr("at least 1"));
  for (const char* line :
       {"", "{", "[]", "{\"epoch\":1}", "{\"step\":-1}", "{\"step\":0}", "{\"step\":1.5}",
        "{\"step\":1,\"batch\":{\"inputs\":\"0\"}}", "{\"step\":1,\"batch\":{\"inputs\":\"\"}}",
        "{\"step\":1,\"batch\":{\"inputs\":\"0123456789abcdeF\"}}", "{\"step\":1,\"batch\":{\"inputs\":7}}",
        "{\"step\":1,\"batch\":[]}", "{\"step\":1,\"weights\":{}}", "{\"step\":1,\"loss_value\":\"x\"}",
        "{\"step\":1,\"batch\":{\"a\":{\"b\":{\"c\":{}}}}}"})
    EXPECT_THAT(refusal(with_line(line)), HasSubstr("gpunn-hashes.jsonl, line 3")) << line;
  EXPECT_EQ(refusal(with_line("{\"step\":1,\"loss_value\":null,\"batch\":{}}")), "");
}

TEST_F(StepHashesTest, OtherRunsHaveOtherHashesWhereTheyShould) {
  const std::string first = hashes_of({.steps = 3});
  const std::vector<StepHashes> a = read();
  hashes_of({.steps = 3, .seed = 2});
  const std::vector<StepHashes> other_order = read();
  EXPECT_EQ(a[0].parts[5][0].hash, other_order[0].parts[5][0].hash);
  EXPECT_NE(a[1].parts[0][0].hash, other_order[1].parts[0][0].hash);
  hashes_of({.steps = 3, .lr = 0.06});
  const std::vector<StepHashes> other_rate = read();
  EXPECT_EQ(a[1].parts[3][0].hash, other_rate[1].parts[3][0].hash) << "gradients of the first step";
  EXPECT_NE(a[1].parts[5][0].hash, other_rate[1].parts[5][0].hash);
  EXPECT_EQ(a[2].parts[0][0].hash, other_rate[2].parts[0][0].hash) << "the same batch";
  EXPECT_NE(a[2].parts[2][0].hash, other_rate[2].parts[2][0].hash);
}

// Not the weights at the end alone: each step of three runs, and of runs with other numbers of threads.
TEST_F(StepHashesTest, TwoHundredStepsAreTheSameForAnyNumberOfThreads) {
  std::string first;
  for (const int threads : {1, 1, 1, 2, 3, 8}) {
    Runtime runtime;
    RuntimeScope scope(runtime);
    runtime.set_threads(threads);
    // Wide enough that every op is shared out.
    std::string file = hashes_of({.steps = 200, .width = 1200, .workers = threads > 1 ? 2 : 0});
    file.erase(0, file.find('\n'));  // the line that names the number of threads
    if (first.empty()) first = file;
    EXPECT_EQ(file == first, true) << threads << " threads";
  }
  EXPECT_EQ(std::count(first.begin(), first.end(), '\n'), 202);
}

TEST_F(StepHashesTest, RunsOnADeviceAreTheSame) {
  if (cuda_device_count() == 0) GTEST_SKIP() << "no CUDA device";
  const std::int64_t steps = Device::cuda(0).context().api().info().emulated ? 30 : 200;
  const std::string first = hashes_of(Device::cuda(0), {.steps = steps});
  for (int run = 0; run < 2; ++run)
    EXPECT_EQ(hashes_of(Device::cuda(0), {.steps = steps, .workers = run}) == first, true);
  const std::vector<StepHashes> there = read();
  hashes_of({.steps = 2});
  const std::vector<StepHashes> here = read();
  EXPECT_EQ(there[0].parts[5][0].hash, here[0].parts[5][0].hash) << "the same weights to start from";
  EXPECT_EQ(there[1].parts[0][0].hash, here[1].parts[0][0].hash) << "the same batch";
}

}  // namespace
}  // namespace gpunn
