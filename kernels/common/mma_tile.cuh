#pragma once
// Products of tiles on tensor cores with f32 accumulation: mma.sync m16n8k16 for f16 and bf16, m16n8k8 for
// f32 rounded to TF32. Several warps share a tile; stages of shared memory are filled by cp.async while one
// is multiplied.
//
// A tile lies in shared memory as it lies outside, along k or across it, so that it can arrive in 16-byte
// pieces; for the halves ldmatrix, plain or transposed, turns either into fragments. Rows are padded by 16
// bytes: with 80 or 272 bytes from row to row the eight rows that ldmatrix reads at once fall on different
// banks.
#include <cstdint>

#include "gpunn/kernels/common/convert.cuh"
#include "gpunn/kernels/common/tile_order.cuh"
#include "gpunn/kernels/ptx/cp_async.cuh"
#include "gpunn/kernels/ptx/ldmatrix.cuh"
#include "gpunn/kernels/ptx/mma.cuh"

namespace gpunn::mma_tile {

inline constexpr int kStages = 3;
inline constexpr int kWarp = 32;
inline constexpr std::int64_t kFewTiles = 264;  // two blocks on each of 132 multiprocessors

/// A tile of kM x kN by kTileK, of which each warp takes kWarpM x kWarpN.
template <class T_, int kM_, int kN_, int kWarpM_, int kWarpN_>
struct Config {
  using T = T_;
  static constexpr bool kHalf = sizeof(T) == 2;
  static constexpr int kM = kM_, kN = kN_, kWarpM = kWarpM_, kWarpN = kWarpN_;
  static constexpr int kTileK = kHalf ? 32 : 16;
  static constexpr int kStepK = kHalf ? 16 : 8;  // k of one mma
  static constexpr int kPad = 16 / static_cast<int>(sizeof(T));
  static constexpr int kRowsM = kWarpM / 16, kColsN = kWarpN / 8;  // fragments of a warp
  static constexpr int kWarpsN = kN / kWarpN;
  static constexpr int kThreads = kM / kWarpM * kWarpsN * kWarp;
  static constexpr int larger(int x, int y) { return x > y ? x : y; }
  // Room for either orientation of a tile.
  static constexpr int kSizeA = larger(kM * (kTileK + kPad), kTileK*(kM + kPad));
  static constexpr int kSizeB = larger(kN * (kTileK + kPad), kTileK*(kN + kPad));
  static constexpr int kStageSize = kSizeA + kSizeB;
  static constexpr size_t kSharedBytes = static_cast<size_t>(kStages) * kStageSize * sizeof(T);
};

/// An operand outside: `outer` index (m, n, or k when k is not the contiguous one) times ld plus `inner`
/// index.
template <class T>
struct Source {
  const T* data;
  std::int64_t ld;
  std::int64_t outer, inner;  // extents
  bool wide;                  // rows allow 16-byte copies
};

/// Copies kOuter x kInner elements from (outer0, inner0) on to rows of kInner + pad, zeros beyond the edges.
template <class C, int kOuter, int kInner>
GPUNN_DEVICE void load_tile(typename C::T* to, const Source<typename C::T>& from, std::int64_t outer0,
                            std::int64_t inner0) {
  constexpr int kWide = C::kPad, kLd = kInner + C::kPad;
  const int t = static_cast<int>(threadIdx.x);
  if (from.wide) {
    for (int i = t; i < kOuter * kInner / kWide; i += C::kThreads) {
      const int o = i / (kInner / kWide), in = i % (kInner / kWide) * kWide;
      const bool valid = outer0 + o < from.outer && inner0 + in < from.inner;
      ptx::cp_async_16(to + o * kLd + in,
                       valid ? from.data + (outer0 + o) * from.ld + inner0 + in : from.data, valid);
    }
  } else {
    for (int i = t; i < kOuter * kInner; i += C::kThreads) {
      const int o = i / kInner, in = i % kInner;
      const bool valid = outer0 + o < from.outer && inner0 + in < from.inner;
      to[o * kLd + in] =
          valid ? from.data[(outer0 + o) * from.ld + inner0 + in] : from_float<typename C::T>(0.0f);
    }
  }
}

/// Fragment of a [16 rows from m, 16 k] for the halves. Along k: [m][k] in shared memory; across: [k][m].
template <class C, bool kAcross>
GPUNN_DEVICE void load_a(std::uint32_t (&a)[4], const typename C::T* tile, int m, int k) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  if constexpr (kAcross) {
    constexpr int kLd = C::kM + C::kPad;
    ptx::ldmatrix_x4_trans(a, tile + (k + lane % 8 + lane / 16 * 8) * kLd + m + lane / 8 % 2 * 8);
  } else {
    constexpr int kLd = C::kTileK + C::kPad;
    ptx::ldmatrix_x4(a, tile + (m + lane % 16) * kLd + k + lane / 16 * 8);
  }
}

/// Two fragments of b [16 k, 8 columns from n and from n + 8] for the halves. Along k: [n][k]; across:
/// [k][n].
template <class C, bool kAcross>
GPUNN_DEVICE void load_b(std::uint32_t (&b)[4], const typename C::T* tile, int n, int k) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  if constexpr (kAcross) {
    constexpr int kLd = C::kN + C::kPad;
    ptx::ldmatrix_x4_trans(b, tile + (k + lane % 16) * kLd + n + lane / 16 * 8);
  } else {
    constexpr int kLd = C::kTileK + C::kPad;
    ptx::ldmatrix_x4(b, tile + (n + lane % 8 + lane / 16 * 8) * kLd + k + lane / 8 % 2 * 8);
  }
}

GPUNN_DEVICE void mma(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], BFloat16) {
  ptx::mma_m16n8k16_bf16(d, a, b, d);
}
GPUNN_DEVICE void mma(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], Half) {
  ptx::mma_m16n8k16_f16(d, a, b, d);
}

template <class C>
using Sums = float[C::kRowsM][C::kColsN][4];

template <class C, bool kAcrossA, bool kAcrossB>
GPUNN_DEVICE void multiply_halves(const typename C::T* a, const typename C::T* b, int m, int n,
                                  Sums<C>& sum) {
  GPUNN_UNROLL
  for (int k = 0; k < C::kTileK; k += C::kStepK) {
    std::uint32_t x[C::kRowsM][4], y[C::kColsN / 2][4];
    GPUNN_UNROLL
    for (int i = 0; i < C::kRowsM; ++i) load_a<C, kAcrossA>(x[i], a, m + i * 16, k);
    GPUNN_UNROLL
    for (int j = 0; j < C::kColsN / 2; ++j) load_b<C, kAcrossB>(y[j], b, n + j * 16, k);
    GPUNN_UNROLL
    for (int i = 0; i < C::kRowsM; ++i) {
      GPUNN_UNROLL
      for (int j = 0; j < C::kColsN; ++j) {
        const std::uint32_t pair[2] = {y[j / 2][j % 2 * 2], y[j / 2][j % 2 * 2 + 1]};
        mma(sum[i][j], x[i], pair, typename C::T{});
      }
    }
  }
}

/// TF32 fragments are gathered element by element and rounded on the way.
template <class C, bool kAcrossA, bool kAcrossB>
GPUNN_DEVICE void multiply_tf32(const float* a, const float* b, int m, int n, Sums<C>& sum) {
  constexpr int kOuterA = kAcrossA ? 1 : C::kTileK + C::kPad, kInnerA = kAcrossA ? C::kM + C::kPad : 1;
  constexpr int kOuterB = kAcrossB ? 1 : C::kTileK + C::kPad, kInnerB = kAcrossB ? C::kN + C::kPad : 1;
  const int lane = static_cast<int>(threadIdx.x) % kWarp, group = lane / 4, quad = lane % 4;
  GPUNN_UNROLL
  for (int k = 0; k < C::kTileK; k += C::kStepK) {
    std::uint32_t x[C::kRowsM][4], y[C::kColsN][2];
    GPUNN_UNROLL
    for (int i = 0; i < C::kRowsM; ++i) {
      GPUNN_UNROLL
      for (int r = 0; r < 4; ++r)
        x[i][r] = ptx::cvt_rna_tf32(
            a[(m + i * 16 + group + r % 2 * 8) * kOuterA + (k + quad + r / 2 * 4) * kInnerA]);
    }
    GPUNN_UNROLL
    for (int j = 0; j < C::kColsN; ++j) {
      GPUNN_UNROLL
      for (int r = 0; r < 2; ++r)
        y[j][r] = ptx::cvt_rna_tf32(b[(n + j * 8 + group) * kOuterB + (k + quad + r * 4) * kInnerB]);
    }
    GPUNN_UNROLL
    for (int i = 0; i < C::kRowsM; ++i) {
      GPUNN_UNROLL
      for (int j = 0; j < C::kColsN; ++j) ptx::mma_m16n8k8_tf32(sum[i][j], x[i], y[j], sum[i][j]);
    }
  }
}

/// The product of one stage, whatever the dtype.
template <class C, bool kAcrossA, bool kAcrossB>
GPUNN_DEVICE void multiply_stage(const typename C::T* stage, int m, int n, Sums<C>& sum) {
  if constexpr (C::kHalf) {
    multiply_halves<C, kAcrossA, kAcrossB>(stage, stage + C::kSizeA, m, n, sum);
  } else {
    multiply_tf32<C, kAcrossA, kAcrossB>(stage, stage + C::kSizeA, m, n, sum);
  }
}

/// Floats of a warp's scratch for store_sums.
template <class C>
inline constexpr int kScratch = 16 * (C::kWarpN + 8);

/// Fragments to their places by way of shared memory, 16 rows of a warp at a time: f(row, column, sum) is
/// called for neighbouring columns, or with `along_m` neighbouring rows, in neighbouring lanes, and the
/// epilogue's code appears once per fragment row instead of once per element. `own` [16, kWarpN + 8] belongs
/// to the warp.
template <class C, class F>
GPUNN_DEVICE void store_sums(const Sums<C>& sum, float* own, bool along_m, F f) {
  constexpr int kLd = C::kWarpN + 8;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  GPUNN_UNROLL
  for (int i = 0; i < C::kRowsM; ++i) {
    GPUNN_UNROLL
    for (int j = 0; j < C::kColsN; ++j) {
      GPUNN_UNROLL
      for (int r = 0; r < 4; ++r)
        own[(lane / 4 + r / 2 * 8) * kLd + j * 8 + lane % 4 * 2 + r % 2] = sum[i][j][r];
    }
    __syncwarp();  // the fragments of all lanes are there
    for (int e = lane; e < 16 * C::kWarpN; e += kWarp) {
      const int row = along_m ? e % 16 : e / C::kWarpN, column = along_m ? e / 16 : e % C::kWarpN;
      f(i * 16 + row, column, own[row * kLd + column]);
    }
    __syncwarp();  // and have been read before the next ones
  }
}

}  // namespace gpunn::mma_tile
