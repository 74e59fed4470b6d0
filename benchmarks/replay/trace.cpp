#include "benchmarks/replay/trace.h"

#include <algorithm>
#include <map>
#include <unordered_map>
#include <utility>

#include "gpunn/core/error.h"
#include "gpunn/io/csv.h"

namespace gpunn::replay {

TraceBuilder::TraceBuilder(std::string name, std::string origin) {
  trace_.name = std::move(name);
  trace_.origin = std::move(origin);
}

std::uint32_t TraceBuilder::alloc(std::size_t bytes, std::uint32_t stream) {
  std::uint32_t slot = trace_.slots;
  if (free_slots_.empty()) {
    ++trace_.slots;
    blocks_.emplace_back();
  } else {
    slot = free_slots_.back();
    free_slots_.pop_back();
  }
  blocks_[slot] = {bytes, stream};
  trace_.events.push_back({Event::Kind::alloc, slot, stream, bytes});
  trace_.streams = std::max(trace_.streams, stream + 1);
  trace_.largest_bytes = std::max(trace_.largest_bytes, bytes);
  ++trace_.allocations;
  live_bytes_ += bytes;
  trace_.peak_live_bytes = std::max(trace_.peak_live_bytes, live_bytes_);
  return slot;
}

void TraceBuilder::free(std::uint32_t slot) {
  const Block& block = blocks_[slot];
  trace_.events.push_back({Event::Kind::free, slot, block.stream, block.bytes});
  live_bytes_ -= block.bytes;
  free_slots_.push_back(slot);
}

void TraceBuilder::use(std::uint32_t slot, std::uint32_t stream) {
  trace_.events.push_back({Event::Kind::use, slot, stream, 0});
  trace_.streams = std::max(trace_.streams, stream + 1);
}

Trace TraceBuilder::take() { return std::move(trace_); }

namespace {

// The device column's value with most bytes.
std::string busiest(const std::vector<std::string>& devices, const std::vector<std::string>& events,
                    const std::vector<std::int64_t>& bytes) {
  std::map<std::string, std::int64_t> totals;
  for (std::size_t i = 0; i < devices.size(); ++i)
    if (events[i] == "alloc") totals[devices[i]] += bytes[i];
  std::string best;
  for (const auto& [name, total] : totals)
    if (best.empty() || total > totals[best]) best = name;
  return best;
}

std::string name_of_file(const std::string& path) {
  std::string name = path.substr(path.rfind('/') + 1);
  for (const char* suffix : {".gz", ".csv"})
    if (name.ends_with(suffix)) name.resize(name.size() - std::string(suffix).size());
  return name;
}

}  // namespace

Trace read_trace(const std::string& path, const std::string& device) {
  const CsvTable table = CsvTable::read(path, {.header = true});
  const auto events = table.text(table.column("event"));
  const auto devices = table.text(table.column("device"));
  const auto ids = table.integers(table.column("id"));
  const auto bytes = table.integers(table.column("bytes"));
  const auto streams = table.integers(table.column("stream"));
  const std::string wanted = device.empty() ? busiest(devices, events, bytes) : device;

  TraceBuilder builder(name_of_file(path), "recorded");
  std::unordered_map<std::int64_t, std::uint32_t> live;  // id to slot
  for (std::size_t i = 0; i < events.size(); ++i) {
    const auto check = [&](bool ok, const char* what) {
      if (!ok) detail::throw_data(detail::concat(path, ": row ", i + 1, ": ", what));
    };
    // What memory is held for makes no difference to an allocator.
    if (devices[i] != wanted || events[i] == "retag") continue;
    const auto found = live.find(ids[i]);
    const bool known = found != live.end();
    if (events[i] == "alloc") {
      check(!known, "an id that is live already");
      check(bytes[i] > 0 && streams[i] >= 0 && streams[i] < 4096, "bytes or stream out of range");
      live[ids[i]] =
          builder.alloc(static_cast<std::size_t>(bytes[i]), static_cast<std::uint32_t>(streams[i]));
    } else if (events[i] == "free") {
      check(known, "free of an id that is not live");
      builder.free(found->second);
      live.erase(found);
    } else {
      check(events[i] == "use" && known, "expected alloc, free, use or retag of a live id");
      check(streams[i] >= 0 && streams[i] < 4096, "stream out of range");
      builder.use(found->second, static_cast<std::uint32_t>(streams[i]));
    }
  }
  Trace trace = builder.take();
  if (trace.events.empty())
    detail::throw_data(path + ": no allocation on " + (wanted.empty() ? "any device" : wanted));
  return trace;
}

}  // namespace gpunn::replay
