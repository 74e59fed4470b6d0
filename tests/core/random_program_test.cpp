// Random programs equal serial execution, on every kind of stream, from one host thread and from four.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "gpunn/core/error.h"
#include "gpunn/core/memory.h"
#include "gpunn/core/runtime.h"
#include "tests/support/fake_device.h"
#include "tests/support/random_programs.h"

namespace gpunn {
namespace {

using testing::FakeCall;
using testing::FakeDevice;
using testing::FakeFailure;
using testing::FakeMode;
using testing::RandomProgram;

#if defined(GPUNN_TSAN)
constexpr std::uint32_t kPrograms = 120;
#elif defined(GPUNN_ASAN)
constexpr std::uint32_t kPrograms = 400;
#else
constexpr std::uint32_t kPrograms = 10000;
#endif
constexpr int kOperations = 24;

enum class Streams : std::uint8_t { immediate, threaded, emulated };
const std::vector<Streams> kStreams = {
    Streams::immediate,
    Streams::threaded,
#if GPUNN_EMULATED
    Streams::emulated,
#endif
};

// Programs share a context, as the parts of a user's program do: memory and streams pass from one to the
// next. With four threads, every other program is one that they run together, under a lock; the rest run
// beside each other on the same four streams.
class RandomProgramRaceTest : public ::testing::TestWithParam<std::tuple<Streams, int>> {
 protected:
  void SetUp() override {
    const Streams kind = std::get<0>(GetParam());
    if (kind == Streams::emulated) {
      context_ = &runtime_.cuda(0);
      return;
    }
    const FakeMode mode = kind == Streams::immediate ? FakeMode::immediate : FakeMode::threaded;
    context_ = &runtime_.adopt(std::make_unique<FakeDevice>(testing::FakeOptions{.mode = mode}));
  }

  int run(std::uint32_t seed, int threads, std::span<Stream> shared = {}) {
    RandomProgram program(*context_,
                          {.seed = seed,
                           .operations = kOperations,
                           .streams = 1 + static_cast<int>(seed % 4),
                           .threads = threads},
                          shared);
    return program.run();
  }

  Runtime runtime_{RuntimeOptions{.threads = 1, .forced = {}}};
  DeviceContext* context_ = nullptr;
};

TEST_P(RandomProgramRaceTest, EqualsSerialExecution) {
  const int threads = std::get<1>(GetParam());
  if (threads == 1) {
    for (std::uint32_t seed = 1; seed <= kPrograms; ++seed) ASSERT_EQ(run(seed, 1), 0) << "seed " << seed;
    return;
  }
  for (std::uint32_t seed = 1; seed <= kPrograms / 2; ++seed)
    ASSERT_EQ(run(seed, threads), 0) << "together, seed " << seed;
  std::vector<Stream> shared;
  for (int s = 0; s < 4; ++s) shared.emplace_back(Device(*context_));
  std::atomic<std::uint32_t> next{kPrograms / 2}, wrong{0};
  const auto take_programs = [&] {
    for (std::uint32_t seed; wrong == 0 && (seed = ++next) <= kPrograms;)
      if (run(seed, 1, shared) != 0) wrong = seed;
  };
  std::vector<std::thread> others;
  for (int t = 1; t < threads; ++t) others.emplace_back(take_programs);
  take_programs();
  for (std::thread& other : others) other.join();
  EXPECT_EQ(wrong, 0u) << "beside each other, seed " << wrong;
}

std::string case_name(const ::testing::TestParamInfo<std::tuple<Streams, int>>& info) {
  constexpr const char* names[] = {"immediate", "threaded", "emulated"};
  return std::string(names[static_cast<int>(std::get<0>(info.param))]) + "_" +
         std::to_string(std::get<1>(info.param)) + "_threads";
}

INSTANTIATE_TEST_SUITE_P(Streams, RandomProgramRaceTest,
                         ::testing::Combine(::testing::ValuesIn(kStreams), ::testing::Values(1, 4)),
                         case_name);

// Deferred streams run as late as the rules allow, in an order drawn at random.
int differing_programs(std::uint32_t programs, bool scheduled) {
  int differing = 0;
  Runtime runtime(RuntimeOptions{.threads = 1, .forced = {}});
  for (std::uint32_t seed = 1; seed <= programs; ++seed) {
    DeviceContext context(runtime, std::make_unique<FakeDevice>(
                                       testing::FakeOptions{.mode = FakeMode::deferred, .seed = seed}));
    RandomProgram program(context,
                          {.seed = seed, .streams = 1 + static_cast<int>(seed % 4), .scheduled = scheduled});
    const int different = program.run();
    differing += different > 0;
    if (scheduled) {
      EXPECT_EQ(different, 0) << "seed " << seed;
    }
  }
  return differing;
}

TEST(RandomProgramTest, EqualSerialExecutionWhenRunAsLateAsPossible) {
  differing_programs(std::min(kPrograms, 3000u), true);
}

TEST(RandomProgramTest, DifferWithoutTheScheduler) { EXPECT_GT(differing_programs(40, false), 20); }

TEST(RandomProgramTest, SurviveAFailureOfAnyCall) {
  for (FakeFailure failure :
       {FakeFailure::cuda_error, FakeFailure::out_of_memory, FakeFailure::device_lost}) {
    int failed = 0;
    for (long n = 1; n < 250; ++n) {
      auto api = std::make_unique<FakeDevice>(testing::FakeOptions{.mode = FakeMode::deferred, .seed = 3});
      FakeDevice& device = *api;
      Runtime runtime(RuntimeOptions{.threads = 1, .forced = {}});
      DeviceContext context(runtime, std::move(api));
      const auto live = device.live();
      {
        RandomProgram program(context, {.seed = 3});
        device.fail_at(FakeCall::any, n, failure);
        try {
          program.run();
        } catch (const Error&) {
          ++failed;
        }
        device.clear_failures();
      }
      for (MemoryResource* memory : {&context.memory(), &context.pinned()}) {
        memory->trim();
        EXPECT_EQ(memory->stats().live_bytes, 0u) << "call " << n;
      }
      EXPECT_EQ(device.live().allocations, live.allocations) << "call " << n;
      EXPECT_EQ(device.live().host_allocations, live.host_allocations) << "call " << n;
    }
    EXPECT_GT(failed, 100);
  }
}

}  // namespace
}  // namespace gpunn
