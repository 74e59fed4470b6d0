#pragma once
// The CPU with allocations that fail on request.
#include <memory>

#include "gpunn/core/runtime.h"

namespace gpunn::testing {

/// Runtimes made within its scope (by any thread) have a CPU whose allocations are counted and can fail, and
/// whose allocator keeps nothing, so that every tensor is an allocation. One at a time.
class FailingCpu {
 public:
  FailingCpu();
  ~FailingCpu();
  FailingCpu(const FailingCpu&) = delete;
  FailingCpu& operator=(const FailingCpu&) = delete;

  /// The n-th allocation from now on (1: the next) and all after it fail, until `n` is 0.
  static void fail_from(long n);
  /// How many have failed since the last fail_from().
  static long failures();
  /// Blocks that were allocated and not given back.
  static long live_blocks();
};

}  // namespace gpunn::testing
