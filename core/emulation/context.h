#pragma once
// State of the CUDA thread that an OS thread is running right now, and the address of shared variables.
//
// One OS thread runs one block at a time; every CUDA thread of the block is a fiber that never migrates.
// Kernels read threadIdx and friends from the thread-local `context`.

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "vector_types.h"

// Emulated code calls into the library from test programs and from libgpunn alike.
#define GPUNN_EMU_API __attribute__((visibility("default")))

namespace gpunn::emu {

struct Fiber;
struct Worker;

struct ThreadIndex : uint3 {
  unsigned linear;
};

struct SharedSlot {
  std::uint64_t epoch;
  std::uint32_t offset;
};

struct Context {
  ThreadIndex thread;
  uint3 block;
  dim3 block_dim, grid_dim;
  Fiber* fiber;
  Worker* worker;
  char* arena;          // 256 KiB-aligned shared memory of this worker
  std::uint64_t epoch;  // number of the block among those of this process's workers
  SharedSlot* slots;    // [slot_count], by SharedVariable id
  std::uint32_t slot_count;
  unsigned last;  // linear index of the block's last thread
  bool fast;      // no thread of this block has blocked yet and they run in order: a plain loop
};

// Initial-exec keeps threadIdx.x one load away; it is small enough for the static TLS that dlopen has in
// reserve.
extern constinit thread_local Context context __attribute__((tls_model("initial-exec"))) GPUNN_EMU_API;

// One per GPUNN_SHARED in the program. The id is given at first use and indexes a table of each worker, so
// that a shared variable costs no thread-local storage.
struct SharedVariable {
  std::size_t size, alignment;
  const char* name;
  std::atomic<std::uint32_t> id{0};
};

GPUNN_EMU_API void* allocate_shared(SharedVariable& variable);

inline void* shared_address(SharedVariable& variable) {
  const std::uint32_t id = variable.id.load(std::memory_order_relaxed);
  if (id < context.slot_count && context.slots[id].epoch == context.epoch) [[likely]]
    return context.arena + context.slots[id].offset;
  return allocate_shared(variable);
}

// Dynamic shared memory starts the arena.
inline unsigned char* dynamic_shared() { return reinterpret_cast<unsigned char*>(context.arena); }

}  // namespace gpunn::emu
