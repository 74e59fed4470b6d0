#include "gpunn/core/memory_trace.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "gpunn/core/error.h"
#include "gpunn/core/memory_snapshot.h"
#include "gpunn/core/runtime.h"
#include "gpunn/core/storage.h"
#include "tests/support/fake_device.h"

namespace gpunn {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

using Line = std::vector<std::string>;  // fields of a line whose fields are not quoted

std::vector<std::string> lines_of(const std::string& path) {
  std::vector<std::string> out;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) out.push_back(line);
  return out;
}

Line fields_of(const std::string& line) {
  Line out(1);
  for (const char c : line) {
    if (c == ',')
      out.emplace_back();
    else
      out.back() += c;
  }
  return out;
}

class MemoryTraceTest : public ::testing::Test {
 protected:
  void TearDown() override { std::filesystem::remove(path_); }
  const std::string path_ = ::testing::TempDir() + "gpunn_memory_trace.csv";
  Runtime runtime_{RuntimeOptions{.threads = 1}};
  DeviceContext& cpu_ = runtime_.cpu();
};

TEST_F(MemoryTraceTest, WritesALineForEachEvent) {
  Ref<Storage> before = Storage::allocate(cpu_, 64);
  {
    MemoryTrace trace(Device(cpu_), path_);
    before = nullptr;  // made before: neither its end appears
    Ref<Storage> a;
    {
      const LayerScope outer("net"), inner("fc1");
      const OpScope op("linear");
      const MemoryTagScope tag(MemoryTag::weights);
      a = Storage::allocate(cpu_, 100);
    }
    a->retag(MemoryTag::weights);  // no change, no line
    a->retag(MemoryTag::gradients);
    Storage::allocate(cpu_, 0);
    const Ref<Storage> b = Storage::allocate(cpu_, 7);
    a = nullptr;
  }
  const auto lines = lines_of(path_);
  ASSERT_EQ(lines.size(), 6u);
  EXPECT_EQ(lines[0], "time_ns,event,id,bytes,tag,stream,thread,device,layer,op");
  const Line made = fields_of(lines[1]);
  const std::string &id = made[2], &thread = made[6];
  EXPECT_THAT(Line(made.begin() + 1, made.end()),
              ElementsAre("alloc", id, "100", "weights", "0", thread, "cpu", "net.fc1", "linear"));
  const Line tagged = fields_of(lines[2]);
  EXPECT_THAT(Line(tagged.begin() + 1, tagged.end()),
              ElementsAre("retag", id, "100", "gradients", "0", thread, "cpu", "net.fc1", "linear"));
  EXPECT_EQ(fields_of(lines[3])[3], "7");
  EXPECT_NE(fields_of(lines[3])[2], id);
  EXPECT_EQ(fields_of(lines[4])[1], "free");
  EXPECT_EQ(fields_of(lines[4])[2], id);
  EXPECT_EQ(fields_of(lines[5])[3], "7");
  for (std::size_t i = 2; i < lines.size(); ++i)
    EXPECT_LE(std::stoll(fields_of(lines[i - 1])[0]), std::stoll(fields_of(lines[i])[0]));
}

TEST_F(MemoryTraceTest, QuotesNamesThatNeedIt) {
  {
    MemoryTrace trace(Device(cpu_), path_);
    const LayerScope layer("a,\"b\"\n");
    Storage::allocate(cpu_, 5);
  }
  std::ifstream file(path_);
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  EXPECT_THAT(text, HasSubstr(",cpu,\"a,\"\"b\"\"\n\",\n"));
}

TEST_F(MemoryTraceTest, DevicesShareAFileAndAnOptionRecordsThemAll) {
  {
    Runtime runtime(RuntimeOptions{.threads = 1, .memory_trace = path_});
    DeviceContext& fake = runtime.adopt(std::make_unique<testing::FakeDevice>());
    const Ref<Storage> a = Storage::allocate(runtime.cpu(), 100), b = Storage::allocate(fake, 200);
    EXPECT_TRUE(memory_snapshot(Device(fake)).recorded);
  }
  const auto lines = lines_of(path_);
  ASSERT_EQ(lines.size(), 5u);
  std::multiset<std::string> devices;
  for (std::size_t i = 1; i < lines.size(); ++i) devices.insert(fields_of(lines[i])[7]);
  EXPECT_EQ(devices, (std::multiset<std::string>{"cpu", "cpu", "cuda:0", "cuda:0"}));
}

TEST_F(MemoryTraceTest, SeveralTracesOfADeviceEachGetEveryLineOnce) {
  const std::string other = path_ + ".other";
  {
    const MemoryTrace first(Device(cpu_), path_), again(Device(cpu_), path_), second(Device(cpu_), other);
    Storage::allocate(cpu_, 100);
  }
  EXPECT_EQ(lines_of(path_).size(), 3u);
  EXPECT_EQ(lines_of(other).size(), 3u);
  std::filesystem::remove(other);
}

TEST_F(MemoryTraceTest, FlushWritesAndDiskErrorsAreReported) {
  {
    MemoryTrace trace(Device(cpu_), path_);
    Storage::allocate(cpu_, 100);
    trace.flush();
    EXPECT_EQ(lines_of(path_).size(), 3u);
  }
  EXPECT_THROW(MemoryTrace(Device(cpu_), "/nowhere/trace.csv"), Error);
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "no /dev/full here";
  MemoryTrace trace(Device(cpu_), "/dev/full");
  for (int i = 0; i < 3000; ++i) Storage::allocate(cpu_, 100);  // past the buffer
  for (int i = 0; i < 2; ++i)
    EXPECT_THAT([&] { trace.flush(); }, ::testing::ThrowsMessage<Error>(::testing::AllOf(
                                            HasSubstr("/dev/full"), HasSubstr("incomplete"))));
}

TEST_F(MemoryTraceTest, SnapshotsNameTheBlocksThatLive) {
  EXPECT_FALSE(memory_snapshot(Device(cpu_)).recorded);
  const MemoryTrace trace{Device(cpu_)};
  Ref<Storage> gone = Storage::allocate(cpu_, 1);
  Ref<Storage> first, second, third;
  {
    const LayerScope layer("fc1");
    const OpScope op("linear");
    first = Storage::allocate(cpu_, 100);
    third = Storage::allocate(cpu_, 50);
  }
  {
    const LayerScope layer("fc2");
    second = Storage::allocate(cpu_, 120);
  }
  gone = nullptr;
  second->retag(MemoryTag::gradients);
  const MemorySnapshot s = memory_snapshot(Device(cpu_));
  EXPECT_EQ(s.device, "cpu");
  EXPECT_TRUE(s.recorded);
  EXPECT_EQ(s.stats.live_bytes, 270u);
  ASSERT_EQ(s.blocks.size(), 3u);
  EXPECT_EQ(s.blocks[0].bytes, 100u);
  EXPECT_EQ(s.blocks[0].layer, "fc1");
  EXPECT_STREQ(s.blocks[0].op, "linear");
  EXPECT_GE(s.blocks[0].age_seconds, s.blocks[2].age_seconds);
  EXPECT_EQ(s.blocks[2].tag, MemoryTag::gradients);
  EXPECT_EQ(s.tags[static_cast<std::size_t>(MemoryTag::gradients)].live_bytes, 120u);
  const auto layers = bytes_by_layer(s.blocks);
  ASSERT_EQ(layers.size(), 2u);
  EXPECT_EQ(layers[0].layer, "fc1");
  EXPECT_EQ(layers[0].bytes, 150u);
  EXPECT_EQ(layers[0].blocks, 2u);
  EXPECT_EQ(layers[1].layer, "fc2");
}

TEST_F(MemoryTraceTest, RecordingEndsWithItsLastUser) {
  const Ref<Storage> held = [this] {
    const MemoryTrace first{Device(cpu_)}, second{Device(cpu_)};
    return Storage::allocate(cpu_, 9);
  }();
  EXPECT_FALSE(memory_snapshot(Device(cpu_)).recorded);
  const MemoryTrace third{Device(cpu_)};
  EXPECT_TRUE(memory_snapshot(Device(cpu_)).blocks.empty()) << "records of an earlier recording";
}

TEST(MemoryTraceRace, EveryFreeHasItsAllocWhileTracesComeAndGo) {
  const std::string path = ::testing::TempDir() + "gpunn_memory_trace_race.csv";
  {
    Runtime runtime(RuntimeOptions{.threads = 1, .memory_trace = path});
    std::vector<std::jthread> threads;
    for (unsigned t = 0; t < 3; ++t)
      threads.emplace_back([&, t] {
        std::mt19937 random(t);
        std::vector<Ref<Storage>> held;
        for (int i = 0; i < 800; ++i) {
          held.push_back(Storage::allocate(runtime.cpu(), 1 + random() % 500));
          held.back()->retag(MemoryTag::weights);
          if (held.size() > 10) held.erase(held.begin(), held.begin() + 5);
        }
      });
    for (int i = 0; i < 50; ++i) {
      MemoryTrace short_one(Device(runtime.cpu()));
      memory_snapshot(Device(runtime.cpu()));
    }
  }
  std::map<std::string, std::string> live;  // id to bytes
  const auto lines = lines_of(path);
  EXPECT_EQ(lines.size(), 1 + 3u * 800 * 3);
  for (std::size_t i = 1; i < lines.size(); ++i) {
    const Line f = fields_of(lines[i]);
    ASSERT_EQ(f.size(), 10u) << lines[i];
    if (f[1] == "alloc") {
      EXPECT_TRUE(live.emplace(f[2], f[3]).second);
    } else {
      ASSERT_TRUE(live.contains(f[2])) << lines[i];
      EXPECT_EQ(live[f[2]], f[3]);
      if (f[1] == "free") live.erase(f[2]);
    }
  }
  EXPECT_TRUE(live.empty());
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace gpunn
