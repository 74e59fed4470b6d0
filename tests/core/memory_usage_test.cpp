#include "gpunn/core/memory_usage.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "gpunn/core/arena.h"
#include "gpunn/core/detail/out_of_memory.h"
#include "gpunn/core/device_api.h"
#include "gpunn/core/error.h"
#include "gpunn/core/memory.h"
#include "gpunn/core/memory_trace.h"
#include "gpunn/core/runtime.h"
#include "gpunn/core/storage.h"
#include "tests/support/fake_device.h"

namespace gpunn {
namespace {

using ::testing::AllOf;
using testing::FakeCall;
using testing::FakeDevice;
using testing::FakeFailure;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::size_t kKiB = 1024, kMiB = 1024 * kKiB;

MemoryTag tag_at(int i) { return static_cast<MemoryTag>(i); }

Ref<Storage> take(DeviceContext& context, std::size_t bytes, MemoryTag tag) {
  const MemoryTagScope scope(tag);
  return Storage::allocate(context, bytes);
}

std::string refusal(const std::function<void()>& action) {
  try {
    action();
  } catch (const OutOfMemory& e) {
    return e.what();
  }
  return "nothing was refused";
}

class MemoryUsageTest : public ::testing::Test {
 protected:
  static std::unique_ptr<FakeDevice> small_device() {
    return std::make_unique<FakeDevice>(testing::FakeOptions{.memory_bytes = 8 * kMiB});
  }
  std::array<std::size_t, kMemoryTags> live() const {
    std::array<std::size_t, kMemoryTags> out{};
    for (int i = 0; i < kMemoryTags; ++i)
      out[static_cast<std::size_t>(i)] = context_.usage().live_bytes(tag_at(i));
    return out;
  }
  Runtime runtime_{RuntimeOptions{.threads = 1}};
  std::unique_ptr<FakeDevice> made_ = small_device();
  FakeDevice& device_ = *made_;
  DeviceContext& context_ = runtime_.adopt(std::move(made_));
  MemoryUsage& usage_ = context_.usage();
};

TEST_F(MemoryUsageTest, TagsSumToTheAllocatorsBytes) {
  for (DeviceContext* context : {&context_, &runtime_.cpu()}) {
    MemoryUsage& usage = context->usage();
    std::mt19937 random(5);
    std::vector<Ref<Storage>> held;
    std::array<std::size_t, kMemoryTags> bytes{}, blocks{}, peaks{};
    const auto count = [&](MemoryTag tag, std::size_t n, int sign) {
      const auto i = static_cast<std::size_t>(tag);
      bytes[i] = sign > 0 ? bytes[i] + n : bytes[i] - n;
      blocks[i] += static_cast<std::size_t>(sign);
      peaks[i] = std::max(peaks[i], bytes[i]);
    };
    for (int step = 0; step < 3000; ++step) {
      const MemoryTag tag = tag_at(static_cast<int>(random() % kMemoryTags));
      if (held.size() > 100 || (!held.empty() && random() % 3 == 0)) {
        std::swap(held[random() % held.size()], held.back());
        count(held.back()->tag(), held.back()->bytes(), -1);
        held.pop_back();
      } else if (!held.empty() && random() % 4 == 0) {
        Storage& some = *held[random() % held.size()];
        const MemoryTag before = some.tag();
        some.retag(tag);
        if (before == tag) continue;
        count(tag, some.bytes(), 1);
        count(before, some.bytes(), -1);
      } else {
        held.push_back(take(*context, 1 + random() % 20'000, tag));
        count(tag, held.back()->bytes(), 1);
      }
      ASSERT_EQ(usage.live_bytes(), context->memory().stats().live_bytes);
    }
    for (int i = 0; i < kMemoryTags; ++i) {
      const auto at = static_cast<std::size_t>(i);
      EXPECT_EQ(usage.of(tag_at(i)).live_bytes, bytes[at]);
      EXPECT_EQ(usage.of(tag_at(i)).blocks, blocks[at]);
      EXPECT_EQ(usage.of(tag_at(i)).peak_bytes, peaks[at]);
    }
    held.clear();
    EXPECT_EQ(usage.live_bytes(), 0u);
  }
}

TEST_F(MemoryUsageTest, ArenasCountOnceAndEmptyStorageNever) {
  const std::vector<Shape> shapes{{100}, {3}, {0}};
  {
    const MemoryTagScope scope(MemoryTag::optimizer);
    const std::vector<Tensor> arena = empty_arena(shapes, {.device = Device(context_)});
    EXPECT_EQ(usage_.of(MemoryTag::optimizer).blocks, 1u);
    EXPECT_EQ(usage_.live_bytes(), context_.memory().stats().live_bytes);
    arena[1].storage().retag(MemoryTag::weights);
    EXPECT_EQ(usage_.of(MemoryTag::optimizer).blocks, 0u);
    EXPECT_EQ(arena[0].storage().tag(), MemoryTag::weights);
    EXPECT_EQ(usage_.live_bytes(), context_.memory().stats().live_bytes);
  }
  EXPECT_EQ(usage_.live_bytes(), 0u);
  const Ref<Storage> empty = take(context_, 0, MemoryTag::weights);
  EXPECT_EQ(usage_.of(MemoryTag::weights).blocks, 0u);
}

TEST_F(MemoryUsageTest, PinnedHostMemoryIsNotTheDevices) {
  const Ref<Storage> pinned = Storage::allocate(context_, 1000, Storage::Place::pinned_host);
  pinned->retag(MemoryTag::weights);
  EXPECT_EQ(usage_.live_bytes(), 0u);
  EXPECT_EQ(context_.pinned().stats().live_bytes, 1000u);
}

TEST_F(MemoryUsageTest, PeaksAreEachTagsOwnAndCanBeReset) {
  Ref<Storage> a = take(context_, 1000, MemoryTag::weights);
  Ref<Storage> b = take(context_, 500, MemoryTag::activations);
  b = nullptr;
  EXPECT_EQ(usage_.of(MemoryTag::activations).peak_bytes, 500u);
  EXPECT_EQ(usage_.take_recent_peaks()[static_cast<std::size_t>(MemoryTag::activations)], 500u);
  EXPECT_EQ(usage_.take_recent_peaks()[static_cast<std::size_t>(MemoryTag::activations)], 0u);
  EXPECT_EQ(usage_.of(MemoryTag::activations).peak_bytes, 500u) << "a timeline changes no peak";
  b = take(context_, 300, MemoryTag::activations);
  b = nullptr;
  EXPECT_EQ(usage_.take_recent_peaks()[static_cast<std::size_t>(MemoryTag::activations)], 300u);
  usage_.reset_peaks();
  EXPECT_EQ(usage_.of(MemoryTag::activations).peak_bytes, 0u);
  EXPECT_EQ(usage_.of(MemoryTag::weights).peak_bytes, 1000u) << "what is live stays";
}

// More blocks than 16 bits hold: carries out of the common word must come back.
TEST_F(MemoryUsageTest, CountsMoreBlocksThanAWordHolds) {
  MemoryUsage usage;
  constexpr std::uint64_t kBlocks = 200'000;
  for (std::uint64_t i = 0; i < kBlocks; ++i) usage.add(MemoryTag::weights, 3);
  EXPECT_EQ(usage.of(MemoryTag::weights).blocks, kBlocks);
  EXPECT_EQ(usage.live_bytes(), 3 * kBlocks);
  usage.set_limit(MemoryTag::weights, std::size_t{1} << 40);
  for (int i = 0; i < 70'000; ++i) ASSERT_TRUE(usage.claim(MemoryTag::weights, 1));
  EXPECT_EQ(usage.of(MemoryTag::weights).blocks, kBlocks + 70'000);
  for (int i = 0; i < 70'000; ++i) usage.remove(MemoryTag::weights, 1);
  for (std::uint64_t i = 0; i < kBlocks; ++i) usage.remove(MemoryTag::weights, 3);
  EXPECT_EQ(usage.of(MemoryTag::weights).blocks, 0u);
  EXPECT_EQ(usage.live_bytes(), 0u);
}

TEST_F(MemoryUsageTest, ALimitRefusesWhatWouldPassIt) {
  const Ref<Storage> held = take(context_, 60 * kKiB, MemoryTag::activations);
  usage_.set_limit(MemoryTag::activations, 100 * kKiB);
  const MemoryStats before = context_.memory().stats();
  const TagUsage use = usage_.of(MemoryTag::activations);
  const LayerScope layer("fc1");
  const OpScope op("linear");
  for (const std::size_t bytes : {40 * kKiB + 1, std::size_t{1} << 50, ~std::size_t{0}}) {
    const std::string text = refusal([&] { take(context_, bytes, MemoryTag::activations); });
    EXPECT_THAT(text, AllOf(HasSubstr("[fc1: linear] out of memory for activations on cuda:0"),
                            HasSubstr("held 60.00 KiB"), HasSubstr("limit of activations 100.00 KiB"),
                            HasSubstr("What would help: a higher limit for activations")));
    EXPECT_EQ(usage_.of(MemoryTag::activations).live_bytes, use.live_bytes);
    EXPECT_EQ(usage_.of(MemoryTag::activations).peak_bytes, use.peak_bytes);
    EXPECT_EQ(usage_.of(MemoryTag::activations).blocks, use.blocks);
    EXPECT_EQ(context_.memory().stats().allocations, before.allocations);
    EXPECT_EQ(context_.memory().stats().live_bytes, before.live_bytes);
  }
  const Ref<Storage> exact = take(context_, 40 * kKiB, MemoryTag::activations);
  EXPECT_EQ(usage_.of(MemoryTag::activations).peak_bytes, 100 * kKiB);
  const Ref<Storage> other = take(context_, 50 * kKiB, MemoryTag::weights);
  other->retag(MemoryTag::activations);
  EXPECT_EQ(usage_.of(MemoryTag::activations).live_bytes, 150 * kKiB) << "retagging is never refused";
  usage_.set_limit(MemoryTag::activations, 0);
  EXPECT_TRUE(take(context_, 40 * kKiB, MemoryTag::activations));
}

TEST_F(MemoryUsageTest, AFailureOfTheDeviceLeavesCountersAsTheyWere) {
  for (const std::size_t limit : {std::size_t{0}, 4 * kMiB}) {
    usage_.set_limit(MemoryTag::weights, limit);
    for (const FakeFailure failure : {FakeFailure::cuda_error, FakeFailure::out_of_memory}) {
      context_.memory().trim();
      for (int n = 0; n < 50; ++n) device_.fail_at(FakeCall::allocate, 1, failure);
      EXPECT_THROW(take(context_, 3 * kMiB, MemoryTag::weights), Error);
      device_.clear_failures();
      EXPECT_EQ(usage_.of(MemoryTag::weights).live_bytes, 0u);
      EXPECT_EQ(usage_.of(MemoryTag::weights).peak_bytes, 0u);
      EXPECT_EQ(usage_.of(MemoryTag::weights).blocks, 0u);
    }
  }
  EXPECT_TRUE(take(context_, 3 * kMiB, MemoryTag::weights));
}

TEST_F(MemoryUsageTest, LimitsFromText) {
  usage_.set_limits("activations=2GiB,optimizer=500MiB,workspace=12");
  EXPECT_EQ(usage_.of(MemoryTag::activations).limit_bytes, std::size_t{2} << 30);
  EXPECT_EQ(usage_.of(MemoryTag::optimizer).limit_bytes, 500 * kMiB);
  EXPECT_EQ(usage_.of(MemoryTag::workspace).limit_bytes, 12u);
  EXPECT_EQ(usage_.of(MemoryTag::weights).limit_bytes, 0u);
  for (const char* bad :
       {"activations", "activations=", "states=1MiB", "weights=1MB", "weights=-1", "weights= 1",
        "weights=99999999TiB", "weights=1MiB,,", "=1", "weights=18446744073709551616"}) {
    EXPECT_THROW(usage_.set_limits(bad), InvalidArgument) << bad;
    EXPECT_EQ(usage_.of(MemoryTag::weights).limit_bytes, 0u) << bad;
  }
  usage_.set_limits("");
  EXPECT_EQ(usage_.of(MemoryTag::workspace).limit_bytes, 12u);
}

TEST(MemoryLimitVariable, AppliesToEveryDeviceOfARuntime) {
  ::setenv("GPUNN_MEMORY_TAG_LIMITS", "weights=1KiB", 1);
  Runtime runtime(RuntimeOptions{.threads = 1});
  DeviceContext& fake = runtime.adopt(std::make_unique<FakeDevice>());
  ::setenv("GPUNN_MEMORY_TAG_LIMITS", "weights=much", 1);
  EXPECT_THAT([] { Runtime other(RuntimeOptions{.threads = 1}); },
              ::testing::ThrowsMessage<InvalidArgument>(
                  AllOf(HasSubstr("GPUNN_MEMORY_TAG_LIMITS"), HasSubstr("much"))));
  ::unsetenv("GPUNN_MEMORY_TAG_LIMITS");
  for (DeviceContext* context : {&runtime.cpu(), &fake}) {
    EXPECT_THROW(take(*context, 1025, MemoryTag::weights), OutOfMemory);
    EXPECT_TRUE(take(*context, 1024, MemoryTag::weights));
  }
}

TEST_F(MemoryUsageTest, OutOfMemoryNamesHoldersAndWhatWouldHelp) {
  const Ref<Storage> weights = take(context_, 300 * kKiB, MemoryTag::weights);
  Ref<Storage> states = take(context_, 5 * kMiB, MemoryTag::optimizer);
  const auto fail = [&] { take(context_, 4 * kMiB, MemoryTag::activations); };
  EXPECT_THAT(
      refusal(fail),
      AllOf(HasSubstr("requested 4.00 MiB"), HasSubstr("largest free block"),
            HasSubstr("Wanted for activations; held by optimizer 5.00 MiB in 1 block, weights 300.00 KiB"),
            HasSubstr("fewer states (SGD"), HasSubstr("GPUNN_MEMORY_TRACE=FILE"), Not(HasSubstr("made in"))));
  states->retag(MemoryTag::activations);
  EXPECT_THAT(refusal(fail), HasSubstr("What would help: a smaller batch"));
  states->retag(MemoryTag::gradients);
  EXPECT_THAT(refusal(fail), HasSubstr("zero_grad() before the forward pass"));
  states->retag(MemoryTag::weights);
  EXPECT_THAT(refusal(fail), HasSubstr("16-bit dtype"));
  states->retag(MemoryTag::workspace);
  EXPECT_THAT(refusal(fail), HasSubstr("scratch"));
  states = nullptr;
  // The request is itself the largest.
  EXPECT_THAT(refusal([&] { take(context_, 100 * kMiB, MemoryTag::weights); }), HasSubstr("a smaller model"));
}

TEST_F(MemoryUsageTest, OutOfMemoryNamesLayersWhenTheyAreRecorded) {
  const MemoryTrace trace{Device(context_)};
  Ref<Storage> first, second;
  {
    const LayerScope outer("encoder"), inner("fc1");
    first = take(context_, 3 * kMiB, MemoryTag::activations);
  }
  {
    const LayerScope layer("head");
    second = take(context_, 2 * kMiB, MemoryTag::activations);
  }
  const LayerScope layer("loss");
  EXPECT_THAT(refusal([&] { take(context_, 4 * kMiB, MemoryTag::activations); }),
              AllOf(HasSubstr("[loss]"), HasSubstr("made in encoder.fc1 3.00 MiB, head 2.00 MiB"),
                    Not(HasSubstr("GPUNN_MEMORY_TRACE"))));
}

TEST_F(MemoryUsageTest, ScatteredFreeMemoryIsNamedAsTheCause) {
  take(context_, 4 * kMiB, MemoryTag::activations);  // kept by the allocator
  const std::string text = detail::out_of_memory_text(context_, 3 * kMiB, MemoryTag::weights, "no room");
  EXPECT_THAT(text, AllOf(HasSubstr("no room. Wanted for weights"), HasSubstr("reserved and free"),
                          HasSubstr("trim()")));
  context_.memory().trim();
  EXPECT_THAT(detail::out_of_memory_text(context_, 3 * kMiB, MemoryTag::weights, "no room"),
              Not(HasSubstr("reserved and free")));
}

TEST(ParseBytes, TakesUnits) {
  EXPECT_EQ(detail::parse_bytes("0"), 0u);
  EXPECT_EQ(detail::parse_bytes("17B"), 17u);
  EXPECT_EQ(detail::parse_bytes("3KiB"), 3072u);
  EXPECT_EQ(detail::parse_bytes("2TiB"), std::size_t{2} << 40);
  for (const char* bad : {"", "B", "1.5GiB", "1 GiB", "1gib", "0x10", "+1", "1K"})
    EXPECT_THROW(detail::parse_bytes(bad), InvalidArgument) << bad;
}

TEST(MemoryUsageRace, CountsAreExactAndTheLimitHolds) {
  Runtime runtime(RuntimeOptions{.threads = 1});
  MemoryUsage& usage = runtime.cpu().usage();
  constexpr std::size_t kLimit = 16 * kKiB;
  usage.set_limit(MemoryTag::gradients, kLimit);
  std::atomic<int> refused{0}, wrong{0};
  std::vector<std::jthread> threads;
  for (unsigned t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      std::mt19937 random(t);
      std::vector<Ref<Storage>> held;
      for (int i = 0; i < 1500; ++i) {
        const MemoryTag tag = random() % 2 ? MemoryTag::gradients : MemoryTag::activations;
        try {
          held.push_back(take(runtime.cpu(), 1 + random() % 4000, tag));
        } catch (const OutOfMemory&) {
          ++refused;
        }
        if (usage.of(MemoryTag::gradients).peak_bytes > kLimit) ++wrong;
        if (held.size() > 20) held.erase(held.begin(), held.begin() + 10);
      }
    });
  threads.clear();
  EXPECT_EQ(wrong, 0);
  EXPECT_GT(refused, 0);
  EXPECT_EQ(usage.live_bytes(), 0u);
  EXPECT_EQ(usage.of(MemoryTag::gradients).blocks, 0u);
  EXPECT_EQ(usage.of(MemoryTag::activations).blocks, 0u);
}

}  // namespace
}  // namespace gpunn
