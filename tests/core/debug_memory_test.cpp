// Debug mode: every kind of misuse is planted, and told; what is right stays silent.
#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gpunn/core/error.h"
#include "gpunn/core/memory.h"
#include "gpunn/core/runtime.h"
#include "tests/support/fake_device.h"

namespace gpunn {
namespace {

using testing::FakeDevice;
using testing::FakeMode;

constexpr std::size_t kBytes = 1000;

// Over device memory, written by work on a stream, and over memory that the host writes.
class DebugMemoryTest : public ::testing::TestWithParam<bool> {
 protected:
  bool host() const { return GetParam(); }
  std::unique_ptr<MemoryResource> make() {
    return make_debug_resource(make_caching_allocator(device_, {.host = host()}), device_, {.host = host()});
  }
  char* take(MemoryResource& resource, std::size_t bytes = kBytes) {
    return static_cast<char*>(resource.allocate(bytes, a_));
  }
  void write(char* at, int value, std::size_t bytes) {
    if (host()) {
      std::memset(at, value, bytes);
    } else {
      device_.fill_bytes(at, value, bytes, a_);
    }
  }
  // What check() says; "" when it finds nothing.
  static std::string fault_of(MemoryResource& resource) {
    try {
      resource.check();
    } catch (const MemoryFault& fault) {
      return fault.what();
    }
    return {};
  }
  static void expect_words(const std::string& text, const std::vector<std::string>& words) {
    for (const std::string& word : words)
      EXPECT_NE(text.find(word), std::string::npos) << "'" << word << "' is not in: " << text;
  }

  FakeDevice device_{{.mode = FakeMode::deferred}};
  RawStream a_ = device_.create_stream(0), b_ = device_.create_stream(0);
};

TEST_P(DebugMemoryTest, CorrectUseIsSilent) {
  auto resource = make();
  for (int round = 0; round < 50; ++round) {
    char* p = take(*resource, kBytes + static_cast<std::size_t>(round));
    write(p, round, kBytes + static_cast<std::size_t>(round));
    resource->record_use(p, b_);
    resource->deallocate(p, kBytes + static_cast<std::size_t>(round), a_);
  }
  EXPECT_EQ(fault_of(*resource), "");
  EXPECT_NO_THROW(resource->trim());
  EXPECT_EQ(resource->stats().reserved_bytes, 0u);
}

TEST_P(DebugMemoryTest, FreshAndReturnedMemoryIsFilled) {
  auto resource = make();
  char* p = take(*resource);
  device_.synchronize_device();
  EXPECT_EQ(static_cast<unsigned char>(p[0]), 0xff);
  EXPECT_EQ(static_cast<unsigned char>(p[kBytes - 1]), 0xff);
  resource->deallocate(p, kBytes, a_);
  EXPECT_EQ(fault_of(*resource), "");
  device_.synchronize_device();
  EXPECT_EQ(static_cast<unsigned char>(p[0]), 0xfd);
  EXPECT_EQ(static_cast<unsigned char>(p[kBytes - 1]), 0xfd);
}

TEST_P(DebugMemoryTest, AWritePastTheEndIsFoundWhenTheBlockReturns) {
  auto resource = make();
  LayerScope layer("encoder");
  char* p = take(*resource);
  write(p + kBytes + 3, 7, 1);
  resource->deallocate(p, kBytes, a_);
  device_.synchronize_device();
  try {
    take(*resource);
    FAIL() << "no exception";
  } catch (const MemoryFault& fault) {
    expect_words(fault.what(), {"[encoder] ", "1000", "written past its end", "+3"});
  }
  resource->deallocate(take(*resource), kBytes, a_);
  EXPECT_EQ(fault_of(*resource), "") << "a fault is told once";
}

TEST_P(DebugMemoryTest, AWriteBeforeTheStartIsFoundWhileTheBlockLives) {
  auto resource = make();
  char* p = take(*resource);
  write(p - 5, 7, 2);
  expect_words(fault_of(*resource), {"written before its start", "-4"});
  resource->deallocate(p, kBytes, a_);
  EXPECT_EQ(fault_of(*resource), "");
}

TEST_P(DebugMemoryTest, AWriteAfterTheReturnIsFound) {
  auto resource = make();
  char* p = take(*resource);
  resource->deallocate(p, kBytes, a_);
  EXPECT_EQ(fault_of(*resource), "");
  write(p + 17, 7, 1);
  expect_words(fault_of(*resource), {"written after it had been returned", "byte 17"});
}

TEST_P(DebugMemoryTest, ABlockReturnedTwiceIsFound) {
  auto resource = make();
  char* p = take(*resource);
  resource->deallocate(p, kBytes, a_);
  resource->deallocate(p, kBytes, a_);
  expect_words(fault_of(*resource), {"returned twice"});
  EXPECT_EQ(resource->stats().deallocations, 1u);
  EXPECT_EQ(resource->stats().live_bytes, 0u);
}

TEST_P(DebugMemoryTest, AnUnknownBlockIsFound) {
  auto resource = make();
  char unknown[8];
  resource->deallocate(unknown, 8, a_);
  expect_words(fault_of(*resource), {"not handed out"});
  resource->record_use(unknown, b_);
  expect_words(fault_of(*resource), {"not handed out"});
}

TEST_P(DebugMemoryTest, AnotherSizeOrStreamIsFound) {
  auto resource = make();
  char* p = take(*resource);
  resource->deallocate(p, kBytes - 1, a_);
  expect_words(fault_of(*resource), {"returned as one of 999 B"});
  p = take(*resource);
  resource->deallocate(p, kBytes, b_);
  expect_words(fault_of(*resource), {"another stream"});
  EXPECT_EQ(resource->stats().live_bytes, 0u);
}

TEST_P(DebugMemoryTest, AUseAfterTheReturnIsFound) {
  auto resource = make();
  char* p = take(*resource);
  resource->deallocate(p, kBytes, a_);
  resource->record_use(p, b_);
  expect_words(fault_of(*resource), {"used by another stream after it had been returned"});
}

// A resource that forgets who uses a block, below debug mode with an empty quarantine.
class ForgetfulResource final : public MemoryResource {
 public:
  explicit ForgetfulResource(DeviceApi& api) : api_(api) {}
  ~ForgetfulResource() override {
    if (memory_) api_.deallocate(memory_, 4096);
  }
  void* allocate(std::size_t, RawStream) override {
    return memory_ ? memory_ : memory_ = api_.allocate(4096);
  }
  void deallocate(void*, std::size_t, RawStream) noexcept override {}
  void record_use(void*, RawStream) override {}
  std::size_t trim() override { return 0; }
  MemoryStats stats() const override { return {}; }
  void reset_peaks() override {}

 private:
  DeviceApi& api_;
  void* memory_ = nullptr;
};

TEST_P(DebugMemoryTest, MemoryThatIsStillInUseIsNotHandedOut) {
  auto resource = make_debug_resource(std::make_unique<ForgetfulResource>(device_), device_,
                                      {.host = host(), .quarantine_bytes = 0});
  char* p = take(*resource);
  for (int i = 0; i < 50; ++i) device_.enqueue(b_, [] {});
  resource->record_use(p, b_);
  resource->deallocate(p, kBytes, a_);
  EXPECT_THROW(take(*resource), MemoryFault);
  device_.synchronize_device();
  p = take(*resource);  // now it is right
  resource->deallocate(p, kBytes, a_);
  device_.synchronize_device();
  EXPECT_EQ(fault_of(*resource), "");
}

// The same program over the real allocator, which waits.
TEST_P(DebugMemoryTest, TheCachingAllocatorWaitsForUsers) {
  auto resource = make_debug_resource(make_caching_allocator(device_, {.host = host()}), device_,
                                      {.host = host(), .quarantine_bytes = 0});
  for (int round = 0; round < 20; ++round) {
    char* p = take(*resource);
    for (int i = 0; i < 50; ++i) device_.enqueue(b_, [] {});
    resource->record_use(p, b_);
    resource->deallocate(p, kBytes, a_);
  }
  EXPECT_EQ(fault_of(*resource), "");
}

// Work that is under way on a returned block must not meet the filling of it.
TEST_P(DebugMemoryTest, ReturnedMemoryIsFilledOnlyAfterItsUsers) {
  auto resource = make();
  char* p = take(*resource);
  write(p, 5, kBytes);
  device_.synchronize_stream(a_);
  char seen = 0;
  for (int i = 0; i < 30; ++i) device_.enqueue(b_, [] {});
  device_.enqueue(b_, [&seen, p] { seen = p[10]; });
  resource->record_use(p, b_);
  resource->deallocate(p, kBytes, a_);
  for (int i = 0; i < 5; ++i) resource->deallocate(take(*resource), kBytes, a_);
  device_.synchronize_device();
  EXPECT_EQ(seen, 5);
  EXPECT_EQ(fault_of(*resource), "");
}

TEST_P(DebugMemoryTest, TheQuarantineIsGivenUpBeforeARequestFails) {
  constexpr std::size_t kLarge = std::size_t{40} << 20;
  auto resource = make_debug_resource(
      make_caching_allocator(device_, {.limit_bytes = 48 << 20, .host = host()}), device_, {.host = host()});
  for (int i = 0; i < 3; ++i) {
    void* p = resource->allocate(kLarge, a_);
    resource->deallocate(p, kLarge, a_);
  }
  EXPECT_THROW(resource->allocate(std::size_t{48} << 20, a_), OutOfMemory) << "the zones need room";
  EXPECT_EQ(fault_of(*resource), "");
}

TEST_P(DebugMemoryTest, AFaultThatNobodyCollectsIsPrinted) {
  auto resource = make();
  char* p = take(*resource);
  resource->deallocate(p, kBytes, a_);
  resource->deallocate(p, kBytes, a_);
  ::testing::internal::CaptureStderr();
  resource.reset();
  expect_words(::testing::internal::GetCapturedStderr(), {"gpunn memory debug", "returned twice"});
}

INSTANTIATE_TEST_SUITE_P(Place, DebugMemoryTest, ::testing::Bool(),
                         [](const auto& host) { return host.param ? "host" : "device"; });

TEST(DebugModeTest, TheRuntimeWrapsItsResources) {
  Runtime runtime({.threads = 1, .memory_debug = true});
  MemoryResource& memory = runtime.cpu().memory();
  const RawStream stream = runtime.cpu().compute_stream();
  auto* p = static_cast<char*>(memory.allocate(100, stream));
  p[100] = 1;
  memory.deallocate(p, 100, stream);
  EXPECT_THROW(memory.check(), MemoryFault);
}

}  // namespace
}  // namespace gpunn
