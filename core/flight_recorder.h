#pragma once
// The flight recorder: the last kernel launches and copies of the process, for error messages. A failure
// inside a kernel shows up at some later call; what was launched before it is the best hint there is.
#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "gpunn/core/api.h"
#include "gpunn/core/exec.h"

namespace gpunn {

struct LaunchRecord {
  std::uint64_t sequence = 0;  // counts records from 1
  const char* kernel = "";     // literals; of a copy, "copy to the device" and the like
  const char* op = "";
  std::string layer = {};                        // module path, "" outside modules
  std::array<std::uint32_t, 3> grid{}, block{};  // 0 for copies
  std::size_t shared_bytes = 0;                  // of a copy: its bytes
  void* stream = nullptr;
  int device = 0;
};

/// "softmax_fwd_kernel grid (4,1,1) block (128,1,1) in [head: softmax]"
GPUNN_API std::string to_string(const LaunchRecord& record);

/// A ring of the last kCapacity launches and copies. Thread-safe.
class GPUNN_API FlightRecorder {
 public:
  static constexpr std::size_t kCapacity = 256;

  /// Layer and op are the calling thread's. `kernel` must be a literal.
  void record(const char* kernel, const std::array<std::uint32_t, 3>& grid,
              const std::array<std::uint32_t, 3>& block, std::size_t shared_bytes, const Exec& exec);
  /// The same for a copy, fill or callback, which `what` (a literal) says.
  void record_copy(const char* what, std::size_t bytes, RawStream stream, int device);
  /// Oldest first.
  std::vector<LaunchRecord> snapshot() const;
  /// The last `count` records of `device`, newest first, in words; "" when there were none.
  std::string describe(int device, std::size_t count) const;

 private:
  void add(LaunchRecord&& record);

  mutable std::mutex mutex_;
  std::array<LaunchRecord, kCapacity> ring_;
  std::uint64_t launches_ = 0;
};

/// The process's recorder; lives until the process ends.
GPUNN_API FlightRecorder& flight_recorder();

}  // namespace gpunn
