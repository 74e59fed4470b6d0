// GPUNN_MEMORY_LIMIT: how it is read, and that it holds.
#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>

#include "gpunn/core/error.h"
#include "gpunn/core/memory.h"
#include "gpunn/core/runtime.h"
#include "tests/support/fake_device.h"

namespace gpunn {
namespace {

using testing::FakeDevice;

constexpr std::size_t kKiB = 1024, kMiB = 1024 * kKiB;

class MemoryLimitTest : public ::testing::Test {
 protected:
  ~MemoryLimitTest() override { unsetenv("GPUNN_MEMORY_LIMIT"); }
  static std::size_t parse(const char* text) {
    setenv("GPUNN_MEMORY_LIMIT", text, 1);
    return RuntimeOptions::from_environment().memory_limit;
  }
};

TEST_F(MemoryLimitTest, ReadsBytesWithUnits) {
  EXPECT_EQ(parse(""), 0u);
  EXPECT_EQ(parse("8000000"), 8'000'000u);
  EXPECT_EQ(parse("512K"), 512 * kKiB);
  EXPECT_EQ(parse("20M"), 20 * kMiB);
  EXPECT_EQ(parse("6G"), 6 * 1024 * kMiB);
  for (const char* wrong : {"M", "-1", "6.5G", "6GB", "6 G", "7X", "99999999999999999999", "99999999999G"})
    EXPECT_THROW(parse(wrong), InvalidArgument) << wrong;
}

TEST_F(MemoryLimitTest, HoldsForADeviceOfTheRuntime) {
  Runtime runtime({.threads = 1, .memory_limit = 8 * kMiB});
  DeviceContext& context = runtime.adopt(std::make_unique<FakeDevice>());
  const RawStream stream = context.compute_stream();
  void* p = context.memory().allocate(6 * kMiB, stream);
  EXPECT_THROW(context.memory().allocate(4 * kMiB, stream), OutOfMemory);
  context.memory().deallocate(p, 6 * kMiB, stream);
}

}  // namespace
}  // namespace gpunn
