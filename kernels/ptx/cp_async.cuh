#pragma once
// cp.async: copies of 4, 8 or 16 bytes from global to shared memory that complete at a wait (PTX ISA,
// "cp.async", sm_80).
//
// Both addresses are aligned to the size. With `valid` false nothing is read and the destination becomes
// zero; `global` must still be an address. A wait makes a thread's own copies visible to itself; other
// threads need a barrier after it.

#include "gpunn/kernels/ptx/common.cuh"

namespace gpunn::ptx {

#if defined(__CUDACC__)

#define GPUNN_PTX_CP_ASYNC(BYTES, CACHE)                                                    \
  GPUNN_DEVICE void cp_async_##BYTES(void* shared, const void* global, bool valid = true) { \
    asm volatile("cp.async." CACHE ".shared.global [%0], [%1], " #BYTES                     \
                 ", %2;" ::"r"(shared_address(shared)),                                     \
                 "l"(global), "r"(valid ? BYTES : 0)                                        \
                 : "memory");                                                               \
  }
GPUNN_PTX_CP_ASYNC(4, "ca")
GPUNN_PTX_CP_ASYNC(8, "ca")
GPUNN_PTX_CP_ASYNC(16, "cg")
#undef GPUNN_PTX_CP_ASYNC

GPUNN_DEVICE void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Waits until at most kLeft of the newest groups are pending.
template <int kLeft>
GPUNN_DEVICE void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kLeft) : "memory");
}
GPUNN_DEVICE void cp_async_wait_all() { asm volatile("cp.async.wait_all;" ::: "memory"); }

#else

inline void cp_async_4(void* shared, const void* global, bool valid = true) {
  emu::cp_async(shared, global, 4, valid ? 4 : 0);
}
inline void cp_async_8(void* shared, const void* global, bool valid = true) {
  emu::cp_async(shared, global, 8, valid ? 8 : 0);
}
inline void cp_async_16(void* shared, const void* global, bool valid = true) {
  emu::cp_async(shared, global, 16, valid ? 16 : 0);
}
inline void cp_async_commit() { emu::cp_async_commit(); }
template <int kLeft>
inline void cp_async_wait() {
  emu::cp_async_wait(kLeft);
}
inline void cp_async_wait_all() { emu::cp_async_wait_all(); }

#endif

}  // namespace gpunn::ptx
