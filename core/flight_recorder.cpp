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
  std::string out = detail::concat(r.kernel, " grid ", extent(r.grid), " block ", extent(r.block));
  if (r.shared_bytes) out += detail::concat(" shared ", r.shared_bytes, " bytes");
  if (*r.op || !r.layer.empty())
    out += detail::concat(" in [", r.layer, !r.layer.empty() && *r.op ? ": " : "", r.op, "]");
  return out;
}

void FlightRecorder::record(const char* kernel, const std::array<std::uint32_t, 3>& grid,
                            const std::array<std::uint32_t, 3>& block, std::size_t shared_bytes,
                            const Exec& exec) {
  std::string layer = layer_path();
  std::lock_guard lock(mutex_);
  LaunchRecord& r = ring_[launches_ % kCapacity];
  r.sequence = ++launches_;
  r.kernel = kernel;
  r.op = current_op();
  r.layer.swap(layer);
  r.grid = grid;
  r.block = block;
  r.shared_bytes = shared_bytes;
  r.stream = exec.stream;
  r.device = exec.device ? exec.device->index() : 0;
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
