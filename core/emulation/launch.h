#pragma once
// Type-erased launch of an emulated kernel, and the loop that runs its threads.

#include <cstddef>
#include <memory>
#include <tuple>

#include "gpunn/core/emulation/context.h"

enum cudaError : int;
struct CUstream_st;

namespace gpunn::emu {

struct LaunchRequest {
  dim3 grid, block;
  std::size_t shared_bytes;
  CUstream_st* stream;
  const char* name;
  void* kernel;
  void (*loop)(void* kernel, void* arguments);  // runs one or more CUDA threads
  std::shared_ptr<void> arguments;
};

GPUNN_EMU_API cudaError launch(LaunchRequest request);
GPUNN_EMU_API bool next_thread_slow();

// After a CUDA thread ended: true if this fiber was given another one.
inline bool next_thread() {
  Context& c = context;
  if (!c.fast || c.thread.linear == c.last) [[unlikely]]
    return next_thread_slow();
  ++c.thread.linear;
  if (++c.thread.x == c.block_dim.x) [[unlikely]] {
    c.thread.x = 0;
    if (++c.thread.y == c.block_dim.y) {
      c.thread.y = 0;
      ++c.thread.z;
    }
  }
  return true;
}

template <class Kernel, class Arguments>
void thread_loop(void* kernel, void* arguments) {
  do {
    std::apply(reinterpret_cast<Kernel>(kernel), *static_cast<Arguments*>(arguments));
  } while (next_thread());
}

}  // namespace gpunn::emu
