// f32 matrix product on the CUDA cores: the tiles of simt_tile.cuh, two stages filled by cp.async. Small
// tiles serve matrices that would not fill a GPU with large ones.
#include "gpunn/core/launch.cuh"
#include "gpunn/kernels/common/simt_tile.cuh"
#include "gpunn/kernels/matmul/matmul_device.cuh"
#include "gpunn/kernels/matmul/matmul_impl.h"

namespace gpunn {
namespace {

using namespace simt_tile;

template <int kTile>
GPUNN_KERNEL __launch_bounds__(kThreads)
    matmul_fwd_simt_kernel(const MatmulProblem p, const Widths wide, const Pieces pieces) {
  GPUNN_SHARED(tiles, Tiles<kTile>);
  const TileOrigin origin = tile_origin<kTile, kTile>(p.M, p.N, blockIdx.x);
  const std::int64_t begin = blockIdx.y * pieces.k, end = begin + pieces.k < p.K ? begin + pieces.k : p.K;
  const std::int64_t steps = (end - begin + kTileK - 1) / kTileK;
  for (std::int64_t i = blockIdx.z; i < p.batch; i += gridDim.z) {
    const float* const pa = static_cast<const float*>(p.a) + i * p.a_batch;
    const float* const pb = static_cast<const float*>(p.b) + i * p.b_batch;
    const auto load = [&](std::int64_t step) {
      const int stage = static_cast<int>(step & 1);
      const std::int64_t k = begin + step * kTileK;
      if (step < steps) {
        load_tile<kTile>(tiles[stage], pa, p.lda, !p.trans_a, wide.a, origin.m, p.M, k, end);
        load_tile<kTile>(tiles[2 + stage], pb, p.ldb, p.trans_b, wide.b, origin.n, p.N, k, end);
      }
      ptx::cp_async_commit();
    };
    float sum[kTile / kSide][kTile / kSide] = {};
    load(0);
    for (std::int64_t step = 0; step < steps; ++step) {
      load(step + 1);
      ptx::cp_async_wait<1>();
      __syncthreads();  // this step's tiles have arrived from every thread
      multiply_tile<kTile>(tiles[step & 1], tiles[2 + (step & 1)], sum);
      __syncthreads();  // all have read them before they are overwritten
    }
    store_sums<kTile>(sum, tiles, false, [&](int m, int n, float v) {
      deliver<float>(p, pieces, i, origin.m + m, origin.n + n, v);
    });
  }
}

template <int kTile>
void run(const MatmulProblem& p, const Exec& exec) {
  launch("matmul_fwd_simt_kernel", matmul_fwd_simt_kernel<kTile>,
         Grid{tile_grid(p, kTile, kTile), dim3(kThreads)}, exec, p, widths_of(p),
         pieces_of(p, exec.workspace));
  if (split_k(p).count > 1) matmul_sum_pieces_cuda(p, static_cast<const float*>(exec.workspace), exec);
}

}  // namespace

void matmul_simt_cuda(const MatmulProblem& p, const Exec& exec) {
  constexpr std::int64_t kLarge = 128, kSmall = 64;
  const std::int64_t tiles = (p.M + kLarge - 1) / kLarge * ((p.N + kLarge - 1) / kLarge) * p.batch;
  if (tiles >= kFewTiles) return run<kLarge>(p, exec);
  run<kSmall>(p, exec);
}

}  // namespace gpunn
