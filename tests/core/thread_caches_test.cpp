// What threads keep for themselves: counters stay exact, and nothing is lost when a thread ends.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <random>
#include <semaphore>
#include <thread>
#include <vector>

#include "gpunn/core/memory.h"
#include "tests/support/fake_device.h"

namespace gpunn {
namespace {

using testing::FakeDevice;

// A thread that does what it is told, one thing at a time.
class Worker {
 public:
  Worker()
      : thread_([this] {
          for (;;) {
            start_.acquire();
            if (!task_) return;
            task_();
            done_.release();
          }
        }) {}
  ~Worker() {
    task_ = nullptr;
    start_.release();
    thread_.join();
  }
  void run(std::function<void()> task) {
    task_ = std::move(task);
    start_.release();
    done_.acquire();
  }

 private:
  std::function<void()> task_;
  std::binary_semaphore start_{0}, done_{0};
  std::thread thread_;
};

struct Kind {
  const char* name;
  std::function<std::unique_ptr<MemoryResource>(DeviceApi&)> make;
};
void PrintTo(const Kind& kind, std::ostream* out) { *out << kind.name; }

class ThreadCachesRace : public ::testing::TestWithParam<Kind> {
 protected:
  FakeDevice device_{{.memory_bytes = std::size_t{256} << 20, .virtual_memory = true}};
  RawStream stream_ = device_.create_stream(0);
};

// One thing after the other, each on a thread chosen at random: the counters are those of a single thread.
TEST_P(ThreadCachesRace, CountersAreThoseOfASequentialModel) {
  auto resource = GetParam().make(device_);
  std::mt19937 random(11);
  std::vector<std::unique_ptr<Worker>> workers(5);
  for (auto& worker : workers) worker = std::make_unique<Worker>();
  std::vector<std::pair<void*, std::size_t>> blocks;
  std::size_t live = 0, peak = 0;
  std::uint64_t allocations = 0, deallocations = 0;
  for (int step = 0; step < 2000; ++step) {
    if (random() % 500 == 0) workers[random() % workers.size()] = std::make_unique<Worker>();
    Worker& worker = *workers[random() % workers.size()];
    if (blocks.empty() || random() % 100 < (step / 500 % 2 ? 45u : 55u)) {
      const std::size_t bytes = 1 + random() % (random() % 4 ? 5'000 : 500'000);
      worker.run([&] { blocks.emplace_back(resource->allocate(bytes, stream_), bytes); });
      live += bytes;
      peak = std::max(peak, live);
      ++allocations;
    } else {
      std::swap(blocks[random() % blocks.size()], blocks.back());
      const auto [p, bytes] = blocks.back();
      blocks.pop_back();
      worker.run([&, p = p, bytes = bytes] { resource->deallocate(p, bytes, stream_); });
      live -= bytes;
      ++deallocations;
    }
    if (random() % 700 == 0) {
      resource->reset_peaks();
      peak = live;
    }
    const MemoryStats stats = resource->stats();
    ASSERT_EQ(stats.live_bytes, live) << step;
    ASSERT_EQ(stats.peak_live_bytes, peak) << step;
    ASSERT_EQ(stats.allocations, allocations);
    ASSERT_EQ(stats.deallocations, deallocations);
  }
  for (const auto& [p, bytes] : blocks) resource->deallocate(p, bytes, stream_);
  EXPECT_EQ(resource->stats().live_bytes, 0u);
  resource->trim();
  EXPECT_EQ(resource->stats().reserved_bytes, 0u);
  EXPECT_EQ(device_.live().allocations, 0u);
}

// Without a model of the interleaving, sums still agree, and no peak is below what was live at once.
TEST_P(ThreadCachesRace, BlocksTravelBetweenThreads) {
  auto resource = GetParam().make(device_);
  constexpr int kThreads = 4;
#if GPUNN_TSAN || GPUNN_ASAN
  constexpr int kRounds = 3000;
#else
  constexpr int kRounds = 30'000;
#endif
  std::atomic<void*> places[64] = {};
  std::atomic<std::uint64_t> allocations{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t)
    threads.emplace_back([&, t] {
      std::mt19937 random(static_cast<unsigned>(t));
      for (int i = 0; i < kRounds; ++i) {
        auto& place = places[random() % 64];
        void* const mine = resource->allocate(777, stream_);
        ++allocations;
        if (void* old = place.exchange(mine)) resource->deallocate(old, 777, stream_);
        if (i % 1000 == 0) resource->trim();
      }
    });
  for (auto& thread : threads) thread.join();
  const MemoryStats stats = resource->stats();
  std::size_t held = 0;
  for (auto& place : places) held += place.load() != nullptr;
  EXPECT_EQ(stats.allocations, allocations.load());
  EXPECT_EQ(stats.live_bytes, 777 * held);
  EXPECT_GE(stats.peak_live_bytes, stats.live_bytes);
  EXPECT_LE(stats.peak_live_bytes, 777u * (64 + kThreads));
  for (auto& place : places) resource->deallocate(place.load(), 777, stream_);
  resource->trim();
  EXPECT_EQ(resource->stats().reserved_bytes, 0u);
}

TEST_P(ThreadCachesRace, WhatAnEndedThreadKeptIsUsedAgain) {
  auto resource = GetParam().make(device_);
  void* first = nullptr;
  std::thread([&] {
    first = resource->allocate(3000, stream_);
    resource->deallocate(first, 3000, stream_);
  }).join();
  std::thread([&] {
    void* const p = resource->allocate(3000, stream_);
    EXPECT_EQ(p, first) << "the new thread takes over the cache of the old one";
    resource->deallocate(p, 3000, stream_);
  }).join();
  EXPECT_EQ(resource->stats().device_allocations, 1u);
}

// Threads outlive allocators and the other way round, and use many of them.
TEST_P(ThreadCachesRace, ThreadsUseManyAllocators) {
  Worker worker;
  for (int round = 0; round < 30; ++round) {
    auto one = GetParam().make(device_), other = GetParam().make(device_);
    for (MemoryResource* resource : {one.get(), other.get(), one.get()})
      worker.run([&] {
        void* p = resource->allocate(500, stream_);
        resource->deallocate(p, 500, stream_);
      });
    EXPECT_EQ(one->stats().allocations, 2u);
    EXPECT_EQ(other->stats().allocations, 1u);
  }
  EXPECT_EQ(device_.live().allocations, 0u);
}

INSTANTIATE_TEST_SUITE_P(
    Resources, ThreadCachesRace,
    ::testing::Values(Kind{"caching", [](DeviceApi& d) { return make_caching_allocator(d); }},
                      Kind{"host", [](DeviceApi& d) { return make_host_allocator(d, 64 << 20); }}),
    [](const auto& kind) { return std::string(kind.param.name); });

}  // namespace
}  // namespace gpunn
