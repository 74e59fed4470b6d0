// The allocators under many threads and streams, against a model of what is handed out.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

#include "gpunn/core/error.h"
#include "gpunn/core/memory.h"
#include "tests/support/fake_device.h"

namespace gpunn {
namespace {

using testing::FakeDevice;
using testing::FakeMode;

#if GPUNN_TSAN || GPUNN_ASAN
constexpr int kOperations = 100'000;
#else
constexpr int kOperations = 1'000'000;
#endif
constexpr int kThreads = 8;

// Address ranges that are handed out at the moment.
class Model {
 public:
  void add(void* pointer, std::size_t bytes) {
    auto* const p = static_cast<char*>(pointer);
    std::lock_guard lock(mutex_);
    const auto after = live_.lower_bound(p);
    if ((after != live_.end() && p + bytes > after->first) ||
        (after != live_.begin() && std::prev(after)->first + std::prev(after)->second > p))
      ++overlaps_;
    live_[p] = bytes;
    live_bytes_ += bytes;
    peak_bytes_ = std::max(peak_bytes_, live_bytes_);
    ++allocations_;
  }
  void remove(void* pointer) {
    std::lock_guard lock(mutex_);
    const auto found = live_.find(static_cast<char*>(pointer));
    live_bytes_ -= found->second;
    live_.erase(found);
  }
  // Every thread has ended.
  int overlaps() const { return overlaps_; }
  std::size_t peak_bytes() const { return peak_bytes_; }
  std::uint64_t allocations() const { return allocations_; }

 private:
  std::mutex mutex_;
  std::map<char*, std::size_t> live_;
  std::size_t live_bytes_ = 0, peak_bytes_ = 0;
  std::uint64_t allocations_ = 0;
  int overlaps_ = 0;
};

std::size_t random_bytes(std::mt19937& random) {
  const unsigned kind = random() % 16;
  return kind < 10 ? 1 + random() % 4096 : kind < 15 ? 1 + random() % 100'000 : 1 + random() % 2'000'000;
}

void run_threads(int count, const std::function<void(int)>& body) {
  std::vector<std::thread> threads;
  for (int t = 0; t < count; ++t) threads.emplace_back(body, t);
  for (auto& thread : threads) thread.join();
}

void expect_sums(const MemoryResource& resource, const Model& model) {
  const MemoryStats stats = resource.stats();
  EXPECT_EQ(model.overlaps(), 0);
  EXPECT_EQ(stats.live_bytes, 0u);
  EXPECT_EQ(stats.allocations, model.allocations());
  EXPECT_EQ(stats.deallocations, model.allocations());
  // The model adds after the allocation and removes before the return, so it can only see less.
  EXPECT_GE(stats.peak_live_bytes, model.peak_bytes());
}

// Allocate, use, free in random order; blocks stay with the thread that made them.
void churn(MemoryResource& resource, const std::vector<RawStream>& streams, int thread, Model& model) {
  struct Mine {
    void* pointer;
    std::size_t bytes;
    RawStream stream;
  };
  std::mt19937 random(static_cast<unsigned>(thread + 1));
  std::vector<Mine> mine;
  for (int i = 0; i < kOperations / kThreads; ++i) {
    if (mine.size() < 2 || (mine.size() < 30 && random() % 2)) {
      Mine m{nullptr, random_bytes(random), streams[random() % streams.size()]};
      m.pointer = resource.allocate(m.bytes, m.stream);
      model.add(m.pointer, m.bytes);
      if (random() % 8 == 0) resource.record_use(m.pointer, streams[random() % streams.size()]);
      mine.push_back(m);
    } else {
      std::swap(mine[random() % mine.size()], mine.back());
      model.remove(mine.back().pointer);
      resource.deallocate(mine.back().pointer, mine.back().bytes, mine.back().stream);
      mine.pop_back();
    }
  }
  for (const Mine& m : mine) {
    model.remove(m.pointer);
    resource.deallocate(m.pointer, m.bytes, m.stream);
  }
}

void caching_allocator_against_a_model(bool pages) {
  FakeDevice device({.memory_bytes = std::size_t{2} << 30, .virtual_memory = pages});
  std::vector<RawStream> streams;
  for (int s = 0; s < 4; ++s) streams.push_back(device.create_stream(0));
  auto resource = make_caching_allocator(device);
  Model model;
  run_threads(kThreads, [&](int t) { churn(*resource, streams, t, model); });
  expect_sums(*resource, model);
  resource->trim();
  EXPECT_EQ(resource->stats().reserved_bytes, 0u);
  EXPECT_EQ(device.live().allocations, 0u);
}

TEST(MemoryRaceTest, CachingAllocatorAgainstAModel) { caching_allocator_against_a_model(false); }
TEST(MemoryRaceTest, CachingAllocatorWithPagesAgainstAModel) { caching_allocator_against_a_model(true); }

TEST(MemoryRaceTest, HostAllocatorAgainstAModel) {
  auto api = make_cpu_device_api();
  const RawStream stream = api->create_stream(0);
  auto resource = make_host_allocator(*api, std::size_t{32} << 20);
  Model model;
  run_threads(kThreads, [&](int t) { churn(*resource, {stream}, t, model); });
  expect_sums(*resource, model);
  resource->trim();
  EXPECT_EQ(resource->stats().reserved_bytes, 0u);
}

// Streams that really run beside each other: what a block's users wrote must be there until the last of them
// is done.
class StreamProgram {
 public:
  StreamProgram(FakeDevice& device, MemoryResource& resource, std::vector<RawStream> streams)
      : device_(device), resource_(resource), streams_(std::move(streams)) {}

  void run(int thread, int rounds) {
    std::mt19937 random(static_cast<unsigned>(100 + thread));
    const RawEvent event = device_.create_event();
    for (int i = 0; i < rounds; ++i) {
      const std::size_t bytes = 1 + random() % (random() % 2 ? 20'000 : 300'000);
      const RawStream owner = streams_[random() % streams_.size()],
                      user = streams_[random() % streams_.size()];
      auto* const p = static_cast<unsigned char*>(resource_.allocate(bytes, owner));
      const auto tag = static_cast<unsigned char>(random());
      device_.enqueue(owner, [=] { std::memset(p, tag, bytes); });
      if (user != owner) {
        device_.record_event(event, owner);
        device_.wait_event(user, event);
        resource_.record_use(p, user);
        check(user, p, bytes, tag);
      }
      check(owner, p, bytes, tag);
      resource_.deallocate(p, bytes, owner);
    }
    device_.destroy_event(event);
  }
  int wrong() const { return wrong_; }

 private:
  void check(RawStream stream, const unsigned char* p, std::size_t bytes, unsigned char tag) {
    device_.enqueue(stream, [this, p, bytes, tag] {
      for (std::size_t i = 0; i < bytes; i += 997)
        if (p[i] != tag) ++wrong_;
    });
  }

  FakeDevice& device_;
  MemoryResource& resource_;
  const std::vector<RawStream> streams_;
  std::atomic<int> wrong_{0};
};

TEST(MemoryRaceTest, BlocksAreNotReusedUnderTheirUsers) {
  for (int turn = 0; turn < 4; ++turn) {
    const FakeMode mode = turn % 2 ? FakeMode::deferred : FakeMode::threaded;
    FakeDevice device(
        {.mode = mode, .memory_bytes = std::size_t{8} << 20, .seed = 5, .virtual_memory = turn >= 2});
    std::vector<RawStream> streams;
    for (int s = 0; s < 4; ++s) streams.push_back(device.create_stream(0));
    auto resource = make_caching_allocator(device);
    StreamProgram program(device, *resource, streams);
    const int threads = mode == FakeMode::threaded ? kThreads : 1;  // deferred work runs on the caller
    run_threads(threads, [&](int t) { program.run(t, 4000 / threads); });
    device.synchronize_device();
    EXPECT_EQ(program.wrong(), 0);
    EXPECT_EQ(resource->stats().live_bytes, 0u);
  }
}

// The test above must see an allocator that forgets the users of a block.
class ForgetfulResource final : public MemoryResource {
 public:
  explicit ForgetfulResource(std::unique_ptr<MemoryResource> inner) : inner_(std::move(inner)) {}
  void* allocate(std::size_t bytes, RawStream stream) override { return inner_->allocate(bytes, stream); }
  void deallocate(void* p, std::size_t bytes, RawStream stream) noexcept override {
    inner_->deallocate(p, bytes, stream);
  }
  void record_use(void*, RawStream) override {}
  std::size_t trim() override { return inner_->trim(); }
  MemoryStats stats() const override { return inner_->stats(); }
  void reset_peaks() override {}

 private:
  std::unique_ptr<MemoryResource> inner_;
};

TEST(MemoryTest, TheStreamProgramNoticesAForgottenUser) {
  FakeDevice device({.mode = FakeMode::deferred, .memory_bytes = std::size_t{8} << 20, .seed = 5});
  std::vector<RawStream> streams;
  for (int s = 0; s < 4; ++s) streams.push_back(device.create_stream(0));
  ForgetfulResource resource(make_caching_allocator(device));
  StreamProgram program(device, resource, streams);
  program.run(0, 2000);
  device.synchronize_device();
  EXPECT_GT(program.wrong(), 0);
}

}  // namespace
}  // namespace gpunn
