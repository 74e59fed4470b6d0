#pragma once
// Devices: a cheap handle to a device context owned by a Runtime.
#include <cstdint>
#include <string>
#include <string_view>

#include "gpunn/core/api.h"

namespace gpunn {

class DeviceContext;

enum class DeviceType : std::uint8_t { cpu, cuda };
GPUNN_API const char* name_of(DeviceType type) noexcept;

/// Where a tensor lives. Copyable, comparable, one pointer wide; valid as long as its Runtime.
class GPUNN_API Device {
 public:
  /// The CPU of the calling thread's Runtime.
  static Device cpu();
  /// CUDA device `index`. Throws Unsupported when there is none, saying why (no GPU, driver, or a CPU-only
  /// build).
  static Device cuda(int index = 0);
  /// The first real CUDA device if there is one, else the CPU. An emulated GPU is never chosen.
  static Device best();
  /// "cpu", "cuda", "cuda:1" or "best". Throws InvalidArgument for other text, Unsupported for an absent
  /// device.
  static Device parse(std::string_view text);

  explicit Device(DeviceContext& context) noexcept : context_(&context) {}
  DeviceType type() const noexcept;
  int index() const noexcept;
  bool is_cpu() const noexcept { return type() == DeviceType::cpu; }
  bool is_cuda() const noexcept { return type() == DeviceType::cuda; }
  DeviceContext& context() const noexcept { return *context_; }
  /// Waits until everything issued to this device has finished; rethrows an asynchronous failure.
  void synchronize() const;
  bool operator==(const Device& other) const noexcept { return context_ == other.context_; }

 private:
  DeviceContext* context_;
};

/// "cpu" or "cuda:0".
GPUNN_API std::string to_string(const Device& device);
/// Number of CUDA devices of this process (emulated ones included in an emulated build); 0 without a GPU or
/// driver.
GPUNN_API int cuda_device_count() noexcept;

/// Device that factories use when none is given: the calling thread's innermost DeviceScope, else the CPU.
GPUNN_API Device default_device();
class GPUNN_API DeviceScope {
 public:
  explicit DeviceScope(Device device) noexcept;
  ~DeviceScope();
  DeviceScope(const DeviceScope&) = delete;
  DeviceScope& operator=(const DeviceScope&) = delete;

 private:
  DeviceContext* previous_;
};

}  // namespace gpunn
