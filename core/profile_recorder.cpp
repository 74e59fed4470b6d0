#include "gpunn/core/detail/profile_recorder.h"

#include "gpunn/core/error.h"

namespace gpunn::detail {
namespace {

// Bounds on what a recording may take, whatever the program does.
constexpr std::size_t kMaxNames = std::size_t{1} << 16;
constexpr std::size_t kMaxThreads = 1024;
constexpr std::size_t kStoragesPerRecord = 16, kWaitsPerRecord = 8;

std::string device_name(const DeviceApi& api) {
  return api.type() == DeviceType::cpu ? std::string("cpu") : concat("cuda:", api.index());
}

}  // namespace

ProfileRecorder& ProfileRecorder::instance() {
  static ProfileRecorder* const recorder = new ProfileRecorder;  // leaked: hooks run until the process ends
  return *recorder;
}

void ProfileRecorder::start(const ProfilerOptions& options) {
  const std::lock_guard lock(mutex);
  GPUNN_CHECK(session() == 0, "expected one Profiler at a time, another one is recording");
  GPUNN_CHECK(options.max_records >= 1, "expected room for at least one record, got ", options.max_records);
  options_ = options;
  profile = {};
  profile.names.emplace_back();
  names_ = {{"", 0}};
  storages_.clear();
  newest_storage_ = 0;
  streams_.clear();
  joins.clear();
  sampled.clear();
  origin_.store(ProfileClock::now().time_since_epoch().count(), std::memory_order_relaxed);
  session_.store(++sessions_, std::memory_order_release);
  g_profiling.fetch_or(kRecording, std::memory_order_relaxed);
}

Profile ProfileRecorder::stop() {
  g_profiling.fetch_and(static_cast<std::uint8_t>(~kRecording), std::memory_order_relaxed);
  std::vector<DeviceApi*> used;
  {
    const std::lock_guard lock(mutex);
    for (const auto& times : times_)
      if (times->session() == session()) used.push_back(&times->api());
  }
  // Not under the lock: a host function that a stream waits for may want it.
  for (DeviceApi* api : used) {
    try {
      api->synchronize_device();
    } catch (...) {
      // A device that failed has no times; the failure is met where it belongs.
    }
  }
  const std::lock_guard lock(mutex);
  profile.duration = now();
  for (const auto& times : times_) times->resolve(profile, true);
  session_.store(0, std::memory_order_release);
  return std::exchange(profile, {});
}

std::uint32_t ProfileRecorder::name(std::string_view text) {
  const auto found = names_.find(text);
  if (found != names_.end()) return found->second;
  if (profile.names.size() >= kMaxNames) return 0;
  const auto index = static_cast<std::uint32_t>(profile.names.size());
  profile.names.emplace_back(text);
  names_.emplace(text, index);
  return index;
}

std::uint32_t ProfileRecorder::thread(std::string_view name) {
  if (profile.threads.size() >= kMaxThreads) return ProfileRecord::kNone;
  profile.threads.emplace_back(name.empty() ? concat("thread ", profile.threads.size() + 1)
                                            : std::string(name));
  return static_cast<std::uint32_t>(profile.threads.size() - 1);
}

std::uint32_t ProfileRecorder::stream(const DeviceApi& api, RawStream stream) {
  const StreamKey key(&api, stream);
  const auto found = streams_.find(key);
  if (found != streams_.end()) return found->second;
  const std::string device = device_name(api);
  const auto named = stream_names_.find(key);
  std::string name;
  if (named != stream_names_.end()) {
    name = named->second;
  } else {
    int users = 1;
    for (const Profile::Stream& s : profile.streams)
      users += s.device == device && s.name.starts_with("user ");
    name = concat("user ", users);
  }
  const auto index = static_cast<std::uint32_t>(profile.streams.size());
  profile.streams.push_back({device, std::move(name)});
  streams_.emplace(key, index);
  return index;
}

// A storage starts at version 0 and is written before it is of use: one that is "older" than what stood at
// its address before is another one.
std::uint32_t ProfileRecorder::storage(const Storage& storage, bool written) {
  const std::uint32_t version = storage.version();
  Seen& seen = storages_[&storage];
  if (seen.number == 0 || version < seen.version) seen.number = ++newest_storage_;
  seen.version = version + (written ? 1 : 0);
  return seen.number;
}

DeviceTimes& ProfileRecorder::times(DeviceApi& api) {
  for (const auto& times : times_)
    if (&times->api() == &api) return *times;
  times_.push_back(std::make_unique<DeviceTimes>(api));
  return *times_.back();
}

void ProfileRecorder::name_stream(const DeviceApi& api, RawStream stream, std::string_view name) {
  stream_names_[{&api, stream}] = name;
}

void ProfileRecorder::forget_device(DeviceApi& api) noexcept {
  for (const auto& times : times_)
    if (&times->api() == &api) times->resolve(profile, true);
  std::erase_if(times_, [&](const auto& times) { return &times->api() == &api; });
  const auto of_device = [&](const auto& entry) { return entry.first.first == &api; };
  std::erase_if(streams_, of_device);
  std::erase_if(stream_names_, of_device);
  std::erase_if(joins, of_device);
  sampled.erase(&api);
}

bool ProfileRecorder::has_room(std::size_t storages, std::size_t waits) const noexcept {
  const std::size_t most = options_.max_records;
  return profile.records.size() < most && profile.storages.size() + storages <= most * kStoragesPerRecord &&
         profile.waits.size() + waits <= most * kWaitsPerRecord;
}

}  // namespace gpunn::detail
