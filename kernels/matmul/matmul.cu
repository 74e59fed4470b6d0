// f32 matrix product on the CUDA cores: tiles in shared memory, two stages filled by cp.async, an 8 x 8 (or 4
// x 4) piece of c in the registers of each thread. Both operands lie k-major in shared memory, whatever their
// layout outside: an operand that is contiguous along m or n arrives in 16-byte pieces, one that is
// contiguous along k element by element.
//
// Per k a thread reads 16 floats for 64 multiply-adds (8 for 16 with small tiles). Small tiles serve matrices
// that would not fill a GPU with large ones.
#include "gpunn/core/launch.cuh"
#include "gpunn/kernels/matmul/matmul_device.cuh"
#include "gpunn/kernels/matmul/matmul_impl.h"
#include "gpunn/kernels/ptx/cp_async.cuh"

namespace gpunn {
namespace {

constexpr int kThreads = 256;
constexpr int kSide = 16;  // threads along m and along n
constexpr int kTileK = 16;
constexpr int kPad = 4;                  // keeps rows on 16 bytes and spreads the banks
constexpr std::int64_t kFewTiles = 264;  // two blocks on each of 132 multiprocessors

/// Copies rows [first, first + kTile) x k [k0, k0 + kTileK) of an operand to `to`, zeros beyond its edges.
template <int kTile>
GPUNN_DEVICE void load_tile(float (&to)[kTileK][kTile + kPad], const float* from, std::int64_t ld,
                            bool k_contiguous, bool wide, std::int64_t first, std::int64_t rows,
                            std::int64_t k0, std::int64_t K) {
  const int t = static_cast<int>(threadIdx.x);
  if (k_contiguous) {
    for (int i = t; i < kTile * kTileK; i += kThreads) {
      const int r = i / kTileK, k = i % kTileK;
      const bool valid = first + r < rows && k0 + k < K;
      ptx::cp_async_4(&to[k][r], valid ? from + (first + r) * ld + k0 + k : from, valid);
    }
  } else if (wide) {
    for (int i = t; i < kTile * kTileK / 4; i += kThreads) {
      const int k = i / (kTile / 4), r = i % (kTile / 4) * 4;
      const bool valid = first + r < rows && k0 + k < K;
      ptx::cp_async_16(&to[k][r], valid ? from + (k0 + k) * ld + first + r : from, valid);
    }
  } else {
    for (int i = t; i < kTile * kTileK; i += kThreads) {
      const int k = i / kTile, r = i % kTile;
      const bool valid = first + r < rows && k0 + k < K;
      ptx::cp_async_4(&to[k][r], valid ? from + (k0 + k) * ld + first + r : from, valid);
    }
  }
}

/// Row or column i of a thread's piece within the tile: groups of four, so that a warp reads shared memory in
/// 16 bytes.
template <int kTile>
GPUNN_DEVICE int piece(int thread, int i) {
  constexpr int kGroups = kTile / kSide / 4;
  return i / 4 * (kTile / kGroups) + thread * 4 + i % 4;
}

template <int kTile>
GPUNN_DEVICE void multiply_tile(const float (&a)[kTileK][kTile + kPad],
                                const float (&b)[kTileK][kTile + kPad],
                                float (&sum)[kTile / kSide][kTile / kSide]) {
  constexpr int kPiece = kTile / kSide;
  const int tm = static_cast<int>(threadIdx.x) / kSide, tn = static_cast<int>(threadIdx.x) % kSide;
  GPUNN_UNROLL
  for (int k = 0; k < kTileK; ++k) {
    float x[kPiece], y[kPiece];
    GPUNN_UNROLL
    for (int i = 0; i < kPiece; ++i) {
      x[i] = a[k][piece<kTile>(tm, i)];
      y[i] = b[k][piece<kTile>(tn, i)];
    }
    GPUNN_UNROLL
    for (int i = 0; i < kPiece; ++i) {
      GPUNN_UNROLL
      for (int j = 0; j < kPiece; ++j) sum[i][j] = fmaf(x[i], y[j], sum[i][j]);
    }
  }
}

template <int kTile>
GPUNN_KERNEL __launch_bounds__(kThreads) matmul_fwd_simt_kernel(const MatmulProblem p, const Widths wide) {
  constexpr int kPiece = kTile / kSide;
  GPUNN_SHARED(a, float[2][kTileK][kTile + kPad]);  // [stage, k, m]
  GPUNN_SHARED(b, float[2][kTileK][kTile + kPad]);  // [stage, k, n]
  const int tm = static_cast<int>(threadIdx.x) / kSide, tn = static_cast<int>(threadIdx.x) % kSide;
  const TileOrigin origin = tile_origin<kTile, kTile>(p.M, p.N, blockIdx.x);
  const std::int64_t steps = (p.K + kTileK - 1) / kTileK;
  for (std::int64_t i = blockIdx.z; i < p.batch; i += gridDim.z) {
    const float* const pa = static_cast<const float*>(p.a) + i * p.a_batch;
    const float* const pb = static_cast<const float*>(p.b) + i * p.b_batch;
    const auto load = [&](std::int64_t step) {
      const int stage = static_cast<int>(step & 1);
      if (step < steps) {
        load_tile<kTile>(a[stage], pa, p.lda, !p.trans_a, wide.a, origin.m, p.M, step * kTileK, p.K);
        load_tile<kTile>(b[stage], pb, p.ldb, p.trans_b, wide.b, origin.n, p.N, step * kTileK, p.K);
      }
      ptx::cp_async_commit();
    };
    float sum[kPiece][kPiece] = {};
    load(0);
    for (std::int64_t step = 0; step < steps; ++step) {
      load(step + 1);
      ptx::cp_async_wait<1>();
      __syncthreads();  // this step's tiles have arrived from every thread
      multiply_tile<kTile>(a[step & 1], b[step & 1], sum);
      __syncthreads();  // all have read them before they are overwritten
    }
    float* const c = static_cast<float*>(p.c) + i * p.c_batch;
    GPUNN_UNROLL
    for (int r = 0; r < kPiece; ++r) {
      GPUNN_UNROLL
      for (int j = 0; j < kPiece; ++j)
        finish(p, c, origin.m + piece<kTile>(tm, r), origin.n + piece<kTile>(tn, j), sum[r][j]);
    }
  }
}

template <int kTile>
void run(const MatmulProblem& p, const Exec& exec) {
  launch("matmul_fwd_simt_kernel", matmul_fwd_simt_kernel<kTile>,
         Grid{tile_grid(p, kTile, kTile), dim3(kThreads)}, exec, p, widths_of(p));
}

}  // namespace

void matmul_simt_cuda(const MatmulProblem& p, const Exec& exec) {
  constexpr std::int64_t kLarge = 128, kSmall = 64;
  const std::int64_t tiles = (p.M + kLarge - 1) / kLarge * ((p.N + kLarge - 1) / kLarge) * p.batch;
  if (tiles >= kFewTiles) return run<kLarge>(p, exec);
  run<kSmall>(p, exec);
}

}  // namespace gpunn
