// Device times on the host's clock.
#include <algorithm>
#include <utility>

#include "gpunn/core/detail/profile_recorder.h"

namespace gpunn::detail {
namespace {

constexpr std::size_t kMaxPending = 8192;  // pairs of events that wait to be read
constexpr std::size_t kReadFrom = 256;     // as many waiting pairs make it worth looking
// Elapsed times come as float milliseconds: near a quarter of a second their steps are 15 ns.
constexpr double kAnchorReach = 0.25e9;
constexpr int kTries = 5;

}  // namespace

DeviceTimes::~DeviceTimes() {
  for (const RawEvent event : idle_) api_.destroy_event(event);
  if (anchor_.event) api_.destroy_event(anchor_.event);
}

DeviceTimes::Anchor DeviceTimes::measure(ProfileClock::time_point origin) const noexcept {
  Anchor anchor;
  RawEvent next = nullptr;
  RawStream stream = nullptr;
  try {
    anchor.event = api_.create_timed_event();
    if (!anchor.event) return anchor;
    next = api_.create_timed_event();
    stream = api_.create_stream(0);
    // The event happened between two looks at the clock. The later one is taken for its time, so that no work
    // seems to run before it was issued; of several tries the one with the least doubt counts.
    auto smallest = ProfileClock::duration::max();
    for (int i = 0; i < kTries; ++i) {
      const auto before = ProfileClock::now();
      api_.record_event(next, stream);
      api_.synchronize_event(next);
      const auto after = ProfileClock::now();
      if (after - before >= smallest) continue;
      smallest = after - before;
      std::swap(anchor.event, next);
      const auto since = std::chrono::duration_cast<std::chrono::nanoseconds>(after - origin);
      anchor.time = static_cast<double>(since.count());
    }
  } catch (...) {
    if (anchor.event) api_.destroy_event(std::exchange(anchor.event, nullptr));
  }
  if (stream) api_.destroy_stream(stream);
  if (next) api_.destroy_event(next);
  return anchor;
}

void DeviceTimes::begin(std::uint64_t session, const Anchor& anchor) noexcept {
  if (anchor_.event) api_.destroy_event(anchor_.event);
  anchor_ = anchor;
  session_ = session;
  stream_end_.clear();
}

RawEvent DeviceTimes::take() {
  if (!anchor_.event || pending_.size() >= kMaxPending) return nullptr;
  if (idle_.empty()) return api_.create_timed_event();
  const RawEvent event = idle_.back();
  idle_.pop_back();
  return event;
}

void DeviceTimes::give(RawEvent event) noexcept {
  if (!event) return;
  try {
    idle_.push_back(event);
  } catch (...) {
    api_.destroy_event(event);
  }
}

void DeviceTimes::add(std::size_t record, RawEvent start, RawEvent end) {
  pending_.push_back({record, start, end});
}

void DeviceTimes::read(Profile& profile, const Pair& pair) {
  ProfileRecord& r = profile.records[pair.record];
  const double begin = anchor_.time + api_.elapsed_milliseconds(anchor_.event, pair.start) * 1e6;
  const double end = anchor_.time + api_.elapsed_milliseconds(anchor_.event, pair.end) * 1e6;
  if (stream_end_.size() <= r.stream) stream_end_.resize(r.stream + 1, 0);
  // Rounding must not let two pieces of one stream's work overlap.
  r.device_begin = std::max(static_cast<std::int64_t>(begin), stream_end_[r.stream]);
  r.device_end = std::max(static_cast<std::int64_t>(end), r.device_begin);
  stream_end_[r.stream] = r.device_end;
  r.timed = true;
}

void DeviceTimes::resolve(Profile& profile, bool all) noexcept {
  if (!all && pending_.size() < kReadFrom) return;
  while (!pending_.empty()) {
    Pair& pair = pending_.front();
    try {
      const bool done = api_.query_event(pair.end);
      if (!done && !all) return;
      if (done) {
        read(profile, pair);
        const double reach = static_cast<double>(profile.records[pair.record].device_end) - anchor_.time;
        if (reach > kAnchorReach) {
          anchor_.time += api_.elapsed_milliseconds(anchor_.event, pair.end) * 1e6;
          std::swap(anchor_.event, pair.end);
        }
      }
    } catch (...) {
      // The record stays without times.
    }
    give(pair.start);
    give(pair.end);
    pending_.pop_front();
  }
}

}  // namespace gpunn::detail
