#pragma once
// Tiles of attention: products of a warp's rows with a tile that the block shares, on tensor cores (f16,
// bf16) or CUDA cores (f32). Both keep sums where mma.sync leaves them, so that everything between the
// products (masks, softmax, dropout) is one text.
//
// Sums of a lane, by fragments of 16 rows x 8 columns: sum[i][j][r] is row 16 i + lane / 4 + 8 (r / 2) of the
// warp's rows, column 8 j + 2 (lane % 4) + r % 2.
#include <cstdint>

#include "gpunn/kernels/common/mma_tile.cuh"
#include "gpunn/kernels/common/reduce.cuh"
#include "gpunn/kernels/common/vec.cuh"
#include "gpunn/kernels/ptx/math.cuh"

namespace gpunn::attention_tile {

inline constexpr int kWarp = 32;
inline constexpr float kLog2e = 1.44269504088896341f, kLn2 = 0.693147180559945309f;

/// A block of kWarps warps with 16 kFragments rows each, against tiles of kCols rows; rows of kDim elements,
/// of which more than there are become zero. Rows of shared memory are padded by 16 bytes, so that the eight
/// rows that ldmatrix reads at once fall on different banks.
template <class T_, int kDim_, int kFragments_, int kWarps_, int kCols_>
struct Config {
  using T = T_;
  static constexpr bool kHalf = sizeof(T) == 2;
  static constexpr int kDim = kDim_, kFragments = kFragments_, kWarps = kWarps_, kCols = kCols_;
  static constexpr int kWarpRows = kFragments * 16, kRows = kWarps * kWarpRows, kThreads = kWarps * kWarp;
  static constexpr int kPad = 16 / static_cast<int>(sizeof(T)), kLd = kDim + kPad;
  static constexpr int kRowTile = kRows * kLd, kColTile = kCols * kLd;  // elements of a tile of either side
  // CUDA cores hand a warp's weights from lane to lane by way of shared memory: [kWarpRows, kLdOwn].
  static constexpr int kLdOwn = kCols + 4, kOwn = kHalf ? 0 : kWarpRows * kLdOwn;
  static_assert(kDim % 16 == 0 && kCols % 16 == 0);
};

/// A warp's sums: kN columns.
template <class C, int kN>
using Sums = float[C::kFragments][kN / 8][4];
/// A warp's rows as fragments, where they stay in registers.
template <class C>
using RowFragments = std::uint32_t[C::kFragments][C::kDim / 16][4];

GPUNN_DEVICE int lane() { return static_cast<int>(threadIdx.x) % kWarp; }
GPUNN_DEVICE int warp() { return static_cast<int>(threadIdx.x) / kWarp; }

/// Two numbers rounded, the first in the lower half.
template <class T>
GPUNN_DEVICE std::uint32_t pack(float low, float high) {
  return static_cast<std::uint32_t>(from_float<T>(low).bits) |
         static_cast<std::uint32_t>(from_float<T>(high).bits) << 16;
}
#if defined(__CUDACC__)
template <>
GPUNN_DEVICE std::uint32_t pack<Half>(float low, float high) {
  const __half2 pair = __floats2half2_rn(low, high);
  return *reinterpret_cast<const std::uint32_t*>(&pair);
}
template <>
GPUNN_DEVICE std::uint32_t pack<BFloat16>(float low, float high) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  return *reinterpret_cast<const std::uint32_t*>(&pair);
}
#endif

/// 2^x; the halves' weights are rounded to fewer bits than the approximation has.
template <class T>
GPUNN_DEVICE float power_of_two(float x) {
  if constexpr (sizeof(T) == 2) return ptx::ex2_approx(x);
  return exp2f(x);
}

template <int kFragments, int kCols>
GPUNN_DEVICE void clear(float (&sum)[kFragments][kCols][4]) {
  GPUNN_UNROLL
  for (int i = 0; i < kFragments; ++i) {
    GPUNN_UNROLL
    for (int j = 0; j < kCols; ++j) {
      GPUNN_UNROLL
      for (int r = 0; r < 4; ++r) sum[i][j][r] = 0.0f;
    }
  }
}

/// The block copies kN rows of `width` elements to rows of kLd; at(r) is row r, null where there is none
/// (zeros then). `any`: some address that may be read. `wide`: rows allow pieces of 16 bytes. Complete after
/// cp_async_wait and a barrier.
template <class C, int kN, class At>
GPUNN_DEVICE void copy_tile(typename C::T* to, const typename C::T* any, int width, bool wide, At at) {
  const int t = static_cast<int>(threadIdx.x);
  if (wide) {
    constexpr int kPieces = C::kDim / C::kPad, kAll = kN * kPieces;
    GPUNN_UNROLL
    for (int step = 0; step < (kAll + C::kThreads - 1) / C::kThreads; ++step) {
      const int e = step * C::kThreads + t, r = e / kPieces, c = e % kPieces * C::kPad;
      if (kAll % C::kThreads != 0 && e >= kAll) break;
      const typename C::T* const row = at(r);
      const bool there = row != nullptr && c < width;
      ptx::cp_async_16(to + r * C::kLd + c, there ? row + c : any, there);
    }
  } else {
    GPUNN_ROLLED
    for (int e = t; e < kN * C::kDim; e += C::kThreads) {
      const int r = e / C::kDim, c = e % C::kDim;
      const typename C::T* const row = at(r);
      to[r * C::kLd + c] = row != nullptr && c < width ? row[c] : from_float<typename C::T>(0.0f);
    }
  }
}

/// Fragment i of `rows` [kWarpRows, kLd] in shared memory, 16 columns from k on.
template <class C>
GPUNN_DEVICE void load_rows(std::uint32_t (&a)[4], const typename C::T* rows, int i, int k) {
  ptx::ldmatrix_x4(a, rows + (i * 16 + lane() % 16) * C::kLd + k + lane() / 16 * 8);
}

template <class C>
GPUNN_DEVICE void load_all_rows(RowFragments<C>& all, const typename C::T* rows) {
  GPUNN_UNROLL
  for (int i = 0; i < C::kFragments; ++i) {
    GPUNN_UNROLL
    for (int k = 0; k < C::kDim / 16; ++k) load_rows<C>(all[i][k], rows, i, k * 16);
  }
}

template <class C, class Rows>
GPUNN_DEVICE void multiply_along_tensor(Rows rows, const typename C::T* cols, Sums<C, C::kCols>& sum) {
  const int l = lane();
  GPUNN_UNROLL
  for (int k = 0; k < C::kDim; k += 16) {
    std::uint32_t a[C::kFragments][4];
    GPUNN_UNROLL
    for (int i = 0; i < C::kFragments; ++i) rows(a[i], i, k);
    GPUNN_UNROLL
    for (int j = 0; j < C::kCols / 16; ++j) {
      std::uint32_t b[4];
      ptx::ldmatrix_x4(b, cols + (j * 16 + l % 8 + l / 16 * 8) * C::kLd + k + l / 8 % 2 * 8);
      const std::uint32_t left[2] = {b[0], b[1]}, right[2] = {b[2], b[3]};
      GPUNN_UNROLL
      for (int i = 0; i < C::kFragments; ++i) {
        mma_tile::mma(sum[i][j * 2], a[i], left, typename C::T{});
        mma_tile::mma(sum[i][j * 2 + 1], a[i], right, typename C::T{});
      }
    }
  }
}

template <class C>
GPUNN_DEVICE void multiply_along_simt(const float* rows, const float* cols, Sums<C, C::kCols>& sum) {
  constexpr int kOwnRows = C::kFragments * 2;
  GPUNN_ROLLED
  for (int k = 0; k < C::kDim; k += 4) {
    Vec<float, 4> a[kOwnRows];
    GPUNN_UNROLL
    for (int i = 0; i < kOwnRows; ++i) a[i] = load_vec<4>(rows + (i * 8 + lane() / 4) * C::kLd + k);
    GPUNN_UNROLL
    for (int j = 0; j < C::kCols / 4; ++j) {
      const Vec<float, 4> b = load_vec<4>(cols + (j / 2 * 8 + lane() % 4 * 2 + j % 2) * C::kLd + k);
      GPUNN_UNROLL
      for (int i = 0; i < kOwnRows; ++i) {
        float& s = sum[i / 2][j / 2][i % 2 * 2 + j % 2];
        GPUNN_UNROLL
        for (int q = 0; q < 4; ++q) s = fmaf(a[i].v[q], b.v[q], s);
      }
    }
  }
}

/// sum = rows cols^T: the warp's rows [kWarpRows, kLd] in shared memory, the tile [kCols, kLd].
template <class C>
GPUNN_DEVICE void multiply_along(const typename C::T* rows, const typename C::T* cols,
                                 Sums<C, C::kCols>& sum) {
  clear(sum);
  if constexpr (C::kHalf) {
    multiply_along_tensor<C>([rows](std::uint32_t(&a)[4], int i, int k) { load_rows<C>(a, rows, i, k); },
                             cols, sum);
  } else {
    multiply_along_simt<C>(rows, cols, sum);
  }
}
/// The same with rows in registers.
template <class C>
GPUNN_DEVICE void multiply_along(const RowFragments<C>& rows, const typename C::T* cols,
                                 Sums<C, C::kCols>& sum) {
  clear(sum);
  multiply_along_tensor<C>(
      [&rows](std::uint32_t(&a)[4], int i, int k) {
        GPUNN_UNROLL
        for (int r = 0; r < 4; ++r) a[r] = rows[i][k / 16][r];
      },
      cols, sum);
}

template <class C, int kOut>
GPUNN_DEVICE void multiply_across_tensor(const Sums<C, C::kCols>& w, const typename C::T* cols,
                                         Sums<C, kOut>& sum) {
  using T = typename C::T;
  const int l = lane();
  GPUNN_UNROLL
  for (int k = 0; k < C::kCols / 16; ++k) {
    // Where a product left its sums is where the next one takes its left operand.
    std::uint32_t a[C::kFragments][4];
    GPUNN_UNROLL
    for (int i = 0; i < C::kFragments; ++i) {
      GPUNN_UNROLL
      for (int r = 0; r < 4; ++r)
        a[i][r] = pack<T>(w[i][k * 2 + r / 2][r % 2 * 2], w[i][k * 2 + r / 2][r % 2 * 2 + 1]);
    }
    GPUNN_UNROLL
    for (int j = 0; j < kOut / 16; ++j) {
      std::uint32_t b[4];
      ptx::ldmatrix_x4_trans(b, cols + (k * 16 + l % 16) * C::kLd + j * 16 + l / 16 * 8);
      const std::uint32_t left[2] = {b[0], b[1]}, right[2] = {b[2], b[3]};
      GPUNN_UNROLL
      for (int i = 0; i < C::kFragments; ++i) {
        mma_tile::mma(sum[i][j * 2], a[i], left, T{});
        mma_tile::mma(sum[i][j * 2 + 1], a[i], right, T{});
      }
    }
  }
}

template <class C, int kOut>
GPUNN_DEVICE void multiply_across_simt(const Sums<C, C::kCols>& w, const float* cols, float* own,
                                       Sums<C, kOut>& sum) {
  constexpr int kOwnRows = C::kFragments * 2;
  __syncwarp();  // the weights of the product before have been read
  GPUNN_UNROLL
  for (int i = 0; i < kOwnRows; ++i) {
    GPUNN_UNROLL
    for (int j = 0; j < C::kCols / 4; ++j)
      own[(i * 8 + lane() / 4) * C::kLdOwn + j / 2 * 8 + lane() % 4 * 2 + j % 2] =
          w[i / 2][j / 2][i % 2 * 2 + j % 2];
  }
  __syncwarp();  // every lane's weights are there
  GPUNN_ROLLED
  for (int k = 0; k < C::kCols; k += 4) {
    Vec<float, 4> a[kOwnRows];
    GPUNN_UNROLL
    for (int i = 0; i < kOwnRows; ++i) a[i] = load_vec<4>(own + (i * 8 + lane() / 4) * C::kLdOwn + k);
    GPUNN_UNROLL
    for (int q = 0; q < 4; ++q) {
      GPUNN_UNROLL
      for (int j = 0; j < kOut / 8; ++j) {
        const Vec<float, 2> b = load_vec<2>(cols + (k + q) * C::kLd + j * 8 + lane() % 4 * 2);
        GPUNN_UNROLL
        for (int i = 0; i < kOwnRows; ++i) {
          GPUNN_UNROLL
          for (int c = 0; c < 2; ++c) {
            float& s = sum[i / 2][j][i % 2 * 2 + c];
            s = fmaf(a[i].v[q], b.v[c], s);
          }
        }
      }
    }
  }
}

/// sum += w cols, w rounded to T: the tile [kCols, kLd], its first kOut columns. `own`: the warp's kOwn
/// floats.
template <class C, int kOut>
GPUNN_DEVICE void multiply_across(const Sums<C, C::kCols>& w, const typename C::T* cols, float* own,
                                  Sums<C, kOut>& sum) {
  if constexpr (C::kHalf) {
    static_cast<void>(own);
    multiply_across_tensor<C, kOut>(w, cols, sum);
  } else {
    multiply_across_simt<C, kOut>(w, cols, own, sum);
  }
}

/// f(row, column, a, b) for every pair of neighbouring columns of the warp's sums.
template <class C, int kN, class F>
GPUNN_DEVICE void for_each_pair(const Sums<C, kN>& sum, F f) {
  GPUNN_UNROLL
  for (int i = 0; i < C::kFragments; ++i) {
    GPUNN_UNROLL
    for (int j = 0; j < kN / 8; ++j) {
      GPUNN_UNROLL
      for (int h = 0; h < 2; ++h)
        f(i * 2 + h, j * 8 + lane() % 4 * 2, sum[i][j][h * 2], sum[i][j][h * 2 + 1]);
    }
  }
}

/// Writes a pair of a row's columns, those below `width`; `pairs`: rows allow two elements at a time.
template <class T>
GPUNN_DEVICE void store_pair(T* row, int column, int width, bool pairs, float a, float b) {
  if (pairs && column < width) {
    store_vec<2>(row + column, Vec<T, 2>{{from_float<T>(a), from_float<T>(b)}});
  } else {
    if (column < width) row[column] = from_float<T>(a);
    if (column + 1 < width) row[column + 1] = from_float<T>(b);
  }
}

}  // namespace gpunn::attention_tile
