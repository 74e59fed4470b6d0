#pragma once
// The CPU's f32 product of matrices, for matmul and for ops built on it (recurrent layers, convolution).
//
// An element is its start value (bias or what c holds) plus the products in ascending k, one fused
// multiply-add each, whatever the tiling: results depend neither on the number of threads nor on tile sizes.
// (Products of few rows or columns, both operands contiguous along k, are summed by vector lanes instead,
// also in a fixed order. Few elements of a long k are summed in pieces of k, whose number depends on sizes
// only, and the pieces' sums are added in order: gemm_split.cpp.)
//
// Source of the method: Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication", 2008, and
// Van Zee and van de Geijn, "BLIS", 2015, changed for small matrices: see NOTES.md.
#include <cstddef>
#include <cstdint>

#include "gpunn/kernels/matmul/activation.h"

namespace gpunn {

class CpuPool;
struct MatmulProblem;

/// c[i] = activation(start + a[i] b[i]) + residual[i] for i in [0, batch); start is bias and, when
/// accumulating, the old c.
struct GemmArgs {
  std::int64_t M = 0, N = 0, K = 0, batch = 1;
  const float* a = nullptr;  // element (m, k) at a[m * lda + k], transposed: a[k * lda + m]
  std::int64_t lda = 0, a_batch = 0;
  bool trans_a = false;
  const float* b = nullptr;  // element (k, n) at b[k * ldb + n], transposed: b[n * ldb + k]
  std::int64_t ldb = 0, b_batch = 0;
  bool trans_b = false;
  float* c = nullptr;  // element (m, n) at c[m * ldc + n]; must not overlap a, b or bias
  std::int64_t ldc = 0, c_batch = 0;
  const float* bias = nullptr;      // [N] or null
  const float* residual = nullptr;  // element (m, n) at residual[m * ldr + n], or null
  std::int64_t ldr = 0, r_batch = 0;
  float* pre = nullptr;  // becomes what the activation is applied to, laid out like c, unless null
  Activation activation = Activation::none;
  bool accumulate = false;
};

/// An f32 problem's arguments.
GemmArgs matmul_gemm_args(const MatmulProblem& p);

/// Bytes of scratch memory that gemm_cpu wants for `args`.
std::size_t gemm_cpu_workspace(const GemmArgs& args);
/// Runs the product on `pool`; `workspace` is aligned to 64 bytes and may be null when nothing is wanted.
void gemm_cpu(const GemmArgs& args, void* workspace, CpuPool& pool);

namespace detail {

/// The same without cutting k; on the calling thread when `pool` is null, with the bits of any pool.
std::size_t gemm_whole_workspace(const GemmArgs& args);
void gemm_whole(const GemmArgs& args, void* workspace, CpuPool* pool);
/// Chunks of one product that gemm_whole could hand to threads; depends on sizes only.
std::int64_t gemm_whole_chunks(const GemmArgs& args);
/// The end of rows [m, m + rows) and columns [n, n + cols) of matrix `i` of c, which hold their sums: pre,
/// activation, residual.
void gemm_finish(const GemmArgs& args, std::int64_t i, std::int64_t m, std::int64_t n, std::int64_t rows,
                 std::int64_t cols, Activation activation);

inline constexpr int kGemmMaxVectors = 4;
inline constexpr int kGemmMaxRows = 8;
inline constexpr int kDotSide = 4;

/// One call of a micro-kernel: c[rows, vectors * lanes] from a "row" operand whose elements are broadcast and
/// a "column" operand that is read by vectors.
struct GemmTile {
  const float*
      rows;  // element (r, k) at rows[r * row_stride + k], or rows[k * row_stride + r] in a row_unit kernel
  std::int64_t row_stride;
  const float* columns;  // element (k, n) at columns[k * column_stride + n]; whole vectors are read
  std::int64_t column_stride;
  std::int64_t K;
  float* c;
  std::int64_t ldc;
  const float* start;  // the sums start from start[r * start_ld + n] (may be c; start_ld 0 for a bias), from
                       // 0 when null
  std::int64_t start_ld;
  bool relu;  // applied to the sums
};

/// The code for one SIMD target.
struct GemmKernels {
  const char* target;
  int lanes;
  int max_vectors;                                                          // of a tile
  int max_rows[kGemmMaxVectors + 1];                                        // of a tile, by its vectors
  void (*tile[2][kGemmMaxVectors + 1][kGemmMaxRows + 1])(const GemmTile&);  // [row_unit][vectors][rows]
  /// to[c * to_ld + r] = from[r * from_ld + c] for `rows` x `cols` of `from`; columns rows..width of `to`
  /// become zero
  void (*transpose)(const float* from, std::int64_t from_ld, std::int64_t rows, std::int64_t cols, float* to,
                    std::int64_t to_ld, std::int64_t width);
  /// out[r * kDotSide + s] = sum over k of x[r * x_ld + k] * y[s * y_ld + k] for s < side <= kDotSide
  void (*dot)(const float* x, std::int64_t x_ld, std::int64_t rows, const float* y, std::int64_t y_ld,
              int side, std::int64_t K, float* out);
  /// to[rows, cols] = from[rows, cols]
  void (*copy)(const float* from, std::int64_t from_ld, std::int64_t rows, std::int64_t cols, float* to,
               std::int64_t to_ld);
  /// to[rows, cols] += from[rows, cols]
  void (*add)(const float* from, std::int64_t from_ld, std::int64_t rows, std::int64_t cols, float* to,
              std::int64_t to_ld);
  /// c[rows, cols] = activation(c)
  void (*activate)(float* c, std::int64_t ldc, std::int64_t rows, std::int64_t cols, Activation activation);
};

/// Those of the best target this machine has.
const GemmKernels& gemm_kernels();
/// Tests: those of the target that Highway is set to; others are used from now on (null: the best again).
GemmKernels make_gemm_kernels();
void replace_gemm_kernels(const GemmKernels* kernels);

}  // namespace detail
}  // namespace gpunn
