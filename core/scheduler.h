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
#include "gpunn/core/storage.h"

namespace gpunn {

class GPUNN_API Scheduler {
 public:
  explicit Scheduler(DeviceApi& api);
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  /// One issue of work on `stream`: the constructor makes the stream wait for whatever `reads` and `writes`
  /// depend on, the work follows, then commit(). In between the scheduler's lock is held (recursively: the
  /// same thread may issue within), so that the order of issue and the order of records agree.
  class GPUNN_API Issue {
   public:
    Issue(Scheduler& scheduler, RawStream stream, std::span<Storage* const> reads,
          std::span<Storage* const> writes);
    /// Records the accesses and ends the issue.
    void commit() noexcept;
    /// Without commit() (an exception in between) the accesses are recorded all the same: part of the work
    /// may have been issued, and waiting for it harms nobody.
    ~Issue();
    Issue(const Issue&) = delete;
    Issue& operator=(const Issue&) = delete;

   private:
    Scheduler& scheduler_;
    RawStream stream_;
    std::span<Storage* const> reads_, writes_;
    bool open_ = true;
  };

  /// The host waits until `storage` may be read (its writer is done) or written (readers too).
  void wait_readable(Storage& storage);
  void wait_writable(Storage& storage);
  /// Called when a storage with a history dies: tells the allocator about streams other than its own that may
  /// still use it.
  void forget(Storage& storage, class MemoryResource& resource) noexcept;
  /// Work issued on `to` from now on comes after everything issued on `from` so far.
  void join(RawStream from, RawStream to);
  /// Waits for the device, then drops every record.
  void synchronize();

  struct Counters {
    std::uint64_t issues = 0, events = 0, waits = 0, waits_dropped = 0;
  };
  Counters counters() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace gpunn
