#pragma once
// Kernels on the sm_80 tensor-core wrappers. Host declarations.

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>

namespace gpunn::test {

enum class Product { bf16, f16, tf32 };
// One instruction: registers of lane l are a[4 l ..], b[2 l ..], c and d[4 l ..]
cudaError_t launch_mma(Product kind, const std::uint32_t* a, const std::uint32_t* b, const float* c,
                       float* d);
// source: 32 rows of 8 16-bit elements; out[lane * 4 + i] is register i
cudaError_t launch_ldmatrix(int count, bool transposed, const std::uint16_t* source, std::uint32_t* out);
// 32 threads copy `bytes` each, those with valid[i] == 0 as zero; out is what lies in shared memory
cudaError_t launch_cp_async(int bytes, const unsigned char* source, const int* valid, unsigned char* out);
// Three groups of one copy; what the first two hold after waiting for all but one: out[0], out[1]; out[2]
// after all.
cudaError_t launch_cp_async_groups(const float* source, float* out);
// c[M, N] = a[M, K] b[N, K]^T: two-stage cp.async, ldmatrix, mma; K a multiple of 8
cudaError_t launch_tensor_gemm(const __nv_bfloat16* a, const __nv_bfloat16* b, float* c, int M, int N, int K);
// out[N, M]^T = the same for K = 16, M = 16, N = 8, with b [K, N] loaded by ldmatrix.trans
cudaError_t launch_transposed_b(const __nv_bfloat16* a, const __nv_bfloat16* b, float* c);

}  // namespace gpunn::test
