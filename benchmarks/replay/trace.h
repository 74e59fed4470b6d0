#pragma once
// Traces of allocations: what a replay needs of them.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace gpunn::replay {

/// alloc: `slot` gets `bytes` on `stream`. free: it goes back on the stream it came from. use: `stream` uses
/// it as well.
struct Event {
  enum class Kind : std::uint8_t { alloc, free, use };
  Kind kind = Kind::alloc;
  std::uint32_t slot = 0;
  std::uint32_t stream = 0;
  std::size_t bytes = 0;
};

struct Trace {
  std::string name;
  std::string origin;  // "recorded" or "computed"
  std::vector<Event> events;
  std::uint32_t slots = 0;  // slots are handed out again: as many as blocks were live at once
  std::uint32_t streams = 1;
  std::size_t peak_live_bytes = 0;  // as requested
  std::size_t largest_bytes = 0;
  std::uint64_t allocations = 0;
};

/// Collects events in order; blocks that are never freed stay live to the end.
class TraceBuilder {
 public:
  TraceBuilder(std::string name, std::string origin);
  /// The block's slot.
  std::uint32_t alloc(std::size_t bytes, std::uint32_t stream = 0);
  void free(std::uint32_t slot);
  void use(std::uint32_t slot, std::uint32_t stream);
  std::size_t live_bytes() const noexcept { return live_bytes_; }
  Trace take();

 private:
  struct Block {
    std::size_t bytes = 0;
    std::uint32_t stream = 0;
  };
  Trace trace_;
  std::vector<Block> blocks_;  // per slot
  std::vector<std::uint32_t> free_slots_;
  std::size_t live_bytes_ = 0;
};

/// Reads a recorded trace (gpunn/core/memory_trace.h has the format), plain or gzip: the events of `device`,
/// or of the one that was asked for most bytes. Throws DataError for a damaged file.
Trace read_trace(const std::string& path, const std::string& device = "");

/// Traces made by this program, in the order in which they are shown.
std::vector<std::string> made_trace_names();
/// Throws InvalidArgument for a name that is not there.
Trace make_trace(const std::string& name);

}  // namespace gpunn::replay
