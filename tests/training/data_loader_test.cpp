// DataLoader: every configuration gives the same batches, nothing hangs, errors arrive.
#include "gpunn/training/data_loader.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <numeric>
#include <optional>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

#include "gpunn/core/memory.h"
#include "gpunn/core/random.h"
#include "gpunn/core/runtime.h"
#include "gpunn/core/stream.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "tests/support/devices.h"
#include "tests/support/fake_device.h"
#include "tests/support/stuck_stream.h"
#if GPUNN_EMULATED
#include "gpunn/core/emulation/config.h"
#endif

namespace gpunn {
namespace {

// Row i is (i, -i) with target 10 i. Row `bad` throws; each batch takes `delay`.
class Rows final : public Dataset {
 public:
  explicit Rows(std::int64_t size, std::int64_t bad = -1, std::chrono::microseconds delay = {})
      : size_(size), bad_(bad), delay_(delay) {}
  std::int64_t size() const override { return size_; }
  Batch get(std::span<const std::int64_t> indices) const override {
    check_indices(indices);
    calls.fetch_add(1);
    if (delay_.count() > 0) std::this_thread::sleep_for(delay_);
    std::vector<float> x;
    std::vector<std::int64_t> y;
    for (const std::int64_t i : indices) {
      if (i == bad_) throw DataError("row " + std::to_string(i) + " is damaged");
      x.insert(x.end(), {static_cast<float>(i), static_cast<float>(-i)});
      y.push_back(10 * i);
    }
    const auto n = static_cast<std::int64_t>(indices.size());
    return {Tensor::from(x, {n, 2}, {.device = Device::cpu()}),
            Tensor::from(y, {n}, {.device = Device::cpu()})};
  }
  mutable std::atomic<int> calls{0};

 private:
  std::int64_t size_, bad_;
  std::chrono::microseconds delay_;
};

std::vector<std::int64_t> targets_of(DataLoader::Epoch epoch) {
  std::vector<std::int64_t> out;
  for (Batch& batch : epoch)
    for (const std::int64_t t : batch.targets.to_vector<std::int64_t>()) out.push_back(t);
  return out;
}

// A hang becomes a failure instead of a stopped test run.
template <class F>
void within_a_minute(F f) {
  std::packaged_task<void()> task(f);
  std::future<void> done = task.get_future();
  std::thread thread(std::move(task));
  const bool finished = done.wait_for(std::chrono::seconds(60)) == std::future_status::ready;
  EXPECT_TRUE(finished) << "the loader hangs";
  if (!finished) {
    thread.detach();
    return;
  }
  thread.join();
  done.get();
}

TEST(DataLoaderTest, BatchesHoldTheRightRows) {
  const auto rows = std::make_shared<Rows>(10);
  DataLoader loader(rows, {.batch_size = 4});
  EXPECT_EQ(loader.size(), 3);
  DataLoader::Epoch epoch = loader.epoch(0);
  const std::optional<Batch> first = epoch.next();
  ASSERT_TRUE(first);
  EXPECT_EQ(first->inputs.to_vector<float>(), (std::vector<float>{0, 0, 1, -1, 2, -2, 3, -3}));
  EXPECT_EQ(epoch.next()->size(), 4);
  EXPECT_EQ(epoch.next()->size(), 2);
  EXPECT_FALSE(epoch.next());
  EXPECT_FALSE(epoch.next());

  DataLoader full(rows, {.batch_size = 4, .drop_last = true});
  EXPECT_EQ(full.size(), 2);
  EXPECT_EQ(targets_of(full.epoch(0)).size(), 8u);
}

TEST(DataLoaderTest, ShufflesBySeedAndEpoch) {
  const auto rows = std::make_shared<Rows>(100);
  const auto order = [&](std::uint64_t seed, std::int64_t epoch) {
    return DataLoader(rows, {.batch_size = 7, .shuffle = true, .seed = seed}).order(epoch);
  };
  EXPECT_EQ(order(1, 0), order(1, 0));
  EXPECT_NE(order(1, 0), order(1, 1));
  EXPECT_NE(order(1, 0), order(2, 0));
  std::vector<std::int64_t> sorted = order(5, 3);
  EXPECT_FALSE(std::is_sorted(sorted.begin(), sorted.end()));
  std::sort(sorted.begin(), sorted.end());
  for (std::int64_t i = 0; i < 100; ++i) EXPECT_EQ(sorted[static_cast<std::size_t>(i)], i);
}

TEST(DataLoaderTest, ShuffleIsUniform) {
  // Where row 0 lands over many epochs: each of ten places a tenth of the time.
  const auto rows = std::make_shared<Rows>(10);
  DataLoader loader(rows, {.shuffle = true, .seed = 11});
  std::vector<int> counts(10);
  constexpr int kEpochs = 5000;
  for (int e = 0; e < kEpochs; ++e) {
    const std::vector<std::int64_t> order = loader.order(e);
    ++counts[static_cast<std::size_t>(std::find(order.begin(), order.end(), 0) - order.begin())];
  }
  double chi_square = 0;
  for (const int count : counts) chi_square += (count - 500.0) * (count - 500.0) / 500.0;
  EXPECT_LT(chi_square, 27.9);  // 99.9 % point, 9 degrees of freedom
}

TEST(DataLoaderTest, ResumesAtABatch) {
  const auto rows = std::make_shared<Rows>(20);
  for (const int workers : {0, 3}) {
    DataLoader loader(rows, {.batch_size = 3, .shuffle = true, .workers = workers, .seed = 4});
    const std::vector<std::int64_t> all = targets_of(loader.epoch(2));
    const std::vector<std::int64_t> rest = targets_of(loader.epoch(2, 4));
    EXPECT_EQ(rest, std::vector<std::int64_t>(all.begin() + 12, all.end()));
    EXPECT_TRUE(targets_of(loader.epoch(2, 7)).empty());
    EXPECT_TRUE(targets_of(loader.epoch(2, 99)).empty());
  }
}

TEST(DataLoaderRaceTest, SixtyFourRandomConfigurations) {
  PhiloxStream random(2024, 1);
  for (int n = 0; n < 64; ++n) {
    const auto rows =
        std::make_shared<Rows>(static_cast<std::int64_t>(random.below(200)), -1,
                               std::chrono::microseconds(random.below(3) == 0 ? random.below(300) : 0));
    DataLoaderOptions options{.batch_size = static_cast<std::int64_t>(1 + random.below(40)),
                              .shuffle = random.below(2) == 0,
                              .drop_last = random.below(2) == 0,
                              .workers = static_cast<int>(random.below(6)),
                              .prefetch = static_cast<int>(1 + random.below(4)),
                              .seed = random.below(1000)};
    const std::int64_t epoch = static_cast<std::int64_t>(random.below(5));
    const std::uint64_t stop_after = random.below(3) == 0 ? random.below(6) : ~std::uint64_t{0};
    SCOPED_TRACE(::testing::Message() << "configuration " << n << ": rows " << rows->size() << ", batch "
                                      << options.batch_size << ", workers " << options.workers
                                      << ", prefetch " << options.prefetch << ", stop after " << stop_after);
    within_a_minute([&] {
      DataLoader loader(rows, options);
      std::vector<std::int64_t> want;
      const std::vector<std::int64_t> order = loader.order(epoch);
      const std::int64_t used = std::min(loader.size() * options.batch_size, rows->size());
      for (std::int64_t i = 0; i < used; ++i) want.push_back(10 * order[static_cast<std::size_t>(i)]);

      std::vector<std::int64_t> got;
      std::uint64_t batches = 0;
      DataLoader::Epoch pass = loader.epoch(epoch);
      while (batches < stop_after) {
        const std::optional<Batch> batch = pass.next();
        if (!batch) break;
        ++batches;
        for (const std::int64_t t : batch->targets.to_vector<std::int64_t>()) got.push_back(t);
      }
      ASSERT_LE(got.size(), want.size());
      want.resize(batches < stop_after ? want.size() : got.size());
      EXPECT_EQ(got, want);
    });
  }
}

TEST(DataLoaderRaceTest, ErrorsArriveAtTheirBatch) {
  for (const int workers : {0, 1, 4}) {
    within_a_minute([&] {
      const auto rows = std::make_shared<Rows>(40, 25);
      DataLoader loader(rows, {.batch_size = 10, .workers = workers});
      DataLoader::Epoch epoch = loader.epoch(0);
      EXPECT_EQ(epoch.next()->size(), 10);
      EXPECT_EQ(epoch.next()->size(), 10);
      try {
        epoch.next();
        ADD_FAILURE() << "expected an error";
      } catch (const DataError& e) {
        EXPECT_STREQ(e.what(), "row 25 is damaged");
      }
      EXPECT_FALSE(epoch.next()) << "the pass is over after an error";
    });
  }
}

TEST(DataLoaderRaceTest, SlowWorkersAndEarlyDestruction) {
  within_a_minute([] {
    const auto rows = std::make_shared<Rows>(1000, -1, std::chrono::milliseconds(3));
    DataLoader loader(rows, {.batch_size = 10, .workers = 4, .prefetch = 2});
    for (int taken = 0; taken < 4; ++taken) {
      DataLoader::Epoch epoch = loader.epoch(0);
      for (int i = 0; i < taken; ++i) EXPECT_TRUE(epoch.next());
    }
    // The queue is bounded: what was made is at most what was taken and what may wait, plus one a worker.
    EXPECT_LE(rows->calls.load(), 0 + 1 + 2 + 3 + 4 * (8 + 4));
  });
}

TEST(DataLoaderTest, RefusesNonsense) {
  const auto rows = std::make_shared<Rows>(4);
  EXPECT_THROW(DataLoader(nullptr, {}), InvalidArgument);
  EXPECT_THROW(DataLoader(rows, {.batch_size = 0}), InvalidArgument);
  EXPECT_THROW(DataLoader(rows, {.workers = -1}), InvalidArgument);
  EXPECT_THROW(DataLoader(rows, {.prefetch = 0}), InvalidArgument);
  EXPECT_THROW(DataLoader(rows, {.device_buffers = 0}), InvalidArgument);
  EXPECT_THROW(DataLoader(rows, {}).epoch(-1), InvalidArgument);
}

class DataLoaderDeviceTest : public testing::DeviceTest {};
GPUNN_ON_EVERY_DEVICE(DataLoaderDeviceTest);

TEST_P(DataLoaderDeviceTest, BatchesArriveOnTheDevice) {
  const auto rows = std::make_shared<Rows>(57);
  for (const int workers : {0, 2}) {
    DataLoader loader(rows,
                      {.batch_size = 8, .shuffle = true, .workers = workers, .seed = 9, .device = device()});
    std::vector<std::int64_t> got;
    DataLoader::Epoch epoch = loader.epoch(1);
    for (Batch& batch : epoch) {
      EXPECT_TRUE(batch.inputs.device() == device());
      for (const std::int64_t t : batch.targets.to_vector<std::int64_t>()) got.push_back(t / 10);
    }
    EXPECT_EQ(got, loader.order(1)) << workers << " workers";
  }
}

// On devices with streams, the emulated one with every operation late by chance.
class DoubleBufferTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (cuda_device_count() == 0) GTEST_SKIP() << "no CUDA device";
    device_ = Device::cuda(0);
#if GPUNN_EMULATED
    device_->synchronize();
    emu::Config late = before_;
    late.jitter_us = 150;
    emu::set_config(late);
#endif
  }
  void TearDown() override {
    if (!device_) return;
    device_->synchronize();
#if GPUNN_EMULATED
    emu::set_config(before_);
#endif
  }
  std::optional<Device> device_{};
#if GPUNN_EMULATED
  const emu::Config before_ = emu::config();
#endif
};

TEST_F(DoubleBufferTest, TheDeviceHoldsAFewBuffersAndNoMore) {
  const auto rows = std::make_shared<Rows>(64);
  constexpr std::size_t kBatchBytes = 8 * (2 * sizeof(float) + sizeof(std::int64_t));
  MemoryResource& memory = device_->context().memory();
  for (const int buffers : {1, 2, 3})
    for (const int workers : {0, 2}) {
      const std::size_t live = memory.stats().live_bytes;
      DataLoader loader(rows,
                        {.batch_size = 8, .workers = workers, .device_buffers = buffers, .device = device_});
      std::set<void*> addresses;
      std::int64_t next_row = 0;
      DataLoader::Epoch epoch = loader.epoch(0);
      while (const std::optional<Batch> batch = epoch.next()) {
        addresses.insert(batch->inputs.data());
        EXPECT_LE(memory.stats().live_bytes - live, static_cast<std::size_t>(buffers) * kBatchBytes);
        for (const std::int64_t t : batch->targets.to_vector<std::int64_t>()) EXPECT_EQ(t, 10 * next_row++);
      }
      EXPECT_EQ(next_row, 64);
      EXPECT_EQ(addresses.size(), static_cast<std::size_t>(buffers)) << workers << " workers";
    }
}

TEST_F(DoubleBufferTest, BatchesAreMadeAheadByOneBufferLess) {
  const auto rows = std::make_shared<Rows>(40);
  DataLoader loader(rows, {.batch_size = 4, .device_buffers = 3, .device = device_});
  DataLoader::Epoch epoch = loader.epoch(0);
  for (int taken = 1; epoch.next(); ++taken) EXPECT_EQ(rows->calls, std::min(taken + 2, 10));
}

TEST_F(DoubleBufferTest, ResultsAreThoseOfTheCpu) {
  const auto rows = std::make_shared<Rows>(57);
  for (const int buffers : {1, 2, 4}) {
    DataLoader loader(
        rows, {.batch_size = 6, .shuffle = true, .device_buffers = buffers, .seed = 3, .device = device_});
    // Nothing here waits for the device, so that copies run into the ops that still read their buffers.
    std::vector<Tensor> squares;
    DataLoader::Epoch epoch = loader.epoch(0);
    for (Batch& batch : epoch) squares.push_back(mul(mul(batch.inputs, batch.inputs), batch.inputs));
    std::size_t row = 0;
    const std::vector<std::int64_t> order = loader.order(0);
    for (const Tensor& s : squares)
      for (const float v : s.narrow(1, 0, 1).to_vector<float>()) {
        const auto x = static_cast<float>(order[row++]);
        EXPECT_EQ(v, x * x * x);
      }
    EXPECT_EQ(row, 57u);
  }
}

TEST_F(DoubleBufferTest, KeptBatchesStayAsTheyAre) {
  const auto rows = std::make_shared<Rows>(30);
  DataLoader loader(rows, {.batch_size = 3, .device = device_});
  std::vector<Batch> kept;
  std::vector<Tensor> views;
  DataLoader::Epoch epoch = loader.epoch(0);
  while (std::optional<Batch> batch = epoch.next()) {
    batch->inputs.requires_grad_();  // of the caller's handle: the loader's next batch has none
    if (kept.size() < 5)
      kept.push_back(*batch);
    else
      views.push_back(batch->targets.narrow(0, 1, 1));
  }
  for (std::size_t i = 0; i < kept.size(); ++i) {
    EXPECT_EQ(kept[i].targets.to_vector<std::int64_t>()[2], static_cast<std::int64_t>(10 * (3 * i + 2)));
    EXPECT_TRUE(kept[i].inputs.is_leaf());
  }
  for (std::size_t i = 0; i < views.size(); ++i)
    EXPECT_EQ(views[i].item(), 10.0 * static_cast<double>(3 * (i + 5) + 1));
  EXPECT_FALSE(loader.epoch(0).next()->inputs.requires_grad());
}

TEST_F(DoubleBufferTest, CopiesRunBesideTheComputeStream) {
  const auto rows = std::make_shared<Rows>(20);
  DeviceContext& context = device_->context();
  DataLoader loader(rows, {.batch_size = 5, .device = device_});
  DataLoader::Epoch epoch = loader.epoch(0);
  std::optional<Batch> batch;
  const Tensor other = ones({8}, {.device = device_});
  {
    testing::StuckStream stuck(context, context.copy_in_stream());
    batch = epoch.next();
    EXPECT_EQ(batch->inputs.storage().stream(), context.copy_in_stream());
    EXPECT_EQ(mul(other, 3.0).to_vector<float>()[7], 3) << "the compute stream is free";
    const Tensor waits = mul(batch->inputs, 2.0);
    EXPECT_FALSE(Stream::current(*device_).query());
  }
  EXPECT_EQ(batch->inputs.to_vector<float>()[8], 4);
}

TEST_F(DoubleBufferTest, ErrorsArriveAtTheirBatch) {
  for (const int workers : {0, 1, 4})
    for (const int buffers : {1, 2, 5}) {
      const auto rows = std::make_shared<Rows>(40, 25);
      DataLoader loader(rows,
                        {.batch_size = 10, .workers = workers, .device_buffers = buffers, .device = device_});
      DataLoader::Epoch epoch = loader.epoch(0);
      EXPECT_EQ(epoch.next()->size(), 10);
      EXPECT_EQ(epoch.next()->size(), 10);
      EXPECT_THROW(epoch.next(), DataError);
      EXPECT_FALSE(epoch.next()) << "the pass is over after an error";
    }
}

// The host waits for the copy out of the pinned memory that it is about to need again.
TEST(DoubleBufferLeadTest, TheHostIsNeverFarAhead) {
  Runtime runtime(RuntimeOptions{.threads = 1, .forced = {}});
  const RuntimeScope scope(runtime);
  DeviceContext& context = runtime.adopt(
      std::make_unique<testing::FakeDevice>(testing::FakeOptions{.mode = testing::FakeMode::deferred}));
  const auto rows = std::make_shared<Rows>(40);
  DataLoader loader(rows, {.batch_size = 4, .device_buffers = 2, .device = Device(context)});
  DataLoader::Epoch epoch = loader.epoch(0);
  testing::StuckStream stuck(context, context.copy_in_stream());
  EXPECT_TRUE(epoch.next());
  EXPECT_TRUE(epoch.next());
  EXPECT_THROW(epoch.next(), std::logic_error) << "the third fills the first buffer again";
  stuck.let_go();
  EXPECT_FALSE(epoch.next());
}

}  // namespace
}  // namespace gpunn
