// The emulated CUDA runtime: memory, copies, streams, events, errors.

#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstring>
#include <thread>
#include <vector>

#include "gpunn/core/emulation/config.h"
#include "gpunn/core/launch_kernel.cuh"
#include "tests/emulation/bug_kernels.h"

namespace gpunn::test {
namespace {

constexpr int kCount = 256;

// Leaves no error and no allocation behind.
class RuntimeRace : public testing::Test {
 protected:
  void SetUp() override { before_ = emu::stats(); }
  void TearDown() override {
    emu::reset_device();
    const emu::Stats now = emu::stats();
    EXPECT_EQ(now.allocations_live, before_.allocations_live);
    EXPECT_EQ(now.bytes_live, before_.bytes_live);
    EXPECT_EQ(now.host_allocations_live, before_.host_allocations_live);
    EXPECT_EQ(now.streams_live, before_.streams_live);
    EXPECT_EQ(now.events_live, before_.events_live);
  }

 private:
  emu::Stats before_{};
};

struct Buffer {
  explicit Buffer(std::size_t count) { EXPECT_EQ(cudaMalloc(&data, count * sizeof(float)), cudaSuccess); }
  ~Buffer() { cudaFree(data); }
  float* data = nullptr;
};

struct OwnStream {
  OwnStream() { EXPECT_EQ(cudaStreamCreateWithFlags(&handle, cudaStreamNonBlocking), cudaSuccess); }
  ~OwnStream() { cudaStreamDestroy(handle); }
  cudaStream_t handle = nullptr;
};

struct OwnEvent {
  explicit OwnEvent(unsigned flags = cudaEventDisableTiming) {
    EXPECT_EQ(cudaEventCreateWithFlags(&handle, flags), cudaSuccess);
  }
  ~OwnEvent() { cudaEventDestroy(handle); }
  cudaEvent_t handle = nullptr;
};

// A host function that holds its stream until it is told to go on.
struct Gate {
  static void hold(void* self) {
    while (!static_cast<Gate*>(self)->open.load()) std::this_thread::yield();
  }
  std::atomic<bool> open{false};
};

TEST_F(RuntimeRace, MemoryIsPoisonedAndCounted) {
  size_t free_before = 0, free_now = 0, total = 0;
  ASSERT_EQ(cudaMemGetInfo(&free_before, &total), cudaSuccess);
  {
    Buffer buffer(kCount);
    ASSERT_EQ(cudaMemGetInfo(&free_now, &total), cudaSuccess);
    EXPECT_EQ(free_before - free_now, kCount * sizeof(float));
    float value = 0;
    ASSERT_EQ(cudaMemcpy(&value, buffer.data, sizeof value, cudaMemcpyDeviceToHost), cudaSuccess);
    EXPECT_TRUE(std::isnan(value));
  }
  ASSERT_EQ(cudaMemGetInfo(&free_now, &total), cudaSuccess);
  EXPECT_EQ(free_now, free_before);
  float* nothing = reinterpret_cast<float*>(1);
  EXPECT_EQ(cudaMalloc(&nothing, 0), cudaSuccess);
  EXPECT_EQ(nothing, nullptr);
  EXPECT_EQ(cudaFree(nullptr), cudaSuccess);
}

TEST_F(RuntimeRace, OutOfMemoryIsAnErrorThatPasses) {
  size_t free_bytes = 0, total = 0;
  ASSERT_EQ(cudaMemGetInfo(&free_bytes, &total), cudaSuccess);
  void* p = nullptr;
  EXPECT_EQ(cudaMalloc(&p, total + 1), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaMalloc(&p, SIZE_MAX), cudaErrorMemoryAllocation);
  EXPECT_EQ(p, nullptr);
  EXPECT_EQ(cudaGetLastError(), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
  EXPECT_STREQ(cudaGetErrorName(cudaErrorMemoryAllocation), "cudaErrorMemoryAllocation");
  EXPECT_STREQ(cudaGetErrorString(cudaErrorMemoryAllocation), "out of memory");
}

TEST_F(RuntimeRace, PointerAttributes) {
  Buffer device(kCount);
  float* pinned = nullptr;
  ASSERT_EQ(cudaHostAlloc(&pinned, 64, cudaHostAllocPortable), cudaSuccess);
  float local = 0;
  cudaPointerAttributes attributes{};
  ASSERT_EQ(cudaPointerGetAttributes(&attributes, device.data + 10), cudaSuccess);
  EXPECT_EQ(attributes.type, cudaMemoryTypeDevice);
  EXPECT_EQ(attributes.device, 0);
  EXPECT_EQ(attributes.devicePointer, device.data + 10);
  ASSERT_EQ(cudaPointerGetAttributes(&attributes, pinned), cudaSuccess);
  EXPECT_EQ(attributes.type, cudaMemoryTypeHost);
  ASSERT_EQ(cudaPointerGetAttributes(&attributes, &local), cudaSuccess);
  EXPECT_EQ(attributes.type, cudaMemoryTypeUnregistered);
  EXPECT_EQ(cudaFree(pinned), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFreeHost(pinned), cudaSuccess);
  EXPECT_EQ(cudaFreeHost(pinned), cudaErrorInvalidValue);
}

TEST_F(RuntimeRace, CopiesCheckKindAndBounds) {
  Buffer device(kCount);
  std::vector<float> host(kCount + 1);
  const size_t bytes = kCount * sizeof(float);
  EXPECT_EQ(cudaMemcpy(device.data, host.data(), bytes, cudaMemcpyHostToDevice), cudaSuccess);
  EXPECT_EQ(cudaMemcpy(device.data, host.data(), bytes, cudaMemcpyDefault), cudaSuccess);
  EXPECT_EQ(cudaMemcpy(device.data, host.data(), bytes + 4, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpy(device.data + 1, host.data(), bytes, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpy(host.data(), device.data, bytes, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpy(device.data, host.data(), bytes, cudaMemcpyDeviceToDevice), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpy(device.data, host.data(), 4, static_cast<cudaMemcpyKind>(7)),
            cudaErrorInvalidMemcpyDirection);
  EXPECT_EQ(cudaMemset(host.data(), 0, 4), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemset(device.data, 0, bytes + 1), cudaErrorInvalidValue);
}

TEST_F(RuntimeRace, TwoDimensionalCopy) {
  constexpr size_t kRows = 5, kWidth = 12, kPitch = 16, kHostPitch = 20;
  Buffer device(kRows * kPitch / sizeof(float));
  std::vector<unsigned char> from(kRows * kHostPitch), back(kRows * kHostPitch, 0xee);
  for (size_t i = 0; i < from.size(); ++i) from[i] = static_cast<unsigned char>(i);
  OwnStream stream;
  ASSERT_EQ(cudaMemcpy2DAsync(device.data, kPitch, from.data(), kHostPitch, kWidth, kRows,
                              cudaMemcpyHostToDevice, stream.handle),
            cudaSuccess);
  ASSERT_EQ(cudaMemcpy2DAsync(back.data(), kHostPitch, device.data, kPitch, kWidth, kRows,
                              cudaMemcpyDeviceToHost, stream.handle),
            cudaSuccess);
  ASSERT_EQ(cudaStreamSynchronize(stream.handle), cudaSuccess);
  for (size_t row = 0; row < kRows; ++row)
    for (size_t i = 0; i < kHostPitch; ++i)
      EXPECT_EQ(back[row * kHostPitch + i], i < kWidth ? from[row * kHostPitch + i] : 0xee);
  EXPECT_EQ(cudaMemcpy2DAsync(device.data, 8, from.data(), kHostPitch, kWidth, 1, cudaMemcpyHostToDevice),
            cudaErrorInvalidPitchValue);
  EXPECT_EQ(cudaMemcpy2DAsync(device.data, SIZE_MAX / 2, from.data(), kHostPitch, kWidth, 5,
                              cudaMemcpyHostToDevice),
            cudaErrorInvalidValue);
}

TEST_F(RuntimeRace, StreamsRunBesideEachOtherAndInOrder) {
  OwnStream first, second;
  Gate gate;
  ASSERT_EQ(cudaLaunchHostFunc(first.handle, &Gate::hold, &gate), cudaSuccess);
  EXPECT_EQ(cudaStreamQuery(first.handle), cudaErrorNotReady);
  static_cast<void>(cudaGetLastError());
  struct Note {
    std::vector<int>* notes;
    int number;
  };
  std::vector<int> notes;
  Note entries[] = {{&notes, 1}, {&notes, 2}, {&notes, 3}};
  const auto write = [](void* p) { static_cast<Note*>(p)->notes->push_back(static_cast<Note*>(p)->number); };
  for (Note& entry : entries) ASSERT_EQ(cudaLaunchHostFunc(second.handle, write, &entry), cudaSuccess);
  ASSERT_EQ(cudaStreamSynchronize(second.handle), cudaSuccess);  // although the first stream is held
  EXPECT_EQ(notes, (std::vector<int>{1, 2, 3}));
  gate.open = true;
  ASSERT_EQ(cudaStreamSynchronize(first.handle), cudaSuccess);
  EXPECT_EQ(cudaStreamQuery(first.handle), cudaSuccess);
}

TEST_F(RuntimeRace, EventsOrderStreams) {
  OwnStream first, second;
  OwnEvent event;
  Buffer x(kCount), y(kCount), z(kCount);
  std::vector<float> host(kCount, 1.5f), result(kCount);
  Gate gate;
  EXPECT_EQ(cudaEventQuery(event.handle), cudaSuccess);  // never recorded: complete
  ASSERT_EQ(cudaLaunchHostFunc(first.handle, &Gate::hold, &gate), cudaSuccess);
  ASSERT_EQ(cudaMemcpyAsync(x.data, host.data(), kCount * 4, cudaMemcpyHostToDevice, first.handle),
            cudaSuccess);
  ASSERT_EQ(launch_scale(x.data, y.data, 2.0f, kCount, first.handle), cudaSuccess);
  ASSERT_EQ(cudaEventRecord(event.handle, first.handle), cudaSuccess);
  ASSERT_EQ(cudaStreamWaitEvent(second.handle, event.handle, cudaEventWaitDefault), cudaSuccess);
  ASSERT_EQ(launch_scale(y.data, z.data, 3.0f, kCount, second.handle), cudaSuccess);
  ASSERT_EQ(cudaMemcpyAsync(result.data(), z.data, kCount * 4, cudaMemcpyDeviceToHost, second.handle),
            cudaSuccess);
  EXPECT_EQ(cudaEventQuery(event.handle), cudaErrorNotReady);
  EXPECT_EQ(cudaStreamQuery(second.handle), cudaErrorNotReady);
  static_cast<void>(cudaGetLastError());
  gate.open = true;
  ASSERT_EQ(cudaStreamSynchronize(second.handle), cudaSuccess);
  EXPECT_EQ(cudaEventQuery(event.handle), cudaSuccess);
  EXPECT_EQ(result, std::vector<float>(kCount, 9.0f));
}

TEST_F(RuntimeRace, ElapsedTime) {
  OwnStream stream;
  OwnEvent start(cudaEventDefault), end(cudaEventDefault), untimed;
  float ms = -1;
  EXPECT_EQ(cudaEventElapsedTime(&ms, start.handle, end.handle), cudaErrorInvalidResourceHandle);
  ASSERT_EQ(cudaEventRecord(start.handle, stream.handle), cudaSuccess);
  ASSERT_EQ(
      cudaLaunchHostFunc(
          stream.handle, [](void*) { std::this_thread::sleep_for(std::chrono::milliseconds(5)); }, nullptr),
      cudaSuccess);
  ASSERT_EQ(cudaEventRecord(end.handle, stream.handle), cudaSuccess);
  ASSERT_EQ(cudaEventRecord(untimed.handle, stream.handle), cudaSuccess);
  ASSERT_EQ(cudaEventSynchronize(end.handle), cudaSuccess);
  ASSERT_EQ(cudaEventElapsedTime(&ms, start.handle, end.handle), cudaSuccess);
  EXPECT_GE(ms, 5.0f);
  EXPECT_EQ(cudaEventElapsedTime(&ms, start.handle, untimed.handle), cudaErrorInvalidResourceHandle);
}

TEST_F(RuntimeRace, WorkOfADestroyedStreamIsDoneAndTheHandleIsDead) {
  cudaStream_t stream;
  ASSERT_EQ(cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking, -1), cudaSuccess);
  Buffer x(kCount), y(kCount);
  ASSERT_EQ(cudaMemset(x.data, 0, kCount * 4), cudaSuccess);
  std::atomic<int> ran{0};
  const auto count = [](void* p) { ++*static_cast<std::atomic<int>*>(p); };
  for (int i = 0; i < 3; ++i) ASSERT_EQ(cudaLaunchHostFunc(stream, count, &ran), cudaSuccess);
  ASSERT_EQ(cudaStreamDestroy(stream), cudaSuccess);
  EXPECT_EQ(launch_scale(x.data, y.data, 1.0f, kCount, stream), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaMemsetAsync(y.data, 0, 4, stream), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaStreamDestroy(stream), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaStreamDestroy(nullptr), cudaErrorInvalidResourceHandle);
  while (ran.load() < 3) std::this_thread::yield();
}

TEST_F(RuntimeRace, HostFunctionsMayNotCallTheRuntime) {
  cudaError_t seen = cudaSuccess;
  OwnStream stream;
  ASSERT_EQ(cudaLaunchHostFunc(
                stream.handle,
                [](void* p) {
                  void* memory = nullptr;
                  *static_cast<cudaError_t*>(p) = cudaMalloc(&memory, 16);
                },
                &seen),
            cudaSuccess);
  ASSERT_EQ(cudaStreamSynchronize(stream.handle), cudaSuccess);
  EXPECT_EQ(seen, cudaErrorNotPermitted);
}

TEST_F(RuntimeRace, LaunchLimits) {
  Buffer x(kCount);
  const auto launch = [&](LaunchConfig config) {
    return launch_kernel("limits", +[](float*) {}, config, x.data);
  };
  EXPECT_EQ(launch({1, 1024}), cudaSuccess);
  EXPECT_EQ(launch({1, 1025}), cudaErrorInvalidConfiguration);
  EXPECT_EQ(launch({0, 32}), cudaErrorInvalidConfiguration);
  EXPECT_EQ(launch({1, 0}), cudaErrorInvalidConfiguration);
  EXPECT_EQ(launch({1, dim3(1, 1, 65)}), cudaErrorInvalidConfiguration);
  EXPECT_EQ(launch({dim3(1, 65536), 32}), cudaErrorInvalidConfiguration);
  EXPECT_EQ(launch({1, 32, 227 * 1024}), cudaSuccess);  // launch_kernel opts in
  EXPECT_EQ(launch({1, 32, 227 * 1024 + 1}), cudaErrorInvalidValue);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  cudaFuncAttributes attributes{};
  EXPECT_EQ(cudaFuncGetAttributes(&attributes, +[](float*) {}), cudaSuccess);
  EXPECT_EQ(attributes.maxThreadsPerBlock, 1024);
  EXPECT_EQ(attributes.maxDynamicSharedSizeBytes, 48 * 1024);
}

TEST_F(RuntimeRace, AsyncMemoryFollowsItsStream) {
  OwnStream stream;
  float* p = nullptr;
  ASSERT_EQ(cudaMallocAsync(&p, kCount * 4, stream.handle), cudaSuccess);
  ASSERT_EQ(cudaMemsetAsync(p, 0, kCount * 4, stream.handle), cudaSuccess);
  ASSERT_EQ(cudaFreeAsync(p, stream.handle), cudaSuccess);
  ASSERT_EQ(cudaStreamSynchronize(stream.handle), cudaSuccess);
  EXPECT_EQ(cudaFreeAsync(p, stream.handle), cudaErrorInvalidValue);
}

TEST_F(RuntimeRace, InjectedFailures) {
  Buffer x(kCount);
  void* p = nullptr;
  emu::fail_at(emu::Call::malloc, 2, cudaErrorMemoryAllocation);
  ASSERT_EQ(cudaMalloc(&p, 16), cudaSuccess);
  cudaFree(p);
  EXPECT_EQ(cudaMalloc(&p, 16), cudaErrorMemoryAllocation);
  ASSERT_EQ(cudaMalloc(&p, 16), cudaSuccess);
  cudaFree(p);
  emu::fail_at(emu::Call::malloc, 1, cudaErrorMemoryAllocation);
  emu::fail_at(emu::Call::malloc, 2, cudaErrorUnknown);
  EXPECT_EQ(cudaMalloc(&p, 16), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaMalloc(&p, 16), cudaErrorUnknown);
  emu::fail_at(emu::Call::memcpy, 1, cudaErrorUnknown);
  EXPECT_EQ(cudaMemsetAsync(x.data, 0, 4), cudaErrorUnknown);
  EXPECT_EQ(cudaMemsetAsync(x.data, 0, 4), cudaSuccess);
  cudaStream_t stream = nullptr;
  emu::fail_at(emu::Call::stream, 1, cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaStreamCreate(&stream), cudaErrorMemoryAllocation);
  cudaEvent_t event = nullptr;
  emu::fail_at(emu::Call::event, 1, cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaEventCreate(&event), cudaErrorMemoryAllocation);
  emu::fail_at(emu::Call::launch, 1, cudaErrorLaunchOutOfResources);
  EXPECT_EQ(launch_scale(x.data, x.data, 1.0f, kCount, nullptr), cudaErrorLaunchOutOfResources);
  EXPECT_EQ(cudaGetLastError(), cudaErrorLaunchOutOfResources);
  EXPECT_EQ(launch_scale(x.data, x.data, 1.0f, kCount, nullptr), cudaSuccess);
}

TEST_F(RuntimeRace, StickyErrorsStopEverything) {
  Buffer x(kCount), y(kCount);
  ASSERT_EQ(cudaMemset(x.data, 0, kCount * 4), cudaSuccess);
  ASSERT_EQ(cudaMemset(y.data, 0, kCount * 4), cudaSuccess);
  emu::fail_at(emu::Call::launch, 1, cudaErrorIllegalAddress);
  EXPECT_EQ(launch_scale(x.data, y.data, 1.0f, kCount, nullptr), cudaErrorIllegalAddress);
  void* p = nullptr;
  EXPECT_EQ(cudaMalloc(&p, 16), cudaErrorIllegalAddress);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorIllegalAddress);
  EXPECT_EQ(cudaGetLastError(), cudaErrorIllegalAddress);
  EXPECT_EQ(cudaGetLastError(), cudaErrorIllegalAddress);  // not cleared by looking
  emu::reset_device();
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
  EXPECT_EQ(launch_scale(x.data, y.data, 1.0f, kCount, nullptr), cudaSuccess);
}

TEST_F(RuntimeRace, DeviceReset) {
  void *device = nullptr, *host = nullptr;
  cudaStream_t stream = nullptr;
  cudaEvent_t event = nullptr;
  ASSERT_EQ(cudaMalloc(&device, 16), cudaSuccess);
  ASSERT_EQ(cudaMallocHost(&host, 16), cudaSuccess);
  ASSERT_EQ(cudaStreamCreate(&stream), cudaSuccess);
  ASSERT_EQ(cudaEventCreate(&event), cudaSuccess);
  emu::fail_at(emu::Call::launch, 1, cudaErrorLaunchFailure);
  EXPECT_EQ(launch_scale(nullptr, nullptr, 1.0f, 0, nullptr), cudaErrorLaunchFailure);
  EXPECT_EQ(cudaDeviceReset(), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaFree(device), cudaErrorInvalidValue);
}

TEST_F(RuntimeRace, DeviceProperties) {
  int count = 0, device = -1, value = 0;
  ASSERT_EQ(cudaGetDeviceCount(&count), cudaSuccess);
  EXPECT_EQ(cudaSetDevice(count), cudaErrorInvalidDevice);
  EXPECT_EQ(cudaSetDevice(-1), cudaErrorInvalidDevice);
  ASSERT_EQ(cudaGetDevice(&device), cudaSuccess);
  EXPECT_EQ(device, 0);
  cudaDeviceProp properties{};
  ASSERT_EQ(cudaGetDeviceProperties(&properties, 0), cudaSuccess);
  EXPECT_STREQ(properties.name, "emulated sm_90");
  EXPECT_EQ(properties.multiProcessorCount, 4);
  EXPECT_EQ(properties.major, 9);
  EXPECT_EQ(properties.minor, 0);
  EXPECT_EQ(properties.sharedMemPerBlockOptin, size_t{227} * 1024);
  ASSERT_EQ(cudaDeviceGetAttribute(&value, cudaDevAttrMultiProcessorCount, 0), cudaSuccess);
  EXPECT_EQ(value, 4);
  ASSERT_EQ(cudaRuntimeGetVersion(&value), cudaSuccess);
  EXPECT_GE(value, 12000);
  static_cast<void>(cudaGetLastError());
}

TEST_F(RuntimeRace, ManyHostThreads) {
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&wrong, t] {
      OwnStream stream;
      Buffer x(kCount), y(kCount);
      std::vector<float> host(kCount, static_cast<float>(t)), result(kCount);
      for (int round = 0; round < 5; ++round) {
        cudaMemcpyAsync(x.data, host.data(), kCount * 4, cudaMemcpyHostToDevice, stream.handle);
        launch_scale(x.data, y.data, 2.0f, kCount, stream.handle);
        cudaMemcpyAsync(result.data(), y.data, kCount * 4, cudaMemcpyDeviceToHost, stream.handle);
        if (cudaStreamSynchronize(stream.handle) != cudaSuccess) ++wrong;
        if (result != std::vector<float>(kCount, 2.0f * static_cast<float>(t))) ++wrong;
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong.load(), 0);
}

// A wait for the device that has seen a stream just before another thread destroys it.
TEST_F(RuntimeRace, StreamsDestroyedDuringAWaitForTheDevice) {
  std::atomic<bool> over{false};
  std::thread other([&over] {
    for (int i = 0; i < 20; ++i) std::array<OwnStream, 40> streams;
    over = true;
  });
  while (!over) ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  other.join();
}

}  // namespace
}  // namespace gpunn::test
