// launch() and the CUDA device behind DeviceApi: on the emulated GPU, and on a real one where there is one.
#if GPUNN_HAS_CUDA

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <string>
#include <vector>

#include "gpunn/core/device_api.h"
#include "gpunn/core/error.h"
#include "gpunn/core/flight_recorder.h"
#include "gpunn/core/memory.h"
#include "gpunn/core/runtime.h"
#include "gpunn/core/scheduler.h"
#include "gpunn/core/storage.h"
#include "gpunn/core/stream.h"
#include "tests/core/launch_kernels.h"
#if GPUNN_EMULATED
#include <cuda_runtime.h>

#include "gpunn/core/emulation/config.h"
#endif

namespace gpunn {
namespace {

using ::testing::HasSubstr;
using testing::launch_add;

class GpuLaunchTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (cuda_device_count() == 0) GTEST_SKIP() << "no CUDA device";
    open({.threads = 1, .forced = {}});
  }
  void open(const RuntimeOptions& options) {
    runtime_ = std::make_unique<Runtime>(options);
    context_ = &runtime_->cuda(0);
  }
  Exec exec() const {
    return {.stream = context_->current_stream(), .pool = &runtime_->pool(), .device = context_};
  }
  Ref<Storage> to_device(const std::vector<float>& values) {
    const std::size_t bytes = values.size() * sizeof(float);
    auto host = Storage::allocate(*context_, bytes, Storage::Place::pinned_host);
    std::memcpy(host->data(), values.data(), bytes);
    auto device = Storage::allocate(*context_, bytes);
    context_->api().copy(device->data(), host->data(), bytes, CopyKind::host_to_device,
                         context_->current_stream());
    return device;
  }
  std::vector<float> to_host(const Storage& device) {
    auto host = Storage::allocate(*context_, device.bytes(), Storage::Place::pinned_host);
    context_->api().copy(host->data(), device.data(), device.bytes(), CopyKind::device_to_host,
                         context_->current_stream());
    context_->api().synchronize_stream(context_->current_stream());
    std::vector<float> out(device.bytes() / sizeof(float));
    std::memcpy(out.data(), host->data(), device.bytes());
    return out;
  }
  static float* floats(const Ref<Storage>& s) { return static_cast<float*>(s->data()); }

  std::unique_ptr<Runtime> runtime_;
  DeviceContext* context_ = nullptr;
};

TEST_F(GpuLaunchTest, RunsAKernelOnTheStream) {
  std::vector<float> a(1000), b(1000);
  for (std::size_t i = 0; i < a.size(); ++i) a[i] = static_cast<float>(i), b[i] = 0.5f;
  auto x = to_device(a), y = to_device(b), z = Storage::allocate(*context_, 4000);
  launch_add(floats(x), floats(y), floats(z), 1000, exec());
  const auto got = to_host(*z);
  for (std::size_t i = 0; i < a.size(); ++i) ASSERT_EQ(got[i], a[i] + 0.5f);
}

TEST_F(GpuLaunchTest, UsesDynamicSharedMemory) {
  auto x = to_device(std::vector<float>(64, 2.0f));
  auto sum = Storage::allocate(*context_, sizeof(float));
  testing::launch_shared_sum(floats(x), floats(sum), 64, exec());
  EXPECT_EQ(to_host(*sum)[0], 128.0f);
}

TEST_F(GpuLaunchTest, AnEmptyGridIsNotLaunched) {
  const auto before = flight_recorder().snapshot().size();
  launch_add(nullptr, nullptr, nullptr, 0, exec());
  context_->synchronize();
  EXPECT_EQ(flight_recorder().snapshot().size(), before);
}

TEST_F(GpuLaunchTest, IsRecordedWithLayerAndOp) {
  LayerScope layer("fc1");
  OpScope op("add");
  auto x = to_device({1, 2, 3});
  launch_add(floats(x), floats(x), floats(x), 3, exec());
  const auto last = flight_recorder().snapshot().back();
  EXPECT_STREQ(last.kernel, "test_add_kernel");
  EXPECT_EQ(last.layer, "fc1");
  EXPECT_STREQ(last.op, "add");
  EXPECT_EQ(last.grid[0], 1u);
  EXPECT_EQ(last.block[0], 32u);
  EXPECT_EQ(last.stream, context_->current_stream());
  context_->synchronize();
}

TEST_F(GpuLaunchTest, AFailedLaunchNamesTheKernelAndTheDeviceGoesOn) {
  {
    LayerScope layer("fc1");
    OpScope op("add");
    try {
      testing::launch_too_large(exec());
      FAIL() << "no exception";
    } catch (const DeviceLost& e) {
      FAIL() << "a bad configuration loses no device: " << e.what();
    } catch (const CudaError& e) {
      EXPECT_THAT(e.what(), HasSubstr("[fc1: add] test_add_kernel with grid (1,1,1), block (4096,1,1)"));
      EXPECT_NE(e.code(), 0);
    }
  }
  auto x = to_device({1, 2, 3});
  launch_add(floats(x), floats(x), floats(x), 3, exec());
  EXPECT_EQ(to_host(*x)[2], 6.0f);
}

TEST_F(GpuLaunchTest, SynchronousModeWaits) {
  open({.threads = 1, .synchronous = true, .forced = {}});
  auto pinned = Storage::allocate(*context_, 3 * sizeof(float), Storage::Place::pinned_host);
  for (int i = 0; i < 3; ++i) floats(pinned)[i] = 1.0f;
  launch_add(floats(pinned), floats(pinned), floats(pinned), 3, exec());
  EXPECT_EQ(floats(pinned)[2], 2.0f);
}

TEST_F(GpuLaunchTest, TheDeviceDescribesItself) {
  const DeviceInfo& info = context_->api().info();
  EXPECT_NE(info.name, "");
  EXPECT_EQ(info.emulated, GPUNN_EMULATED != 0);
  EXPECT_GE(info.compute_major, 7);
  EXPECT_GT(info.multiprocessors, 0);
  EXPECT_GE(info.shared_bytes_optin, 48u * 1024);
  std::size_t free_bytes = 0, total_bytes = 0;
  context_->api().memory_info(free_bytes, total_bytes);
  EXPECT_LE(free_bytes, total_bytes);
  EXPECT_EQ(total_bytes, info.memory_bytes);
}

TEST_F(GpuLaunchTest, EventsAndCallbacksKeepTheirOrder) {
  DeviceApi& api = context_->api();
  Stream a{Device(*context_)}, b{Device(*context_), -1};
  std::vector<int> order;  // callbacks of ordered streams never run beside each other
  struct Entry {
    std::vector<int>* order;
    int value;
    static void add(void* self) {
      auto* const e = static_cast<Entry*>(self);
      e->order->push_back(e->value);
    }
  };
  std::array<Entry, 3> entries{{{&order, 1}, {&order, 2}, {&order, 3}}};
  const RawEvent event = api.create_event();
  EXPECT_TRUE(api.query_event(event)) << "nothing was recorded";
  api.host_callback(a.raw(), &Entry::add, &entries[0]);
  api.record_event(event, a.raw());
  api.wait_event(b.raw(), event);
  api.host_callback(b.raw(), &Entry::add, &entries[1]);
  api.synchronize_event(event);
  EXPECT_TRUE(api.query_event(event));
  b.synchronize();
  api.host_callback(b.raw(), &Entry::add, &entries[2]);
  api.synchronize_device();
  EXPECT_EQ(order, (std::vector<int>{1, 2, 3}));
  api.destroy_event(event);
}

TEST_F(GpuLaunchTest, ARequestBeyondTheDeviceIsOutOfMemory) {
  const auto before = context_->memory().stats();
  EXPECT_THROW(Storage::allocate(*context_, std::size_t{1} << 50), OutOfMemory);
  EXPECT_EQ(context_->memory().stats().live_bytes, before.live_bytes);
  auto still_works = to_device({1});
  EXPECT_EQ(to_host(*still_works)[0], 1.0f);
}

#if GPUNN_EMULATED
class GpuLostDeviceTest : public GpuLaunchTest {
 protected:
  void TearDown() override {
    runtime_.reset();
    emu::reset_device();
  }
};

TEST_F(GpuLostDeviceTest, TheFirstCauseIsKept) {
  auto x = to_device({1, 2, 3});
  std::string first;
  {
    LayerScope layer("encoder");
    OpScope op("gelu");
    launch_add(floats(x), floats(x), floats(x), 3, exec());
    emu::fail_at(emu::Call::stream, 1, cudaErrorIllegalAddress);
    try {
      context_->synchronize();
      FAIL() << "no exception";
    } catch (const DeviceLost& e) {
      first = e.what();
      EXPECT_EQ(e.code(), 700);
    }
  }
  for (const char* part : {"cuda:0 is lost", "CUDA error 700", "test_add_kernel grid (1,1,1)",
                           "[encoder: gelu]", "GPUNN_SYNC=1"})
    EXPECT_THAT(first, HasSubstr(part));
  // Later calls fail at once and with the first cause; nothing in a destructor throws.
  try {
    launch_add(floats(x), floats(x), floats(x), 3, exec());
    FAIL() << "no exception";
  } catch (const DeviceLost& e) {
    EXPECT_THAT(e.what(), HasSubstr("cuda:0 is lost"));
    EXPECT_THAT(e.what(), HasSubstr("[encoder: gelu]"));
  }
  EXPECT_THROW(context_->api().synchronize_device(), DeviceLost);
  x = nullptr;
}

TEST_F(GpuLostDeviceTest, ADeviceOpenedAfterAResetWorks) {
  emu::fail_at(emu::Call::launch, 1, cudaErrorLaunchFailure);
  auto x = to_device({1, 2, 3});
  EXPECT_THROW(launch_add(floats(x), floats(x), floats(x), 3, exec()), DeviceLost);
  x = nullptr;
  runtime_.reset();
  emu::reset_device();
  open({.threads = 1, .forced = {}});
  x = to_device({1, 2, 3});
  launch_add(floats(x), floats(x), floats(x), 3, exec());
  EXPECT_EQ(to_host(*x)[1], 4.0f);
}

TEST_F(GpuLostDeviceTest, NothingIsLeftOnTheDevice) {
  const auto before = emu::stats();
  {
    Runtime runtime({.threads = 1, .forced = {}});
    DeviceContext& context = runtime.cuda(0);
    auto x = Storage::allocate(context, 100'000);
    auto y = Storage::allocate(context, 100, Storage::Place::pinned_host);
    Stream user{Device(context)};
    context.scheduler().join(user.raw(), context.compute_stream());
  }
  const auto after = emu::stats();
  EXPECT_EQ(after.allocations_live, before.allocations_live);
  EXPECT_EQ(after.host_allocations_live, before.host_allocations_live);
  EXPECT_EQ(after.streams_live, before.streams_live);
  EXPECT_EQ(after.events_live, before.events_live);
}
#endif  // GPUNN_EMULATED

}  // namespace
}  // namespace gpunn

#endif  // GPUNN_HAS_CUDA
