// oneDNN's f32 product, opened at run time. It is called single-threaded, once per block of rows, from our
// pool: its own threading changes bits with the number of threads. dnnl_sgemm knows no post-ops, and its
// matmul primitive could not give the preactivation as a second result, so the epilogue is ours, on rows that
// are still in the cache.
#include <oneapi/dnnl/dnnl.h>

#include <algorithm>

#include "gpunn/core/cpu_pool.h"
#include "gpunn/core/error.h"
#include "gpunn/kernels/common/onednn_impl.h"
#include "gpunn/kernels/matmul/gemm_impl.h"
#include "gpunn/kernels/matmul/matmul_impl.h"

namespace gpunn {
namespace {

constexpr std::int64_t kBlockRows = 64;
constexpr double kBlockFlops = 4e6;

decltype(&dnnl_sgemm) sgemm() {
  static const auto found = [] {
    decltype(&dnnl_sgemm) f = nullptr;
    find_onednn("dnnl_sgemm", f);
    return f;
  }();
  return found;
}

void run_rows(const MatmulProblem& p, std::int64_t i, std::int64_t m0, std::int64_t rows) {
  const auto* a = static_cast<const float*>(p.a) + i * p.a_batch + (p.trans_a ? m0 : m0 * p.lda);
  const auto* b = static_cast<const float*>(p.b) + i * p.b_batch;
  const auto* bias = static_cast<const float*>(p.bias);
  auto* c = static_cast<float*>(p.c) + i * p.c_batch + m0 * p.ldc;
  for (std::int64_t m = 0; p.has_bias && m < rows; ++m)
    for (std::int64_t n = 0; n < p.N; ++n)
      c[m * p.ldc + n] = (p.accumulate ? c[m * p.ldc + n] : 0.0f) + bias[n];
  const float beta = p.has_bias || p.accumulate ? 1.0f : 0.0f;
  const dnnl_status_t status = sgemm()(p.trans_a ? 'T' : 'N', p.trans_b ? 'T' : 'N', rows, p.N, p.K, 1.0f, a,
                                       p.lda, b, p.ldb, beta, c, p.ldc);
  if (status != dnnl_success)
    throw Error(detail::concat("dnnl_sgemm failed with status ", static_cast<int>(status)));
  detail::gemm_finish(matmul_gemm_args(p), i, m0, 0, rows, p.N, p.activation);
}

}  // namespace

const char* matmul_onednn_reason(const MatmulProblem& p) {
  if (p.dtype != DType::f32) return "takes f32";
  if (p.K == 0) return "takes K > 0";
  return sgemm() ? nullptr : "needs libdnnl.so.2, which could not be opened";
}

void matmul_onednn(const MatmulProblem& p, const Exec& exec) {
  if (p.batch == 0 || p.M == 0 || p.N == 0) return;
  const double row_flops = 2 * static_cast<double>(p.N) * static_cast<double>(p.K);
  const std::int64_t wanted = static_cast<std::int64_t>(kBlockFlops / row_flops) + 1;
  const std::int64_t rows = std::min(p.M, (wanted + kBlockRows - 1) / kBlockRows * kBlockRows);
  const std::int64_t blocks = (p.M + rows - 1) / rows;
  exec.pool->run(p.batch * blocks, [&](std::int64_t chunk) {
    const OneOnednnThread scope;
    const std::int64_t m0 = chunk % blocks * rows;
    run_rows(p, chunk / blocks, m0, std::min(rows, p.M - m0));
  });
}

}  // namespace gpunn
