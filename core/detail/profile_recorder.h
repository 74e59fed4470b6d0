#pragma once
// What the profiler keeps while it records.
#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "gpunn/core/detail/profile_hooks.h"
#include "gpunn/core/device_api.h"
#include "gpunn/core/profiler.h"

namespace gpunn::detail {

using ProfileClock = std::chrono::steady_clock;

/// Times of a device on the host's clock, by pairs of timed events that are read when they have completed.
/// Wants the recorder's lock, but for measure().
class DeviceTimes {
 public:
  explicit DeviceTimes(DeviceApi& api) : api_(api) {}
  ~DeviceTimes();
  DeviceTimes(const DeviceTimes&) = delete;
  DeviceTimes& operator=(const DeviceTimes&) = delete;

  DeviceApi& api() const noexcept { return api_; }
  /// An event whose time is known, in nanoseconds since `origin`; null on a device without timed events.
  /// Waits for a stream of its own.
  struct Anchor {
    RawEvent event = nullptr;
    double time = 0;
  };
  Anchor measure(ProfileClock::time_point origin) const noexcept;
  /// Takes over the zero point of a session.
  void begin(std::uint64_t session, const Anchor& anchor) noexcept;
  std::uint64_t session() const noexcept { return session_; }

  /// A timed event, or null where there are none (or too many are waiting).
  RawEvent take();
  void give(RawEvent event) noexcept;
  /// The work of records[record] lies between the two events.
  void add(std::size_t record, RawEvent start, RawEvent end);
  /// Reads what has completed; with `all`, gives back what has not, too.
  void resolve(Profile& profile, bool all) noexcept;

 private:
  struct Pair {
    std::size_t record;
    RawEvent start, end;
  };
  void read(Profile& profile, const Pair& pair);

  DeviceApi& api_;
  std::uint64_t session_ = 0;
  Anchor anchor_;
  std::vector<RawEvent> idle_;
  std::deque<Pair> pending_;
  std::vector<std::int64_t> stream_end_;  // by stream: where its last work ended
};

/// The process's recording. Hooks of all threads meet here, for a moment each.
class ProfileRecorder {
 public:
  static ProfileRecorder& instance();

  void start(const ProfilerOptions& options);
  Profile stop();
  /// Number of the recording under way, 0 when there is none.
  std::uint64_t session() const noexcept { return session_.load(std::memory_order_acquire); }
  std::int64_t now() const noexcept {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(ProfileClock::now() - origin()).count();
  }

  std::mutex mutex;  // everything below wants it held

  std::uint32_t name(std::string_view text);
  std::uint32_t thread(std::string_view name);
  std::uint32_t stream(const DeviceApi& api, RawStream stream);
  /// Number of a storage, by its address and version.
  std::uint32_t storage(const Storage& storage, bool written);
  DeviceTimes& times(DeviceApi& api);
  void name_stream(const DeviceApi& api, RawStream stream, std::string_view name);
  void forget_device(DeviceApi& api) noexcept;

  bool has_room(std::size_t storages, std::size_t waits) const noexcept;
  Profile profile;
  using StreamKey = std::pair<const DeviceApi*, RawStream>;
  struct PendingWait {
    RawStream from;
    std::uint64_t number;
    ProfileOrder order;
  };
  std::map<StreamKey, std::vector<PendingWait>> joins;         // for the next work of a stream
  std::unordered_map<const DeviceApi*, std::int64_t> sampled;  // when a device's memory was last looked at

  ProfileClock::time_point origin() const noexcept {
    return ProfileClock::time_point(ProfileClock::duration(origin_.load(std::memory_order_relaxed)));
  }

 private:
  struct Hash : std::hash<std::string_view> {
    using is_transparent = void;
  };
  struct Seen {
    std::uint32_t number, version;
  };

  std::atomic<std::uint64_t> session_{0};
  std::atomic<ProfileClock::rep> origin_{0};
  std::uint64_t sessions_ = 0;
  ProfilerOptions options_;
  std::unordered_map<std::string, std::uint32_t, Hash, std::equal_to<>> names_;
  std::unordered_map<const Storage*, Seen> storages_;
  std::uint32_t newest_storage_ = 0;
  std::map<StreamKey, std::uint32_t> streams_;
  std::map<StreamKey, std::string> stream_names_;
  std::vector<std::unique_ptr<DeviceTimes>> times_;
};

}  // namespace gpunn::detail
