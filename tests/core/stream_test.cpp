// Streams, events, host functions and the copy streams: what they order, and what they leave free.
#include "gpunn/core/stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gpunn/core/autograd.h"
#include "gpunn/core/detail/host_calls.h"
#include "gpunn/core/memory.h"
#include "gpunn/core/scheduler.h"
#include "gpunn/core/storage.h"
#include "tests/support/devices.h"
#include "tests/support/fake_device.h"
#include "tests/support/stream_devices.h"
#include "tests/support/stuck_stream.h"

namespace gpunn {
namespace {

using testing::FakeCall;
using testing::FakeDevice;
using testing::FakeFailure;
using testing::FakeMode;
using ::testing::HasSubstr;
using testing::StuckStream;
using Floats = std::vector<float>;

class StreamTest : public testing::StreamDeviceTest {};
GPUNN_ON_STREAM_DEVICES(StreamTest);

// Priorities and handles

TEST(StreamScopeTest, TheInnermostScopeOfADeviceCounts) {
  Runtime runtime(RuntimeOptions{.threads = 1, .forced = {}});
  DeviceContext& one = runtime.adopt(std::make_unique<FakeDevice>());
  DeviceContext& two = runtime.adopt(std::make_unique<FakeDevice>());
  Stream a{Device(one)}, b{Device(one)}, c{Device(two)};
  EXPECT_EQ(one.current_stream(), one.compute_stream());
  {
    StreamScope in_a(a);
    StreamScope in_c(c);
    EXPECT_EQ(one.current_stream(), a.raw()) << "a scope of another device changes nothing here";
    EXPECT_EQ(two.current_stream(), c.raw());
    {
      StreamScope in_b(b);
      EXPECT_EQ(one.current_stream(), b.raw());
    }
    EXPECT_EQ(one.current_stream(), a.raw());
    std::thread([&] { EXPECT_EQ(one.current_stream(), one.compute_stream()); }).join();
  }
  EXPECT_EQ(one.current_stream(), one.compute_stream());
}

TEST(StreamScopeTest, HandlesAreKeptAndReused) {
  Runtime runtime(RuntimeOptions{.threads = 1, .forced = {}});
  auto api = std::make_unique<FakeDevice>();
  FakeDevice& device = *api;
  DeviceContext& context = runtime.adopt(std::move(api));
  RawStream first{};
  {
    Stream a{Device(context)};
    first = a.raw();
    Stream moved = std::move(a);
    EXPECT_EQ(moved.raw(), first);
    Stream other{Device(context), -1};
    other = std::move(moved);
    EXPECT_EQ(other.raw(), first);
  }
  const auto streams = device.live().streams;
  Stream again{Device(context)};
  EXPECT_EQ(again.raw(), first);
  EXPECT_EQ(device.live().streams, streams);
  EXPECT_NE(context.copy_in_stream(), context.copy_out_stream());
  EXPECT_EQ(context.copy_in_stream(), context.copy_in_stream());
}

TEST_P(StreamTest, PrioritiesReachTheDevice) {
  const Stream ordinary(device()), urgent(device(), -1);
  EXPECT_EQ(ordinary.priority(), 0);
  EXPECT_EQ(urgent.priority(), has_streams() ? -1 : 0);
  RawStream handle{};
  {
    const Stream most(device(), -3);
    handle = most.raw();
    EXPECT_EQ(most.priority(), has_streams() ? -3 : 0);
  }
  // A stream that was given back serves the same priority only.
  const Stream other(device(), -2), again(device(), -3);
  EXPECT_EQ(again.raw(), handle);
  EXPECT_EQ(again.priority(), has_streams() ? -3 : 0);
  EXPECT_EQ(other.priority(), has_streams() ? -2 : 0);
}

#if GPUNN_EMULATED
TEST(StreamPriorityTest, StaysWithinTheRangeOfTheDevice) {
  EXPECT_EQ(Stream(Device::cuda(0), -100).priority(), -5);
  EXPECT_EQ(Stream(Device::cuda(0), 7).priority(), 0);
}
#endif

TEST_P(StreamTest, CurrentNamesTheStreamOfTheScope) {
  const RawStream compute = Stream::current(device()).raw();
  EXPECT_EQ(compute, context_->compute_stream());
  Stream own(device());
  const RawStream raw = own.raw();
  {
    const StreamScope scope(own);
    Stream named = Stream::current(device());
    EXPECT_EQ(named.raw(), raw);
    Stream moved = std::move(named);
    EXPECT_EQ(moved.raw(), raw);
  }
  // The named ones did not give the stream back.
  const Stream other(device());
  EXPECT_EQ(other.raw() == raw, !has_streams());
}

// Events and waits

TEST_P(StreamTest, AnEventMarksWhatWasIssuedBefore) {
  Stream a(device()), b(device());
  std::atomic<int> ran{0}, first{0}, second{0};
  Event event;
  EXPECT_FALSE(event.recorded());
  EXPECT_TRUE(event.query());
  event.synchronize();
  b.wait(event);  // nothing recorded: nothing to wait for
  {
    std::optional<StuckStream> stuck;
    if (has_streams()) stuck.emplace(*context_, a.raw());
    a.call([&] { first = ++ran; });
    event.record(a);
    EXPECT_TRUE(event.recorded());
    a.call([&] { ++ran; });
    Event moved = std::move(event);
    event = std::move(moved);
    b.wait(event);
    b.call([&] { second = ++ran; });
    if (has_streams()) {
      EXPECT_FALSE(event.query());
      EXPECT_FALSE(b.query());
    }
  }
  event.synchronize();
  EXPECT_TRUE(event.query());
  b.synchronize();
  a.synchronize();
  EXPECT_EQ(first, 1);
  EXPECT_GT(second, first);
  EXPECT_EQ(ran, 3);
  EXPECT_TRUE(a.query());
}

TEST_P(StreamTest, AnEventLeavesLaterWorkFree) {
  if (!has_streams()) GTEST_SKIP() << "one stream";
  Stream a(device()), b(device());
  Event event;
  std::atomic<int> early{0}, late{0};
  a.call([&] { early = 1; });
  event.record(a);
  event.synchronize();
  StuckStream stuck(*context_, a.raw());
  a.call([&] { late = 1; });
  b.wait(event);
  b.call([&] { early = early + 1; });
  b.synchronize();  // would not return if it waited for all of a
  EXPECT_EQ(early, 2);
  EXPECT_EQ(late, 0);
  stuck.let_go();
  a.synchronize();
  EXPECT_EQ(late, 1);
}

TEST_P(StreamTest, AStreamWaitsForAnother) {
  if (!has_streams()) GTEST_SKIP() << "one stream";
  Stream a(device()), b(device());
  int value = 0, seen = -1;
  {
    StuckStream stuck(*context_, a.raw());
    a.call([&] { value = 7; });
    b.wait(a);
    b.call([&] { seen = value; });
    EXPECT_FALSE(b.query());
  }
  b.synchronize();
  EXPECT_EQ(seen, 7);
  b.wait(b);
  b.synchronize();
}

TEST_P(StreamTest, DevicesWaitForEachOther) {
  Stream here(device()), cpu(Device::cpu());
  int value = 0;
  here.call([&] { value = 1; });
  cpu.wait(here);  // the CPU is synchronous: it has waited when this returns
  EXPECT_EQ(value, 1);
  here.wait(cpu);
  here.synchronize();
}

TEST_P(StreamTest, TimedEventsMeasure) {
  Stream stream(device());
  Event start(true), end(true), plain;
  EXPECT_THROW(start.elapsed_time(end), InvalidArgument);
  start.record(stream);
  stream.call([] { std::this_thread::sleep_for(std::chrono::milliseconds(3)); });
  end.record(stream);
  plain.record(stream);
  end.synchronize();
  EXPECT_GE(start.elapsed_time(end), 2.9);
  EXPECT_LT(start.elapsed_time(end), 60000);
  EXPECT_LE(end.elapsed_time(start), -2.9);
  EXPECT_THROW(start.elapsed_time(plain), InvalidArgument);
  EXPECT_THROW(plain.elapsed_time(end), InvalidArgument);
  if (!has_streams()) return;
  StuckStream stuck(*context_, stream.raw());
  end.record(stream);
  EXPECT_THROW(start.elapsed_time(end), InvalidArgument) << "not done";
}

TEST_P(StreamTest, AnEventBelongsToOneDevice) {
  DeviceContext& other = runtime_.adopt(std::make_unique<FakeDevice>());
  Stream stream{Device(other)};
  Event event;
  event.record(device());
  EXPECT_THROW(event.record(stream), InvalidArgument);
}

// Host functions

TEST_P(StreamTest, HostFunctionsRunInOrder) {
  Stream stream(device());
  std::string order;
  for (char c = 'a'; c <= 'e'; ++c) stream.call([&order, c] { order += c; });
  stream.synchronize();
  EXPECT_EQ(order, "abcde");
  EXPECT_THROW(stream.call(nullptr), InvalidArgument);
}

TEST_P(StreamTest, DeclaredTensorsOrderHostFunctionsOnAnyStream) {
  if (!has_streams()) GTEST_SKIP() << "one stream";
  Stream a(device()), b(device());
  const Tensor x = pinned(1), y = pinned(0);
  const auto values = [](const Tensor& t) { return static_cast<float*>(t.data()); };
  const std::uint32_t version = y.storage().version();
  {
    StuckStream stuck(*context_, a.raw());
    a.call([&] { values(x)[5] = 4; }, {}, {x});
    b.call([&] { values(y)[5] = 10 * values(x)[5]; }, {x}, {y});
    EXPECT_FALSE(b.query());
  }
  EXPECT_EQ(y.to_vector<float>()[5], 40);
  EXPECT_NE(y.storage().version(), version);
  b.call([&] { values(x)[5] = 6; }, {}, {x});
  EXPECT_EQ(x.host<float>()[5], 6);
  x.fill_(2);  // an op on the CPU waits as well
  EXPECT_EQ(x.to_vector<float>()[5], 2);
}

TEST_P(StreamTest, HostFunctionsRefuseWhatNothingOrders) {
  Stream stream(device());
  DeviceContext& other = runtime_.adopt(std::make_unique<FakeDevice>());
  const Tensor elsewhere = empty({4}, {.device = Device(other)});
  EXPECT_THROW(stream.call([] {}, {elsewhere}), InvalidArgument);
  EXPECT_THROW(stream.call([] {}, {}, {Tensor()}), InvalidArgument);
  if (!has_streams()) return;
  try {
    stream.call([] { FAIL() << "must not run"; }, {ones({4}, {.device = Device::cpu()})});
    ADD_FAILURE() << "no exception";
  } catch (const InvalidArgument& e) {
    EXPECT_THAT(e.what(), HasSubstr("host memory pinned for it"));
  }
}

TEST_P(StreamTest, ExceptionsOfHostFunctionsReachTheWait) {
  Stream a(device()), b(device());
  const auto fail = [] { throw DataError("the disk is full"); };
  if (!has_streams()) {
    EXPECT_THROW(a.call(fail), DataError);
    return;
  }
  a.call(fail);
  int later = 0;
  a.call([&] { later = 1; });
  b.synchronize();  // nothing failed there
  EXPECT_THROW(a.synchronize(), DataError);
  EXPECT_EQ(later, 1) << "what does not depend on it goes on";
  a.synchronize();  // told once
  a.call(fail);
  EXPECT_THROW(device().synchronize(), DataError);
  device().synchronize();
}

// Destroying what a function captured may call the device, which the thread that ran it must not.
TEST_P(StreamTest, CapturedTensorsDieOnACallersThread) {
  struct Watch {
    std::thread::id* where;
    ~Watch() { *where = std::this_thread::get_id(); }
  };
  std::thread::id died;
  Stream stream(device());
  {
    auto watch = std::make_shared<Watch>(Watch{&died});
    died = {};
    Tensor x = has_streams() ? pinned(3) : ones({64});
    stream.call([watch, x] { static_cast<float*>(x.data())[0] = 8; }, {}, {x});
  }
  stream.synchronize();
  EXPECT_EQ(died, std::this_thread::get_id());
  if (has_streams()) context_->pinned().trim();
}

TEST(StreamLossTest, FunctionsOfALostDeviceDieWithIt) {
  Runtime runtime(RuntimeOptions{.threads = 1, .forced = {}});
  auto counted = std::make_shared<int>(0);
  {
    auto api = std::make_unique<FakeDevice>(testing::FakeOptions{.mode = FakeMode::deferred});
    FakeDevice& fake = *api;
    DeviceContext context(runtime, std::move(api));
    Stream stream{Device(context)};
    stream.call([counted] { ++*counted; });
    EXPECT_EQ(counted.use_count(), 2);
    fake.fail_at(FakeCall::any, 1, FakeFailure::device_lost);
    EXPECT_THROW(stream.synchronize(), DeviceLost);
  }  // the fake runs its queue even now; the function must not be found there
  EXPECT_EQ(counted.use_count(), 1);
  EXPECT_EQ(*counted, 0);
}

TEST(StreamLossTest, ClearWaitsForWhatHasBegun) {
  FakeDevice fake(testing::FakeOptions{.mode = FakeMode::threaded});
  const RawStream stream = fake.create_stream(0);
  std::atomic<int> begun{0}, ended{0};
  {
    detail::HostCalls calls(fake);
    calls.enqueue(stream, [&] {
      begun = 1;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      ended = 1;
    });
    calls.enqueue(stream, [&] { ended = 2; });
    while (begun == 0) std::this_thread::yield();
    calls.clear();
    EXPECT_GE(ended, 1);
  }
  fake.synchronize_stream(stream);
}

// Several host threads

class StreamRaceTest : public testing::DeviceTest {};
GPUNN_ON_EVERY_DEVICE(StreamRaceTest);

TEST_P(StreamRaceTest, ThreadsReadOneTensorOnStreamsOfTheirOwn) {
  const Tensor shared = full({256}, 3, {.device = device()});
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      const NoGrad inference;
      Stream stream(device());
      const StreamScope scope(stream);
      for (int i = 0; i < 5; ++i) {
        const Tensor y = detail::raw_add(shared, full({256}, t, {.device = device()}));
        wrong += y.to_vector<float>() != Floats(256, 3.0f + static_cast<float>(t));
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST_P(StreamRaceTest, ATensorPassesFromThreadToThread) {
  Tensor x = zeros({64}, {.device = device()});
  std::mutex lock;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      Stream stream(device());
      const StreamScope scope(stream);
      for (int i = 0; i < 5; ++i) {
        const std::lock_guard turn(lock);
        x = detail::raw_add(x, ones({64}, {.device = device()}));
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(x.to_vector<float>(), Floats(64, 20.0f));
}

TEST_P(StreamRaceTest, ThreadsShareOneStream) {
  Stream stream(device());
  std::vector<std::thread> threads;
  std::atomic<int> calls{0}, failed{0};
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      Stream own(device());
      Event event;
      for (int i = 0; i < 20; ++i) {
        stream.call([&] { ++calls; });
        event.record(stream);
        own.wait(event);
        stream.wait(own);
        const Tensor y = full({32}, i, {.device = device()});
        if (i % 5 == 0) stream.synchronize();
        failed += !(y.to_vector<float>() == Floats(32, static_cast<float>(i)));
      }
    });
  for (auto& thread : threads) thread.join();
  stream.synchronize();
  EXPECT_EQ(calls, 80);
  EXPECT_EQ(failed, 0);
}

}  // namespace
}  // namespace gpunn
