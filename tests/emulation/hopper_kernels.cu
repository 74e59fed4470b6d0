#include "tests/emulation/hopper_kernels.h"

#include "gpunn/core/kernel_macros.cuh"
#include "gpunn/core/launch_kernel.cuh"
#include "gpunn/kernels/ptx/tma.cuh"
#include "gpunn/kernels/ptx/wgmma.cuh"

namespace gpunn::test {
namespace {

constexpr int kTile = 64, kThreads = 128;
constexpr unsigned kTileBytes = kTile * kTile * 2;
constexpr std::uint32_t kRowGroup = 1024;  // bytes of 8 rows of 128
constexpr std::size_t kTwoTiles = 3 * kTileBytes;

GPUNN_DEVICE void clear(float (&d)[32]) {
  GPUNN_UNROLL
  for (int i = 0; i < 32; ++i) d[i] = 0.0f;
}

// d += a b^T of two swizzled 64 x 64 tiles
GPUNN_DEVICE void multiply_tiles(float (&d)[32], const unsigned char* a, const unsigned char* b,
                                 std::uint32_t stride_a) {
  ptx::wgmma_fence();
  GPUNN_UNROLL
  for (int k = 0; k < kTile; k += 16)  // 16 columns are 32 bytes of the 128-byte row
    ptx::wgmma_m64n64k16_bf16(d, ptx::wgmma_descriptor(a + 2 * k, 16, stride_a, ptx::WgmmaSwizzle::bytes_128),
                              ptx::wgmma_descriptor(b + 2 * k, 16, kRowGroup, ptx::WgmmaSwizzle::bytes_128),
                              true);
  ptx::wgmma_commit();
}

GPUNN_DEVICE void store_tile(const float (&d)[32], float* c, int pitch) {
  const int lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
  GPUNN_UNROLL
  for (int i = 0; i < 32; ++i) {
    const int row = warp * 16 + lane / 4 + ((i >> 1) & 1) * 8, column = (i >> 2) * 8 + lane % 4 * 2 + (i & 1);
    c[row * pitch + column] = d[i];
  }
}

template <HopperBug kBug>
GPUNN_KERNEL __launch_bounds__(kThreads)
    tile_kernel(const __grid_constant__ ptx::TensorMap map_a, const __nv_bfloat16* b, float* c) {
  GPUNN_DYN_SHARED(memory);
  GPUNN_SHARED(barrier, std::uint64_t);
  const int t = static_cast<int>(threadIdx.x);
  unsigned char* tile_a = memory + (kBug == HopperBug::misaligned ? 128 : 0);  // [64, 128 bytes]
  unsigned char* tile_b = memory + 2 * kTileBytes;                             // [64, 128 bytes]
  if (t == 0) {
    ptx::mbarrier_init(&barrier, 1);
    ptx::fence_mbarrier_init();
  }
  __syncthreads();  // the barrier is initialised
  if (t == 0) {
    ptx::mbarrier_arrive_expect_tx(&barrier, kBug == HopperBug::wrong_bytes ? kTileBytes + 16 : kTileBytes);
    ptx::tma_load_2d(tile_a, &map_a, 0, 0, &barrier);
  }
  for (int i = t; i < kTile * 8; i += kThreads) {  // swizzled by hand: 16-byte chunk ^= row & 7
    const int row = i / 8, chunk = i % 8;
    *reinterpret_cast<float4*>(tile_b + row * 128 + (chunk ^ (row & 7)) * 16) =
        *reinterpret_cast<const float4*>(b + row * kTile + chunk * 8);
  }
  if (kBug != HopperBug::no_proxy_fence) ptx::fence_proxy_async();
  __syncthreads();  // tile_b is written by all
  if (kBug != HopperBug::no_copy_wait)
    ptx::mbarrier_wait_parity(&barrier, kBug == HopperBug::wrong_parity ? 1 : 0);
  float d[32];
  clear(d);
  multiply_tiles(d, tile_a, tile_b, kBug == HopperBug::wrong_stride ? kRowGroup / 2 : kRowGroup);
  if (kBug == HopperBug::early_reuse)
    for (int i = t; i < kTile * 8; i += kThreads)
      *reinterpret_cast<float4*>(tile_b + i * 16) = float4{0, 0, 0, 0};
  if (kBug != HopperBug::no_product_wait) ptx::wgmma_wait<0>();
  store_tile(d, c, kTile);
  if (kBug == HopperBug::no_product_wait) ptx::wgmma_wait<0>();
  if (kBug == HopperBug::no_copy_wait || kBug == HopperBug::wrong_parity)
    ptx::mbarrier_wait_parity(&barrier, 0);
}

GPUNN_KERNEL __launch_bounds__(kThreads)
    gemm_kernel(const __grid_constant__ ptx::TensorMap map_a, const __grid_constant__ ptx::TensorMap map_b,
                float* c, int N, int K) {
  GPUNN_DYN_SHARED(memory);  // [2 stages, a and b, 64, 128 bytes]
  GPUNN_SHARED(full, std::uint64_t[2]);
  GPUNN_SHARED(empty, std::uint64_t[2]);
  const int t = static_cast<int>(threadIdx.x), steps = K / kTile;
  const int row = static_cast<int>(blockIdx.y) * kTile, column = static_cast<int>(blockIdx.x) * kTile;
  if (t == 0) {
    for (int stage = 0; stage < 2; ++stage) {
      ptx::mbarrier_init(&full[stage], 1);
      ptx::mbarrier_init(&empty[stage], kThreads);
    }
    ptx::fence_mbarrier_init();
  }
  __syncthreads();  // the barriers are initialised
  const auto load = [&](int step) {
    const int stage = step & 1;
    unsigned char* tiles = memory + stage * 2 * kTileBytes;
    if (step >= 2) ptx::mbarrier_wait_parity(&empty[stage], static_cast<unsigned>((step / 2 - 1) & 1));
    ptx::mbarrier_arrive_expect_tx(&full[stage], 2 * kTileBytes);
    ptx::tma_load_2d(tiles, &map_a, step * kTile, row, &full[stage]);
    ptx::tma_load_2d(tiles + kTileBytes, &map_b, step * kTile, column, &full[stage]);
  };
  if (t == 0) {
    load(0);
    if (steps > 1) load(1);
  }
  float d[32];
  clear(d);
  for (int step = 0; step < steps; ++step) {
    const int stage = step & 1;
    const unsigned char* tiles = memory + stage * 2 * kTileBytes;
    ptx::mbarrier_wait_parity(&full[stage], static_cast<unsigned>((step / 2) & 1));
    multiply_tiles(d, tiles, tiles + kTileBytes, kRowGroup);
    ptx::wgmma_wait<0>();
    ptx::mbarrier_arrive(&empty[stage]);
    if (t == 0 && step + 2 < steps) load(step + 2);
  }
  store_tile(d, c + static_cast<std::ptrdiff_t>(row) * N + column, N);
}

GPUNN_KERNEL __launch_bounds__(kThreads)
    core_matrices_kernel(const __nv_bfloat16* a, const __nv_bfloat16* b, float* c) {
  GPUNN_DYN_SHARED(memory);
  GPUNN_SHARED(barrier, std::uint64_t);
  if (threadIdx.x == 0) {
    ptx::mbarrier_init(&barrier, 1);
    ptx::fence_mbarrier_init();
  }
  __syncthreads();  // the barrier is initialised
  if (threadIdx.x == 0) {
    ptx::mbarrier_arrive_expect_tx(&barrier, 2 * kTileBytes);
    ptx::bulk_copy_to_shared(memory, a, kTileBytes, &barrier);
    ptx::bulk_copy_to_shared(memory + kTileBytes, b, kTileBytes, &barrier);
  }
  ptx::mbarrier_wait_parity(&barrier, 0);
  constexpr std::uint32_t kCoreMatrix = 128, kColumnGroup = 8 * kCoreMatrix;  // 64 rows by 8 columns
  float d[32];
  clear(d);
  ptx::wgmma_fence();
  GPUNN_UNROLL
  for (int k = 0; k < kTile; k += 16) {
    const unsigned char* tile_a = memory + k / 8 * kColumnGroup;
    ptx::wgmma_m64n64k16_bf16(
        d, ptx::wgmma_descriptor(tile_a, kColumnGroup, kCoreMatrix, ptx::WgmmaSwizzle::none),
        ptx::wgmma_descriptor(tile_a + kTileBytes, kColumnGroup, kCoreMatrix, ptx::WgmmaSwizzle::none),
        k > 0);
  }
  ptx::wgmma_commit();
  ptx::wgmma_wait<0>();
  store_tile(d, c, kTile);
}

cudaError_t tile_map(ptx::TensorMap& map, const __nv_bfloat16* data, int rows, int columns) {
  return ptx::make_tensor_map_bf16(
      &map, {data, static_cast<std::uint64_t>(rows), static_cast<std::uint64_t>(columns),
             static_cast<std::uint64_t>(columns) * 2, kTile, kTile, ptx::TmaSwizzle::bytes_128});
}

template <HopperBug kBug>
cudaError_t launch_tile(const __nv_bfloat16* a, const __nv_bfloat16* b, float* c) {
  ptx::TensorMap map;
  const cudaError_t error = tile_map(map, a, kTile, kTile);
  if (error != cudaSuccess) return error;
  return launch_kernel("hopper_tile", &tile_kernel<kBug>, {1, kThreads, kTwoTiles}, map, b, c);
}

}  // namespace

cudaError_t launch_hopper_tile(HopperBug bug, const __nv_bfloat16* a, const __nv_bfloat16* b, float* c) {
  switch (bug) {
    case HopperBug::none:
      return launch_tile<HopperBug::none>(a, b, c);
    case HopperBug::no_proxy_fence:
      return launch_tile<HopperBug::no_proxy_fence>(a, b, c);
    case HopperBug::no_copy_wait:
      return launch_tile<HopperBug::no_copy_wait>(a, b, c);
    case HopperBug::wrong_bytes:
      return launch_tile<HopperBug::wrong_bytes>(a, b, c);
    case HopperBug::no_product_wait:
      return launch_tile<HopperBug::no_product_wait>(a, b, c);
    case HopperBug::wrong_stride:
      return launch_tile<HopperBug::wrong_stride>(a, b, c);
    case HopperBug::wrong_parity:
      return launch_tile<HopperBug::wrong_parity>(a, b, c);
    case HopperBug::misaligned:
      return launch_tile<HopperBug::misaligned>(a, b, c);
    case HopperBug::early_reuse:
      return launch_tile<HopperBug::early_reuse>(a, b, c);
  }
  return cudaErrorInvalidValue;
}

cudaError_t launch_hopper_gemm(const __nv_bfloat16* a, const __nv_bfloat16* b, float* c, int M, int N,
                               int K) {
  ptx::TensorMap map_a, map_b;
  cudaError_t error = tile_map(map_a, a, M, K);
  if (error == cudaSuccess) error = tile_map(map_b, b, N, K);
  if (error != cudaSuccess) return error;
  const dim3 grid(static_cast<unsigned>(N / kTile), static_cast<unsigned>(M / kTile));
  return launch_kernel("hopper_gemm", &gemm_kernel, {grid, kThreads, 4 * kTileBytes}, map_a, map_b, c, N, K);
}

cudaError_t launch_hopper_core_matrices(const __nv_bfloat16* a, const __nv_bfloat16* b, float* c) {
  return launch_kernel("hopper_core_matrices", &core_matrices_kernel, {1, kThreads, 2 * kTileBytes}, a, b, c);
}

}  // namespace gpunn::test
