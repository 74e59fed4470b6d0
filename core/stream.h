#pragma once
// Streams of the user's own.
#include "gpunn/core/api.h"
#include "gpunn/core/device.h"
#include "gpunn/core/exec.h"
#include "gpunn/core/runtime.h"

namespace gpunn {

/// A user stream of a device; work issued under its StreamScope runs beside other streams. Destroying it does
/// not wait: the device stream goes back to the context and may serve another Stream later. The CPU has one
/// stream for all.
class GPUNN_API Stream {
 public:
  explicit Stream(Device device, int priority = 0);
  ~Stream();
  Stream(Stream&& other) noexcept;
  Stream& operator=(Stream&& other) noexcept;
  Device device() const noexcept { return Device(*context_); }
  RawStream raw() const noexcept { return raw_; }
  void synchronize();

 private:
  DeviceContext* context_;  // null when moved from
  RawStream raw_;
  int priority_;
};

/// Makes `stream` the calling thread's current stream on its device. The stream must outlive the scope.
class GPUNN_API StreamScope {
 public:
  explicit StreamScope(const Stream& stream) noexcept
      : StreamScope(stream.device().context(), stream.raw()) {}
  StreamScope(DeviceContext& context, RawStream stream) noexcept;
  ~StreamScope();
  StreamScope(const StreamScope&) = delete;
  StreamScope& operator=(const StreamScope&) = delete;

 private:
  friend class DeviceContext;
  const DeviceContext* context_;
  RawStream stream_;
  const StreamScope* previous_;  // scopes of a thread form a chain; the innermost one of a device counts
};

}  // namespace gpunn
