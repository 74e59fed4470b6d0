#include "gpunn/core/device.h"

#include <charconv>
#include <utility>

#include "gpunn/core/detail/cuda_probe.h"
#include "gpunn/core/error.h"
#include "gpunn/core/runtime.h"

namespace gpunn {
namespace {

constinit thread_local DeviceContext* t_default_device = nullptr;

}  // namespace

const char* name_of(DeviceType type) noexcept { return type == DeviceType::cpu ? "cpu" : "cuda"; }

Device Device::cpu() { return Device(Runtime::current().cpu()); }
Device Device::cuda(int index) { return Device(Runtime::current().cuda(index)); }

Device Device::best() {
  const auto probe = detail::probe_cuda();
  return probe.devices > 0 && !probe.emulated ? cuda(0) : cpu();
}

Device Device::parse(std::string_view text) {
  if (text == "cpu") return cpu();
  if (text == "best") return best();
  if (text == "cuda") return cuda(0);
  constexpr std::string_view kPrefix = "cuda:";
  if (text.substr(0, kPrefix.size()) == kPrefix) {
    const std::string_view digits = text.substr(kPrefix.size());
    int index = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), index);
    if (error == std::errc{} && end == digits.data() + digits.size() && index >= 0) return cuda(index);
  }
  detail::throw_invalid(detail::concat("expected a device (cpu, cuda, cuda:N or best), got '", text, "'"));
}

DeviceType Device::type() const noexcept { return context_->type(); }
int Device::index() const noexcept { return context_->index(); }
void Device::synchronize() const { context_->synchronize(); }

std::string to_string(const Device& device) {
  return device.is_cpu() ? "cpu" : detail::concat("cuda:", device.index());
}

int cuda_device_count() noexcept {
  try {
    return detail::probe_cuda().devices;
  } catch (...) {
    return 0;
  }
}

Device default_device() { return t_default_device ? Device(*t_default_device) : Device::cpu(); }

DeviceScope::DeviceScope(Device device) noexcept
    : previous_(std::exchange(t_default_device, &device.context())) {}
DeviceScope::~DeviceScope() { t_default_device = previous_; }

}  // namespace gpunn
