#pragma once
// Where the runtime tells the profiler what it does. Each caller asks profiling() first, so that nothing else
// is paid for while nobody listens. No hook throws: what cannot be recorded is counted as lost.
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "gpunn/core/device_api.h"
#include "gpunn/core/profiler.h"
#include "gpunn/core/storage.h"

namespace gpunn::detail {

inline constexpr std::uint8_t kRecording = 1, kNvtx = 2;
extern std::atomic<std::uint8_t> g_profiling;  // bits
inline bool profiling() noexcept { return g_profiling.load(std::memory_order_relaxed) != 0; }

// An issue, step by step, all on one thread. `owner` is the address of an object that lives as long as it: a
// step whose owner is not the newest open one is ignored, as after the profiler was turned on in between.
struct IssueBegin {
  DeviceContext& context;
  RawStream stream;  // not used on the CPU
  std::span<Storage* const> reads, writes;
  const char* entry;
};
void profile_open(const void* owner, const IssueBegin& issue) noexcept;
void profile_open_copy(const void* owner, const IssueBegin& issue, CopyKind kind, std::size_t bytes,
                       bool pinned) noexcept;
/// The stream has been told to wait; the work follows.
void profile_work(const void* owner) noexcept;
/// The work has been issued; its dependants have not been let on yet.
void profile_worked(const void* owner, bool skipped) noexcept;
void profile_close(const void* owner) noexcept;
/// Forgets an issue that failed. Does nothing after profile_close().
void profile_drop(const void* owner) noexcept;

/// A copy that is issued without an op.
class ProfiledCopy {
 public:
  ProfiledCopy(const IssueBegin& issue, CopyKind kind, std::size_t bytes, bool pinned) noexcept
      : on_(profiling()) {
    if (on_) [[unlikely]]
      profile_open_copy(this, issue, kind, bytes, pinned);
  }
  void work() noexcept {
    if (on_) [[unlikely]]
      profile_work(this);
  }
  void worked(bool skipped) noexcept {
    if (on_) [[unlikely]]
      profile_worked(this, skipped);
    done_ = true;
  }
  ~ProfiledCopy() {
    if (on_) [[unlikely]]
      done_ ? profile_close(this) : profile_drop(this);
  }
  ProfiledCopy(const ProfiledCopy&) = delete;
  ProfiledCopy& operator=(const ProfiledCopy&) = delete;

 private:
  bool on_, done_ = false;
};

/// From the scheduler: the work of `to` that is being issued, or else comes next, depends on issue `number`
/// of `from`; and the number that the issue under way got.
void profile_order(const DeviceApi& api, RawStream to, RawStream from, std::uint64_t number,
                   ProfileOrder order) noexcept;
void profile_number(const DeviceApi& api, RawStream stream, std::uint64_t number) noexcept;

/// Stretches of a thread. `owner` as above.
void profile_begin(const void* owner, ProfileKind kind, std::string_view name) noexcept;
void profile_end(const void* owner) noexcept;

/// Brackets a stretch of the calling thread.
template <ProfileKind kKind>
class ProfiledStretch {
 public:
  explicit ProfiledStretch(const char* name) noexcept {
    if (profiling()) [[unlikely]]
      profile_begin(this, kKind, name);
  }
  ~ProfiledStretch() {
    if (profiling()) [[unlikely]]
      profile_end(this);
  }
  ProfiledStretch(const ProfiledStretch&) = delete;
  ProfiledStretch& operator=(const ProfiledStretch&) = delete;
};
/// The host waits for a device: around the call that does.
using ProfiledWait = ProfiledStretch<ProfileKind::wait>;
/// A host function, on the thread of the stream that runs it.
using ProfiledCallback = ProfiledStretch<ProfileKind::callback>;

/// The node whose rule the calling thread runs, for the names of what it issues. Always set: a recording may
/// begin at any time.
class ProfiledNode {
 public:
  explicit ProfiledNode(const char* name) noexcept;
  ~ProfiledNode();
  ProfiledNode(const ProfiledNode&) = delete;
  ProfiledNode& operator=(const ProfiledNode&) = delete;

 private:
  const char* previous_;
};

/// Names of a context's streams, from whoever made them. One without a name is a user's.
void name_stream(const DeviceApi& api, RawStream stream, std::string_view name) noexcept;
/// The context of `api` ends: its events go back while it can still take them.
void forget_device(DeviceApi& api) noexcept;

// NVTX (nvtx.cpp). Turned on by GPUNN_NVTX=1, or by a tool that has set NVTX_INJECTION64_PATH, in builds that
// have its header; GPUNN_NVTX=0 keeps it off.
void nvtx_from_environment() noexcept;
void nvtx_push(const char* text) noexcept;
void nvtx_pop() noexcept;

}  // namespace gpunn::detail
