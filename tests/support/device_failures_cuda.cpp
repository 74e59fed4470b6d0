#include "tests/support/device_failures.h"

#if GPUNN_EMULATED
#include <cuda_runtime.h>

#include <mutex>
#include <set>
#include <utility>
#include <vector>

#include "gpunn/core/detail/cuda_check.h"
#include "gpunn/core/emulation/runtime.h"

namespace gpunn::testing {
namespace {

constexpr int kAttempts = 8;  // of the allocator's, at most

long asked = 0;

void fail(emu::Call call, long n, cudaError_t code) {
  ++asked;
  emu::fail_at(call, n, code);
}

emu::Call call_of(DeviceCall call) {
  switch (call) {
    case DeviceCall::allocation:
      return emu::Call::malloc;
    case DeviceCall::copy:
      return emu::Call::memcpy;
    case DeviceCall::launch:
      return emu::Call::launch;
    case DeviceCall::event:
      return emu::Call::event;
    case DeviceCall::stream:
      return emu::Call::stream;
    case DeviceCall::any:
      break;
  }
  return emu::Call::any;
}

}  // namespace

const char* name_of(DeviceCall call) {
  static constexpr const char* kNames[] = {"allocation", "copy", "launch", "event", "stream", "any"};
  return kNames[static_cast<int>(call)];
}

void fail_device_call(DeviceCall call, long n) {
  if (call != DeviceCall::allocation) return fail(call_of(call), n, cudaErrorUnknown);
  for (int i = 0; i < kAttempts; ++i) fail(emu::Call::malloc, n + i, cudaErrorMemoryAllocation);
}

void lose_device_at(DeviceCall call, long n) { fail(call_of(call), n, cudaErrorIllegalAddress); }

long device_failures_met() { return asked - static_cast<long>(emu::stats().failures_pending); }

void forget_device_failures() {
  emu::reset_device();
  asked = 0;
}

struct DeviceReset::Before {
  std::uintptr_t newest_handle = 0;  // of streams and events
  std::set<std::uintptr_t> allocations;
};

DeviceReset::DeviceReset() : before_(std::make_unique<Before>()) {
  emu::State& s = emu::state();
  const std::lock_guard lock(s.mutex);
  before_->newest_handle = s.newest_handle;
  for (const auto& [address, allocation] : s.allocations) before_->allocations.insert(address);
}

DeviceReset::~DeviceReset() {
  forget_device_failures();
  for (int device = 0; device < emu::state().device_count; ++device) detail::forget_cuda_loss(device);
  std::vector<std::pair<void*, bool>> left;
  emu::State& s = emu::state();
  {
    const std::lock_guard lock(s.mutex);
    std::erase_if(s.streams, [&](const auto& entry) {
      if (entry.first <= before_->newest_handle) return false;
      entry.second->close();
      return true;
    });
    std::erase_if(s.events, [&](const auto& entry) { return entry.first > before_->newest_handle; });
    for (const auto& [address, allocation] : s.allocations)
      if (!before_->allocations.count(address))
        left.emplace_back(reinterpret_cast<void*>(address), allocation.host);
  }
  for (const auto& [pointer, host] : left) emu::release_memory(pointer, host);
}

DeviceLive device_live() {
  const emu::Stats s = emu::stats();
  return {s.allocations_live, s.host_allocations_live, s.streams_live, s.events_live};
}

}  // namespace gpunn::testing
#endif
