#include "gpunn/core/runtime.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gpunn/core/device_api.h"
#include "gpunn/core/error.h"
#include "gpunn/core/flight_recorder.h"
#include "gpunn/core/memory.h"
#include "gpunn/core/storage.h"
#include "gpunn/core/stream.h"
#include "tests/support/fake_device.h"

namespace gpunn {
namespace {

using testing::FakeCall;
using testing::FakeDevice;
using testing::FakeFailure;
using testing::FakeMode;
using ::testing::HasSubstr;

RuntimeOptions one_thread() { return {.threads = 1, .forced = {}}; }

class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) {
    if (const char* old = std::getenv(name)) old_ = old, had_ = true;
    ::setenv(name, value, 1);
  }
  ~Variable() {
    if (had_) {
      ::setenv(name_, old_.c_str(), 1);
    } else {
      ::unsetenv(name_);
    }
  }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  const char* name_;
  std::string old_;
  bool had_ = false;
};

TEST(RuntimeOptionsTest, ComeFromTheEnvironment) {
  Variable threads("GPUNN_NUM_THREADS", "3"), deterministic("GPUNN_DETERMINISTIC", "0"),
      sync("GPUNN_SYNC", "1"), shadow("GPUNN_SHADOW", "1"), forced("GPUNN_IMPL", "softmax=ref");
  const auto options = RuntimeOptions::from_environment();
  EXPECT_EQ(options.threads, 3);
  EXPECT_FALSE(options.deterministic);
  EXPECT_TRUE(options.synchronous);
  EXPECT_TRUE(options.shadow);
  EXPECT_EQ(options.forced, "softmax=ref");
}

TEST(RuntimeOptionsTest, RejectOtherWords) {
  Variable sync("GPUNN_SYNC", "yes");
  try {
    RuntimeOptions::from_environment();
    FAIL() << "no exception";
  } catch (const InvalidArgument& e) {
    EXPECT_THAT(e.what(), HasSubstr("GPUNN_SYNC: expected 0 or 1, got 'yes'"));
  }
}

TEST(RuntimeTest, ScopesAreOfTheThreadAndNest) {
  Runtime& process = Runtime::current();
  EXPECT_EQ(&process, &Runtime::current());
  Runtime outer(one_thread()), inner(one_thread());
  {
    RuntimeScope a(outer);
    EXPECT_EQ(&Runtime::current(), &outer);
    {
      RuntimeScope b(inner);
      EXPECT_EQ(&Device::cpu().context().runtime(), &inner);
      std::thread([&] { EXPECT_EQ(&Runtime::current(), &process); }).join();
    }
    EXPECT_EQ(&Runtime::current(), &outer);
  }
  EXPECT_EQ(&Runtime::current(), &process);
}

TEST(RuntimeTest, ThePoolCanBeReplaced) {
  Runtime runtime(one_thread());
  runtime.set_threads(3);
  EXPECT_EQ(runtime.pool().threads(), 3);
  EXPECT_EQ(runtime.options().threads, 3);
  EXPECT_THROW(runtime.set_threads(0), InvalidArgument);
  EXPECT_EQ(runtime.pool().threads(), 3);
}

TEST(RuntimeTest, AFailureWhileOpeningLeavesNothingBehind) {
  for (long n = 1; n < 10; ++n) {
    Runtime runtime(one_thread());
    auto api = std::make_unique<FakeDevice>();
    api->fail_at(FakeCall::any, n);
    try {
      runtime.adopt(std::move(api));
    } catch (const CudaError&) {
    }
  }
}

TEST(DeviceHandleTest, NamesAndParsing) {
  EXPECT_EQ(to_string(Device::cpu()), "cpu");
  EXPECT_TRUE(Device::parse("cpu") == Device::cpu());
  EXPECT_TRUE(Device::parse("best") == Device::best());
  for (const char* text : {"", "gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:1x", "CPU"})
    EXPECT_THROW(Device::parse(text), InvalidArgument) << text;
}

TEST(DeviceHandleTest, AnAbsentDeviceSaysWhy) {
  try {
    Device::cuda(63);
    FAIL() << "no exception";
  } catch (const Unsupported& e) {
    EXPECT_THAT(e.what(), HasSubstr("cuda:63"));
#if !GPUNN_HAS_CUDA
    EXPECT_THAT(e.what(), HasSubstr("this build of libgpunn has no CUDA"));
#else
    if (cuda_device_count() > 0) {
      EXPECT_THAT(e.what(), HasSubstr("(cuda:0"));
    } else {
      EXPECT_THAT(e.what(), HasSubstr("CUDA error"));
    }
#endif
  }
#if !GPUNN_HAS_CUDA
  EXPECT_EQ(cuda_device_count(), 0);
#endif
}

TEST(DeviceHandleTest, BestIsNeverEmulated) { EXPECT_FALSE(Device::best().context().api().info().emulated); }

TEST(DeviceHandleTest, DefaultDeviceFollowsItsScope) {
  Runtime runtime(one_thread());
  const Device fake(runtime.adopt(std::make_unique<FakeDevice>()));
  EXPECT_TRUE(default_device() == Device::cpu());
  {
    DeviceScope scope(fake);
    EXPECT_TRUE(default_device() == fake);
    {
      DeviceScope inner(Device::cpu());
      EXPECT_TRUE(default_device() == Device::cpu());
    }
    EXPECT_TRUE(default_device() == fake);
  }
  EXPECT_TRUE(default_device() == Device::cpu());
}

TEST(DeviceHandleTest, TheCpuDescribesItself) {
  DeviceApi& api = Device::cpu().context().api();
  EXPECT_NE(api.info().name, "");
  EXPECT_GE(api.info().multiprocessors, 1);
  std::size_t free_bytes = 0, total_bytes = 0;
  api.memory_info(free_bytes, total_bytes);
  EXPECT_GT(free_bytes, 0u);
  EXPECT_LE(free_bytes, total_bytes);
  EXPECT_EQ(api.info().memory_bytes, total_bytes);
}

TEST(StorageTest, LivesAsLongAsItsReferences) {
  Runtime runtime(one_thread());
  DeviceContext& cpu = runtime.cpu();
  const auto live = [&] { return cpu.memory().stats().live_bytes; };
  {
    Ref<Storage> a = Storage::allocate(cpu, 100);
    Ref<Storage> b = a;
    EXPECT_EQ(live(), 100u);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(a->data()) % 64, 0u);
    a = nullptr;
    EXPECT_EQ(live(), 100u);
    EXPECT_EQ(b->bytes(), 100u);
    EXPECT_EQ(b->version(), 0u);
    b->bump_version();
    EXPECT_EQ(b->version(), 1u);
  }
  EXPECT_EQ(live(), 0u);
}

TEST(StorageTest, MayBeEmpty) {
  Runtime runtime(one_thread());
  Ref<Storage> empty = Storage::allocate(runtime.cpu(), 0);
  EXPECT_EQ(empty->bytes(), 0u);
  EXPECT_EQ(empty->data(), nullptr);
}

TEST(StorageTest, PinnedMemoryIsASeparateResource) {
  Runtime runtime(one_thread());
  auto api = std::make_unique<FakeDevice>();
  FakeDevice& device = *api;
  DeviceContext& context = runtime.adopt(std::move(api));
  Ref<Storage> pinned = Storage::allocate(context, 100, Storage::Place::pinned_host);
  EXPECT_EQ(pinned->place(), Storage::Place::pinned_host);
  EXPECT_EQ(context.pinned().stats().live_bytes, 100u);
  EXPECT_EQ(context.memory().stats().live_bytes, 0u);
  EXPECT_EQ(device.live().host_allocations, 1u);
  EXPECT_EQ(&runtime.cpu().pinned(), &runtime.cpu().memory());
}

TEST(StorageRaceTest, ReferencesFromSeveralThreads) {
  Runtime runtime(one_thread());
  {
    Ref<Storage> shared = Storage::allocate(runtime.cpu(), 64);
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t)
      threads.emplace_back([&runtime, copy = shared]() mutable {
        for (int i = 0; i < 1000; ++i) {
          Ref<Storage> another = copy;
          Ref<Storage> own = Storage::allocate(runtime.cpu(), 32);
          static_cast<char*>(own->data())[0] = 1;
        }
        copy = nullptr;
      });
    shared = nullptr;
    for (auto& t : threads) t.join();
  }
  EXPECT_EQ(runtime.cpu().memory().stats().live_bytes, 0u);
}

TEST(RuntimeRaceTest, ContextsAndStreamsFromSeveralThreads) {
  Runtime runtime(one_thread());
  DeviceContext& context = runtime.adopt(std::make_unique<FakeDevice>());
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      RuntimeScope scope(runtime);
      for (int i = 0; i < 100; ++i) {
        Stream stream{Device(context)};
        StreamScope in(stream);
        wrong += context.current_stream() != stream.raw();
        wrong += &context.pinned() != &context.pinned();
        wrong += context.copy_in_stream() != context.copy_in_stream();
        wrong += &Device::cpu().context() != &runtime.cpu();
      }
    });
  for (auto& t : threads) t.join();
  EXPECT_EQ(wrong, 0);
}

// Flight recorder

TEST(FlightRecorderTest, KeepsTheLastLaunches) {
  FlightRecorder recorder;
  LayerScope layer("head");
  OpScope op("softmax");
  Exec exec;
  for (std::uint32_t i = 1; i <= FlightRecorder::kCapacity + 10; ++i)
    recorder.record("softmax_fwd_kernel", {i, 1, 1}, {128, 1, 1}, 64, exec);
  const auto records = recorder.snapshot();
  ASSERT_EQ(records.size(), FlightRecorder::kCapacity);
  EXPECT_EQ(records.front().sequence, 11u);
  EXPECT_EQ(records.back().sequence, FlightRecorder::kCapacity + 10);
  EXPECT_EQ(records.back().grid[0], FlightRecorder::kCapacity + 10);
  EXPECT_EQ(recorder.describe(0, 1),
            "softmax_fwd_kernel grid (266,1,1) block (128,1,1) shared 64 bytes in [head: softmax]");
  EXPECT_EQ(recorder.describe(1, 5), "") << "no launch on another device";
}

TEST(FlightRecorderRaceTest, RecordsFromSeveralThreads) {
  FlightRecorder recorder;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 300; ++i) {
        recorder.record("kernel", {1, 1, 1}, {1, 1, 1}, 0, Exec{});
        if (i % 50 == 0) recorder.describe(0, 3);
      }
    });
  for (auto& t : threads) t.join();
  EXPECT_EQ(recorder.snapshot().back().sequence, 1200u);
}

}  // namespace
}  // namespace gpunn
