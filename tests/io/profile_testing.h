#pragma once
// Recordings made by hand, and from two streams of a device.
#include <barrier>
#include <cstdint>
#include <string>
#include <vector>

#include "gpunn/core/device_api.h"
#include "gpunn/core/error.h"
#include "gpunn/core/implementation.h"
#include "gpunn/core/profiler.h"
#include "gpunn/core/runtime.h"
#include "gpunn/core/stream.h"

namespace gpunn::testing {

/// Builds a recording record by record.
class ProfileMaker {
 public:
  ProfileMaker() {
    p.names = {""};
    p.threads = {"main"};
    p.duration = 1'000'000;
  }
  std::uint32_t name(const std::string& text) {
    p.names.push_back(text);
    return static_cast<std::uint32_t>(p.names.size() - 1);
  }
  std::uint32_t stream(const std::string& device, const std::string& text) {
    p.streams.push_back({device, text});
    return static_cast<std::uint32_t>(p.streams.size() - 1);
  }
  /// An op of the host, at [begin, begin + 100] ns.
  ProfileRecord& op(const std::string& text, std::int64_t begin) {
    ProfileRecord r;
    r.name = name(text);
    r.begin = begin;
    r.end = begin + 100;
    p.records.push_back(r);
    return p.records.back();
  }
  /// The newest record ran on `stream` as issue `number`, at [begin, end].
  void timed(std::uint32_t stream, std::uint64_t number, std::int64_t begin, std::int64_t end) {
    ProfileRecord& r = p.records.back();
    r.stream = stream;
    r.number = number;
    r.timed = true;
    r.device_begin = begin;
    r.device_end = end;
  }
  void storages(const std::vector<std::uint32_t>& reads, const std::vector<std::uint32_t>& writes) {
    ProfileRecord& r = p.records.back();
    r.first_storage = static_cast<std::uint32_t>(p.storages.size());
    r.reads = static_cast<std::uint32_t>(reads.size());
    r.writes = static_cast<std::uint32_t>(writes.size());
    p.storages.insert(p.storages.end(), reads.begin(), reads.end());
    p.storages.insert(p.storages.end(), writes.begin(), writes.end());
  }
  void waits(const std::vector<ProfileWait>& list) {
    ProfileRecord& r = p.records.back();
    r.first_wait = static_cast<std::uint32_t>(p.waits.size());
    r.waits = static_cast<std::uint32_t>(list.size());
    p.waits.insert(p.waits.end(), list.begin(), list.end());
  }
  Profile p;
};

/// One stream writes x; a second one reads it, after an event; a third one runs beside the first: both wait
/// for each other to have begun.
inline Profile record_streams(Device device) {
  DeviceContext& context = device.context();
  const Stream first(device), second(device), third(device);
  const auto x = Storage::allocate(context, 256);
  std::barrier both(2);
  const auto meet = [](void* b) { static_cast<std::barrier<>*>(b)->arrive_and_wait(); };
  Profiler profiler;
  const auto issue = [&](const Stream& stream, std::span<Storage* const> reads,
                         std::span<Storage* const> writes, bool meeting) {
    const StreamScope scope(stream);
    const OpScope op(meeting ? "meeting" : "reading");
    detail::OpIssue issued(context, reads, writes, 0, "test");
    if (meeting) context.api().host_callback(stream.raw(), meet, &both);
    issued.commit();
  };
  Storage* const list[] = {x.get()};
  issue(first, {}, list, true);
  issue(third, {}, {}, true);
  issue(second, list, {}, false);
  return profiler.stop();
}

}  // namespace gpunn::testing
