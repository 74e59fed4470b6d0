#pragma once
// What memory is held for: the words of statistics, limits and out-of-memory messages.
#include <cstdint>

#include "gpunn/core/api.h"

namespace gpunn {

enum class MemoryTag : std::uint8_t { activations, weights, gradients, optimizer, workspace };
inline constexpr int kMemoryTags = 5;
/// "activations", "weights", ...
GPUNN_API const char* name_of(MemoryTag tag) noexcept;

/// Storage that the calling thread allocates while the scope lives is held for `tag`; without one, for
/// activations. Scopes nest, the innermost counts.
class GPUNN_API MemoryTagScope {
 public:
  explicit MemoryTagScope(MemoryTag tag) noexcept;
  ~MemoryTagScope();
  MemoryTagScope(const MemoryTagScope&) = delete;
  MemoryTagScope& operator=(const MemoryTagScope&) = delete;

 private:
  MemoryTag previous_;
};
/// The innermost scope's tag.
GPUNN_API MemoryTag current_memory_tag() noexcept;

}  // namespace gpunn
