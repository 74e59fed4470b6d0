#pragma once
// What the race detector and the address sanitizer must be told about fibers and about CUDA's ordering.
//
// Under TSan every CUDA thread is a thread of its own. The emulator's sources are compiled without
// -fsanitize=thread (and with GPUNN_EMU_TSAN), so only kernels and host code are watched; the emulator states
// each edge that CUDA promises with edge_release / edge_acquire and hides its own locks and queues in a
// TsanQuiet scope.

#include <cstddef>
#include <cstring>

#ifndef GPUNN_EMU_TSAN
#define GPUNN_EMU_TSAN 0
#endif
#ifndef GPUNN_EMU_ASAN
#define GPUNN_EMU_ASAN 0
#endif

#if GPUNN_EMU_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#if GPUNN_EMU_TSAN
#include <sanitizer/tsan_interface.h>
extern "C" {
void AnnotateIgnoreSyncBegin(const char*, int);
void AnnotateIgnoreSyncEnd(const char*, int);
void AnnotateIgnoreReadsBegin(const char*, int);
void AnnotateIgnoreReadsEnd(const char*, int);
void AnnotateIgnoreWritesBegin(const char*, int);
void AnnotateIgnoreWritesEnd(const char*, int);
void __tsan_read_range(void*, unsigned long);
void __tsan_write_range(void*, unsigned long);
}
#endif

namespace gpunn::emu {

inline constexpr bool kTsan = GPUNN_EMU_TSAN != 0;
inline constexpr bool kAsan = GPUNN_EMU_ASAN != 0;

// Nothing inside is seen by the race detector. Never switch fibers, report an error or state an edge inside
// one: the scope belongs to the fiber, and an edge inside it is lost.
class TsanQuiet {
 public:
#if GPUNN_EMU_TSAN
  TsanQuiet() {
    AnnotateIgnoreSyncBegin("", 0);
    AnnotateIgnoreReadsBegin("", 0);
    AnnotateIgnoreWritesBegin("", 0);
  }
  ~TsanQuiet() {
    AnnotateIgnoreWritesEnd("", 0);
    AnnotateIgnoreReadsEnd("", 0);
    AnnotateIgnoreSyncEnd("", 0);
  }
#else
  TsanQuiet() {}
  ~TsanQuiet() {}
#endif
  TsanQuiet(const TsanQuiet&) = delete;
  TsanQuiet& operator=(const TsanQuiet&) = delete;
};

// Everything before a release of an address happens before what follows a later acquire of it.
inline void edge_release([[maybe_unused]] void* address) {
#if GPUNN_EMU_TSAN
  __tsan_release(address);
#endif
}
inline void edge_acquire([[maybe_unused]] void* address) {
#if GPUNN_EMU_TSAN
  __tsan_acquire(address);
#endif
}

// Accesses the emulator makes in the name of a CUDA thread.
inline void note_read([[maybe_unused]] const void* address, [[maybe_unused]] std::size_t bytes) {
#if GPUNN_EMU_TSAN
  __tsan_read_range(const_cast<void*>(address), bytes);
#endif
}
inline void note_write([[maybe_unused]] void* address, [[maybe_unused]] std::size_t bytes) {
#if GPUNN_EMU_TSAN
  __tsan_write_range(address, bytes);
#endif
}

inline void poison_region([[maybe_unused]] const void* address, [[maybe_unused]] std::size_t bytes) {
#if GPUNN_EMU_ASAN
  __asan_poison_memory_region(address, bytes);
#endif
}
inline void unpoison_region([[maybe_unused]] const void* address, [[maybe_unused]] std::size_t bytes) {
#if GPUNN_EMU_ASAN
  __asan_unpoison_memory_region(address, bytes);
#endif
}

}  // namespace gpunn::emu
