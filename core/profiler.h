#pragma once
// The profiler: what ran where, when, and what it waited for. Off by default; an issue then pays for one
// relaxed load. io/chrome_trace.h and io/schedule_view.h make pictures of what it recorded.
//
//   Profiler profiler;
//   for (int i = 0; i < 10; ++i) step();
//   write_chrome_trace("trace.json", profiler.stop());
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gpunn/core/api.h"

namespace gpunn {

enum class ProfileKind : std::uint8_t {
  op,        // an implementation of an op
  copy,      // between host and device
  wait,      // the host waits for a device
  callback,  // a host function that a stream runs
  range,     // ProfileRange
  layer      // a module's forward, or the rule of a node that was recorded in it
};

/// What became of a dependency of an issue on an earlier one. made: the stream waits for an event. The others
/// were dropped: the same stream is in order anyway; the host knows that the earlier one is done; an earlier
/// wait of the stream covers it.
enum class ProfileOrder : std::uint8_t { made, same_stream, done, covered };

/// A dependency: on the last issue of `stream` whose number is at most `number`.
struct ProfileWait {
  std::uint32_t stream = 0;  // index into Profile::streams
  ProfileOrder order = ProfileOrder::made;
  std::uint64_t number = 0;
};

/// One thing that happened. Times are nanoseconds since the profiler started; names and lists are indices
/// into the Profile.
struct ProfileRecord {
  static constexpr std::uint32_t kNone = ~std::uint32_t{0};

  ProfileKind kind = ProfileKind::op;
  bool backward = false;                         // issued by a node's rule; `name` is then the node's
  bool pinned = false;                           // copies: the host memory is page-locked
  bool timed = false;                            // device_begin and device_end are known
  bool skipped = false;                          // an input had failed, nothing was run
  std::uint32_t name = 0, entry = 0, layer = 0;  // Profile::names; entry: of the op's list
  std::uint32_t thread = 0;                      // Profile::threads
  std::uint32_t stream = kNone;                  // Profile::streams; kNone on the CPU
  std::uint64_t number = 0;                      // of the issue within its stream, from 1
  /// Copied; of an op, the sizes of the storages it reads and writes, each once: a bound on its traffic.
  std::uint64_t bytes = 0;
  std::int64_t begin = 0, end = 0;  // on the host; for work of a stream, of issuing it
  std::int64_t device_begin = 0, device_end = 0;
  std::uint32_t first_storage = 0, reads = 0, writes = 0;  // Profile::storages: first those read
  std::uint32_t first_wait = 0, waits = 0;                 // Profile::waits

  std::int64_t host_time() const noexcept { return end - begin; }
  /// On the device where that is known, else on the host.
  std::int64_t time() const noexcept { return timed ? device_end - device_begin : end - begin; }
};

/// A recording.
struct GPUNN_API Profile {
  struct Stream {
    std::string device;  // "cuda:0"
    std::string name;    // "compute", "copy-in", "copy-out", "user 1"
  };
  struct Memory {
    std::int64_t time = 0;
    std::uint32_t device = 0;  // names
    std::uint64_t live = 0, reserved = 0;
  };

  std::vector<ProfileRecord> records;  // in the order in which they ended on the host
  std::vector<std::string> names;      // names[0] is ""
  std::vector<std::string> threads;    // "main", "thread 2", or what name_profile_thread() said
  std::vector<Stream> streams;
  /// Numbers of storages: one for each, from 1. A storage is known by its address and its version, so one
  /// that was never written by an op may share the number of another.
  std::vector<std::uint32_t> storages;
  std::vector<ProfileWait> waits;
  std::vector<Memory> memory;
  std::int64_t duration = 0;
  std::uint64_t lost = 0;  // records that there was no room for

  const std::string& text(std::uint32_t name) const { return names[name]; }
  std::span<const std::uint32_t> reads(const ProfileRecord& r) const {
    return std::span(storages).subspan(r.first_storage, r.reads);
  }
  std::span<const std::uint32_t> writes(const ProfileRecord& r) const {
    return std::span(storages).subspan(r.first_storage + r.reads, r.writes);
  }
  std::span<const ProfileWait> waits_of(const ProfileRecord& r) const {
    return std::span(waits).subspan(r.first_wait, r.waits);
  }
  /// "linear backward", "copy to device"
  std::string label(const ProfileRecord& r) const;
};

struct ProfilerOptions {
  std::size_t max_records = std::size_t{1} << 18;  // about 200 bytes each; what comes after is only counted
};

/// Records what the whole process does, on all threads, from construction to stop(). Changes no result. One
/// at a time: throws InvalidArgument while another one records. Devices that are used must outlive stop(), or
/// their times end where they ended.
class GPUNN_API Profiler {
 public:
  explicit Profiler(ProfilerOptions options = {});
  /// Stops, if that was not done.
  ~Profiler();
  Profiler(const Profiler&) = delete;
  Profiler& operator=(const Profiler&) = delete;

  /// Waits for the devices that were used and hands over what was recorded. Only the first call does;
  /// a later one throws InvalidArgument.
  Profile stop();

 private:
  bool recording_ = true;
};

/// A part of the program under a name of its own, in recordings and for tools that listen to NVTX ranges.
/// Ranges of a thread nest.
class GPUNN_API ProfileRange {
 public:
  explicit ProfileRange(std::string_view name) noexcept;
  ~ProfileRange();
  ProfileRange(const ProfileRange&) = delete;
  ProfileRange& operator=(const ProfileRange&) = delete;
};

/// Names the calling thread in recordings ("loader 1"); at most 31 bytes are kept.
GPUNN_API void name_profile_thread(std::string_view name) noexcept;

}  // namespace gpunn
