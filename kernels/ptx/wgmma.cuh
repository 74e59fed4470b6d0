#pragma once
// Warpgroup products from shared memory: wgmma.mma_async (PTX ISA, "Asynchronous warpgroup level matrix
// instructions", "Matrix descriptor"). Needs sm_90a; include it only in sources compiled for that.
//
// Accumulators d[i] of thread t (PTX ISA, "Register fragments for wgmma", D): row 16 (t / 32) + t % 32 / 4 +
// 8 ((i >> 1) & 1), column 8 (i >> 2) + 2 (t % 4) + (i & 1). They may be touched only after wgmma_wait.

#include "gpunn/kernels/ptx/mbarrier.cuh"

namespace gpunn::ptx {

enum class WgmmaSwizzle : unsigned { none, bytes_128, bytes_64, bytes_32 };  // the descriptor's numbering

// Descriptor of a K-major operand in shared memory; offsets in bytes, multiples of 16. Without swizzle the
// leading offset leads to the next 8 columns of k and the stride offset to the next 8 rows; with swizzle only
// the latter counts.
GPUNN_DEVICE std::uint64_t wgmma_descriptor(const void* shared, std::uint32_t leading, std::uint32_t stride,
                                            WgmmaSwizzle swizzle) {
  const auto field = [](std::uint32_t bytes) { return static_cast<std::uint64_t>((bytes & 0x3ffffu) >> 4); };
  return field(shared_address(shared)) | field(leading) << 16 | field(stride) << 32 |
         static_cast<std::uint64_t>(swizzle) << 62;
}

#if defined(__CUDACC__)

GPUNN_DEVICE void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
GPUNN_DEVICE void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
// Waits until at most kLeft of the newest groups are pending.
template <int kLeft>
GPUNN_DEVICE void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kLeft) : "memory");
}

#define GPUNN_PTX_F4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
// d[64, 64] = a[64, 16] b[64, 16]^T + (accumulate ? d : 0)
GPUNN_DEVICE void wgmma_m64n64k16_bf16(float (&d)[32], std::uint64_t a, std::uint64_t b, bool accumulate) {
  asm volatile(
      "{\n"
      ".reg .pred accumulate;\n"
      "setp.ne.b32 accumulate, %34, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 "
      "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,"
      "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31}, "
      "%32, %33, accumulate, 1, 1, 0, 0;\n"
      "}"
      : GPUNN_PTX_F4(0), GPUNN_PTX_F4(4), GPUNN_PTX_F4(8), GPUNN_PTX_F4(12), GPUNN_PTX_F4(16),
        GPUNN_PTX_F4(20), GPUNN_PTX_F4(24), GPUNN_PTX_F4(28)
      : "l"(a), "l"(b), "r"(accumulate ? 1 : 0)
      : "memory");
}
#undef GPUNN_PTX_F4

#else

inline void wgmma_fence() {}
inline void wgmma_commit() { emu::wgmma_commit(); }
template <int kLeft>
inline void wgmma_wait() {
  emu::wgmma_wait(kLeft);
}
inline void wgmma_m64n64k16_bf16(float (&d)[32], std::uint64_t a, std::uint64_t b, bool accumulate) {
  emu::wgmma(d, {nullptr, a, b, 64, accumulate, false, false});
}

#endif

}  // namespace gpunn::ptx
