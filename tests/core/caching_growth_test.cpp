// How the caching allocator grows, by pages and by segments, and what it tries before it gives up.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "gpunn/core/error.h"
#include "gpunn/core/memory.h"
#include "tests/support/fake_device.h"

namespace gpunn {
namespace {

using testing::FakeCall;
using testing::FakeDevice;
using testing::FakeFailure;
using testing::FakeMode;

constexpr std::size_t kMiB = std::size_t{1} << 20;

class PagesTest : public ::testing::Test {
 protected:
  explicit PagesTest(std::size_t memory = 64 * kMiB)
      : device_({.mode = FakeMode::deferred, .memory_bytes = memory, .virtual_memory = true}),
        resource_(make_caching_allocator(device_)) {}
  void* take(std::size_t bytes) { return resource_->allocate(bytes, a_); }
  void give(void* p, std::size_t bytes) { resource_->deallocate(p, bytes, a_); }
  std::size_t reserved() const {
    EXPECT_EQ(device_.live().bytes, resource_->stats().reserved_bytes);
    return resource_->stats().reserved_bytes;
  }
  // Work that is not finished before it is waited for.
  void keep_busy(RawStream stream, bool* done) {
    for (int i = 0; i < 100; ++i) device_.enqueue(stream, [] {});
    device_.enqueue(stream, [=] { *done = true; });
  }

  FakeDevice device_;
  std::unique_ptr<MemoryResource> resource_;
  RawStream a_ = device_.create_stream(0), b_ = device_.create_stream(0);
};

TEST_F(PagesTest, TakesThePagesItNeeds) {
  void* p = take(3 * kMiB);
  EXPECT_EQ(reserved(), 4 * kMiB);
  void* q = take(kMiB - 512);
  EXPECT_EQ(reserved(), 4 * kMiB) << "the rest of the last page serves the next request";
  EXPECT_EQ(resource_->stats().device_allocations, 1u);
  give(p, 3 * kMiB);
  give(q, kMiB - 512);
  EXPECT_EQ(resource_->trim(), 4 * kMiB);
  EXPECT_EQ(reserved(), 0u);
}

TEST_F(PagesTest, ABlockGrowsWithItsFreeNeighbours) {
  void* p = take(3 * kMiB);
  give(p, 3 * kMiB);
  EXPECT_EQ(take(9 * kMiB), p) << "the free block at the end grows";
  EXPECT_EQ(reserved(), 10 * kMiB);
  give(p, 9 * kMiB);
}

TEST_F(PagesTest, IdlePagesMoveToWhereTheyAreNeeded) {
  void* p = take(4 * kMiB);
  void* q = take(8 * kMiB);
  void* r = take(4 * kMiB);
  std::memset(p, 1, 4 * kMiB);
  std::memset(r, 3, 4 * kMiB);
  give(q, 8 * kMiB);
  device_.synchronize_device();
  void* s = take(12 * kMiB);
  EXPECT_EQ(reserved(), 20 * kMiB) << "8 MiB were free, but in the wrong place";
  std::memset(s, 4, 12 * kMiB);
  // The hole is filled again when something fits there.
  EXPECT_EQ(take(8 * kMiB), q);
  EXPECT_EQ(static_cast<char*>(p)[4 * kMiB - 1], 1);
  EXPECT_EQ(static_cast<char*>(r)[0], 3);
  for (auto [pointer, bytes] : {std::pair{p, 4 * kMiB}, {q, 8 * kMiB}, {r, 4 * kMiB}, {s, 12 * kMiB}})
    give(pointer, bytes);
  resource_->trim();
  EXPECT_EQ(reserved(), 0u);
}

TEST_F(PagesTest, PagesBehindUnfinishedWorkAreWaitedFor) {
  void* p = take(8 * kMiB);
  void* q = take(4 * kMiB);
  bool done = false;
  keep_busy(a_, &done);
  give(p, 8 * kMiB);
  void* r = resource_->allocate(12 * kMiB, b_);
  EXPECT_TRUE(done) << "pages moved under work that may use them";
  EXPECT_EQ(reserved(), 16 * kMiB);
  resource_->deallocate(r, 12 * kMiB, b_);
  give(q, 4 * kMiB);
}

TEST_F(PagesTest, FewPagesAreNotWorthAWait) {
  void* p = take(2 * kMiB);
  void* q = take(2 * kMiB);
  bool done = false;
  keep_busy(a_, &done);
  give(p, 2 * kMiB);
  void* r = resource_->allocate(12 * kMiB, b_);
  EXPECT_FALSE(done);
  EXPECT_EQ(reserved(), 16 * kMiB);
  resource_->deallocate(r, 12 * kMiB, b_);
  give(q, 2 * kMiB);
  device_.synchronize_device();
}

// Work may wait for the very thread that allocates: nobody waits for it long, nor again and again.
TEST_F(PagesTest, PagesOfAStuckStreamStayWhereTheyAre) {
  void* p = take(8 * kMiB);
  bool done = false;
  device_.hold(a_, true);
  device_.enqueue(a_, [&] { done = true; });
  give(p, 8 * kMiB);
  void* r = resource_->allocate(12 * kMiB, b_);
  const long calls = device_.calls();
  std::vector<void*> more;
  for (int i = 0; i < 20; ++i) more.push_back(resource_->allocate(2 * kMiB, b_));
  EXPECT_LT(device_.calls() - calls, 200) << "asked again and again whether the stream has moved";
  EXPECT_FALSE(done);
  EXPECT_EQ(reserved(), 60 * kMiB);
  device_.hold(a_, false);
  for (void* m : more) resource_->deallocate(m, 2 * kMiB, b_);
  resource_->deallocate(r, 12 * kMiB, b_);
  device_.synchronize_device();
}

TEST_F(PagesTest, TrimTakesHolesOut) {
  void* p = take(4 * kMiB);
  void* q = take(5 * kMiB);
  void* r = take(3 * kMiB);
  std::memset(p, 1, 4 * kMiB);
  std::memset(r, 3, 3 * kMiB);
  give(q, 5 * kMiB);
  EXPECT_EQ(resource_->trim(), 4 * kMiB) << "whole pages only";
  EXPECT_EQ(reserved(), 8 * kMiB);
  EXPECT_EQ(static_cast<char*>(p)[4 * kMiB - 1], 1);
  EXPECT_EQ(static_cast<char*>(r)[0], 3);
  EXPECT_EQ(take(5 * kMiB), q);
  std::memset(q, 2, 5 * kMiB);
  EXPECT_EQ(static_cast<char*>(r)[0], 3);
  give(p, 4 * kMiB);
  give(q, 5 * kMiB);
  give(r, 3 * kMiB);
}

TEST_F(PagesTest, SegmentsAreDescribedBlockByBlock) {
  EXPECT_TRUE(resource_->segments().empty());
  void* p = take(4 * kMiB);
  void* q = take(5 * kMiB);
  void* r = take(3 * kMiB);
  give(q, 5 * kMiB);
  std::vector<MemorySegment> segments = resource_->segments();
  ASSERT_EQ(segments.size(), 1u);
  EXPECT_EQ(segments[0].address, reinterpret_cast<std::uintptr_t>(p));
  EXPECT_EQ(segments[0].bytes, 12 * kMiB);
  EXPECT_TRUE(segments[0].pages);
  ASSERT_EQ(segments[0].blocks.size(), 3u);
  EXPECT_EQ(segments[0].blocks[1].bytes, 5 * kMiB);
  EXPECT_TRUE(segments[0].blocks[1].free);
  EXPECT_FALSE(segments[0].blocks[2].free);
  resource_->trim();
  segments = resource_->segments();
  ASSERT_EQ(segments.size(), 2u) << "the hole has no memory";
  EXPECT_EQ(segments[0].bytes + segments[1].bytes, reserved());
  give(p, 4 * kMiB);
  give(r, 3 * kMiB);
}

TEST_F(PagesTest, SegmentsServeWhenAddressesCannotBeReserved) {
  device_.fail_at(FakeCall::allocate, 1);
  void* p = take(3 * kMiB);
  EXPECT_EQ(device_.live().ranges, 0u);
  EXPECT_EQ(reserved(), 4 * kMiB);
  give(p, 3 * kMiB);
}

TEST_F(PagesTest, SegmentsServeWhenMappingFails) {
  void* p = take(3 * kMiB);
  device_.fail_at(FakeCall::allocate, 1);
  void* q = take(5 * kMiB);
  EXPECT_EQ(reserved(), 10 * kMiB);
  give(p, 3 * kMiB);
  give(q, 5 * kMiB);
  resource_->trim();
  EXPECT_EQ(reserved(), 0u);
}

TEST_F(PagesTest, ALostDeviceIsNoReasonForSegments) {
  void* p = take(3 * kMiB);
  device_.fail_at(FakeCall::allocate, 1, FakeFailure::device_lost);
  EXPECT_THROW(take(5 * kMiB), DeviceLost);
  give(p, 3 * kMiB);
}

// From nothing to 1 GiB; nobody touches the memory. 1 PiB is too much, and changes nothing.
TEST(LargeSizesTest, UpToAGibibyte) {
  for (bool pages : {false, true}) {
    FakeDevice device({.memory_bytes = 3072 * kMiB, .virtual_memory = pages});
    const RawStream stream = device.create_stream(0);
    auto resource = make_caching_allocator(device);
    std::uint64_t allocations = 0;
    EXPECT_EQ(resource->allocate(0, stream), nullptr);
    for (std::size_t bytes = 1; bytes <= 1024 * kMiB; bytes *= 2) {
      for (std::size_t size : {bytes - 1, bytes, bytes + 1}) {
        if (size == 0) continue;
        void* p = resource->allocate(size, stream);
        ++allocations;
        EXPECT_EQ(resource->stats().live_bytes, size);
        EXPECT_EQ(resource->stats().allocations, allocations);
        resource->deallocate(p, size, stream);
      }
    }
    const MemoryStats before = resource->stats();
    EXPECT_THROW(resource->allocate(std::size_t{1} << 50, stream), OutOfMemory);
    const MemoryStats after = resource->stats();
    EXPECT_EQ(after.live_bytes, 0u);
    EXPECT_EQ(after.peak_live_bytes, before.peak_live_bytes);
    EXPECT_EQ(after.allocations, before.allocations);
    EXPECT_EQ(after.deallocations, before.deallocations);
    resource->trim();
    EXPECT_EQ(device.live().bytes, 0u);
  }
}

TEST_F(PagesTest, NoRangeWhenItIsNotWanted) {
  auto segments = make_caching_allocator(device_, {.virtual_memory = false});
  void* p = segments->allocate(3 * kMiB, a_);
  EXPECT_EQ(device_.live().ranges, 0u);
  segments->deallocate(p, 3 * kMiB, a_);
}

// A device that CUDA or its emulation opens.
TEST(DevicePagesTest, AreMappedMovedAndGivenBack) {
  std::unique_ptr<DeviceApi> api;
  try {
    api = make_cuda_device_api(0);
  } catch (const Unsupported&) {
  }
  if (!api) GTEST_SKIP() << "there is no CUDA device";
  if (api->info().emulated) {
    ASSERT_EQ(api->page_bytes(), 2 * kMiB);
  }
  if (api->page_bytes() == 0) GTEST_SKIP() << "the device has no virtual memory";
  std::size_t free_before = 0, free_after = 0, total = 0;
  const RawStream stream = api->create_stream(0);
  api->memory_info(free_before, total);
  {
    auto resource = make_caching_allocator(*api);
    auto* const back = static_cast<unsigned char*>(api->allocate_host(12 * kMiB));
    std::vector<void*> blocks;
    for (int i = 0; i < 3; ++i) {
      blocks.push_back(resource->allocate(4 * kMiB, stream));
      api->fill_bytes(blocks.back(), i + 1, 4 * kMiB, stream);
    }
    resource->deallocate(blocks[1], 4 * kMiB, stream);
    api->synchronize_stream(stream);
    void* const large = resource->allocate(12 * kMiB, stream);
    // The stream may take a moment to say that it is idle: then the free pages stay where they are.
    const std::size_t reserved = resource->stats().reserved_bytes;
    EXPECT_TRUE(reserved == 20 * kMiB || reserved == 24 * kMiB) << reserved;
    api->fill_bytes(large, 9, 12 * kMiB, stream);
    const auto expect_filled = [&](void* p, int value, std::size_t bytes) {
      api->copy(back, p, bytes, CopyKind::device_to_host, stream);
      api->synchronize_stream(stream);
      EXPECT_TRUE(std::all_of(back, back + bytes, [&](unsigned char b) { return b == value; })) << value;
    };
    expect_filled(large, 9, 12 * kMiB);
    expect_filled(blocks[0], 1, 4 * kMiB);
    expect_filled(blocks[2], 3, 4 * kMiB);
    resource->deallocate(large, 12 * kMiB, stream);
    resource->deallocate(blocks[0], 4 * kMiB, stream);
    EXPECT_EQ(resource->trim(), reserved - 4 * kMiB);
    expect_filled(blocks[2], 3, 4 * kMiB);
    resource->deallocate(blocks[2], 4 * kMiB, stream);
    api->deallocate_host(back, 12 * kMiB);
  }
  api->memory_info(free_after, total);
  EXPECT_EQ(free_after, free_before);
  api->destroy_stream(stream);
}

// What stands between a request and an error, with both kinds of growth

class LadderTest : public ::testing::TestWithParam<bool> {
 protected:
  LadderTest()
      : device_({.mode = FakeMode::deferred, .memory_bytes = 16 * kMiB, .virtual_memory = GetParam()}) {}
  void keep_busy(RawStream stream, bool* done) {
    for (int i = 0; i < 40; ++i) device_.enqueue(stream, [] {});
    device_.enqueue(stream, [=] { *done = true; });
  }
  FakeDevice device_;
  RawStream a_ = device_.create_stream(0), b_ = device_.create_stream(0), c_ = device_.create_stream(0);
};

TEST_P(LadderTest, WaitsForTheOldestAndNoLongerThanNeeded) {
  auto resource = make_caching_allocator(device_);
  void* p = resource->allocate(8 * kMiB, a_);
  void* q = resource->allocate(8 * kMiB, a_);
  bool first = false, second = false;
  keep_busy(b_, &first);
  resource->record_use(p, b_);
  resource->deallocate(p, 8 * kMiB, a_);
  keep_busy(b_, &second);
  resource->record_use(q, b_);
  resource->deallocate(q, 8 * kMiB, a_);
  void* r = resource->allocate(7 * kMiB, a_);
  EXPECT_EQ(r, p);
  EXPECT_TRUE(first);
  EXPECT_FALSE(second);
  resource->deallocate(r, 7 * kMiB, a_);
  device_.synchronize_device();
}

TEST_P(LadderTest, WaitsForTheStreamWhoseBlockFits) {
  auto resource = make_caching_allocator(device_);
  void* p = resource->allocate(6 * kMiB, a_);
  void* q = resource->allocate(10 * kMiB, b_);
  bool a_done = false, b_done = false;
  keep_busy(a_, &a_done);
  for (int i = 0; i < 10; ++i) keep_busy(b_, &b_done);
  resource->deallocate(p, 6 * kMiB, a_);
  resource->deallocate(q, 10 * kMiB, b_);
  void* r = resource->allocate(9 * kMiB, c_);
  EXPECT_EQ(r, q);
  EXPECT_TRUE(b_done);
  resource->deallocate(r, 9 * kMiB, c_);
  device_.synchronize_device();
}

// While a thread waits for a stream, another returns a block there, with work on it still to come: the wait
// says nothing about that block.
TEST_P(LadderTest, AWaitCoversOnlyWhatHadBeenReturned) {
  auto resource = make_caching_allocator(device_);
  void* p = resource->allocate(6 * kMiB, a_);
  void* between = resource->allocate(2 * kMiB, a_);  // keeps the two apart
  void* q = resource->allocate(8 * kMiB, a_);
  bool first = false, second = false;
  keep_busy(a_, &first);
  device_.enqueue(a_, [&] { resource->deallocate(q, 8 * kMiB, a_); });
  resource->deallocate(p, 6 * kMiB, a_);
  void* r = resource->allocate(6 * kMiB, c_);
  EXPECT_EQ(r, p);
  EXPECT_EQ(resource->stats().deallocations, 2u) << "q returned meanwhile";
  keep_busy(a_, &second);
  void* s = resource->allocate(8 * kMiB, c_);
  EXPECT_EQ(s, q);
  EXPECT_TRUE(second);
  resource->deallocate(between, 2 * kMiB, a_);
  resource->deallocate(r, 6 * kMiB, c_);
  resource->deallocate(s, 8 * kMiB, c_);
}

TEST_P(LadderTest, ASmallPieceOfABusyStreamIsWaitedFor) {
  auto resource = make_caching_allocator(device_);
  constexpr std::size_t kSmall = 30'000;
  std::vector<void*> pieces;
  EXPECT_THROW(for (;;) pieces.push_back(resource->allocate(kSmall, a_)), OutOfMemory);
  bool done = false;
  keep_busy(a_, &done);
  void* const last = pieces.back();
  pieces.pop_back();
  resource->deallocate(last, kSmall, a_);
  void* p = resource->allocate(kSmall, b_);
  EXPECT_EQ(p, last);
  EXPECT_TRUE(done);
  resource->deallocate(p, kSmall, b_);
  for (void* piece : pieces) resource->deallocate(piece, kSmall, a_);
  device_.synchronize_device();
}

// Free memory of three streams, in pieces none of which is enough.
TEST_P(LadderTest, GathersWhatIsFreeEverywhere) {
  auto resource = make_caching_allocator(device_);
  std::vector<std::pair<void*, RawStream>> parts;
  for (int i = 0; i < 8; ++i) {
    const RawStream stream = i % 2 ? a_ : b_;
    parts.emplace_back(resource->allocate(2 * kMiB, stream), stream);
  }
  bool done[2] = {};
  keep_busy(a_, &done[0]);
  keep_busy(b_, &done[1]);
  for (auto [p, stream] : parts) {
    resource->record_use(p, c_);
    resource->deallocate(p, 2 * kMiB, stream);
  }
  void* all = resource->allocate(16 * kMiB, c_);
  EXPECT_TRUE(done[0] && done[1]);
  resource->deallocate(all, 16 * kMiB, c_);
}

TEST_P(LadderTest, WhatThreadsKeepIsFoundBeforeMemoryIsTaken) {
  auto resource = make_caching_allocator(device_);
  // 1 MiB blocks stay with the thread that returned them.
  std::thread other([&] {
    std::vector<void*> parts;
    for (int i = 0; i < 4; ++i) parts.push_back(resource->allocate(kMiB, a_));
    for (void* p : parts) resource->deallocate(p, kMiB, a_);
  });
  other.join();
  const std::size_t before = resource->stats().reserved_bytes;
  void* p = resource->allocate(2 * kMiB, a_);
  void* q = resource->allocate(2 * kMiB, a_);
  EXPECT_EQ(resource->stats().peak_reserved_bytes, before);
  resource->deallocate(p, 2 * kMiB, a_);
  resource->deallocate(q, 2 * kMiB, a_);
  EXPECT_EQ(resource->trim(), before);
}

TEST_P(LadderTest, AnErrorChangesNothing) {
  auto resource = make_caching_allocator(device_, {.limit_bytes = 8 * kMiB});
  void* p = resource->allocate(5 * kMiB, a_);
  const MemoryStats before = resource->stats();
  for (std::size_t bytes : {4 * kMiB, 100 * kMiB, std::size_t{1} << 50}) {
    EXPECT_THROW(resource->allocate(bytes, a_), OutOfMemory);
    const MemoryStats after = resource->stats();
    EXPECT_EQ(after.live_bytes, before.live_bytes);
    EXPECT_EQ(after.peak_live_bytes, before.peak_live_bytes);
    EXPECT_EQ(after.allocations, before.allocations);
    EXPECT_LE(after.reserved_bytes, 8 * kMiB);
  }
  void* q = resource->allocate(2 * kMiB, a_);
  resource->deallocate(q, 2 * kMiB, a_);
  resource->deallocate(p, 5 * kMiB, a_);
}

INSTANTIATE_TEST_SUITE_P(Growth, LadderTest, ::testing::Bool(),
                         [](const auto& pages) { return pages.param ? "pages" : "segments"; });

// Each thread holds one block at most, and for all of these there is room: any error is one too many, however
// many blocks wait for their users meanwhile.
void expect_no_spurious_error(bool pages, std::size_t limit) {
  constexpr int kThreads = 8;
#if GPUNN_TSAN || GPUNN_ASAN
  constexpr int kRounds = 300;
#else
  constexpr int kRounds = 1000;
#endif
  FakeDevice device({.mode = FakeMode::threaded,
                     .memory_bytes = limit ? 8 * kThreads * kMiB : 2 * kThreads * kMiB,
                     .virtual_memory = pages});
  std::vector<RawStream> streams;
  for (int s = 0; s < 4; ++s) streams.push_back(device.create_stream(0));
  auto resource = make_caching_allocator(device, {.limit_bytes = limit});
  std::atomic<int> errors{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t)
    threads.emplace_back([&, t] {
      std::mt19937 random(static_cast<unsigned>(t));
      for (int i = 0; i < kRounds; ++i) {
        const RawStream stream = streams[random() % 4];
        try {
          void* p = resource->allocate(2 * kMiB, stream);
          if (random() % 2) resource->record_use(p, streams[random() % 4]);
          device.enqueue(stream, [] { std::this_thread::yield(); });
          resource->deallocate(p, 2 * kMiB, stream);
        } catch (const OutOfMemory&) {
          ++errors;
        }
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(errors, 0);
  resource->trim();
  EXPECT_EQ(resource->stats().live_bytes, 0u);
  EXPECT_EQ(resource->stats().reserved_bytes, 0u);
}

TEST(LadderRace, NoSpuriousErrorInSegments) { expect_no_spurious_error(false, 0); }
TEST(LadderRace, NoSpuriousErrorInPages) { expect_no_spurious_error(true, 0); }
TEST(LadderRace, NoSpuriousErrorAtTheLimit) { expect_no_spurious_error(true, 16 * kMiB); }

}  // namespace
}  // namespace gpunn
