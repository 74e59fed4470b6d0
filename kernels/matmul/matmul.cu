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

/// Shared memory: two stages of a's tile, then two of b's.
template <int kTile>
using Tiles = float[4][kTileK][kTile + kPad];

/// The threads' pieces to c by way of shared memory, four rows of each at a time: rows are written in order,
/// and the epilogue's code stands once per four rows of a piece instead of once per element. (Per element it
/// took 202 registers with small tiles, against 128 now: one block on a multiprocessor instead of two.)
/// `tiles` is free when all threads arrive.
template <int kTile>
GPUNN_DEVICE void store_sums(const MatmulProblem& p, const Pieces& pieces, std::int64_t matrix,
                             const TileOrigin& origin, const float (&sum)[kTile / kSide][kTile / kSide],
                             Tiles<kTile>& tiles) {
  constexpr int kRows = 4, kFloats = kSide * kTile;  // of a piece at a time, and in each of these tiles
  static_assert(kTileK == kSide);
  const int tm = static_cast<int>(threadIdx.x) / kSide, tn = static_cast<int>(threadIdx.x) % kSide;
  GPUNN_UNROLL
  for (int first = 0; first < kTile / kSide; first += kRows) {
    GPUNN_UNROLL
    for (int r = 0; r < kRows; ++r) {
      GPUNN_UNROLL
      for (int j = 0; j < kTile / kSide; ++j) tiles[r][tm][piece<kTile>(tn, j)] = sum[first + r][j];
    }
    __syncthreads();  // these rows of every thread are there
    GPUNN_ROLLED
    for (int e = static_cast<int>(threadIdx.x); e < kRows * kFloats; e += kThreads) {
      const int r = e / kFloats, row = e / kTile % kSide, column = e % kTile;
      deliver<float>(p, pieces, matrix, origin.m + piece<kTile>(row, first + r), origin.n + column,
                     tiles[r][row][column]);
    }
    __syncthreads();  // and have been read before the next ones, or the next matrix
  }
}

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
    store_sums<kTile>(p, pieces, i, origin, sum, tiles);
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
