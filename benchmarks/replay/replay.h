#pragma once
// Running a trace against an allocator.
#include <cstdint>
#include <string>
#include <vector>

#include "benchmarks/replay/trace.h"

namespace gpunn::replay {

struct ReplayOptions {
  std::size_t device_bytes = std::size_t{80} << 30;
  std::uint64_t lag = 32;  // ticks that streams run behind the host
  int threads = 1;         // for the timing: each replays the whole trace for itself
  int rounds = 3;          // timed ones, of which the fastest counts
};

struct ReplayResult {
  std::string allocator;
  std::string skipped;  // why it was not run, or where it gave up; figures are 0 then
  std::size_t peak_live_bytes = 0;
  std::size_t peak_reserved_bytes = 0;  // 0: not known
  std::uint64_t device_allocations = 0;
  std::uint64_t waits = 0;       // for the device
  double nanoseconds = 0;        // per allocation or deallocation, the call alone
  std::size_t leaked_bytes = 0;  // that the device did not get back in the end
  double ratio() const;          // reserved / live
};

/// "caching" (ours), "torch" (simulated), both on a simulated device; "host" (ours, of the CPU) and "malloc".
/// Those that use real memory are skipped when the trace needs more than a quarter of the machine's.
std::vector<std::string> allocator_names();
/// Throws InvalidArgument for an unknown allocator.
ReplayResult replay(const Trace& trace, const std::string& allocator, const ReplayOptions& options);

}  // namespace gpunn::replay
