#include "gpunn/core/flight_recorder.h"

#include <algorithm>

#include "gpunn/core/error.h"
#include "gpunn/core/runtime.h"

namespace gpunn {
namespace {

std::string extent(const std::array<std::uint32_t, 3>& v) {
  return detail::concat('(', v[0], ',', v[1], ',', v[2], ')');
}

}  // namespace

std::string to_string(const LaunchRecord& r) {
  std::string out = r.kernel;
  if (r.block[0] > 0) {
    out += detail::concat(" grid ", extent(r.grid), " block ", extent(r.block));
    if (r.shared_bytes) out += detail::concat(" shared ", r.shared_bytes, " bytes");
  } else if (r.shared_bytes) {
    out += detail::concat(" of ", r.shared_bytes, " bytes");
  }
  if (*r.op || !r.layer.empty())
    out += detail::concat(" in [", r.layer, !r.layer.empty() && *r.op ? ": " : "", r.op, "]");
  return out;
}

void FlightRecorder::record(const char* kernel, const std::array<std::uint32_t, 3>& grid,
                            const std::array<std::uint32_t, 3>& block, std::size_t shared_bytes,
                            const Exec& exec) {
  add({.kernel = kernel,
       .grid = grid,
       .block = block,
       .shared_bytes = shared_bytes,
       .stream = exec.stream,
       .device = exec.device ? exec.device->index() : 0});
}

void FlightRecorder::record_copy(const char* what, std::size_t bytes, RawStream stream, int device) {
  add({.kernel = what, .shared_bytes = bytes, .stream = stream, .device = device});
}

void FlightRecorder::add(LaunchRecord&& record) {
  record.op = current_op();
  record.layer = layer_path();
  std::lock_guard lock(mutex_);
  LaunchRecord& place = ring_[launches_ % kCapacity];
  record.sequence = ++launches_;
  std::swap(place, record);
}

std::vector<LaunchRecord> FlightRecorder::snapshot() const {
  std::lock_guard lock(mutex_);
  const std::uint64_t count = std::min<std::uint64_t>(launches_, kCapacity);
  std::vector<LaunchRecord> out;
  out.reserve(count);
  for (std::uint64_t i = launches_ - count; i < launches_; ++i) out.push_back(ring_[i % kCapacity]);
  return out;
}

std::string FlightRecorder::describe(int device, std::size_t count) const {
  std::string out;
  const auto records = snapshot();
  for (auto r = records.rbegin(); r != records.rend() && count > 0; ++r) {
    if (r->device != device) continue;
    if (!out.empty()) out += "; ";
    out += to_string(*r);
    --count;
  }
  return out;
}

FlightRecorder& flight_recorder() {
  static FlightRecorder* const recorder =
      new FlightRecorder;  // leaked: used until the very end of the process
  return *recorder;
}

}  // namespace gpunn
