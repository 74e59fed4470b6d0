#include "tests/support/device_failures.h"

#if GPUNN_EMULATED
#include <cuda_runtime.h>

#include "gpunn/core/emulation/config.h"

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

void reset_device() {
  forget_device_failures();
  cudaDeviceReset();
}

DeviceLive device_live() {
  const emu::Stats s = emu::stats();
  return {s.allocations_live, s.host_allocations_live, s.streams_live, s.events_live};
}

}  // namespace gpunn::testing
#endif
