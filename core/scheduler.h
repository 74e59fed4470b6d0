#pragma once
// The reader/writer scheduler: work on different streams is ordered by what it reads and writes.
//
// Per storage it keeps the last writer and the readers since. A reader waits for the writer, a writer for the
// writer and all readers; work on one stream is in order anyway, so those waits are dropped. Every issue gets
// a number within its stream; an event is recorded only when another stream has to wait for that number, so
// one-stream programs pay nothing.
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "gpunn/core/api.h"
#include "gpunn/core/device_api.h"
#include "gpunn/core/issue.h"
#include "gpunn/core/storage.h"

namespace gpunn {

namespace detail {
class HostCalls;
}

class GPUNN_API Scheduler {
 public:
  explicit Scheduler(DeviceApi& api);
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  using Issue = gpunn::Issue;

  /// The host waits until `storage` may be read (its writer is done) or written (readers too).
  void wait_readable(Storage& storage);
  void wait_writable(Storage& storage);
  /// Called when a storage with a history dies: tells the allocator about streams other than its own that may
  /// still use it.
  void forget(Storage& storage, class MemoryResource& resource) noexcept;
  /// Work issued on `to` from now on comes after everything issued on `from` so far.
  void join(RawStream from, RawStream to);
  /// Waits for the device, then drops every record; throws the oldest exception of a host function.
  void synchronize();
  /// Functions that run in stream order.
  detail::HostCalls& host_calls() const noexcept;

  struct Counters {
    std::uint64_t issues = 0, events = 0, waits = 0, waits_dropped = 0;
  };
  Counters counters() const;

 private:
  friend class gpunn::Issue;
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace gpunn
