#pragma once
// Kernels of the sm_90a tier: bulk copies and TMA on mbarriers feeding wgmma. Host declarations.

#include <cuda_bf16.h>
#include <cuda_runtime.h>

namespace gpunn::test {

enum class HopperBug {
  none,
  no_proxy_fence,
  no_copy_wait,
  wrong_bytes,
  no_product_wait,
  wrong_stride,
  wrong_parity,
  misaligned,
  early_reuse,
};
// c = a b^T of one tile, a by TMA and b by plain stores; a, b: bf16 [64, 64], c: float [64, 64]
cudaError_t launch_hopper_tile(HopperBug bug, const __nv_bfloat16* a, const __nv_bfloat16* b, float* c);

// c[M, N] = a[M, K] b[N, K]^T by a two-stage TMA pipeline; M, N, K multiples of 64
cudaError_t launch_hopper_gemm(const __nv_bfloat16* a, const __nv_bfloat16* b, float* c, int M, int N, int K);

// c = a b^T of one tile whose operands lie as 8x8 core matrices [k / 8][row / 8][row % 8][k % 8]
cudaError_t launch_hopper_core_matrices(const __nv_bfloat16* a, const __nv_bfloat16* b, float* c);

}  // namespace gpunn::test
