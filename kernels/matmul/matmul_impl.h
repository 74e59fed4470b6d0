#pragma once
// Problems and entry points of the matrix product and of linear's bias and activation gradients.
#include <cstddef>
#include <cstdint>
#include <vector>

#include "gpunn/core/implementation.h"
#include "gpunn/kernels/matmul/activation.h"

namespace gpunn {

/// c[i] = activation(a[i] b[i] + bias), or with `accumulate` activation(c[i] + a[i] b[i] + bias), for i in
/// [0, batch). Every matrix is row-major with a leading dimension, or the transpose of one.
struct MatmulProblem {
  DType dtype;
  const void* a;     // element (m, k) of a matrix at m * lda + k, with trans_a at k * lda + m
  const void* b;     // element (k, n) at k * ldb + n, with trans_b at n * ldb + k
  const void* bias;  // [N], only when has_bias
  void* c;           // element (m, n) at m * ldc + n; overlaps nothing else
  std::int64_t M, N, K, batch;
  std::int64_t lda, ldb, ldc;              // at least the extent along which elements are adjacent
  std::int64_t a_batch, b_batch, c_batch;  // from matrix to matrix; 0 (not for c): the same one every time
  bool trans_a, trans_b;
  bool has_bias;
  bool accumulate;
  bool tf32;  // f32 operands may be rounded to TF32
  Activation activation;
};

/// Through linear's epilogue: dz = dy * activation'(y) and db = column sums of dz.
struct BiasGradProblem {
  DType dtype;
  const void* dy;  // [rows, cols]
  const void* y;   // [rows, cols], what forward returned; only with an activation
  void* dz;        // [rows, cols], only when want_dz; may be dy
  void* db;        // [cols], only when want_db
  std::int64_t rows, cols;
  Activation activation;
  bool want_dz, want_db;
};

std::vector<Operand> operands(MatmulProblem& p);
std::vector<Operand> operands(BiasGradProblem& p);
Cost cost(const MatmulProblem& p);
Cost cost(const BiasGradProblem& p);

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
