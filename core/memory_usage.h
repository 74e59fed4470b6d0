#pragma once
// Who holds a device's memory: bytes by tag.
#include <array>
#include <atomic>
#include <cstddef>

#include "gpunn/core/api.h"
#include "gpunn/core/memory_tag.h"

namespace gpunn {

/// Live bytes of a device by tag. Thread-safe.
class GPUNN_API MemoryUsage {
 public:
  void add(MemoryTag tag, std::size_t bytes) noexcept {
    live_[static_cast<std::size_t>(tag)].fetch_add(bytes, std::memory_order_relaxed);
  }
  void remove(MemoryTag tag, std::size_t bytes) noexcept {
    live_[static_cast<std::size_t>(tag)].fetch_sub(bytes, std::memory_order_relaxed);
  }
  std::size_t live_bytes(MemoryTag tag) const noexcept {
    return live_[static_cast<std::size_t>(tag)].load(std::memory_order_relaxed);
  }

 private:
  std::array<std::atomic<std::size_t>, kMemoryTags> live_{};
};

}  // namespace gpunn
