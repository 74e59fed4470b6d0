#include "gpunn/core/device_api.h"

#include <array>
#include <charconv>
#include <thread>

#include "gpunn/core/detail/bytes.h"
#include "gpunn/core/detail/cuda_probe.h"
#include "gpunn/core/error.h"

namespace gpunn {

DeviceApi::~DeviceApi() = default;
void DeviceApi::activate() {}

bool DeviceApi::synchronize_event_for(RawEvent event, std::chrono::microseconds limit) {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point start = Clock::now();
  while (!query_event(event)) {
    const auto waited = Clock::now() - start;
    if (waited >= limit) return false;
    // Most waits are short, and a sleep takes longer than it says.
    if (waited < std::chrono::microseconds(50))
      std::this_thread::yield();
    else
      std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
  return true;
}

std::size_t DeviceApi::page_bytes() noexcept { return 0; }
void* DeviceApi::reserve_addresses(std::size_t) {
  detail::throw_unsupported("this device has no virtual memory");
}
void DeviceApi::release_addresses(void*, std::size_t) noexcept {}
void DeviceApi::map_pages(void*, std::size_t) {
  detail::throw_unsupported("this device has no virtual memory");
}
void DeviceApi::unmap_pages(void*, std::size_t) noexcept {}

namespace detail {

std::string bytes_text(std::size_t bytes) {
  constexpr std::array kUnits{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  double value = static_cast<double>(bytes);
  std::size_t unit = 0;
  for (; value >= 1024 && unit + 1 < kUnits.size(); ++unit) value /= 1024;
  char buffer[32];
  const auto end =
      std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::fixed, unit ? 2 : 0).ptr;
  return std::string(buffer, end) + " " + kUnits[unit];
}

std::string absent_reason(const CudaProbe& probe) {
  if (probe.devices == 0) return probe.reason;
  if (probe.devices == 1) return "there is 1 CUDA device (cuda:0)";
  return concat("there are ", probe.devices, " CUDA devices (cuda:0 .. cuda:", probe.devices - 1, ")");
}

#if !GPUNN_HAS_CUDA
CudaProbe probe_cuda() { return {0, false, "this build of libgpunn has no CUDA"}; }
#endif

}  // namespace detail

#if !GPUNN_HAS_CUDA
std::unique_ptr<DeviceApi> make_cuda_device_api(int) { return nullptr; }
#endif

}  // namespace gpunn
