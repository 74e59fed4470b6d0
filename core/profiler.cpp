// The profiler's face, and stretches of threads.
#include "gpunn/core/profiler.h"

#include <algorithm>
#include <cstring>

#include "gpunn/core/detail/profile_thread.h"
#include "gpunn/core/error.h"

#if defined(__linux__)
#include <unistd.h>
#endif

namespace gpunn {
namespace detail {

constinit std::atomic<std::uint8_t> g_profiling{0};

namespace {

constinit thread_local const char* t_node = nullptr;

bool is_main_thread() noexcept {
#if defined(__linux__)
  return gettid() == getpid();
#else
  return false;
#endif
}

}  // namespace

ProfileThread& profile_thread() {
  static thread_local ProfileThread state;
  return state;
}

const char* profiled_node() noexcept { return t_node; }

bool number_thread(ProfileThread& t, ProfileRecorder& recorder) {
  if (t.session != recorder.session()) {
    const bool unnamed_main = t.name[0] == 0 && is_main_thread();
    t.index = recorder.thread(unnamed_main ? "main" : std::string_view(t.name.data()));
    t.session = recorder.session();
  }
  return t.index != ProfileRecord::kNone;
}

ProfiledNode::ProfiledNode(const char* name) noexcept : previous_(std::exchange(t_node, name)) {}
ProfiledNode::~ProfiledNode() { t_node = previous_; }

void profile_begin(const void* owner, ProfileKind kind, std::string_view name) noexcept {
  const std::uint8_t listeners = g_profiling.load(std::memory_order_relaxed);
  ProfileRecorder& recorder = ProfileRecorder::instance();
  try {
    ProfileThread& t = profile_thread();
    OpenEntry& open = push_entry(t.stretches, t.stretch_depth, owner, recorder.session());
    open.name = name;
    if (listeners & kNvtx) {
      nvtx_push(open.name.c_str());
      open.nvtx = true;
    }
    if (open.session == 0) return;
    open.layer = layer_path();
    open.record.kind = kind;
    open.record.backward = t_node != nullptr;
    open.record.begin = recorder.now();
  } catch (...) {
    // Without memory there is no record of it.
  }
}

void profile_end(const void* owner) noexcept {
  ProfileThread& t = profile_thread();
  OpenEntry* const open = top_entry(t.stretches, t.stretch_depth, owner);
  if (!open) return;
  --t.stretch_depth;
  if (open->nvtx) nvtx_pop();
  if (open->session == 0) return;
  ProfileRecorder& recorder = ProfileRecorder::instance();
  open->record.end = recorder.now();
  const std::lock_guard lock(recorder.mutex);
  if (recorder.session() != open->session) return;
  try {
    if (!recorder.has_room(0, 0) || !number_thread(t, recorder)) {
      ++recorder.profile.lost;
      return;
    }
    ProfileRecord& r = open->record;
    r.name = recorder.name(open->name);
    r.layer = recorder.name(open->layer);
    r.thread = t.index;
    recorder.profile.records.push_back(r);
  } catch (...) {
    ++recorder.profile.lost;
  }
}

void name_stream(const DeviceApi& api, RawStream stream, std::string_view name) noexcept {
  try {
    ProfileRecorder& recorder = ProfileRecorder::instance();
    const std::lock_guard lock(recorder.mutex);
    recorder.name_stream(api, stream, name);
  } catch (...) {
    // It is then shown as a user's.
  }
}

void forget_device(DeviceApi& api) noexcept {
  ProfileRecorder& recorder = ProfileRecorder::instance();
  const std::lock_guard lock(recorder.mutex);
  recorder.forget_device(api);
}

}  // namespace detail

std::string Profile::label(const ProfileRecord& r) const {
  return r.backward ? text(r.name) + " backward" : text(r.name);
}

Profiler::Profiler(ProfilerOptions options) { detail::ProfileRecorder::instance().start(options); }

Profiler::~Profiler() {
  if (!recording_) return;
  try {
    stop();
  } catch (...) {
    // What was recorded is lost; the recording has ended.
  }
}

Profile Profiler::stop() {
  GPUNN_CHECK(recording_, "expected a Profiler that records, this one was stopped");
  recording_ = false;
  return detail::ProfileRecorder::instance().stop();
}

ProfileRange::ProfileRange(std::string_view name) noexcept {
  if (detail::profiling()) [[unlikely]]
    detail::profile_begin(this, ProfileKind::range, name);
}
ProfileRange::~ProfileRange() {
  if (detail::profiling()) [[unlikely]]
    detail::profile_end(this);
}

void name_profile_thread(std::string_view name) noexcept {
  auto& kept = detail::profile_thread().name;
  kept.fill(0);
  std::memcpy(kept.data(), name.data(), std::min(name.size(), kept.size() - 1));
}

}  // namespace gpunn
