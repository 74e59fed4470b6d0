#include "tests/emulation/tensor_kernels.h"

#include "gpunn/core/kernel_macros.cuh"
#include "gpunn/core/launch_kernel.cuh"
#include "gpunn/kernels/ptx/cp_async.cuh"
#include "gpunn/kernels/ptx/ldmatrix.cuh"
#include "gpunn/kernels/ptx/mma.cuh"

namespace gpunn::test {
namespace {

GPUNN_KERNEL mma_kernel(Product kind, const std::uint32_t* a, const std::uint32_t* b, const float* c,
                        float* d) {
  const unsigned lane = threadIdx.x;
  std::uint32_t a_registers[4], b_registers[2];
  float c_registers[4], d_registers[4];
  for (int i = 0; i < 4; ++i) {
    a_registers[i] = a[lane * 4 + i];
    c_registers[i] = c[lane * 4 + i];
  }
  for (int i = 0; i < 2; ++i) b_registers[i] = b[lane * 2 + i];
  switch (kind) {
    case Product::bf16:
      ptx::mma_m16n8k16_bf16(d_registers, a_registers, b_registers, c_registers);
      break;
    case Product::f16:
      ptx::mma_m16n8k16_f16(d_registers, a_registers, b_registers, c_registers);
      break;
    case Product::tf32:
      ptx::mma_m16n8k8_tf32(d_registers, a_registers, b_registers, c_registers);
      break;
  }
  for (int i = 0; i < 4; ++i) d[lane * 4 + i] = d_registers[i];
}

template <int kCount, bool kTransposed>
GPUNN_KERNEL ldmatrix_kernel(const std::uint16_t* source, std::uint32_t* out) {
  GPUNN_SHARED(rows, std::uint16_t[32][8]);
  const unsigned lane = threadIdx.x;
  for (int i = 0; i < 8; ++i) rows[lane][i] = source[lane * 8 + i];
  __syncwarp();
  std::uint32_t r[kCount];
  const void* row = &rows[lane % (8 * kCount)][0];
  if constexpr (kCount == 1) {
    if constexpr (kTransposed)
      ptx::ldmatrix_x1_trans(r, row);
    else
      ptx::ldmatrix_x1(r, row);
  } else if constexpr (kCount == 2) {
    if constexpr (kTransposed)
      ptx::ldmatrix_x2_trans(r, row);
    else
      ptx::ldmatrix_x2(r, row);
  } else {
    if constexpr (kTransposed)
      ptx::ldmatrix_x4_trans(r, row);
    else
      ptx::ldmatrix_x4(r, row);
  }
  for (int i = 0; i < kCount; ++i) out[lane * 4 + i] = r[i];
}

template <int kBytes>
GPUNN_KERNEL cp_async_kernel(const unsigned char* source, const int* valid, unsigned char* out) {
  GPUNN_SHARED(tile, unsigned char[32 * kBytes]);
  const unsigned first = threadIdx.x * kBytes;
  const bool wanted = valid[threadIdx.x] != 0;
  if constexpr (kBytes == 4) ptx::cp_async_4(tile + first, source + first, wanted);
  if constexpr (kBytes == 8) ptx::cp_async_8(tile + first, source + first, wanted);
  if constexpr (kBytes == 16) ptx::cp_async_16(tile + first, source + first, wanted);
  ptx::cp_async_wait_all();
  __syncthreads();
  const unsigned mirrored = (31 - threadIdx.x) * kBytes;
  for (int i = 0; i < kBytes; ++i) out[mirrored + i] = tile[mirrored + i];
}

GPUNN_KERNEL cp_async_groups_kernel(const float* source, float* out) {
  GPUNN_SHARED(tile, float[3]);
  for (int i = 0; i < 3; ++i) {
    ptx::cp_async_4(&tile[i], source + i);
    ptx::cp_async_commit();
  }
  ptx::cp_async_wait<1>();
  out[0] = tile[0];
  out[1] = tile[1];
  ptx::cp_async_wait<0>();
  out[2] = tile[2];
}

constexpr int kTile = 64, kDepth = 32,
              kPitch = kDepth + 8;  // rows of 80 bytes: aligned and free of conflicts

GPUNN_DEVICE void load_tile(__nv_bfloat16 (*tile)[kPitch], const __nv_bfloat16* source, int row0, int rows,
                            int k0, int K) {
  for (int i = static_cast<int>(threadIdx.x); i < kTile * kDepth / 8; i += 128) {
    const int row = i / (kDepth / 8), k = i % (kDepth / 8) * 8;
    const bool inside = row0 + row < rows && k0 + k < K;
    ptx::cp_async_16(&tile[row][k],
                     source + (inside ? static_cast<std::ptrdiff_t>(row0 + row) * K + k0 + k : 0), inside);
  }
}

// 64 x 64 tiles by four warps of 32 x 32
GPUNN_KERNEL __launch_bounds__(128)
    gemm_kernel(const __nv_bfloat16* a, const __nv_bfloat16* b, float* c, int M, int N, int K) {
  GPUNN_SHARED(tile_a, __nv_bfloat16[2][kTile][kPitch]);
  GPUNN_SHARED(tile_b, __nv_bfloat16[2][kTile][kPitch]);
  const int lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
  const int warp_m = warp / 2 * 32, warp_n = warp % 2 * 32;
  const int m0 = static_cast<int>(blockIdx.y) * kTile, n0 = static_cast<int>(blockIdx.x) * kTile;
  const auto load = [&](int step) {
    load_tile(tile_a[step & 1], a, m0, M, step * kDepth, K);
    load_tile(tile_b[step & 1], b, n0, N, step * kDepth, K);
    ptx::cp_async_commit();
  };
  float sums[2][4][4] = {};
  const int steps = (K + kDepth - 1) / kDepth;
  load(0);
  for (int step = 0; step < steps; ++step) {
    if (step + 1 < steps) {
      load(step + 1);
      ptx::cp_async_wait<1>();
    } else {
      ptx::cp_async_wait<0>();
    }
    __syncthreads();  // the tiles of this step are there for all
    const auto& now_a = tile_a[step & 1];
    const auto& now_b = tile_b[step & 1];
    GPUNN_UNROLL
    for (int k = 0; k < kDepth; k += 16) {
      std::uint32_t fragment_a[2][4], fragment_b[4][2];
      GPUNN_UNROLL
      for (int i = 0; i < 2; ++i)
        ptx::ldmatrix_x4(fragment_a[i], &now_a[warp_m + i * 16 + lane % 16][k + lane / 16 * 8]);
      GPUNN_UNROLL
      for (int j = 0; j < 4; ++j)
        ptx::ldmatrix_x2(fragment_b[j], &now_b[warp_n + j * 8 + lane % 8][k + lane / 8 % 2 * 8]);
      GPUNN_UNROLL
      for (int i = 0; i < 2; ++i) GPUNN_UNROLL
      for (int j = 0; j < 4; ++j)
        ptx::mma_m16n8k16_bf16(sums[i][j], fragment_a[i], fragment_b[j], sums[i][j]);
    }
    __syncthreads();  // the tiles may be overwritten
  }
  for (int i = 0; i < 2; ++i)
    for (int j = 0; j < 4; ++j)
      for (int e = 0; e < 4; ++e) {
        const int row = m0 + warp_m + i * 16 + lane / 4 + (e >> 1) * 8;
        const int column = n0 + warp_n + j * 8 + lane % 4 * 2 + (e & 1);
        if (row < M && column < N) c[static_cast<std::ptrdiff_t>(row) * N + column] = sums[i][j][e];
      }
}

GPUNN_KERNEL transposed_b_kernel(const __nv_bfloat16* a, const __nv_bfloat16* b, float* c) {
  GPUNN_SHARED(tile_a, __nv_bfloat16[16][16]);
  GPUNN_SHARED(tile_b, __nv_bfloat16[16][8]);
  const int lane = static_cast<int>(threadIdx.x);
  for (int i = lane; i < 256; i += 32) tile_a[i / 16][i % 16] = a[i];
  for (int i = lane; i < 128; i += 32) tile_b[i / 8][i % 8] = b[i];
  __syncwarp();
  std::uint32_t fragment_a[4], fragment_b[2];
  ptx::ldmatrix_x4(fragment_a, &tile_a[lane % 16][lane / 16 * 8]);
  ptx::ldmatrix_x2_trans(fragment_b, &tile_b[lane % 16][0]);
  float sums[4] = {};
  ptx::mma_m16n8k16_bf16(sums, fragment_a, fragment_b, sums);
  for (int e = 0; e < 4; ++e) c[(lane / 4 + (e >> 1) * 8) * 8 + lane % 4 * 2 + (e & 1)] = sums[e];
}

}  // namespace

cudaError_t launch_mma(Product kind, const std::uint32_t* a, const std::uint32_t* b, const float* c,
                       float* d) {
  return launch_kernel("mma", &mma_kernel, {1, 32}, kind, a, b, c, d);
}

cudaError_t launch_ldmatrix(int count, bool transposed, const std::uint16_t* source, std::uint32_t* out) {
  auto* kernel = transposed ? &ldmatrix_kernel<1, true> : &ldmatrix_kernel<1, false>;
  if (count == 2) kernel = transposed ? &ldmatrix_kernel<2, true> : &ldmatrix_kernel<2, false>;
  if (count == 4) kernel = transposed ? &ldmatrix_kernel<4, true> : &ldmatrix_kernel<4, false>;
  return launch_kernel("ldmatrix", kernel, {1, 32}, source, out);
}

cudaError_t launch_cp_async(int bytes, const unsigned char* source, const int* valid, unsigned char* out) {
  auto* kernel = &cp_async_kernel<4>;
  if (bytes == 8) kernel = &cp_async_kernel<8>;
  if (bytes == 16) kernel = &cp_async_kernel<16>;
  return launch_kernel("cp_async", kernel, {1, 32}, source, valid, out);
}

cudaError_t launch_cp_async_groups(const float* source, float* out) {
  return launch_kernel("cp_async_groups", &cp_async_groups_kernel, {1, 1}, source, out);
}

cudaError_t launch_tensor_gemm(const __nv_bfloat16* a, const __nv_bfloat16* b, float* c, int M, int N,
                               int K) {
  const dim3 grid(static_cast<unsigned>((N + kTile - 1) / kTile),
                  static_cast<unsigned>((M + kTile - 1) / kTile));
  return launch_kernel("tensor_gemm", &gemm_kernel, {grid, 128}, a, b, c, M, N, K);
}

cudaError_t launch_transposed_b(const __nv_bfloat16* a, const __nv_bfloat16* b, float* c) {
  return launch_kernel("transposed_b", &transposed_b_kernel, {1, 32}, a, b, c);
}

}  // namespace gpunn::test
