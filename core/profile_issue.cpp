// Issues of work, as the profiler sees them.
#include <algorithm>

#include "gpunn/core/detail/profile_thread.h"
#include "gpunn/core/error.h"
#include "gpunn/core/memory.h"
#include "gpunn/core/runtime.h"

namespace gpunn::detail {
namespace {

constexpr std::int64_t kSampleEvery = 100'000;  // nanoseconds between looks at a device's memory
constexpr std::size_t kMaxJoins = 64;           // kept for the next work of a stream

const char* name_of(CopyKind kind) {
  switch (kind) {
    case CopyKind::host_to_device:
      return "copy to device";
    case CopyKind::device_to_host:
      return "copy to host";
    case CopyKind::device_to_device:
      break;
  }
  return "copy on device";
}

OpenIssue* open_issue(const void* owner) {
  ProfileThread& t = profile_thread();
  return top_entry(t.issues, t.issue_depth, owner);
}

// Ends the open issue of that owner. Null when there is none, or it is not recorded.
OpenIssue* end_issue(const void* owner) {
  OpenIssue* const open = open_issue(owner);
  if (!open) return nullptr;
  --profile_thread().issue_depth;
  if (open->nvtx) nvtx_pop();
  return open->session == 0 ? nullptr : open;
}

// The newest open issue, if it is to that stream.
OpenIssue* issue_on(const DeviceApi& api, RawStream stream) {
  const ProfileThread& t = profile_thread();
  OpenIssue* const open = t.issue_depth > 0 ? t.issues[t.issue_depth - 1].get() : nullptr;
  const bool same = open && open->session != 0 && open->api == &api && open->stream == stream;
  return same ? open : nullptr;
}

OpenIssue& push(const void* owner, const IssueBegin& issue, ProfileKind kind, const char* name) {
  ProfileRecorder& recorder = ProfileRecorder::instance();
  ProfileThread& t = profile_thread();
  OpenIssue& open = push_entry(t.issues, t.issue_depth, owner, recorder.session());
  const char* const node = profiled_node();
  open.name = name;
  open.record.kind = kind;
  open.record.backward = node != nullptr;
  if (g_profiling.load(std::memory_order_relaxed) & kNvtx) {
    nvtx_push(node ? (open.name + " backward").c_str() : name);
    open.nvtx = true;
  }
  open.start = open.end = nullptr;
  open.noted = false;
  if (open.session == 0) return open;
  open.layer = layer_path();
  open.entry = issue.entry;
  open.context = &issue.context;
  open.api = &issue.context.api();
  open.stream = issue.context.is_cpu() ? nullptr : issue.stream;
  open.reads.assign(issue.reads.begin(), issue.reads.end());
  open.writes.assign(issue.writes.begin(), issue.writes.end());
  open.waits.clear();
  open.record.begin = recorder.now();
  return open;
}

// A timed event of the device, recorded now. Null where that is not to be had: the work is then not timed.
RawEvent mark(OpenIssue& open, ProfileRecorder& recorder) noexcept {
  RawEvent event = nullptr;
  try {
    std::unique_lock lock(recorder.mutex);
    if (recorder.session() != open.session) return nullptr;
    DeviceTimes& times = recorder.times(*open.api);
    if (times.session() != open.session) {
      lock.unlock();
      const DeviceTimes::Anchor anchor = times.measure(recorder.origin());
      lock.lock();
      if (recorder.session() != open.session) {
        if (anchor.event) open.api->destroy_event(anchor.event);
        return nullptr;
      }
      times.begin(open.session, anchor);
    }
    event = times.take();
    lock.unlock();
    if (event) open.api->record_event(event, open.stream);
    return event;
  } catch (...) {
    if (event) open.api->destroy_event(event);
    return nullptr;
  }
}

void note_storages(OpenIssue& open, ProfileRecorder& recorder) {
  ProfileRecord& r = open.record;
  auto& all = recorder.profile.storages;
  r.first_storage = static_cast<std::uint32_t>(all.size());
  r.reads = static_cast<std::uint32_t>(open.reads.size());
  r.writes = static_cast<std::uint32_t>(open.writes.size());
  const bool sum = r.kind == ProfileKind::op;  // a copy knows its bytes
  // What is written in place is read as well, as the same storage: first all reads, then the writes.
  for (const Storage* s : open.reads) {
    all.push_back(recorder.storage(*s, false));
    if (sum) r.bytes += s->bytes();
  }
  for (const Storage* s : open.writes) {
    all.push_back(recorder.storage(*s, true));
    const bool read_too = std::find(open.reads.begin(), open.reads.end(), s) != open.reads.end();
    if (sum && !read_too) r.bytes += s->bytes();
  }
}

void note_waits(OpenIssue& open, ProfileRecorder& recorder) {
  ProfileRecord& r = open.record;
  r.stream = recorder.stream(*open.api, open.stream);
  auto& all = recorder.profile.waits;
  r.first_wait = static_cast<std::uint32_t>(all.size());
  const auto add = [&](const ProfileRecorder::PendingWait& w) {
    all.push_back({recorder.stream(*open.api, w.from), w.order, w.number});
  };
  for (const auto& w : open.waits) add(w);
  if (const auto joined = recorder.joins.find({open.api, open.stream}); joined != recorder.joins.end()) {
    for (const auto& w : joined->second) add(w);
    recorder.joins.erase(joined);
  }
  r.waits = static_cast<std::uint32_t>(all.size()) - r.first_wait;
}

void sample_memory(const OpenIssue& open, ProfileRecorder& recorder) {
  const std::int64_t now = open.record.end;
  {
    const std::lock_guard lock(recorder.mutex);
    const auto [last, first] = recorder.sampled.try_emplace(open.api, now);
    if (!first && now - last->second < kSampleEvery) return;
    last->second = now;
  }
  const MemoryStats stats = open.context->memory().stats();  // takes the allocator's lock
  const std::lock_guard lock(recorder.mutex);
  if (recorder.session() != open.session || !recorder.has_room(0, 0)) return;
  const std::string device =
      open.context->is_cpu() ? std::string("cpu") : concat("cuda:", open.context->index());
  recorder.profile.memory.push_back({now, recorder.name(device), stats.live_bytes, stats.reserved_bytes});
}

void give_back(OpenIssue& open, ProfileRecorder& recorder) noexcept {
  if (!open.start && !open.end) return;
  DeviceTimes& times = recorder.times(*open.api);
  times.give(std::exchange(open.start, nullptr));
  times.give(std::exchange(open.end, nullptr));
}

// Moves a finished issue into the recording.
void keep(OpenIssue& open, ProfileThread& t, ProfileRecorder& recorder) noexcept {
  try {
    if (!open.noted || !recorder.has_room(0, 0) || !number_thread(t, recorder)) {
      ++recorder.profile.lost;
      return;
    }
    ProfileRecord& r = open.record;
    r.thread = t.index;
    r.name = recorder.name(open.name);
    r.layer = recorder.name(open.layer);
    r.entry = recorder.name(open.entry);
    recorder.profile.records.push_back(r);
    if (!open.start || !open.end) return;
    DeviceTimes& times = recorder.times(*open.api);
    times.add(recorder.profile.records.size() - 1, open.start, open.end);
    open.start = open.end = nullptr;
    times.resolve(recorder.profile, false);
  } catch (...) {
    ++recorder.profile.lost;
  }
}

}  // namespace

void profile_open(const void* owner, const IssueBegin& issue) noexcept {
  try {
    const char* const node = profiled_node();
    const char* const op = node ? node : current_op();
    push(owner, issue, ProfileKind::op, *op ? op : "unnamed op");
  } catch (...) {
    // Without memory there is no record of it.
  }
}

void profile_open_copy(const void* owner, const IssueBegin& issue, CopyKind kind, std::size_t bytes,
                       bool pinned) noexcept {
  try {
    OpenIssue& open = push(owner, issue, ProfileKind::copy, name_of(kind));
    open.record.bytes = bytes;
    open.record.pinned = pinned;
  } catch (...) {
    // As above.
  }
}

void profile_work(const void* owner) noexcept {
  OpenIssue* const open = open_issue(owner);
  if (open && open->session != 0 && open->stream) open->start = mark(*open, ProfileRecorder::instance());
}

void profile_worked(const void* owner, bool skipped) noexcept {
  OpenIssue* const open = open_issue(owner);
  if (!open || open->session == 0) return;
  ProfileRecorder& recorder = ProfileRecorder::instance();
  open->record.skipped = skipped;
  if (open->start) open->end = mark(*open, recorder);
  const std::lock_guard lock(recorder.mutex);
  if (recorder.session() != open->session) return;
  try {
    if (!recorder.has_room(open->reads.size() + open->writes.size(), open->waits.size())) return;
    note_storages(*open, recorder);
    if (open->stream) note_waits(*open, recorder);
    open->noted = true;
  } catch (...) {
    // It counts as lost.
  }
}

void profile_close(const void* owner) noexcept {
  OpenIssue* const open = end_issue(owner);
  if (!open) return;
  ProfileRecorder& recorder = ProfileRecorder::instance();
  open->record.end = recorder.now();
  try {
    {
      const std::lock_guard lock(recorder.mutex);
      if (recorder.session() == open->session) keep(*open, profile_thread(), recorder);
      give_back(*open, recorder);
    }
    sample_memory(*open, recorder);
  } catch (...) {
    // A sample less.
  }
}

void profile_drop(const void* owner) noexcept {
  OpenIssue* const open = end_issue(owner);
  if (!open) return;
  ProfileRecorder& recorder = ProfileRecorder::instance();
  const std::lock_guard lock(recorder.mutex);
  give_back(*open, recorder);
}

void profile_order(const DeviceApi& api, RawStream to, RawStream from, std::uint64_t number,
                   ProfileOrder order) noexcept {
  ProfileRecorder& recorder = ProfileRecorder::instance();
  if (recorder.session() == 0) return;
  try {
    if (OpenIssue* const open = issue_on(api, to)) {
      open->waits.push_back({from, number, order});
    } else if (order == ProfileOrder::made) {
      const std::lock_guard lock(recorder.mutex);
      auto& joins = recorder.joins[{&api, to}];
      if (joins.size() < kMaxJoins) joins.push_back({from, number, order});
    }
  } catch (...) {
    // One edge less in the picture.
  }
}

void profile_number(const DeviceApi& api, RawStream stream, std::uint64_t number) noexcept {
  if (OpenIssue* const open = issue_on(api, stream)) open->record.number = number;
}

}  // namespace gpunn::detail
