#pragma once
// Streams, events and host functions of the user's own.
//
// Tensors need none of this to be right: whatever stream work is issued on, the scheduler orders it by what
// it reads and writes. Events and waits are for timing, and for what no tensor stands for. The names mean
// what they mean in PyTorch. docs/streams.md has examples, and the rules for several host threads.
#include <functional>
#include <vector>

#include "gpunn/core/api.h"
#include "gpunn/core/device.h"
#include "gpunn/core/exec.h"
#include "gpunn/core/runtime.h"
#include "gpunn/core/tensor.h"

namespace gpunn {

class Stream;

/// A mark in a stream. It belongs to the device that it is first recorded on. Destroying it does not wait and
/// does not undo waits. Not to be shared between threads without a lock.
class GPUNN_API Event {
 public:
  /// `timed`: for elapsed_time(). Others cost a device less.
  explicit Event(bool timed = false) noexcept : timed_(timed) {}
  ~Event();
  Event(Event&& other) noexcept;
  Event& operator=(Event&& other) noexcept;

  /// Marks what has been issued to `stream` so far; an earlier record is forgotten, waits for it go on.
  /// Throws InvalidArgument for a stream of another device than before.
  void record(const Stream& stream);
  /// On the calling thread's current stream of `device`.
  void record(Device device);
  bool recorded() const noexcept { return event_ != nullptr; }
  /// Has everything marked finished? True when nothing was recorded.
  bool query() const;
  /// The host waits for what was marked; rethrows an asynchronous failure of the device.
  void synchronize() const;
  /// Milliseconds from this event to `end` on the device's clock. Throws InvalidArgument unless both are
  /// timed, recorded on one device and done.
  double elapsed_time(const Event& end) const;

 private:
  friend class Stream;
  DeviceContext* context_ = nullptr;  // null until recorded
  RawEvent event_ = nullptr;
  bool timed_;
};

/// A user stream of a device; work issued under its StreamScope runs beside other streams. Destroying it does
/// not wait: the device stream goes back to the context and may serve another Stream later. The CPU has one
/// stream for all, and everything has happened there when a call returns. Methods are thread-safe.
class GPUNN_API Stream {
 public:
  /// Smaller numbers are more urgent: -1 before 0, the default. The device keeps it within its range.
  explicit Stream(Device device, int priority = 0);
  /// The calling thread's current stream of `device`, named but not owned.
  static Stream current(Device device);
  ~Stream();
  Stream(Stream&& other) noexcept;
  Stream& operator=(Stream&& other) noexcept;

  Device device() const noexcept { return Device(*context_); }
  RawStream raw() const noexcept { return raw_; }
  /// What the device made of the priority that was asked for.
  int priority() const;

  /// The host waits for everything issued so far; rethrows an asynchronous failure of the device, or else the
  /// oldest exception of a host function on this stream.
  void synchronize();
  /// Has everything issued so far finished?
  bool query() const;
  /// What is issued from now on comes after what `event` marks. Nothing when it was never recorded. The event
  /// may be of another device.
  void wait(const Event& event);
  /// What is issued from now on comes after everything issued to `other` so far.
  void wait(const Stream& other);

  /// Runs `function` on a host thread, in the order of this stream; returns at once (on the CPU: when it has
  /// run). It must not call the device: no ops, copies or waits on it, for tensors on the CPU it may. What it
  /// captures is destroyed later on a thread of the caller's. An exception is kept and thrown by
  /// synchronize() of this stream or of the device (on the CPU: by call()); what is in `writes` has then
  /// failed, and so has what is computed from it. After an asynchronous failure of the device it may never
  /// run.
  ///
  /// `reads` and `writes`: what it reads and writes through Tensor::data(), host memory pinned for this
  /// device; then it is ordered like an op, on any stream. Throws InvalidArgument for ordinary host memory,
  /// which nothing orders.
  void call(std::function<void()> function, const std::vector<Tensor>& reads = {},
            const std::vector<Tensor>& writes = {});

 private:
  Stream(DeviceContext& context, RawStream raw) noexcept : context_(&context), raw_(raw), owned_(false) {}

  DeviceContext* context_;  // null when moved from
  RawStream raw_;
  int priority_ = 0;  // as asked for: the context keeps streams by it
  bool owned_ = true;
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

namespace detail {
/// Is the calling thread within any StreamScope?
bool in_stream_scope() noexcept;
}  // namespace detail

}  // namespace gpunn
