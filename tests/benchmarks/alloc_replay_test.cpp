#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "benchmarks/replay/made_traces.h"
#include "benchmarks/replay/replay.h"
#include "benchmarks/replay/simulated_device.h"
#include "benchmarks/replay/torch_allocator.h"
#include "gpunn/core/error.h"

namespace gpunn::replay {
namespace {

constexpr std::size_t kKiB = 1024, kMiB = 1024 * kKiB, kGiB = 1024 * kMiB;

TEST(SimulatedDevice, GrantsWhatFitsAndNoMore) {
  SimulatedDevice device(10 * kMiB, 0);
  void* const a = device.allocate(6 * kMiB);
  EXPECT_THROW(device.allocate(5 * kMiB), OutOfMemory);
  EXPECT_THROW(device.allocate(~std::size_t{0}), OutOfMemory);
  void* const b = device.allocate(4 * kMiB);
  EXPECT_NE(a, b);
  EXPECT_EQ(device.used_bytes(), 10 * kMiB);
  device.deallocate(a, 6 * kMiB);
  device.deallocate(b, 4 * kMiB);
  EXPECT_EQ(device.used_bytes(), 0u);
}

TEST(SimulatedDevice, EventsAreDoneAfterTheLag) {
  SimulatedDevice device(kMiB, 3);
  const RawStream stream = device.create_stream(0);
  const RawEvent event = device.create_event();
  EXPECT_TRUE(device.query_event(event)) << "nothing was recorded";
  device.record_event(event, stream);
  device.tick();
  device.tick();
  EXPECT_FALSE(device.query_event(event));
  device.tick();
  EXPECT_TRUE(device.query_event(event));
  device.record_event(event, stream);
  device.synchronize_event(event);
  EXPECT_TRUE(device.query_event(event));
  EXPECT_EQ(device.waits(), 1u);
  device.destroy_event(event);
}

class TorchRules : public ::testing::Test {
 protected:
  std::size_t reserved() const { return torch_->stats().reserved_bytes; }
  SimulatedDevice device_{100 * kMiB, 2};
  RawStream stream_ = device_.create_stream(0), other_ = device_.create_stream(0);
  std::unique_ptr<MemoryResource> torch_ = make_torch_allocator(device_);
};

TEST_F(TorchRules, SegmentsBySizeOfRequest) {
  struct Case {
    std::size_t request, segment;
  };
  for (const Case& c : {Case{1, 2 * kMiB},
                        {kMiB, 2 * kMiB},
                        {kMiB + 1, 20 * kMiB},
                        {10 * kMiB - 512, 20 * kMiB},
                        {10 * kMiB, 10 * kMiB},
                        {10 * kMiB + 1, 12 * kMiB},
                        {33 * kMiB, 34 * kMiB}}) {
    void* const p = torch_->allocate(c.request, stream_);
    EXPECT_EQ(reserved(), c.segment) << c.request;
    torch_->deallocate(p, c.request, stream_);
    EXPECT_EQ(torch_->trim(), c.segment);
    EXPECT_EQ(device_.used_bytes(), 0u);
  }
}

TEST_F(TorchRules, SplitsAndJoins) {
  std::vector<void*> parts;
  for (int i = 0; i < 4; ++i) parts.push_back(torch_->allocate(5 * kMiB, stream_));
  EXPECT_EQ(reserved(), 20 * kMiB) << "four parts of one segment";
  EXPECT_EQ(torch_->stats().device_allocations, 1u);
  torch_->deallocate(parts[1], 5 * kMiB, stream_);
  torch_->deallocate(parts[2], 5 * kMiB, stream_);
  EXPECT_EQ(torch_->allocate(9 * kMiB + 512, stream_), parts[1]) << "neighbours are joined";
  EXPECT_EQ(torch_->stats().device_allocations, 1u);
  // What is left, half a MiB, was not split off: the large pool keeps only rests above 1 MiB.
  EXPECT_NE(torch_->allocate(2 * kMiB, stream_), nullptr);
  EXPECT_EQ(torch_->stats().device_allocations, 2u);
}

TEST_F(TorchRules, SmallBlocksTakeTheBestFit) {
  void* const a = torch_->allocate(4 * kKiB, stream_);
  void* const b = torch_->allocate(512, stream_);
  void* const c = torch_->allocate(kKiB, stream_);
  void* const d = torch_->allocate(512, stream_);
  torch_->deallocate(a, 4 * kKiB, stream_);
  torch_->deallocate(c, kKiB, stream_);
  EXPECT_EQ(torch_->allocate(700, stream_), c);
  EXPECT_EQ(torch_->allocate(700, stream_), a);
  EXPECT_NE(b, d);
}

TEST_F(TorchRules, StreamsDoNotShareAndUsesAreWaitedFor) {
  void* const a = torch_->allocate(12 * kMiB, stream_);
  torch_->record_use(a, other_);
  torch_->deallocate(a, 12 * kMiB, stream_);
  void* const b = torch_->allocate(12 * kMiB, stream_);
  EXPECT_NE(b, a) << "the other stream is not past it";
  device_.tick();
  device_.tick();
  void* const c = torch_->allocate(12 * kMiB, stream_);
  EXPECT_EQ(c, a);
  torch_->deallocate(b, 12 * kMiB, stream_);
  EXPECT_NE(torch_->allocate(12 * kMiB, other_), b);
  EXPECT_EQ(reserved(), 36 * kMiB);
}

TEST_F(TorchRules, FreeSegmentsGoBackBeforeItFails) {
  void* const a = torch_->allocate(60 * kMiB, stream_);
  torch_->deallocate(a, 60 * kMiB, stream_);
  EXPECT_NE(torch_->allocate(80 * kMiB, stream_), nullptr);
  EXPECT_EQ(reserved(), 80 * kMiB);
  EXPECT_THROW(torch_->allocate(30 * kMiB, stream_), OutOfMemory);
  EXPECT_EQ(torch_->stats().live_bytes, 80 * kMiB);
}

// Whatever a program makes: frees of live blocks only, and the figures that the trace carries.
TEST(MadeTrace, IsConsistent) {
  for (const std::string& name : made_trace_names()) {
    const Trace trace = make_trace(name);
    std::vector<std::size_t> slots(trace.slots);
    std::size_t live = 0, peak = 0;
    for (const Event& event : trace.events) {
      ASSERT_LT(event.slot, slots.size());
      ASSERT_LT(event.stream, trace.streams);
      ASSERT_EQ(slots[event.slot] == 0, event.kind == Event::Kind::alloc) << name;
      if (event.kind == Event::Kind::use) continue;
      const bool alloc = event.kind == Event::Kind::alloc;
      ASSERT_GT(event.bytes, 0u);
      live = alloc ? live + event.bytes : live - slots[event.slot];
      slots[event.slot] = alloc ? event.bytes : 0;
      peak = std::max(peak, live);
    }
    EXPECT_EQ(peak, trace.peak_live_bytes) << name;
  }
  EXPECT_EQ(make_trace("lifo").peak_live_bytes, 512'000u);
  EXPECT_EQ(make_trace("torture").events.size(), make_trace("torture").events.size());
  EXPECT_THROW(make_trace("nothing"), InvalidArgument);
}

// 124,439,808 weights, of which the tied head's are kept twice here, with gradients and two states.
TEST(MadeTrace, TransformerHoldsItsWeights) {
  const Trace trace = make_trace("transformer");
  std::size_t bytes = 0, count = 0;
  for (const Event& event : trace.events) {
    if (event.kind != Event::Kind::alloc || event.bytes == 8 * 1024 * 8) break;  // the first batch
    bytes += event.bytes;
    ++count;
  }
  EXPECT_EQ(count, 2u + 12 * 12 + 3);
  EXPECT_EQ(bytes, 4 * (124'439'808u + 50'257u * 768));
  EXPECT_GT(trace.peak_live_bytes, 4 * bytes);
}

TEST(Replay, GivesEverythingBackAndNeverReservesLessThanIsLive) {
  for (const char* name : {"resnet", "transformer", "growth"})
    for (const char* allocator : {"caching", "torch"}) {
      const ReplayResult result = replay(make_trace(name), allocator, {.rounds = 1});
      EXPECT_EQ(result.skipped, "") << name << ' ' << allocator;
      EXPECT_GE(result.ratio(), 1) << name << ' ' << allocator;
      EXPECT_LT(result.ratio(), 2) << name << ' ' << allocator;
      EXPECT_EQ(result.leaked_bytes, 0u);
      EXPECT_GT(result.nanoseconds, 0);
    }
}

TEST(Replay, SaysWhenTheDeviceIsTooSmall) {
  const ReplayResult result =
      replay(make_trace("growth"), "caching", {.device_bytes = 40 * kGiB, .rounds = 1});
  EXPECT_NE(result.skipped.find("out of"), std::string::npos) << result.skipped;
  EXPECT_EQ(result.peak_reserved_bytes, 0u);
  EXPECT_THROW(replay(make_trace("growth"), "other", {}), InvalidArgument);
}

TEST(RecordedTraces, CanBeReplayed) {
  const char* const root = std::getenv("GPUNN_SOURCE_DIR");
  if (!root) GTEST_SKIP() << "GPUNN_SOURCE_DIR is not set";
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(std::string(root) + "/benchmarks/traces")) {
    if (entry.path().extension() != ".gz") continue;
    ++files;
    const Trace trace = read_trace(entry.path());
    EXPECT_GT(trace.allocations, 100u) << trace.name;
    for (const char* allocator : {"caching", "torch"}) {
      const ReplayResult result = replay(trace, allocator, {.rounds = 1});
      EXPECT_EQ(result.skipped, "") << trace.name;
      EXPECT_GE(result.ratio(), 1) << trace.name;
      EXPECT_EQ(result.leaked_bytes, 0u) << trace.name;
    }
  }
  EXPECT_GE(files, 2);
}

class TraceFile : public ::testing::Test {
 protected:
  std::string write(const std::string& rows) const {
    std::ofstream(path_) << "time_ns,event,id,bytes,tag,stream,thread,device,layer,op\n" << rows;
    return path_;
  }
  void TearDown() override { std::filesystem::remove(path_); }
  const std::string path_ = ::testing::TempDir() + "gpunn_trace_file.csv";
};

TEST_F(TraceFile, TakesTheBusiestDeviceOrTheOneAskedFor) {
  const std::string path = write(
      "1,alloc,1,100,weights,0,0,cpu,,\n"
      "2,alloc,2,5000,activations,0,0,cuda:0,fc1,linear\n"
      "3,retag,2,5000,gradients,0,0,cuda:0,,\n"
      "4,alloc,3,300,activations,1,0,cuda:0,\"a,b\",relu\n"
      "5,free,2,5000,gradients,0,0,cuda:0,,\n"
      "6,alloc,4,700,activations,0,1,cuda:0,,\n");
  const Trace gpu = read_trace(path);
  EXPECT_EQ(gpu.name, "gpunn_trace_file");
  EXPECT_EQ(gpu.origin, "recorded");
  EXPECT_EQ(gpu.events.size(), 4u);
  EXPECT_EQ(gpu.slots, 2u) << "the freed slot is used again";
  EXPECT_EQ(gpu.streams, 2u);
  EXPECT_EQ(gpu.peak_live_bytes, 5300u);
  EXPECT_EQ(read_trace(path, "cpu").peak_live_bytes, 100u);
  EXPECT_THROW(read_trace(path, "cuda:7"), DataError);
}

TEST_F(TraceFile, RefusesWhatCannotBe) {
  const std::string one = "1,alloc,1,100,weights,0,0,cpu,,\n";
  for (const std::string& rows :
       {one + "2,free,2,100,weights,0,0,cpu,,\n", one + one, one + "2,shrink,1,100,weights,0,0,cpu,,\n",
        std::string("1,alloc,1,-5,weights,0,0,cpu,,\n"), std::string("1,alloc,1,5,weights,-1,0,cpu,,\n"),
        std::string("1,alloc,x,5,weights,0,0,cpu,,\n"), one + "2,free,1\n", std::string()})
    EXPECT_THROW(read_trace(write(rows)), DataError) << rows;
}

}  // namespace
}  // namespace gpunn::replay
