#pragma once
// Tells AddressSanitizer which bytes of memory that an allocator holds may be touched. Nothing without it.
#include <cstddef>

#if GPUNN_ASAN
#include <sanitizer/asan_interface.h>
#endif

namespace gpunn::detail {

inline void poison([[maybe_unused]] const void* pointer, [[maybe_unused]] std::size_t bytes) noexcept {
#if GPUNN_ASAN
  __asan_poison_memory_region(pointer, bytes);
#endif
}

inline void unpoison([[maybe_unused]] const void* pointer, [[maybe_unused]] std::size_t bytes) noexcept {
#if GPUNN_ASAN
  __asan_unpoison_memory_region(pointer, bytes);
#endif
}

}  // namespace gpunn::detail
