#pragma once
// Running CPU code as it would run on another processor.
#include <cstdint>

#include "hwy/targets.h"

namespace gpunn::testing {

/// Uses the code of one SIMD target until the end of the scope.
class SimdTarget {
 public:
  explicit SimdTarget(std::int64_t target) {
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  }
  ~SimdTarget() {
    hwy::SetSupportedTargetsForTest(0);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  }
  SimdTarget(const SimdTarget&) = delete;
  SimdTarget& operator=(const SimdTarget&) = delete;
};

}  // namespace gpunn::testing
