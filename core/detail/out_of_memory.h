#pragma once
// The words of an OutOfMemory: what the allocator said, who holds the memory, what would help.
#include <cstddef>
#include <string>

#include "gpunn/core/memory_tag.h"

namespace gpunn {

class DeviceContext;

namespace detail {

/// "[fc1: linear] out of memory on cuda:0 for activations: requested ..., held ..., limit ..."
std::string limit_text(DeviceContext& context, std::size_t bytes, MemoryTag tag);
/// `cause`: limit_text(), or what the resource said.
std::string out_of_memory_text(DeviceContext& context, std::size_t bytes, MemoryTag tag,
                               const std::string& cause);

}  // namespace detail
}  // namespace gpunn
