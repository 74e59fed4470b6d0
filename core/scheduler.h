#pragma once
// The reader/writer scheduler: work on different streams is ordered by what it reads and writes.
//
// Per storage it keeps the last writer and the readers since. A reader waits for the writer, a writer for the
// writer and all readers; work on one stream is in order anyway, so those waits are dropped. Every issue gets
// a number within its stream; an event is recorded only when another stream has to wait for that number, so
// one-stream programs pay nothing.
//
// Failures. A storage keeps the outcomes that its contents depend on: those of work that failed while it was
// issued, of asynchronous work that may still fail (expect()), and what a wait met. What an issue writes
// depends on whatever its operands depend on, so a failure that is reported late reaches results issued
// before. An issue with a failed operand is skipped: nothing runs, and all that it would have written has
// failed with it. That holds for what it only writes as well: many an op reads that, too, or writes a part of
// it. The host's waits throw the first failure, each time they are called. A failure ends with its storage,
// or when the whole storage is written anew within an Overwrite.
#include <cstdint>
#include <exception>
#include <memory>
#include <span>
#include <string>

#include "gpunn/core/api.h"
#include "gpunn/core/device_api.h"
#include "gpunn/core/issue.h"
#include "gpunn/core/outcome.h"
#include "gpunn/core/storage.h"

namespace gpunn {

namespace detail {
class HostCalls;
}

/// Thread-safe; a lock is held from the start of an Issue to its end, by one thread and recursively.
class GPUNN_API Scheduler {
 public:
  explicit Scheduler(DeviceApi& api);
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  using Issue = gpunn::Issue;

  /// The host waits until `storage` may be read (its writer is done) or written (readers too). The first
  /// throws the first failure its contents depend on; the second one only what the device says at the wait,
  /// since a writer does not care. Such an error of a wait is kept as a failure of `storage`.
  void wait_readable(Storage& storage);
  void wait_writable(Storage& storage);
  /// Called when a storage with a history dies: tells the allocator about streams other than its own that may
  /// still use it.
  void forget(Storage& storage, class MemoryResource& resource) noexcept;
  /// Work issued on `to` from now on comes after everything issued on `from` so far.
  void join(RawStream from, RawStream to);
  /// Waits for the device; then throws the first failure that a storage alive depends on, else the oldest
  /// exception of a host function.
  void synchronize();
  /// Functions that run in stream order.
  detail::HostCalls& host_calls() const noexcept;

  /// For work that reports failure by itself, such as a host callback: what is in `writes` depends on the
  /// outcome from now on, and so does all that is computed from it. Call it within the Issue of that work (or
  /// before anything reads its results), hand the outcome to the work, and have it settled.
  std::shared_ptr<Outcome> expect(std::span<Storage* const> writes);
  /// What is in `writes` has failed.
  void fail(std::span<Storage* const> writes, const std::exception_ptr& cause);
  /// Throws the first failure that a storage alive depends on. Does not wait.
  void check() const;

  struct Counters {
    std::uint64_t issues = 0, events = 0, waits = 0, waits_dropped = 0, skipped = 0;
  };
  Counters counters() const;

 private:
  friend class gpunn::Issue;
  friend class Overwrite;
  struct State;
  std::unique_ptr<State> state_;
};

/// Around an issue that writes every byte of `storage` without reading it: with done() what the old contents
/// depended on no longer matters; without, it is as before.
class GPUNN_API Overwrite {
 public:
  explicit Overwrite(Storage& storage);
  ~Overwrite();
  Overwrite(const Overwrite&) = delete;
  Overwrite& operator=(const Overwrite&) = delete;
  void done() noexcept;

 private:
  struct Kept;
  Storage& storage_;
  std::unique_ptr<Kept> kept_;  // null when there was nothing
};

}  // namespace gpunn
