#pragma once
// mbarrier objects and the bulk copies that complete on them (PTX ISA, "mbarrier", "cp.async.bulk"; sm_90).
//
// A barrier is a uint64_t in shared memory, initialised by one thread, then fence_mbarrier_init() and
// __syncthreads().

#include "gpunn/kernels/ptx/common.cuh"

namespace gpunn::ptx {

#if defined(__CUDACC__)

GPUNN_DEVICE void mbarrier_init(std::uint64_t* barrier, unsigned count) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(count)
               : "memory");
}
GPUNN_DEVICE void fence_mbarrier_init() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
GPUNN_DEVICE void mbarrier_arrive(std::uint64_t* barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier)) : "memory");
}
// Arrives and makes the phase wait for `bytes` of asynchronous copies too.
GPUNN_DEVICE void mbarrier_arrive_expect_tx(std::uint64_t* barrier, unsigned bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)),
               "r"(bytes)
               : "memory");
}
GPUNN_DEVICE bool mbarrier_try_wait_parity(std::uint64_t* barrier, unsigned parity) {
  unsigned done;
  asm volatile(
      "{\n"
      ".reg .pred complete;\n"
      "mbarrier.try_wait.parity.shared::cta.b64 complete, [%1], %2;\n"
      "selp.u32 %0, 1, 0, complete;\n"
      "}"
      : "=r"(done)
      : "r"(shared_address(barrier)), "r"(parity)
      : "memory");
  return done != 0;
}
// Waits until the phase of this parity (0 for the first) has ended.
GPUNN_DEVICE void mbarrier_wait_parity(std::uint64_t* barrier, unsigned parity) {
  while (!mbarrier_try_wait_parity(barrier, parity)) {
  }
}
// Copies `bytes` (addresses and size multiples of 16) and completes them on the barrier.
GPUNN_DEVICE void bulk_copy_to_shared(void* shared, const void* global, unsigned bytes,
                                      std::uint64_t* barrier) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
          shared_address(shared)),
      "l"(global), "r"(bytes), "r"(shared_address(barrier))
      : "memory");
}
// Between plain stores to shared memory and an asynchronous unit (wgmma, TMA) that reads or overwrites it.
GPUNN_DEVICE void fence_proxy_async() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

#else

inline void mbarrier_init(std::uint64_t* barrier, unsigned count) { emu::mbarrier_init(barrier, count); }
inline void fence_mbarrier_init() {}
inline void mbarrier_arrive(std::uint64_t* barrier) { emu::mbarrier_arrive(barrier); }
inline void mbarrier_arrive_expect_tx(std::uint64_t* barrier, unsigned bytes) {
  emu::mbarrier_arrive_expect_tx(barrier, bytes);
}
inline void mbarrier_wait_parity(std::uint64_t* barrier, unsigned parity) {
  emu::mbarrier_wait_parity(barrier, parity);
}
inline void bulk_copy_to_shared(void* shared, const void* global, unsigned bytes, std::uint64_t* barrier) {
  emu::bulk_copy_to_shared(shared, global, bytes, barrier);
}
inline void fence_proxy_async() { emu::fence_proxy_async(); }

#endif

}  // namespace gpunn::ptx
