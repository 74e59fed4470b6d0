#pragma once
// Failures of the emulated GPU's runtime calls, for tests that see no CUDA header. Only in builds with
// GPUNN_EMULATED.
#include <cstddef>
#include <cstdint>
#include <memory>

namespace gpunn::testing {

enum class DeviceCall : std::uint8_t { allocation, copy, launch, event, stream, any };
const char* name_of(DeviceCall call);

/// The n-th call of that kind (1: the next) fails: an allocation for want of memory (and the seven after it,
/// so that no second attempt helps), another call with an error that is over with it.
void fail_device_call(DeviceCall call, long n);
/// The n-th call of that kind finds the device lost (an illegal address).
void lose_device_at(DeviceCall call, long n);
/// How many of those asked for were met since forget_device_failures().
long device_failures_met();
/// Waits for the device and forgets failures, pending and met.
void forget_device_failures();
/// Lost devices are there again, and what was made on them since this object was and is left (a lost device
/// is not asked to free anything) is gone. The Runtimes made since must be gone.
class DeviceReset {
 public:
  DeviceReset();
  ~DeviceReset();
  DeviceReset(const DeviceReset&) = delete;
  DeviceReset& operator=(const DeviceReset&) = delete;

 private:
  struct Before;
  std::unique_ptr<Before> before_;
};

struct DeviceLive {
  std::uint64_t allocations = 0, host_allocations = 0, streams = 0, events = 0;
  bool operator==(const DeviceLive&) const = default;
};
DeviceLive device_live();

}  // namespace gpunn::testing
