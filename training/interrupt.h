#pragma once
// SIGINT and SIGTERM as a polite request: training finishes its step, writes what it has, and returns.
#include "gpunn/core/api.h"

namespace gpunn {

/// While it lives, the first SIGINT or SIGTERM is remembered instead of ending the process; the second one
/// ends it as usual. One at a time per process; throws InvalidArgument for a second one. For programs, never
/// used by the library itself.
class GPUNN_API InterruptScope {
 public:
  InterruptScope();
  ~InterruptScope();
  InterruptScope(const InterruptScope&) = delete;
  InterruptScope& operator=(const InterruptScope&) = delete;
};

/// The signal that came while an InterruptScope was alive, or 0. Async-signal-safe and thread-safe.
GPUNN_API int interrupt_signal() noexcept;

}  // namespace gpunn
