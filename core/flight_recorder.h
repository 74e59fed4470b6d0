#pragma once
// The flight recorder: the last kernel launches of the process, for error messages. A failure inside a kernel
// shows up at some later call; what was launched before it is the best hint there is.
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
  std::uint64_t sequence = 0;  // counts launches from 1
  const char* kernel = "";     // literals
  const char* op = "";
  std::string layer;  // module path, "" outside modules
  std::array<std::uint32_t, 3> grid{}, block{};
  std::size_t shared_bytes = 0;
  void* stream = nullptr;
  int device = 0;
};

/// "softmax_fwd_kernel grid (4,1,1) block (128,1,1) in [head: softmax]"
GPUNN_API std::string to_string(const LaunchRecord& record);

/// A ring of the last kCapacity launches. Thread-safe.
class GPUNN_API FlightRecorder {
 public:
  static constexpr std::size_t kCapacity = 256;

  /// Layer and op are the calling thread's. `kernel` must be a literal.
  void record(const char* kernel, const std::array<std::uint32_t, 3>& grid,
              const std::array<std::uint32_t, 3>& block, std::size_t shared_bytes, const Exec& exec);
  /// Oldest first.
  std::vector<LaunchRecord> snapshot() const;
  /// The last `count` launches on `device`, newest first, in words; "" when there were none.
  std::string describe(int device, std::size_t count) const;

 private:
  mutable std::mutex mutex_;
  std::array<LaunchRecord, kCapacity> ring_;
  std::uint64_t launches_ = 0;
};

/// The process's recorder; lives until the process ends.
GPUNN_API FlightRecorder& flight_recorder();

}  // namespace gpunn
