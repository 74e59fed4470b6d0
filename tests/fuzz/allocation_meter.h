#pragma once
// Counts what operator new gives out in this executable, so that fuzz loops can bound it.
#include <cstddef>

namespace gpunn::fuzz {

/// Bytes taken from operator new by this thread since the meter began, at their highest; frees count back.
class AllocationMeter {
 public:
  AllocationMeter() noexcept;
  std::size_t peak() const noexcept;
};

}  // namespace gpunn::fuzz
