#pragma once
// Shared addresses, fences, and what spin loops need.
//
// kernels/ptx is the only place for inline PTX: one function per instruction, with an emulated twin of the
// same name and meaning (gpunn/core/emulation/ptx.h). PTX ISA, "Memory consistency model" and "Membar /
// fence".

#include <atomic>
#include <cstdint>

#include "gpunn/core/kernel_macros.cuh"

#if !defined(__CUDACC__)
#include "gpunn/core/emulation/ptx.h"
#endif

namespace gpunn::ptx {

#if defined(__CUDACC__)

// 32-bit address in the shared window.
GPUNN_DEVICE std::uint32_t shared_address(const void* p) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(p));
}

GPUNN_DEVICE unsigned ld_acquire(const unsigned* address) {
  unsigned value;
  asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(value) : "l"(address) : "memory");
  return value;
}
GPUNN_DEVICE void st_release(unsigned* address, unsigned value) {
  asm volatile("st.release.gpu.global.u32 [%0], %1;" ::"l"(address), "r"(value) : "memory");
}

// In every loop that waits for another thread. Wait only for blocks with a lower index or co-resident ones.
GPUNN_DEVICE void spin_pause() { __nanosleep(20); }

#else

inline std::uint32_t shared_address(const void* p) { return emu::shared_offset(p); }

inline unsigned ld_acquire(const unsigned* address) {
  return std::atomic_ref<unsigned>(*const_cast<unsigned*>(address)).load(std::memory_order_acquire);
}
inline void st_release(unsigned* address, unsigned value) {
  std::atomic_ref<unsigned>(*address).store(value, std::memory_order_release);
}

inline void spin_pause() { emu::yield(); }

#endif

}  // namespace gpunn::ptx
