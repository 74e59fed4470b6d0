// The profiler: what it records, what it leaves out, and that it disturbs nothing.
#include "gpunn/core/profiler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <barrier>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "gpunn/core/autograd.h"
#include "gpunn/core/detail/profile_thread.h"
#include "gpunn/core/device_api.h"
#include "gpunn/core/error.h"
#include "gpunn/core/implementation.h"
#include "gpunn/core/runtime.h"
#include "gpunn/core/scheduler.h"
#include "gpunn/core/stream.h"
#include "gpunn/core/tensor.h"
#include "tests/support/devices.h"
#include "tests/support/fake_device.h"

namespace gpunn {
namespace {

using testing::FakeCall;
using testing::FakeDevice;
using testing::FakeMode;

std::vector<ProfileRecord> of_kind(const Profile& profile, ProfileKind kind) {
  std::vector<ProfileRecord> out;
  for (const ProfileRecord& r : profile.records)
    if (r.kind == kind) out.push_back(r);
  return out;
}

// The only record of that kind and label.
ProfileRecord only(const Profile& profile, ProfileKind kind, const std::string& label) {
  std::vector<ProfileRecord> found;
  for (const ProfileRecord& r : of_kind(profile, kind))
    if (profile.label(r) == label) found.push_back(r);
  EXPECT_EQ(found.size(), 1u) << label;
  return found.empty() ? ProfileRecord{} : found[0];
}

bool within(const ProfileRecord& inner, const ProfileRecord& outer) {
  return outer.begin <= inner.begin && inner.end <= outer.end && inner.thread == outer.thread;
}

void expect_consistent(const Profile& p) {
  ASSERT_FALSE(p.names.empty());
  EXPECT_EQ(p.names[0], "");
  for (const ProfileRecord& r : p.records) {
    ASSERT_LT(std::max({r.name, r.entry, r.layer}), p.names.size());
    ASSERT_LT(r.thread, p.threads.size());
    ASSERT_TRUE(r.stream == ProfileRecord::kNone || r.stream < p.streams.size());
    EXPECT_LE(0, r.begin);
    EXPECT_LE(r.begin, r.end);
    EXPECT_LE(r.end, p.duration);
    ASSERT_LE(std::size_t{r.first_storage} + r.reads + r.writes, p.storages.size());
    ASSERT_LE(std::size_t{r.first_wait} + r.waits, p.waits.size());
    for (const ProfileWait& w : p.waits_of(r)) ASSERT_LT(w.stream, p.streams.size());
  }
  for (const Profile::Memory& m : p.memory) {
    ASSERT_LT(m.device, p.names.size());
    EXPECT_LE(m.live, m.reserved);
  }
}

TEST(ProfilerTest, RecordsOpsWithPlaceAndStorages) {
  const Tensor x = full({100}, 2, {.device = Device::cpu()});
  Profiler profiler;
  Tensor y, z;
  {
    const ProfileRange range("outer");
    const LayerScope model("model"), fc("fc1");
    y = x.clone();
    z = y.to(DType::f64);
  }
  const Profile p = profiler.stop();
  expect_consistent(p);
  const ProfileRecord clone = only(p, ProfileKind::op, "clone"), to = only(p, ProfileKind::op, "to");
  EXPECT_EQ(p.text(clone.layer), "model.fc1");
  EXPECT_NE(p.text(clone.entry), "");
  EXPECT_EQ(clone.stream, ProfileRecord::kNone);
  EXPECT_EQ(clone.bytes, 800u);
  EXPECT_FALSE(clone.backward);
  EXPECT_FALSE(clone.timed);
  EXPECT_EQ(p.threads[clone.thread], "main");
  ASSERT_EQ(p.reads(clone).size(), 1u);
  ASSERT_EQ(p.writes(clone).size(), 1u);
  EXPECT_NE(p.reads(clone)[0], p.writes(clone)[0]);
  ASSERT_EQ(p.reads(to).size(), 1u);
  EXPECT_EQ(p.reads(to)[0], p.writes(clone)[0]) << "the same storage has the same number";
  const ProfileRecord range = only(p, ProfileKind::range, "outer"),
                      layer = only(p, ProfileKind::layer, "fc1");
  EXPECT_TRUE(within(clone, layer));
  EXPECT_TRUE(within(layer, only(p, ProfileKind::layer, "model")));
  EXPECT_TRUE(within(layer, range));
  EXPECT_FALSE(p.memory.empty());
  EXPECT_EQ(p.lost, 0u);
}

TEST(ProfilerTest, RecordsNothingWhileOff) {
  const Tensor x = full({8}, 2, {.device = Device::cpu()});
  {
    Profiler unused;
  }
  x.clone();
  Profiler profiler;
  const Profile p = profiler.stop();
  x.clone();
  EXPECT_TRUE(p.records.empty());
  EXPECT_TRUE(p.threads.empty());
}

TEST(ProfilerTest, OneAtATimeAndStoppedOnce) {
  Profiler first;
  EXPECT_THROW(Profiler second, InvalidArgument);
  first.stop();
  EXPECT_THROW(first.stop(), InvalidArgument);
  EXPECT_THROW(Profiler({.max_records = 0}), InvalidArgument);
  Profiler third;
}

TEST(ProfilerTest, BackwardIsToldApart) {
  const Tensor x = full({4}, 2, {.device = Device::cpu(), .requires_grad = true});
  Profiler profiler;
  Tensor y;
  {
    const LayerScope layer("cast");
    y = x.to(DType::f64);
  }
  y.backward(full({4}, 1, {.dtype = DType::f64, .device = Device::cpu()}));
  const Profile p = profiler.stop();
  const ProfileRecord forward = only(p, ProfileKind::op, "to"),
                      back = only(p, ProfileKind::op, "to backward");
  EXPECT_FALSE(forward.backward);
  EXPECT_TRUE(back.backward);
  EXPECT_EQ(p.text(back.layer), "cast") << "the layer of the forward";
  only(p, ProfileKind::layer, "cast");
  only(p, ProfileKind::layer, "cast backward");
}

TEST(ProfilerTest, StopsAtItsCapAndCountsTheRest) {
  const Tensor x = full({4}, 2, {.device = Device::cpu()});
  Profiler profiler({.max_records = 5});
  for (int i = 0; i < 12; ++i) x.clone();
  const Profile p = profiler.stop();
  expect_consistent(p);
  EXPECT_EQ(p.records.size(), 5u);
  EXPECT_EQ(p.lost, 7u);
}

TEST(ProfilerTest, AStorageAtAnOldAddressIsAnotherOne) {
  const Tensor x = full({4}, 2, {.device = Device::cpu()});
  Profiler profiler;
  std::vector<const void*> places;
  for (int i = 0; i < 4; ++i) places.push_back(&x.clone().storage());
  const Profile p = profiler.stop();
  std::sort(places.begin(), places.end());
  if (std::unique(places.begin(), places.end()) == places.end())
    GTEST_SKIP() << "no address came twice: the sanitizer keeps them apart";
  std::vector<std::uint32_t> written;
  for (const ProfileRecord& r : p.records) written.push_back(p.writes(r)[0]);
  std::sort(written.begin(), written.end());
  EXPECT_EQ(std::unique(written.begin(), written.end()), written.end());
}

TEST(ProfilerTest, ThreadsHaveNamesOfTheirOwn) {
  const Tensor x = full({4}, 2, {.device = Device::cpu()});
  Profiler profiler;
  std::thread([&] {
    name_profile_thread("a name that is longer than thirty-one bytes");
    x.clone();
  }).join();
  std::thread([&] { x.clone(); }).join();
  const Profile p = profiler.stop();
  EXPECT_EQ(p.threads, (std::vector<std::string>{"a name that is longer than thir", "thread 2"}));
}

TEST(ProfilerTest, WhatBeganBeforeOrEndsAfterIsLeftOut) {
  const Tensor x = full({4}, 2, {.device = Device::cpu()});
  auto early = std::make_unique<ProfileRange>("early");
  auto profiler = std::make_unique<Profiler>();
  early.reset();
  auto late = std::make_unique<ProfileRange>("late");
  const Profile p = profiler->stop();
  EXPECT_TRUE(p.records.empty());
  profiler = std::make_unique<Profiler>();
  late.reset();
  {
    const ProfileRange whole("whole");
  }
  const Profile next = profiler->stop();
  ASSERT_EQ(next.records.size(), 1u);
  EXPECT_EQ(next.label(next.records[0]), "whole");
}

// NVTX ranges alone, and a recording within them: what is open is closed again.
TEST(ProfilerTest, NvtxAndARecordingShareTheThreadsStacks) {
  const Tensor x = full({4}, 2, {.device = Device::cpu()});
  const detail::ProfileThread& thread = detail::profile_thread();
  detail::g_profiling.fetch_or(detail::kNvtx);
  std::optional<Profile> p;
  {
    const ProfileRange outer("outer");
    x.clone();
    EXPECT_EQ(thread.stretch_depth, 1u);
    Profiler profiler;
    {
      const ProfileRange inner("inner");
      x.clone();
    }
    p = profiler.stop();
    EXPECT_EQ(thread.stretch_depth, 1u) << "the outer one is open still";
  }
  detail::g_profiling.fetch_and(static_cast<std::uint8_t>(~detail::kNvtx));
  EXPECT_EQ(thread.stretch_depth, 0u);
  EXPECT_EQ(thread.issue_depth, 0u);
  ASSERT_EQ(p->records.size(), 2u);
  only(*p, ProfileKind::op, "clone");
  only(*p, ProfileKind::range, "inner");
}

// Streams of a fake device: no times, but all that the scheduler decides.
class ProfilerStreamTest : public ::testing::Test {
 protected:
  ProfilerStreamTest() {
    auto api = std::make_unique<FakeDevice>(testing::FakeOptions{.mode = FakeMode::deferred});
    device_ = api.get();
    context_ = &runtime_.adopt(std::move(api));
    a_ = context_->take_stream(0);
    b_ = context_->take_stream(0);
  }
  Ref<Storage> storage() { return Storage::allocate(*context_, 64); }
  void issue(RawStream stream, std::vector<Storage*> reads, std::vector<Storage*> writes) {
    const StreamScope scope(*context_, stream);
    detail::OpIssue issue(*context_, reads, writes, 0, "fake");
    device_->enqueue(issue.exec().stream, [] {});
    issue.commit();
  }
  static std::vector<ProfileOrder> orders(const Profile& p, const ProfileRecord& r) {
    std::vector<ProfileOrder> out;
    for (const ProfileWait& w : p.waits_of(r)) out.push_back(w.order);
    return out;
  }

  Runtime runtime_{RuntimeOptions{.threads = 1, .forced = {}}};
  FakeDevice* device_ = nullptr;
  DeviceContext* context_ = nullptr;
  RawStream a_{}, b_{};
};

TEST_F(ProfilerStreamTest, WaitsMadeAndDropped) {
  auto x = storage(), y = storage(), z = storage();
  Profiler profiler;
  issue(a_, {}, {x.get()});
  issue(a_, {x.get()}, {y.get()});
  issue(b_, {y.get()}, {z.get()});
  issue(b_, {x.get()}, {});
  context_->synchronize();
  issue(a_, {z.get()}, {});
  issue(context_->compute_stream(), {}, {});
  const Profile p = profiler.stop();
  expect_consistent(p);
  const auto ops = of_kind(p, ProfileKind::op);
  ASSERT_EQ(ops.size(), 6u);
  using enum ProfileOrder;
  EXPECT_EQ(orders(p, ops[0]), (std::vector<ProfileOrder>{}));
  EXPECT_EQ(orders(p, ops[1]), (std::vector<ProfileOrder>{same_stream}));
  ASSERT_EQ(orders(p, ops[2]), (std::vector<ProfileOrder>{made}));
  EXPECT_EQ(orders(p, ops[3]), (std::vector<ProfileOrder>{covered}));
  EXPECT_EQ(orders(p, ops[4]), (std::vector<ProfileOrder>{done}));
  EXPECT_EQ(p.waits_of(ops[2])[0].number, 2u) << "the second issue of its stream";
  EXPECT_EQ(p.waits_of(ops[2])[0].stream, ops[0].stream);
  EXPECT_EQ(ops[1].number, 2u);
  EXPECT_EQ(ops[2].number, 1u);
  EXPECT_EQ(p.streams[ops[0].stream].name, "user 1");
  EXPECT_EQ(p.streams[ops[2].stream].name, "user 2");
  EXPECT_EQ(p.streams[ops[5].stream].name, "compute");
  EXPECT_EQ(p.streams[ops[0].stream].device, "cuda:0");
  EXPECT_EQ(p.text(ops[0].entry), "fake");
  only(p, ProfileKind::wait, "synchronize");
}

TEST_F(ProfilerStreamTest, AJoinBelongsToTheNextWork) {
  auto x = storage();
  Profiler profiler;
  issue(a_, {}, {x.get()});
  context_->scheduler().join(a_, b_);
  issue(b_, {}, {});
  const Profile p = profiler.stop();
  const auto ops = of_kind(p, ProfileKind::op);
  ASSERT_EQ(ops.size(), 2u);
  ASSERT_EQ(orders(p, ops[1]), (std::vector<ProfileOrder>{ProfileOrder::made}));
  EXPECT_EQ(p.waits_of(ops[1])[0].stream, ops[0].stream);
}

TEST_F(ProfilerStreamTest, FailedIssuesAreNoRecords) {
  auto x = storage();
  issue(a_, {}, {x.get()});
  Profiler profiler;
  device_->fail_at(FakeCall::event, 1);
  EXPECT_THROW(issue(b_, {x.get()}, {}), Error);  // within the issue's constructor
  std::vector<std::size_t> events;
  for (int i = 0; i < 3; ++i) {
    const StreamScope scope(*context_, b_);
    Storage* const writes[] = {x.get()};
    EXPECT_THROW(
        {
          detail::OpIssue issue(*context_, {}, writes, 0, "fake");
          throw Error("launch failed");
        },
        Error);
    events.push_back(device_->live().events);
  }
  EXPECT_EQ(events[1], events[0]) << "the profiler takes its events back";
  EXPECT_EQ(events[2], events[0]);
  EXPECT_EQ(detail::profile_thread().issue_depth, 0u) << "nothing stays open";
  issue(a_, {}, {});
  const Profile p = profiler.stop();
  EXPECT_EQ(p.lost, 0u);
  ASSERT_EQ(of_kind(p, ProfileKind::op).size(), 1u);
  EXPECT_EQ(p.records[0].number, 2u);
}

// Times of devices that have them.
class ProfilerDeviceTest : public testing::DeviceTest {};
GPUNN_ON_EVERY_DEVICE(ProfilerDeviceTest);

void expect_rows_do_not_overlap(const Profile& p) {
  std::vector<std::vector<std::pair<std::int64_t, std::int64_t>>> rows(p.streams.size());
  for (const ProfileRecord& r : p.records)
    if (r.timed) rows[r.stream].emplace_back(r.device_begin, r.device_end);
  for (auto& row : rows) {
    std::sort(row.begin(), row.end());
    for (std::size_t i = 1; i < row.size(); ++i) EXPECT_LE(row[i - 1].second, row[i].first);
  }
}

TEST_P(ProfilerDeviceTest, WorkIsTimedWhereItRuns) {
  const Tensor x = full({1 << 12}, 2, {.device = device()});
  Profiler profiler;
  Tensor y = x;
  for (int i = 0; i < 700; ++i) y = y.clone();  // more than are left waiting to be read
  EXPECT_EQ(y.to_vector<float>()[7], 2);
  const Profile p = profiler.stop();
  expect_consistent(p);
  const auto ops = of_kind(p, ProfileKind::op);
  ASSERT_GE(ops.size(), 700u);
  for (const ProfileRecord& r : ops) {
    if (r.stream == ProfileRecord::kNone) continue;
    ASSERT_TRUE(r.timed);
    // Rounding to the float of an elapsed time is some nanoseconds, a chain of them below a microsecond.
    EXPECT_GE(r.device_begin + 1000, r.begin) << "no work before its issue";
    EXPECT_GE(r.device_end, r.device_begin);
    EXPECT_LE(r.device_end, p.duration);
  }
  expect_rows_do_not_overlap(p);
  if (device().is_cpu()) {
    EXPECT_TRUE(p.streams.empty());
    return;
  }
  EXPECT_EQ(p.streams[ops[0].stream].name, "compute");
  const ProfileRecord copy = only(p, ProfileKind::copy, "copy to host");
  EXPECT_EQ(copy.bytes, 4u << 12);
  EXPECT_TRUE(copy.pinned);
  EXPECT_TRUE(copy.timed);
  const ProfileRecord wait = only(p, ProfileKind::wait, "wait for storage");
  EXPECT_LE(wait.begin, copy.device_end) << "the host waited for the copy";
  EXPECT_GE(wait.end + 1'000'000, copy.device_end);
}

TEST_P(ProfilerDeviceTest, StreamsRunBesideEachOther) {
  if (device().is_cpu()) GTEST_SKIP() << "one stream";
  DeviceContext& context = device().context();
  const Stream first(device()), second(device());
  // Each stream's work waits for the other's to have begun, so that the two must overlap.
  std::barrier both(2);
  Profiler profiler;
  for (const Stream* stream : {&first, &second}) {
    const StreamScope scope(*stream);
    detail::OpIssue issue(context, {}, {}, 0, "meeting");
    context.api().host_callback(
        stream->raw(), [](void* b) { static_cast<std::barrier<>*>(b)->arrive_and_wait(); }, &both);
    issue.commit();
  }
  const Profile p = profiler.stop();
  const auto ops = of_kind(p, ProfileKind::op);
  ASSERT_EQ(ops.size(), 2u);
  ASSERT_TRUE(ops[0].timed && ops[1].timed);
  EXPECT_NE(ops[0].stream, ops[1].stream);
  EXPECT_LT(std::max(ops[0].device_begin, ops[1].device_begin),
            std::min(ops[0].device_end, ops[1].device_end));
}

TEST_P(ProfilerDeviceTest, ADeviceMayEndBeforeTheRecording) {
  if (device().is_cpu()) GTEST_SKIP() << "the CPU's times need no device";
  Profiler profiler;
  {
    Runtime runtime(RuntimeOptions{.threads = 1, .forced = {}});
    const Tensor x = full({16}, 1, {.device = Device(runtime.cuda(0))});
    EXPECT_EQ(x.clone().to_vector<float>()[0], 1);
  }
  const Profile p = profiler.stop();
  expect_consistent(p);
  for (const ProfileRecord& r : of_kind(p, ProfileKind::op)) {
    EXPECT_TRUE(r.timed || r.stream == ProfileRecord::kNone);
  }
}

// Several host threads issue while recordings come and go.
TEST(ProfilerRaceTest, RecordingsComeAndGo) {
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t)
    threads.emplace_back([&] {
      const Tensor x = full({16}, 2, {.device = Device::cpu()});
      while (!stop.load()) {
        const ProfileRange range("work");
        const LayerScope layer("layer");
        x.clone();
      }
    });
  std::size_t records = 0;
  for (int i = 0; i < 40; ++i) {
    Profiler profiler({.max_records = 2000});
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    const Profile p = profiler.stop();
    expect_consistent(p);
    EXPECT_LE(p.threads.size(), 3u);
    records += p.records.size();
    if (::testing::Test::HasFailure()) break;
  }
  stop = true;
  for (std::thread& t : threads) t.join();
  EXPECT_GT(records, 40u);
}

TEST(ProfilerRaceTest, RecordingsComeAndGoBesideADevice) {
  if (cuda_device_count() == 0) GTEST_SKIP() << "no CUDA device";
  const Device device = Device::parse("cuda:0");
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int t = 0; t < 2; ++t)
    threads.emplace_back([&] {
      Stream stream(device);
      const StreamScope scope(stream);
      const Tensor x = full({16}, 2, {.device = device});
      while (!stop.load()) {
        x.clone();
        stream.synchronize();
      }
    });
  for (int i = 0; i < 8; ++i) {
    Profiler profiler;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    expect_consistent(profiler.stop());
  }
  stop = true;
  for (std::thread& t : threads) t.join();
}

TEST(ProfilerRaceTest, ThreadsShareAFakeDevice) {
  Runtime runtime(RuntimeOptions{.threads = 1, .forced = {}});
  auto api = std::make_unique<FakeDevice>(testing::FakeOptions{.mode = FakeMode::threaded});
  FakeDevice& device = *api;
  DeviceContext& context = runtime.adopt(std::move(api));
  const auto shared = Storage::allocate(context, 64);
  Profiler profiler;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      const RawStream stream = context.take_stream(0);
      const StreamScope scope(context, stream);
      Storage* const writes[] = {shared.get()};
      for (int i = 0; i < 50; ++i) {
        detail::OpIssue issue(context, {}, writes, 0, "fake");
        device.enqueue(stream, [] {});
        issue.commit();
      }
    });
  for (std::thread& t : threads) t.join();
  const Profile p = profiler.stop();
  expect_consistent(p);
  EXPECT_EQ(of_kind(p, ProfileKind::op).size(), 200u);
  // Each issue but the first depends on the one before it, whichever thread made that.
  std::size_t dependencies = 0;
  for (const ProfileRecord& r : p.records) dependencies += r.waits;
  EXPECT_GE(dependencies, 199u);
}

}  // namespace
}  // namespace gpunn
