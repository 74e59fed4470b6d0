#pragma once
// Problems and entry points of the matrix product and of linear's bias and activation gradients.
#include <cstddef>
#include <cstdint>
#include <vector>

#include "gpunn/core/implementation.h"
#include "gpunn/kernels/matmul/activation.h"

namespace gpunn {

class TuningKey;

/// c[i] = activation(pre[i]) + residual[i] with pre[i] = a[i] b[i] + bias, or with `accumulate` pre[i] = c[i]
/// + a[i] b[i] + bias, for i in [0, batch). Every matrix is row-major with a leading dimension, or the
/// transpose of one.
struct MatmulProblem {
  DType dtype;
  const void* a;         // element (m, k) of a matrix at m * lda + k, with trans_a at k * lda + m
  const void* b;         // element (k, n) at k * ldb + n, with trans_b at n * ldb + k
  const void* bias;      // [N], only when has_bias
  const void* residual;  // element (m, n) at m * ldr + n, only when has_residual
  void* c;               // element (m, n) at m * ldc + n; overlaps nothing else
  void* pre;             // laid out like c, only when save_pre; rounded, while c comes from the exact value
  std::int64_t M, N, K, batch;
  std::int64_t lda, ldb, ldc, ldr;                  // at least the extent along which elements are adjacent
  std::int64_t a_batch, b_batch, c_batch, r_batch;  // from matrix to matrix; 0 (not for c): always the same
  bool trans_a, trans_b;
  bool has_bias, has_residual;
  bool save_pre;
  bool accumulate;
  bool tf32;  // f32 operands may be rounded to TF32
  Activation activation;
};

/// Through linear's epilogue: dz = dy * activation'(z) and db = column sums of dz. The slope is computed from
/// what the activation returned (y), or with `from_pre` from what it was given; GELU needs the latter.
struct BiasGradProblem {
  DType dtype;
  const void* dy;   // [rows, cols]
  const void* y;    // [rows, cols], only with an activation and without from_pre
  const void* pre;  // [rows, cols], only with from_pre
  void* dz;         // [rows, cols], only when want_dz; may be dy
  void* db;         // [cols], only when want_db
  std::int64_t rows, cols;
  Activation activation;
  bool from_pre;
  bool want_dz, want_db;
};

std::vector<Operand> operands(MatmulProblem& p);
std::vector<Operand> operands(BiasGradProblem& p);
Cost cost(const MatmulProblem& p);
Cost cost(const BiasGradProblem& p);
/// What the speed of a product depends on, for Tuned.
void describe(const MatmulProblem& p, TuningKey& key);

extern const ImplementationList<MatmulProblem> kMatmul;
extern const ImplementationList<BiasGradProblem> kBiasGrad;

/// Elements from the first to the last of `batch` matrices of `rows` rows of `cols` adjacent elements; 0 for
/// none.
constexpr std::int64_t matrix_extent(std::int64_t batch, std::int64_t stride, std::int64_t rows,
                                     std::int64_t ld, std::int64_t cols) {
  return batch == 0 || rows == 0 || cols == 0 ? 0 : (batch - 1) * stride + (rows - 1) * ld + cols;
}
constexpr std::int64_t extent_a(const MatmulProblem& p) {
  return matrix_extent(p.batch, p.a_batch, p.trans_a ? p.K : p.M, p.lda, p.trans_a ? p.M : p.K);
}
constexpr std::int64_t extent_b(const MatmulProblem& p) {
  return matrix_extent(p.batch, p.b_batch, p.trans_b ? p.N : p.K, p.ldb, p.trans_b ? p.K : p.N);
}
constexpr std::int64_t extent_c(const MatmulProblem& p) {
  return matrix_extent(p.batch, p.c_batch, p.M, p.ldc, p.N);
}
constexpr std::int64_t extent_residual(const MatmulProblem& p) {
  return p.has_residual ? matrix_extent(p.batch, p.r_batch, p.M, p.ldr, p.N) : 0;
}

/// Does the slope of an activation need the preactivation?
constexpr bool needs_pre(Activation activation) {
  return activation == Activation::gelu || activation == Activation::gelu_tanh;
}

/// How the GPU's kernels cut k: `count` pieces of `k` (the last may be shorter). One piece unless the tiles
/// of 64 x 64 leave half of 132 multiprocessors idle and k is long. Depends on sizes alone.
struct SplitK {
  std::int64_t count, k;
};
constexpr SplitK split_k(const MatmulProblem& p) {
  constexpr std::int64_t kTile = 64, kWanted = 264, kLeastK = 256, kMost = 32;
  const std::int64_t tiles = (p.M + kTile - 1) / kTile * ((p.N + kTile - 1) / kTile) * p.batch;
  if (tiles == 0 || tiles > kWanted / 4 || p.K < 4 * kLeastK) return {1, p.K};
  std::int64_t count = kWanted / tiles;
  if (count > p.K / kLeastK) count = p.K / kLeastK;
  if (count > kMost) count = kMost;
  const std::int64_t k = ((p.K + count - 1) / count + 31) / 32 * 32;  // whole steps of every kernel
  return {(p.K + k - 1) / k, k};
}

// Any floating dtype, host memory.
void matmul_ref(const MatmulProblem& p, const Exec& exec);
void bias_grad_ref(const BiasGradProblem& p, const Exec& exec);
// f32, f16, bf16, host memory; the halves are widened to f32, multiplied and rounded once.
std::size_t matmul_cpu_workspace(const MatmulProblem& p);
void matmul_cpu(const MatmulProblem& p, const Exec& exec);
std::size_t bias_grad_cpu_workspace(const BiasGradProblem& p);
void bias_grad_cpu(const BiasGradProblem& p, const Exec& exec);
// f32, host memory, oneDNN opened at run time; one single-threaded call per block of rows.
const char* matmul_onednn_reason(const MatmulProblem& p);
void matmul_onednn(const MatmulProblem& p, const Exec& exec);
// Room for the partial sums of split_k's pieces: [pieces, batch, M, N] in f32, none for one piece.
std::size_t matmul_split_workspace(const MatmulProblem& p);
// Adds the pieces' sums in order and applies the epilogue; f32, f16, bf16.
void matmul_sum_pieces_cuda(const MatmulProblem& p, const float* partial, const Exec& exec);
// f32, device memory: shared-memory tiles, one multiply-add per element and k on the CUDA cores.
void matmul_simt_cuda(const MatmulProblem& p, const Exec& exec);
// f16 and bf16, and f32 rounded to TF32, device memory: tensor cores (mma.sync, sm_80), f32 accumulation.
void matmul_mma_cuda(const MatmulProblem& p, const Exec& exec);
// f32, f16, bf16, device memory.
std::size_t bias_grad_cuda_workspace(const BiasGradProblem& p);
void bias_grad_cuda(const BiasGradProblem& p, const Exec& exec);
// f32, f16, bf16, device memory, cuBLASLt opened at run time.
const char* matmul_cublaslt_reason(const MatmulProblem& p);
std::size_t matmul_cublaslt_workspace(const MatmulProblem& p);
void matmul_cublaslt(const MatmulProblem& p, const Exec& exec);

}  // namespace gpunn
