#include "gpunn/core/memory.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "gpunn/core/device_api.h"
#include "gpunn/core/error.h"
#include "tests/support/fake_device.h"

namespace gpunn {
namespace {

using testing::FakeCall;
using testing::FakeDevice;
using testing::FakeFailure;
using testing::FakeMode;

constexpr std::size_t kKiB = 1024, kMiB = 1024 * kKiB, kPiB = std::size_t{1} << 50;

// What every resource promises

struct Kind {
  const char* name;
  std::function<std::unique_ptr<MemoryResource>(DeviceApi&)> make;
  std::size_t alignment;
  bool pages = false;  // on a device with virtual memory
  int steps = 20'000;  // of random use; fewer in debug mode, which fills everything
};

void PrintTo(const Kind& kind, std::ostream* out) { *out << kind.name; }

class MemoryResourceTest : public ::testing::TestWithParam<Kind> {
 protected:
  void SetUp() override { resource_ = GetParam().make(device_); }
  FakeDevice device_{
      {.mode = FakeMode::deferred, .memory_bytes = 64 * kMiB, .virtual_memory = GetParam().pages}};
  RawStream stream_ = device_.create_stream(0);
  std::unique_ptr<MemoryResource> resource_;
};

TEST_P(MemoryResourceTest, SizesFromNothingToLarge) {
  EXPECT_EQ(resource_->allocate(0, stream_), nullptr);
  resource_->deallocate(nullptr, 0, stream_);
  EXPECT_EQ(resource_->stats().allocations, 0u);
  for (std::size_t bytes :
       {std::size_t{1}, std::size_t{63}, std::size_t{64}, std::size_t{65}, std::size_t{1000}, 4 * kKiB,
        32 * kKiB, 32 * kKiB + 1, 100'003ul, kMiB, 3 * kMiB + 5, 40 * kMiB}) {
    void* p = resource_->allocate(bytes, stream_);
    ASSERT_NE(p, nullptr);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(p) % GetParam().alignment, 0u) << bytes;
    device_.synchronize_stream(stream_);  // debug mode fills it there
    std::memset(p, 0xab, bytes);
    resource_->deallocate(p, bytes, stream_);
  }
}

TEST_P(MemoryResourceTest, CountersAreExact) {
  void* a = resource_->allocate(1000, stream_);
  void* b = resource_->allocate(kMiB, stream_);
  MemoryStats s = resource_->stats();
  EXPECT_EQ(s.live_bytes, 1000 + kMiB);
  EXPECT_EQ(s.allocations, 2u);
  EXPECT_GE(s.reserved_bytes, s.live_bytes);
  EXPECT_GE(s.device_allocations, 1u);
  resource_->deallocate(b, kMiB, stream_);
  s = resource_->stats();
  EXPECT_EQ(s.live_bytes, 1000u);
  EXPECT_EQ(s.peak_live_bytes, 1000 + kMiB);
  EXPECT_EQ(s.deallocations, 1u);
  resource_->reset_peaks();
  EXPECT_EQ(resource_->stats().peak_live_bytes, 1000u);
  resource_->deallocate(a, 1000, stream_);
  EXPECT_EQ(resource_->stats().live_bytes, 0u);
  resource_->trim();
  EXPECT_EQ(resource_->stats().reserved_bytes, 0u);
  EXPECT_EQ(device_.live().allocations, 0u);
  EXPECT_EQ(device_.live().host_allocations, 0u);
}

TEST_P(MemoryResourceTest, AnImpossibleRequestChangesNothing) {
  void* a = resource_->allocate(5000, stream_);
  const MemoryStats before = resource_->stats();
  for (std::size_t bytes : {kPiB, ~std::size_t{0}, ~std::size_t{0} - 63, std::size_t{1} << 62}) {
    EXPECT_THROW(resource_->allocate(bytes, stream_), OutOfMemory);
    const MemoryStats after = resource_->stats();
    EXPECT_EQ(after.live_bytes, before.live_bytes);
    EXPECT_EQ(after.peak_live_bytes, before.peak_live_bytes);
    EXPECT_EQ(after.allocations, before.allocations);
    EXPECT_LE(after.reserved_bytes, before.reserved_bytes);
  }
  resource_->deallocate(a, 5000, stream_);
}

TEST_P(MemoryResourceTest, RandomUseNeverOverlaps) {
  std::mt19937 random(3);
  struct Mine {
    std::size_t bytes;
    unsigned char tag;
  };
  std::map<char*, Mine> live;
  std::uint64_t allocations = 0;
  std::size_t live_bytes = 0;
  for (int step = 0; step < GetParam().steps; ++step) {
    if (random() % 2 || live.empty()) {
      const std::size_t bytes = 1 + random() % (random() % 8 ? 3000 : 200'000);
      char* p = nullptr;
      try {
        p = static_cast<char*>(resource_->allocate(bytes, stream_));
      } catch (const OutOfMemory&) {
        ASSERT_GT(live_bytes, 16 * kMiB) << "refused although there was room";
        continue;
      }
      device_.synchronize_stream(stream_);  // debug mode fills it there
      ++allocations;
      live_bytes += bytes;
      const auto after = live.lower_bound(p);
      ASSERT_TRUE(after == live.end() || p + bytes <= after->first);
      ASSERT_TRUE(after == live.begin() || std::prev(after)->first + std::prev(after)->second.bytes <= p);
      const auto tag = static_cast<unsigned char>(random());
      std::memset(p, tag, bytes);
      live[p] = {bytes, tag};
    } else {
      auto it =
          live.lower_bound(std::next(live.begin(), random() % std::min<std::size_t>(live.size(), 50))->first);
      const auto& [bytes, tag] = it->second;
      ASSERT_EQ(static_cast<unsigned char>(it->first[0]), tag);
      ASSERT_EQ(static_cast<unsigned char>(it->first[bytes - 1]), tag);
      resource_->deallocate(it->first, bytes, stream_);
      live_bytes -= bytes;
      live.erase(it);
    }
    ASSERT_EQ(resource_->stats().live_bytes, live_bytes);
  }
  EXPECT_EQ(resource_->stats().allocations, allocations);
  for (const auto& [p, mine] : live) resource_->deallocate(p, mine.bytes, stream_);
  EXPECT_EQ(resource_->stats().live_bytes, 0u);
}

// Whatever call of the device fails: a typed error, exact counters, nothing leaked, and the next program
// works.
TEST_P(MemoryResourceTest, EveryDeviceCallMayFail) {
  const std::size_t large = GetParam().steps < 20'000 ? 70 * kKiB : 2 * kMiB;
  for (FakeFailure failure : {FakeFailure::cuda_error, FakeFailure::out_of_memory}) {
    for (long n = 1; n < 60; ++n) {
      FakeDevice device(
          {.mode = FakeMode::deferred, .memory_bytes = 8 * kMiB, .virtual_memory = GetParam().pages});
      RawStream a = device.create_stream(0), b = device.create_stream(0);
      const auto before = device.live();
      {
        auto resource = GetParam().make(device);
        device.fail_at(FakeCall::any, n, failure);
        struct Mine {
          void* pointer;
          std::size_t bytes;
          RawStream stream;
        };
        std::vector<Mine> live;
        for (int step = 0; step < 12; ++step) {
          const std::size_t bytes = step % 3 == 0 ? large : 700;
          try {
            const RawStream stream = step % 2 ? a : b;
            void* p = resource->allocate(bytes, stream);
            live.push_back({p, bytes, stream});
            resource->record_use(p, a);
            resource->record_use(p, b);
          } catch (const Error&) {
          }
          if (live.size() > 2) {
            resource->deallocate(live.front().pointer, live.front().bytes, live.front().stream);
            live.erase(live.begin());
          }
          std::size_t sum = 0;
          for (const Mine& m : live) sum += m.bytes;
          ASSERT_EQ(resource->stats().live_bytes, sum);
        }
        for (const Mine& m : live) resource->deallocate(m.pointer, m.bytes, m.stream);
        device.clear_failures();
        void* p = resource->allocate(3 * large, b);
        resource->deallocate(p, 3 * large, b);
      }
      ASSERT_EQ(device.live(), before) << "call " << n;
    }
  }
}

std::unique_ptr<MemoryResource> caching(DeviceApi& device, bool host = false) {
  return make_caching_allocator(device, {.limit_bytes = 0, .host = host});
}
std::unique_ptr<MemoryResource> debug(std::unique_ptr<MemoryResource> below, DeviceApi& device,
                                      bool host = false) {
  return make_debug_resource(std::move(below), device, {.host = host});
}

using Api = DeviceApi&;
INSTANTIATE_TEST_SUITE_P(
    Resources, MemoryResourceTest,
    ::testing::Values(
        Kind{"direct", [](Api d) { return make_direct_resource(d, false); }, 256},
        Kind{"direct_host", [](Api d) { return make_direct_resource(d, true); }, 64},
        Kind{"caching", [](Api d) { return caching(d); }, 256},
        Kind{"caching_pages", [](Api d) { return caching(d); }, 256, true},
        Kind{"caching_host", [](Api d) { return caching(d, true); }, 64},
        Kind{"host", [](Api d) { return make_host_allocator(d); }, 64},
        Kind{"debug_direct", [](Api d) { return debug(make_direct_resource(d, false), d); }, 256, false,
             3'000},
        Kind{"debug_direct_host", [](Api d) { return debug(make_direct_resource(d, true), d, true); }, 64,
             false, 3'000},
        Kind{"debug_caching", [](Api d) { return debug(caching(d), d); }, 256, false, 3'000},
        Kind{"debug_caching_pages", [](Api d) { return debug(caching(d), d); }, 256, true, 3'000},
        Kind{"debug_caching_host", [](Api d) { return debug(caching(d, true), d, true); }, 64, false, 3'000},
        Kind{"debug_host", [](Api d) { return debug(make_host_allocator(d), d, true); }, 64, false, 3'000}),
    [](const auto& kind) { return std::string(kind.param.name); });

// The host allocator

TEST(HostAllocatorTest, KeepsFreedBlocksUpToItsLimit) {
  FakeDevice device;
  auto resource = make_host_allocator(device, 10 * kKiB);
  void* a = resource->allocate(4 * kKiB, nullptr);
  resource->deallocate(a, 4 * kKiB, nullptr);
  EXPECT_EQ(resource->allocate(4 * kKiB - 100, nullptr), a) << "same class, same block";
  EXPECT_EQ(resource->stats().device_allocations, 1u);
  resource->deallocate(a, 4 * kKiB - 100, nullptr);
  // 8 KiB do not fit beside 4 KiB: the older block makes room.
  void* b = resource->allocate(8 * kKiB, nullptr);
  resource->deallocate(b, 8 * kKiB, nullptr);
  EXPECT_EQ(resource->stats().reserved_bytes, 8 * kKiB);
  // More than the limit is not kept at all.
  void* c = resource->allocate(kMiB, nullptr);
  resource->deallocate(c, kMiB, nullptr);
  EXPECT_EQ(resource->stats().reserved_bytes, 8 * kKiB);
  EXPECT_EQ(resource->trim(), 8 * kKiB);
  EXPECT_EQ(device.live().allocations, 0u);
}

TEST(HostAllocatorTest, GivesUpItsStoreBeforeItFails) {
  FakeDevice device({.memory_bytes = kMiB});
  auto resource = make_host_allocator(device, kMiB);
  void* a = resource->allocate(600 * kKiB, nullptr);
  resource->deallocate(a, 600 * kKiB, nullptr);
  void* b = resource->allocate(kMiB, nullptr);
  EXPECT_NE(b, nullptr);
  resource->deallocate(b, kMiB, nullptr);
}

// The caching allocator

class CachingAllocatorTest : public ::testing::Test {
 protected:
  explicit CachingAllocatorTest(std::size_t memory = 64 * kMiB)
      : device_({.mode = FakeMode::deferred, .memory_bytes = memory}) {}
  FakeDevice device_;
  RawStream a_ = device_.create_stream(0), b_ = device_.create_stream(0);
};

TEST_F(CachingAllocatorTest, ABlockIsReusedAtOnceOnItsStream) {
  auto resource = make_caching_allocator(device_);
  for (std::size_t bytes : {std::size_t{300}, 5 * kMiB}) {
    void* p = resource->allocate(bytes, a_);
    resource->deallocate(p, bytes, a_);
    EXPECT_EQ(resource->allocate(bytes, a_), p);
    resource->deallocate(p, bytes, a_);
  }
  EXPECT_EQ(device_.live().events, 0u) << "one stream needs no events";
}

TEST_F(CachingAllocatorTest, AnotherStreamWaitsForTheUser) {
  auto resource = make_caching_allocator(device_);
  for (std::size_t bytes : {std::size_t{300}, 5 * kMiB}) {
    void* p = resource->allocate(bytes, a_);
    bool done = false;
    device_.enqueue(b_, [&] { done = true; });
    resource->record_use(p, b_);
    resource->deallocate(p, bytes, a_);
    // Deferred work runs when it is waited for, or one operation per query: as long as the work is open, so
    // is the block.
    for (int turn = 0; turn < 10; ++turn) {
      void* q = resource->allocate(bytes, a_);
      if (q == p) {
        EXPECT_TRUE(done);
      }
      resource->deallocate(q, bytes, a_);
    }
    device_.synchronize_device();
  }
}

TEST_F(CachingAllocatorTest, PinnedMemoryWaitsForItsOwnStream) {
  auto resource = make_caching_allocator(device_, {.limit_bytes = 0, .host = true});
  for (std::size_t bytes : {std::size_t{300}, 5 * kMiB}) {
    void* p = resource->allocate(bytes, a_);
    bool copied = false;
    for (int i = 0; i < 5; ++i) device_.enqueue(a_, [] {});
    device_.enqueue(a_, [&] { copied = true; });
    resource->deallocate(p, bytes, a_);
    void* q = resource->allocate(bytes, a_);
    EXPECT_FALSE(copied);
    EXPECT_NE(q, p) << "the host would write over what the copy has yet to read";
    resource->deallocate(q, bytes, a_);
    device_.synchronize_device();
    void* r = resource->allocate(bytes, a_);
    EXPECT_TRUE(r == p || r == q);
    resource->deallocate(r, bytes, a_);
    device_.synchronize_device();
  }
}

TEST_F(CachingAllocatorTest, AnIdleStreamsBlockIsBorrowed) {
  auto resource = make_caching_allocator(device_);
  void* p = resource->allocate(2 * kMiB, a_);
  resource->deallocate(p, 2 * kMiB, a_);
  device_.synchronize_device();
  const auto before = resource->stats().device_allocations;
  void* q = resource->allocate(2 * kMiB, b_);
  EXPECT_EQ(q, p);
  EXPECT_EQ(resource->stats().device_allocations, before);
  resource->deallocate(q, 2 * kMiB, b_);
}

TEST_F(CachingAllocatorTest, ABusyStreamsBlockIsNotBorrowed) {
  auto resource = make_caching_allocator(device_);
  void* p = resource->allocate(2 * kMiB, a_);
  bool done = false;
  for (int i = 0; i < 5; ++i) device_.enqueue(a_, [] {});
  device_.enqueue(a_, [&] { done = true; });
  resource->deallocate(p, 2 * kMiB, a_);
  void* q = resource->allocate(2 * kMiB, b_);
  EXPECT_FALSE(done);
  EXPECT_NE(q, p);
  resource->deallocate(q, 2 * kMiB, b_);
  device_.synchronize_device();
}

class FullDeviceTest : public CachingAllocatorTest {
 protected:
  FullDeviceTest() : CachingAllocatorTest(8 * kMiB) {}
};

TEST_F(FullDeviceTest, WaitsForPendingBlocksBeforeItFails) {
  auto resource = make_caching_allocator(device_);
  void* p = resource->allocate(8 * kMiB, a_);
  bool done = false;
  for (int i = 0; i < 20; ++i) device_.enqueue(b_, [] {});
  device_.enqueue(b_, [&] { done = true; });
  resource->record_use(p, b_);
  resource->deallocate(p, 8 * kMiB, a_);
  void* q = resource->allocate(7 * kMiB, a_);
  EXPECT_EQ(q, p);
  EXPECT_TRUE(done);
  resource->deallocate(q, 7 * kMiB, a_);
}

TEST_F(FullDeviceTest, WaitsForOtherStreamsBeforeItFails) {
  auto resource = make_caching_allocator(device_);
  void* p = resource->allocate(8 * kMiB, a_);
  bool done = false;
  for (int i = 0; i < 20; ++i) device_.enqueue(a_, [] {});
  device_.enqueue(a_, [&] { done = true; });
  resource->deallocate(p, 8 * kMiB, a_);
  void* q = resource->allocate(8 * kMiB, b_);
  EXPECT_TRUE(done);
  resource->deallocate(q, 8 * kMiB, b_);
}

TEST_F(FullDeviceTest, SmallRequestsFindRoomEverywhere) {
  auto resource = make_caching_allocator(device_);
  // Slabs of stream a fill the device; freed, they serve stream b in pieces of another size.
  std::vector<void*> pieces;
  try {
    for (;;) pieces.push_back(resource->allocate(30 * kKiB, a_));
  } catch (const OutOfMemory&) {
  }
  ASSERT_GT(pieces.size(), 200u);
  resource->deallocate(pieces.back(), 30 * kKiB, a_);
  pieces.pop_back();
  void* q = resource->allocate(300, b_);
  EXPECT_NE(q, nullptr);
  resource->deallocate(q, 300, b_);
  for (void* p : pieces) resource->deallocate(p, 30 * kKiB, a_);
  void* all = resource->allocate(8 * kMiB, b_);
  EXPECT_NE(all, nullptr);
  resource->deallocate(all, 8 * kMiB, b_);
  EXPECT_EQ(resource->stats().live_bytes, 0u);
}

// A piece that stream b borrowed from a slab of stream a goes back there: work on a must then wait for b.
TEST_F(FullDeviceTest, ABorrowedPieceReturnsAfterItsBorrower) {
  auto resource = make_caching_allocator(device_);
  std::vector<void*> pieces;
  try {
    for (;;) pieces.push_back(resource->allocate(30 * kKiB, a_));
  } catch (const OutOfMemory&) {
  }
  resource->deallocate(pieces.back(), 30 * kKiB, a_);
  pieces.pop_back();
  void* borrowed = resource->allocate(30 * kKiB, b_);
  bool done = false;
  for (int i = 0; i < 20; ++i) device_.enqueue(b_, [] {});
  device_.enqueue(b_, [&] { done = true; });
  resource->deallocate(borrowed, 30 * kKiB, b_);
  void* again = resource->allocate(30 * kKiB, a_);
  EXPECT_EQ(again, borrowed);
  EXPECT_TRUE(done);
  pieces.push_back(again);
  for (void* p : pieces) resource->deallocate(p, 30 * kKiB, a_);
}

TEST_F(FullDeviceTest, ASmallRequestFitsWhereNoSlabDoes) {
  auto resource = make_caching_allocator(device_, {.limit_bytes = 4 * kKiB, .host = false});
  void* p = resource->allocate(700, a_);
  void* q = resource->allocate(700, a_);
  EXPECT_LE(resource->stats().reserved_bytes, 4 * kKiB);
  resource->deallocate(p, 700, a_);
  resource->deallocate(q, 700, a_);
  resource->trim();
  EXPECT_EQ(resource->stats().reserved_bytes, 0u);
}

TEST_F(FullDeviceTest, ReleasesWhatIsUnusedForADifferentSize) {
  auto resource = make_caching_allocator(device_);
  std::vector<void*> parts;
  for (int i = 0; i < 4; ++i) parts.push_back(resource->allocate(2 * kMiB, a_));
  for (void* p : parts) resource->deallocate(p, 2 * kMiB, a_);
  EXPECT_EQ(resource->stats().reserved_bytes, 8 * kMiB);
  void* whole = resource->allocate(8 * kMiB, a_);
  EXPECT_EQ(resource->stats().reserved_bytes, 8 * kMiB);
  resource->deallocate(whole, 8 * kMiB, a_);
}

TEST_F(FullDeviceTest, TheErrorSaysWhatIsKnown) {
  auto resource = make_caching_allocator(device_, {.limit_bytes = 6 * kMiB, .host = false});
  void* p = resource->allocate(3 * kMiB, a_);
  LayerScope layer("encoder");
  OpScope op("conv2d");
  try {
    resource->allocate(5 * kMiB, a_);
    FAIL() << "no exception";
  } catch (const OutOfMemory& e) {
    const std::string text = e.what();
    for (const char* part : {"[encoder: conv2d]", "cuda:0", "requested 5.00 MiB", "live 3.00 MiB in 1 block",
                             "reserved 4.00 MiB", "largest free block 1.00 MiB", "limit 6.00 MiB"})
      EXPECT_NE(text.find(part), std::string::npos) << part << " is not in: " << text;
  }
  resource->deallocate(p, 3 * kMiB, a_);
}

TEST_F(FullDeviceTest, TheLimitHolds) {
  auto resource = make_caching_allocator(device_, {.limit_bytes = 3 * kMiB, .host = false});
  std::vector<void*> parts;
  EXPECT_THROW(for (;;) parts.push_back(resource->allocate(100 * kKiB, a_)), OutOfMemory);
  EXPECT_LE(resource->stats().reserved_bytes, 3 * kMiB);
  EXPECT_GE(parts.size(), 29u);
  for (void* p : parts) resource->deallocate(p, 100 * kKiB, a_);
}

// A device that was lost while blocks were pending: freeing goes on without a throw, allocating says what
// happened.
TEST_F(CachingAllocatorTest, ALostDeviceIsReported) {
  auto resource = make_caching_allocator(device_);
  void* p = resource->allocate(kMiB, a_);
  void* q = resource->allocate(kMiB, a_);
  resource->record_use(p, b_);
  resource->record_use(q, b_);
  resource->deallocate(p, kMiB, a_);
  device_.fail_at(FakeCall::any, 1, FakeFailure::device_lost);
  resource->deallocate(q, kMiB, a_);
  EXPECT_THROW(resource->allocate(40 * kMiB, a_), DeviceLost);
  EXPECT_EQ(resource->stats().live_bytes, 0u);
}

}  // namespace
}  // namespace gpunn
