#pragma once
// Products of a step: few rows (the batch), many columns, long sums. The warps of a block share no tile: each
// takes its own slices of k through its own stages of shared memory, so that within the sum a warp waits for
// nobody, and the warps' sums are added in order at the end. Tensor cores (f16, bf16, f32 rounded to TF32) or
// CUDA cores (f32).
#include <cstdint>
#include <type_traits>

#include "gpunn/kernels/common/convert.cuh"
#include "gpunn/kernels/common/tile_order.cuh"
#include "gpunn/kernels/common/vec.cuh"
#include "gpunn/kernels/ptx/cp_async.cuh"
#include "gpunn/kernels/ptx/ldmatrix.cuh"
#include "gpunn/kernels/ptx/mma.cuh"

namespace gpunn::rnn_product {

inline constexpr int kWarp = 32;

/// A block's tile [kM, kN], and how its warps sum it up. Rows of shared memory are padded by 16 bytes, so
/// that the eight rows that ldmatrix reads at once fall on different banks.
template <class T_, bool kTensor_, int kM_, int kN_, int kWarps_, int kStages_>
struct Config {
  using T = T_;
  static constexpr bool kHalf = sizeof(T) == 2, kTensor = kTensor_;
  static constexpr int kM = kM_, kN = kN_, kWarps = kWarps_, kStages = kStages_;
  static constexpr int kThreads = kWarps * kWarp;
  static constexpr int kSlice = kHalf ? 32 : 16;  // k of a stage
  static constexpr int kPad = 16 / static_cast<int>(sizeof(T));
  static constexpr int kLdK = kSlice + kPad, kLdN = kN + kPad;
  static constexpr int kSizeA = kM * kLdK;
  static constexpr int kLdSum = kN + 4;
  static constexpr int kOwnSums = kM * kLdSum;  // floats
  static_assert(kTensor || !kHalf);
  static_assert(kM % 16 == 0 && kN % (kHalf ? 16 : 8) == 0);
};

/// Bytes that belong to a warp: stages of kStage elements, later its sums.
template <class C, int kStage>
inline constexpr int kOwnBytes = C::kStages * kStage * static_cast<int>(sizeof(typename C::T)) >
                                         C::kOwnSums* static_cast<int>(sizeof(float))
                                     ? C::kStages* kStage* static_cast<int>(sizeof(typename C::T))
                                     : C::kOwnSums* static_cast<int>(sizeof(float));

/// Sums of a lane. Tensor cores: fragments of 16 x 8, row by row; CUDA cores: rows lane / 8 + 4 i, columns
/// lane % 8 + 8 j, row by row.
template <class C>
using Sums = float[C::kM * C::kN / kWarp / 4][4];

GPUNN_DEVICE int lane() { return static_cast<int>(threadIdx.x) % kWarp; }
GPUNN_DEVICE int warp() { return static_cast<int>(threadIdx.x) / kWarp; }

/// `count` threads, of which this is number `thread`, copy outer x inner elements to rows of `ld`. `at(o,
/// in)` is where an element lies, null beyond the edges; `any` is some address there. `bytes` (16, 4, or else
/// one element): what may move at a time. Complete after cp_async_wait and a barrier.
template <class T, class At>
GPUNN_DEVICE void copy_rows(T* to, int outer, int inner, int ld, int thread, int count, const T* any,
                            int bytes, At at) {
  const auto pieces = [&](auto width, auto copy) {
    constexpr int kWidth = decltype(width)::value;
    GPUNN_ROLLED
    for (int i = thread; i < outer * (inner / kWidth); i += count) {
      const int o = i / (inner / kWidth), in = i % (inner / kWidth) * kWidth;
      copy(to + o * ld + in, at(o, in));
    }
  };
  constexpr int kSize = static_cast<int>(sizeof(T));
  if (bytes == 16)
    return pieces(std::integral_constant<int, 16 / kSize>{},
                  [any](T* s, const T* g) { ptx::cp_async_16(s, g ? g : any, g != nullptr); });
  if (bytes == 4)
    return pieces(std::integral_constant<int, 4 / kSize>{},
                  [any](T* s, const T* g) { ptx::cp_async_4(s, g ? g : any, g != nullptr); });
  pieces(std::integral_constant<int, 1>{}, [](T* s, const T* g) { *s = g ? *g : from_float<T>(0.0f); });
}

/// A warp's copy of a tile.
template <class T, int kOuter, int kInner, int kLd, class At>
GPUNN_DEVICE void load_tile(T* to, const T* any, int bytes, At at) {
  copy_rows(to, kOuter, kInner, kLd, lane(), kWarp, any, bytes, at);
}

GPUNN_DEVICE void mma(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], BFloat16) {
  ptx::mma_m16n8k16_bf16(d, a, b, d);
}
GPUNN_DEVICE void mma(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], Half) {
  ptx::mma_m16n8k16_f16(d, a, b, d);
}
GPUNN_DEVICE void mma(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], float) {
  ptx::mma_m16n8k8_tf32(d, a, b, d);
}

/// The a fragment of rows m.. and slice columns k.., and b's two registers of columns n..n + 7; `ldb` is the
/// distance of b's rows: [n][k], or across [k][n].
template <class C, bool kAcross>
struct Fragments {
  using T = typename C::T;
  static constexpr int kStepK = C::kHalf ? 16 : 8, kCols = C::kN / 8;

  static GPUNN_DEVICE void load_a(std::uint32_t (&a)[4], const T* tile, int m, int k) {
    if constexpr (C::kHalf) {
      ptx::ldmatrix_x4(a, tile + (m + lane() % 16) * C::kLdK + k + lane() / 16 * 8);
    } else {
      GPUNN_UNROLL
      for (int r = 0; r < 4; ++r)
        a[r] = ptx::cvt_rna_tf32(tile[(m + lane() / 4 + r % 2 * 8) * C::kLdK + k + lane() % 4 + r / 2 * 4]);
    }
  }
  static GPUNN_DEVICE void load_b(std::uint32_t (&b)[kCols][2], const T* tile, int ldb, int k) {
    if constexpr (C::kHalf) {
      const int l = lane();
      GPUNN_UNROLL
      for (int j = 0; j < kCols / 2; ++j) {
        std::uint32_t pair[4];
        if constexpr (kAcross) {
          ptx::ldmatrix_x4_trans(pair, tile + (k + l % 16) * ldb + j * 16 + l / 16 * 8);
        } else {
          ptx::ldmatrix_x4(pair, tile + (j * 16 + l % 8 + l / 16 * 8) * ldb + k + l / 8 % 2 * 8);
        }
        GPUNN_UNROLL
        for (int r = 0; r < 4; ++r) b[j * 2 + r / 2][r % 2] = pair[r];
      }
    } else {
      GPUNN_UNROLL
      for (int j = 0; j < kCols; ++j) {
        GPUNN_UNROLL
        for (int r = 0; r < 2; ++r) {
          const int n = j * 8 + lane() / 4, row = k + lane() % 4 + r * 4;
          b[j][r] = ptx::cvt_rna_tf32(kAcross ? tile[row * ldb + n] : tile[n * ldb + row]);
        }
      }
    }
  }
};

/// sum += a [kM, slice] times b; on tensor cores.
template <class C, bool kAcross>
GPUNN_DEVICE void multiply_tensor(const typename C::T* a, const typename C::T* b, int ldb, Sums<C>& sum) {
  using F = Fragments<C, kAcross>;
  GPUNN_UNROLL
  for (int k = 0; k < C::kSlice; k += F::kStepK) {
    std::uint32_t y[F::kCols][2];
    F::load_b(y, b, ldb, k);
    GPUNN_UNROLL
    for (int i = 0; i < C::kM / 16; ++i) {
      std::uint32_t x[4];
      F::load_a(x, a, i * 16, k);
      GPUNN_UNROLL
      for (int j = 0; j < F::kCols; ++j) mma(sum[i * F::kCols + j], x, y[j], typename C::T{});
    }
  }
}

/// The same on CUDA cores, four k at a time.
template <class C, bool kAcross>
GPUNN_DEVICE void multiply_simt(const float* a, const float* b, int ldb, Sums<C>& sum) {
  constexpr int kCols = C::kN / 8, kStep = 4;
  const int row = lane() / 8, col = lane() % 8;
  GPUNN_UNROLL
  for (int k = 0; k < C::kSlice; k += kStep) {
    Vec<float, kStep> y[kCols];
    GPUNN_UNROLL
    for (int j = 0; j < kCols; ++j) {
      if constexpr (kAcross) {
        GPUNN_UNROLL
        for (int q = 0; q < kStep; ++q) y[j].v[q] = b[(k + q) * ldb + col + 8 * j];
      } else {
        y[j] = load_vec<kStep>(b + (col + 8 * j) * ldb + k);
      }
    }
    GPUNN_UNROLL
    for (int i = 0; i < C::kM / 4; ++i) {
      const Vec<float, kStep> x = load_vec<kStep>(a + (row + 4 * i) * C::kLdK + k);
      GPUNN_UNROLL
      for (int j = 0; j < kCols; ++j) {
        float& s = sum[(i * kCols + j) / 4][(i * kCols + j) % 4];
        GPUNN_UNROLL
        for (int q = 0; q < kStep; ++q) s = fmaf(x.v[q], y[j].v[q], s);
      }
    }
  }
}

template <class C, bool kAcross>
GPUNN_DEVICE void multiply(const typename C::T* a, const typename C::T* b, int ldb, Sums<C>& sum) {
  if constexpr (C::kTensor) {
    multiply_tensor<C, kAcross>(a, b, ldb, sum);
  } else {
    multiply_simt<C, kAcross>(a, b, ldb, sum);
  }
}

/// A warp's share of a sum over K: slices warp, warp + kWarps, ... `load(stage, k)` copies what is needed of
/// slice k.. to a stage of `size` elements, `product(stage, k)` adds it up. `own`: the warp's stages.
template <class C, class Load, class Product>
GPUNN_DEVICE void sum_slices(typename C::T* own, int size, std::int64_t K, Load load, Product product) {
  const std::int64_t stride = std::int64_t{C::kWarps} * C::kSlice;
  std::int64_t next = std::int64_t{warp()} * C::kSlice;  // first k of the next slice to be loaded
  int to = 0, from = 0;
  const auto load_next = [&] {
    if (next < K) load(own + to * size, next);
    ptx::cp_async_commit();
    next += stride;
    to = to + 1 == C::kStages ? 0 : to + 1;
  };
  for (int s = 0; s < C::kStages - 1; ++s) load_next();
  for (std::int64_t k = std::int64_t{warp()} * C::kSlice; k < K; k += stride) {
    ptx::cp_async_wait<C::kStages - 2>();
    __syncwarp();  // the slice has arrived from every lane, and all have read the stage that is loaded next
    load_next();
    product(own + from * size, k);
    from = from + 1 == C::kStages ? 0 : from + 1;
  }
  __syncwarp();  // every slice has arrived and been read: the stages are free
}

/// A lane's sums to the warp's own array [kM, kLdSum].
template <class C>
GPUNN_DEVICE void store_sums(const Sums<C>& sum, float* own) {
  constexpr int kCols = C::kN / 8;
  GPUNN_UNROLL
  for (int e = 0; e < C::kM * C::kN / kWarp; ++e) {
    if constexpr (C::kTensor) {
      const int r = e % 4, j = e / 4 % kCols, i = e / 4 / kCols;
      own[(i * 16 + lane() / 4 + r / 2 * 8) * C::kLdSum + j * 8 + lane() % 4 * 2 + r % 2] = sum[e / 4][r];
    } else {
      own[(lane() / 8 + e / kCols * 4) * C::kLdSum + lane() % 8 + e % kCols * 8] = sum[e / 4][e % 4];
    }
  }
}

/// All warps' sums of an element, in the warps' order. `memory`: the first warp's own bytes; `own_bytes`
/// apart.
template <class C>
GPUNN_DEVICE float total(const unsigned char* memory, int own_bytes, int row, int col) {
  float sum = 0.0f;
  GPUNN_UNROLL
  for (int w = 0; w < C::kWarps; ++w)
    sum += reinterpret_cast<const float*>(memory + w * own_bytes)[row * C::kLdSum + col];
  return sum;
}

}  // namespace gpunn::rnn_product
