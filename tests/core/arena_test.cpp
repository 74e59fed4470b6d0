// Arenas: where the slices lie, that each is a storage of its own, and when the block goes back.
#include "gpunn/core/arena.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "gpunn/core/memory.h"
#include "gpunn/core/runtime.h"
#include "gpunn/core/scheduler.h"
#include "gpunn/core/stream.h"
#include "tests/support/devices.h"
#include "tests/support/fake_device.h"

namespace gpunn {
namespace {

using testing::FakeDevice;
using testing::FakeMode;

std::uintptr_t address(const Tensor& t) { return reinterpret_cast<std::uintptr_t>(t.data()); }

constexpr int kThreads = 4, kRounds = 60, kBytes = 2048;  // of the race

RuntimeOptions one_thread() {
  RuntimeOptions options;
  options.threads = 1;
  return options;
}

class ArenaTest : public testing::DeviceTest {};
GPUNN_ON_EVERY_DEVICE(ArenaTest);

TEST_P(ArenaTest, SlicesAreStoragesSideBySide) {
  MemoryResource& memory = device().context().memory();
  const std::size_t live = memory.stats().live_bytes;
  const std::uint64_t allocations = memory.stats().allocations;
  const std::vector<Shape> shapes{{3, 5}, {64}, {0, 4}, {}, {1000}};
  std::vector<Tensor> arena = empty_arena(shapes, {.device = device()});
  EXPECT_EQ(memory.stats().allocations, allocations + 1);
  ASSERT_EQ(arena.size(), shapes.size());
  const std::size_t slots[] = {256, 256, 0, 256, 4096};
  std::uintptr_t at = address(arena[0]);
  EXPECT_EQ(at % 256, 0u);
  for (std::size_t i = 0; i < arena.size(); ++i) {
    EXPECT_EQ(arena[i].shape(), shapes[i]);
    EXPECT_TRUE(arena[i].is_contiguous());
    if (slots[i] > 0) {
      EXPECT_EQ(address(arena[i]), at) << i;
    }
    at += slots[i];
    arena[i].fill_(static_cast<double>(i));
  }
  const std::uint32_t version = arena[1].storage().version();
  arena[0].fill_(7);
  EXPECT_EQ(arena[1].storage().version(), version) << "a neighbour's write is none of its own";
  EXPECT_EQ(arena[0].to_vector<float>(), std::vector<float>(15, 7));
  EXPECT_EQ(arena[1].to_vector<float>(), std::vector<float>(64, 1));
  EXPECT_EQ(arena[4].to_vector<float>(), std::vector<float>(1000, 4));

  const Tensor last = arena[3];
  arena.clear();
  EXPECT_GT(memory.stats().live_bytes, live + 4096) << "one slice keeps the block";
  EXPECT_EQ(last.item(), 3);
}

TEST_P(ArenaTest, TheLastSliceGivesTheBlockBack) {
  MemoryResource& memory = device().context().memory();
  const std::size_t live = memory.stats().live_bytes;
  empty_arena(std::vector<Shape>{{10}, {20}}, {.dtype = DType::f64, .device = device()});
  EXPECT_EQ(memory.stats().live_bytes, live);
  for (const Tensor& t : empty_arena(std::vector<Shape>{{0}, {2, 0}}, {.device = device()}))
    EXPECT_EQ(t.numel(), 0);
  EXPECT_TRUE(empty_arena({}, {.device = device()}).empty());
  EXPECT_THROW(empty_arena(std::vector<Shape>{{-1}}, {.device = device()}), InvalidArgument);
  const Shape huge{std::int64_t{1} << 59};
  EXPECT_THROW(empty_arena(std::vector<Shape>(64, huge), {.device = device()}), OutOfMemory);
  EXPECT_EQ(memory.stats().live_bytes, live);
}

TEST(ArenaBlockTest, SlicesLieWithinTheirBlock) {
  Runtime runtime(one_thread());
  const Ref<Storage> block = Storage::allocate(runtime.cpu(), 1024);
  EXPECT_NO_THROW(Storage::slice(block, 256, 768));
  EXPECT_THROW(Storage::slice(block, 256, 769), InvalidArgument);
  EXPECT_THROW(Storage::slice(block, 2048, 1), InvalidArgument);
  EXPECT_THROW(Storage::slice(block, 0, ~std::size_t{0}), InvalidArgument);
}

TEST(ArenaBlockTest, TheBlockWaitsForWorkOnEverySlice) {
  Runtime runtime(one_thread());
  auto api = std::make_unique<FakeDevice>(testing::FakeOptions{.mode = FakeMode::deferred});
  FakeDevice& device = *api;
  DeviceContext& context = runtime.adopt(std::move(api));
  const std::vector<Shape> shapes(3, Shape{1 << 14});
  Stream stream{Device(context)};
  std::vector<Tensor> arena = empty_arena(shapes, {.device = Device(context)});
  void* const begin = arena[0].data();
  bool ran = false;
  {
    Storage* const writes[] = {&arena[1].storage()};
    Scheduler::Issue issue(context.scheduler(), stream.raw(), {}, writes);
    device.enqueue(stream.raw(), [&ran] { ran = true; });
    issue.commit();
  }
  arena.erase(arena.begin() + 1);  // the slice that was used dies first
  arena.clear();
  const std::vector<Tensor> second = empty_arena(shapes, {.device = Device(context)});
  EXPECT_TRUE(second[0].data() != begin || ran) << "handed out again under the work of a slice";
  context.synchronize();
  const std::vector<Tensor> third = empty_arena(shapes, {.device = Device(context)});
  EXPECT_TRUE(second[0].data() == begin || third[0].data() == begin) << "the block came back";
}

// Threads drop slices of each other's arenas while streams still work on them; memory goes round. A block
// that is handed out too early is written by two streams at once.
TEST(ArenaRaceTest, SlicesDieOnManyThreads) {
  Runtime runtime(one_thread());
  auto api = std::make_unique<FakeDevice>(testing::FakeOptions{.mode = FakeMode::threaded});
  FakeDevice& device = *api;
  DeviceContext& context = runtime.adopt(std::move(api));
  std::vector<std::vector<Tensor>> arenas;
  for (int round = 0; round < 3; ++round)
    arenas.push_back(empty_arena(std::vector<Shape>(kThreads, Shape{kBytes}),
                                 {.dtype = DType::u8, .device = Device(context)}));
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    std::vector<Tensor> own;
    for (std::vector<Tensor>& arena : arenas) own.push_back(std::move(arena[static_cast<std::size_t>(t)]));
    threads.emplace_back([&, t, own = std::move(own)]() mutable {
      RuntimeScope scope(runtime);
      Stream stream{Device(context)};
      for (int round = 0; round < kRounds; ++round) {
        if (own.empty())
          own = empty_arena(std::vector<Shape>(3, Shape{kBytes}),
                            {.dtype = DType::u8, .device = Device(context)});
        const Tensor slice = std::move(own.back());
        own.pop_back();
        auto* const bytes = static_cast<unsigned char*>(slice.data());
        const auto value = static_cast<unsigned char>(1 + t);
        Storage* const writes[] = {&slice.storage()};
        Scheduler::Issue issue(context.scheduler(), stream.raw(), {}, writes);
        device.enqueue(stream.raw(), [bytes, value] { std::memset(bytes, value, kBytes); });
        device.enqueue(stream.raw(), [bytes, value, &wrong] {
          for (int i = 0; i < kBytes; ++i) wrong += bytes[i] != value;
        });
        issue.commit();
      }
      stream.synchronize();
    });
  }
  for (std::vector<Tensor>& arena : arenas) arena.clear();
  arenas.clear();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(context.memory().stats().live_bytes, 0u);
}

#if GPUNN_ASAN && defined(GTEST_HAS_DEATH_TEST)
TEST(ArenaDeathTest, GapsBetweenSlicesArePoisoned) {
  const std::vector<Tensor> arena = empty_arena(std::vector<Shape>{{3}, {3}}, {.device = Device::cpu()});
  EXPECT_DEATH(arena[0].host<float>()[3] = 1, "use-after-poison");
}
#endif

}  // namespace
}  // namespace gpunn
