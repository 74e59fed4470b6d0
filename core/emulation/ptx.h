#pragma once
// Emulated instructions behind kernels/ptx. Fragment layouts are those of the PTX ISA; arrays are one lane's
// part.

#include <cstdint>

#include "gpunn/core/emulation/context.h"

namespace gpunn::emu {

// Offset of p in the block's shared memory, the emulated 32-bit shared address. Reports any other pointer.
GPUNN_EMU_API std::uint32_t shared_offset(const void* p);

enum class MmaKind { bf16_m16n8k16, f16_m16n8k16, tf32_m16n8k8 };
// d = a * b + c by one warp. d, c: float [4]; a: [4], b: [2] registers. d may be c.
GPUNN_EMU_API void mma(MmaKind kind, float* d, const std::uint32_t* a, const std::uint32_t* b,
                       const float* c);
// Loads `count` 8x8 matrices of 16-bit elements by one warp; lanes 8i..8i+7 give the rows of matrix i.
GPUNN_EMU_API void ldmatrix(std::uint32_t* registers, const void* row, int count, bool transposed);

// cp.async of 4, 8 or 16 bytes of which the first source_bytes are read and the rest are zero.
GPUNN_EMU_API void cp_async(void* shared, const void* global, std::uint32_t bytes,
                            std::uint32_t source_bytes);
GPUNN_EMU_API void cp_async_commit();
GPUNN_EMU_API void cp_async_wait(unsigned groups_left);
GPUNN_EMU_API void cp_async_wait_all();

// Named barriers 0..15; `threads` counts those that sync and those that arrive.
GPUNN_EMU_API void barrier_sync(int id, int threads);
GPUNN_EMU_API void barrier_arrive(int id, int threads);

GPUNN_EMU_API void mbarrier_init(std::uint64_t* barrier, unsigned count);
GPUNN_EMU_API void mbarrier_arrive(std::uint64_t* barrier);
GPUNN_EMU_API void mbarrier_arrive_expect_tx(std::uint64_t* barrier, unsigned bytes);
GPUNN_EMU_API void mbarrier_wait_parity(std::uint64_t* barrier, unsigned parity);

// Copies that a copy engine performs, completing `bytes` transactions on `barrier`.
GPUNN_EMU_API void bulk_copy_to_shared(void* shared, const void* global, std::uint32_t bytes,
                                       std::uint64_t* barrier);

enum class Swizzle : std::uint32_t { none, b32, b64, b128 };  // CUtensorMapSwizzle's numbering
struct alignas(64) TensorMap {
  std::uint64_t base;
  std::uint32_t rank, element_bytes;
  std::uint64_t size[5];    // elements
  std::uint64_t stride[5];  // bytes; [0] is unused
  std::uint32_t box[5];     // elements
  Swizzle swizzle;
};
GPUNN_EMU_API void tma_load(void* shared, const TensorMap& map, const int* coordinates,
                            std::uint64_t* barrier);

// One warpgroup's m64 x n x k16 product of bf16 operands, float accumulators d[n / 2]. a comes from registers
// [4] or, if those are null, from shared memory through its descriptor. A transposed operand is MN-major.
// Accumulators are written when the group is waited for, as on the chip: reading them earlier gives stale
// values.
struct WgmmaOperands {
  const std::uint32_t* a_registers;
  std::uint64_t a_descriptor, b_descriptor;
  int n;
  bool accumulate;
  bool a_transposed, b_transposed;
};
GPUNN_EMU_API void wgmma(float* d, const WgmmaOperands& operands);
GPUNN_EMU_API void wgmma_commit();
GPUNN_EMU_API void wgmma_wait(unsigned groups_left);
GPUNN_EMU_API void fence_proxy_async();

// Shared offset of element (mn, k) of an operand of 16-bit elements behind a wgmma descriptor.
GPUNN_EMU_API std::uint32_t descriptor_address(std::uint64_t descriptor, int mn, int k, bool transposed);

}  // namespace gpunn::emu
