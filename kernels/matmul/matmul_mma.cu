// Matrix product on tensor cores: the tiles of mma_tile.cuh, eight (or four) warps each, in three stages.
#include "gpunn/core/launch.cuh"
#include "gpunn/kernels/common/mma_tile.cuh"
#include "gpunn/kernels/matmul/matmul_device.cuh"
#include "gpunn/kernels/matmul/matmul_impl.h"

namespace gpunn {
namespace {

using namespace mma_tile;

/// Both operands' tiles of one step into one stage.
template <class C, bool kAcrossA, bool kAcrossB>
GPUNN_DEVICE void load_stage(typename C::T* stage, const Source<typename C::T>& a,
                             const Source<typename C::T>& b, TileOrigin origin, std::int64_t k0) {
  if constexpr (kAcrossA) {
    load_tile<C, C::kTileK, C::kM>(stage, a, k0, origin.m);
  } else {
    load_tile<C, C::kM, C::kTileK>(stage, a, origin.m, k0);
  }
  if constexpr (kAcrossB) {
    load_tile<C, C::kTileK, C::kN>(stage + C::kSizeA, b, k0, origin.n);
  } else {
    load_tile<C, C::kN, C::kTileK>(stage + C::kSizeA, b, origin.n, k0);
  }
}

template <class C, bool kAcrossA, bool kAcrossB>
GPUNN_KERNEL __launch_bounds__(C::kThreads)
    matmul_fwd_mma_kernel(const MatmulProblem p, const Widths wide, const Pieces pieces) {
  using T = typename C::T;
  GPUNN_DYN_SHARED(memory);
  T* const stages = reinterpret_cast<T*>(memory);  // [kStages, kStageSize]: a's tile, then b's
  const TileOrigin origin = tile_origin<C::kM, C::kN>(p.M, p.N, blockIdx.x);
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int m = warp / C::kWarpsN * C::kWarpM, n = warp % C::kWarpsN * C::kWarpN;
  const std::int64_t begin = blockIdx.y * pieces.k, end = begin + pieces.k < p.K ? begin + pieces.k : p.K;
  const std::int64_t steps = (end - begin + C::kTileK - 1) / C::kTileK;
  for (std::int64_t i = blockIdx.z; i < p.batch; i += gridDim.z) {
    const Source<T> a{static_cast<const T*>(p.a) + i * p.a_batch, p.lda, kAcrossA ? end : p.M,
                      kAcrossA ? p.M : end, wide.a};
    const Source<T> b{static_cast<const T*>(p.b) + i * p.b_batch, p.ldb, kAcrossB ? end : p.N,
                      kAcrossB ? p.N : end, wide.b};
    const auto load = [&](std::int64_t step) {
      if (step < steps)
        load_stage<C, kAcrossA, kAcrossB>(stages + step % kStages * C::kStageSize, a, b, origin,
                                          begin + step * C::kTileK);
      ptx::cp_async_commit();
    };
    Sums<C> sum = {};
    __syncthreads();  // the previous matrix's scratch has been read
    for (int s = 0; s < kStages - 1; ++s) load(s);
    for (std::int64_t step = 0; step < steps; ++step) {
      ptx::cp_async_wait<kStages - 2>();
      __syncthreads();  // this step's stage has arrived from every thread, and all have read the one loaded
                        // next
      load(step + kStages - 1);
      multiply_stage<C, kAcrossA, kAcrossB>(stages + step % kStages * C::kStageSize, m, n, sum);
    }
    ptx::cp_async_wait_all();
    __syncthreads();  // nothing arrives in or is read from the stages any more: they become the warps'
                      // scratch
    float* const own = reinterpret_cast<float*>(memory) + warp * kScratch<C>;
    store_sums<C>(sum, own, false, [&](int row, int column, float v) {
      deliver<T>(p, pieces, i, origin.m + m + row, origin.n + n + column, v);
    });
  }
}

template <class C, bool kAcrossA, bool kAcrossB>
void run(const MatmulProblem& p, const Exec& exec) {
  launch("matmul_fwd_mma_kernel", matmul_fwd_mma_kernel<C, kAcrossA, kAcrossB>,
         Grid{tile_grid(p, C::kM, C::kN), dim3(C::kThreads), C::kSharedBytes}, exec, p, widths_of(p),
         pieces_of(p, exec.workspace));
  if (split_k(p).count > 1) matmul_sum_pieces_cuda(p, static_cast<const float*>(exec.workspace), exec);
}

template <class C>
void run_layout(const MatmulProblem& p, const Exec& exec) {
  if (p.trans_a) return p.trans_b ? run<C, true, false>(p, exec) : run<C, true, true>(p, exec);
  return p.trans_b ? run<C, false, false>(p, exec) : run<C, false, true>(p, exec);
}

template <class T>
void run_dtype(const MatmulProblem& p, const Exec& exec) {
  const std::int64_t tiles = (p.M + 127) / 128 * ((p.N + 127) / 128) * p.batch;
  if (tiles >= kFewTiles) return run_layout<Config<T, 128, 128, 64, 32>>(p, exec);
  run_layout<Config<T, 64, 64, 32, 32>>(p, exec);
}

}  // namespace

void matmul_mma_cuda(const MatmulProblem& p, const Exec& exec) {
  switch (p.dtype) {
    case DType::f16:
      return run_dtype<Half>(p, exec);
    case DType::bf16:
      return run_dtype<BFloat16>(p, exec);
    default:
      return run_dtype<float>(p, exec);
  }
}

}  // namespace gpunn
