#include "gpunn/core/memory_tag.h"

#include <utility>

namespace gpunn {
namespace {

constinit thread_local MemoryTag t_tag = MemoryTag::activations;

}  // namespace

const char* name_of(MemoryTag tag) noexcept {
  switch (tag) {
    case MemoryTag::activations:
      return "activations";
    case MemoryTag::weights:
      return "weights";
    case MemoryTag::gradients:
      return "gradients";
    case MemoryTag::optimizer:
      return "optimizer";
    case MemoryTag::workspace:
      break;
  }
  return "workspace";
}

MemoryTagScope::MemoryTagScope(MemoryTag tag) noexcept : previous_(std::exchange(t_tag, tag)) {}
MemoryTagScope::~MemoryTagScope() { t_tag = previous_; }
MemoryTag current_memory_tag() noexcept { return t_tag; }

}  // namespace gpunn
