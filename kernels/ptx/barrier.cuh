#pragma once
// Named barriers (PTX ISA, "bar, barrier"). id is 0..15, 0 being __syncthreads'; `threads`, a multiple of 32,
// counts those that wait and those that only arrive.

#include "gpunn/kernels/ptx/common.cuh"

namespace gpunn::ptx {

#if defined(__CUDACC__)

GPUNN_DEVICE void bar_sync(int id, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
GPUNN_DEVICE void bar_arrive(int id, int threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

#else

inline void bar_sync(int id, int threads) { emu::barrier_sync(id, threads); }
inline void bar_arrive(int id, int threads) { emu::barrier_arrive(id, threads); }

#endif

}  // namespace gpunn::ptx
