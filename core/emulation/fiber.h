#pragma once
// A CUDA thread's stack and the raw switch between two of them.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "gpunn/core/emulation/context.h"

namespace gpunn::emu {

struct PendingCopy {  // one cp.async
  void* shared;
  const void* global;
  std::uint32_t bytes, source_bytes;
  bool moved;  // the bytes have arrived already; the wait only tells the race detector
};

struct Fiber {
  void* saved = nullptr;  // stack pointer (or Boost context) while it does not run
  ThreadIndex thread{};
  Worker* worker = nullptr;
  char* stack = nullptr;  // above its guard page
  std::size_t stack_bytes = 0;
  void* tsan_fiber = nullptr;
  void* asan_fake_stack = nullptr;
  bool busy = false;  // runs a CUDA thread that has not ended
  std::vector<PendingCopy> copies;
  std::vector<std::size_t> copy_groups;  // ends of the committed groups in `copies`
};

// Saves the running context in *save and continues `load`, which came from here or from prepare_stack.
extern "C" void gpunn_emu_switch(void** save, void* load);
// A context that will call entry(), which must not return, on the stack that ends at `top`.
void* prepare_stack(char* bottom, char* top, void (*entry)());

}  // namespace gpunn::emu
