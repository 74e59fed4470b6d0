#pragma once
// What blocks of a co-resident launch tell each other with. PTX ISA, "red" and "Memory consistency model".

#include "gpunn/kernels/ptx/common.cuh"

#if !defined(__CUDACC__)
#include "gpunn/core/emulation/coresident.h"
#endif

namespace gpunn::ptx {

#if defined(__CUDACC__)

// *address += value. What this thread (and, after __syncthreads, its block) wrote before is seen by whoever
// reads the sum with ld_acquire.
GPUNN_DEVICE void red_release_add(unsigned* address, unsigned value) {
  asm volatile("red.release.gpu.global.add.u32 [%0], %1;" ::"l"(address), "r"(value) : "memory");
}

// The two halves of a barrier whose phase is the counter's highest bit: an arrival in `phase` (0 or that
// bit), and whether the counter has left it. The emulator tells the race detector of each phase apart, for
// which plain acquire and release are too much: they order what comes after all that was ever released.
GPUNN_DEVICE void grid_arrive(unsigned* counter, unsigned value, unsigned /*phase*/) {
  red_release_add(counter, value);
}
GPUNN_DEVICE bool grid_left_phase(const unsigned* counter, unsigned phase) {
  return ((ld_acquire(counter) ^ phase) & 0x80000000u) != 0;
}

// The emulator reports a kernel of several blocks whose launch does not make them co-resident.
GPUNN_DEVICE void require_coresident() {}

#else

inline void red_release_add(unsigned* address, unsigned value) {
  std::atomic_ref<unsigned>(*address).fetch_add(value, std::memory_order_release);
  emu::signal_blocks();
}

inline void grid_arrive(unsigned* counter, unsigned value, unsigned phase) {
  emu::grid_arrive(counter, value, phase);
}
inline bool grid_left_phase(const unsigned* counter, unsigned phase) {
  return emu::grid_left_phase(counter, phase);
}

inline void require_coresident() { emu::require_coresident(); }

#endif

}  // namespace gpunn::ptx
