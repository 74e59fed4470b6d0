// f32 goes straight into the CPU's matrix product; halves are widened into the workspace first.
#include <algorithm>

#include "gpunn/core/cpu_pool.h"
#include "gpunn/kernels/matmul/gemm_impl.h"
#include "gpunn/kernels/matmul/matmul_impl.h"

namespace gpunn {

GemmArgs matmul_gemm_args(const MatmulProblem& p) {
  GemmArgs g;
  g.M = p.M, g.N = p.N, g.K = p.K, g.batch = p.batch;
  g.a = static_cast<const float*>(p.a), g.lda = p.lda, g.a_batch = p.a_batch, g.trans_a = p.trans_a;
  g.b = static_cast<const float*>(p.b), g.ldb = p.ldb, g.b_batch = p.b_batch, g.trans_b = p.trans_b;
  g.c = static_cast<float*>(p.c), g.ldc = p.ldc, g.c_batch = p.c_batch;
  g.bias = p.has_bias ? static_cast<const float*>(p.bias) : nullptr;
  g.residual = p.has_residual ? static_cast<const float*>(p.residual) : nullptr;
  g.ldr = p.ldr, g.r_batch = p.r_batch;
  g.pre = p.save_pre ? static_cast<float*>(p.pre) : nullptr;
  g.activation = p.activation;
  g.accumulate = p.accumulate;
  return g;
}

namespace {

constexpr std::int64_t kConvertGrain = 1 << 14;

// Where the widened operands lie in the workspace, in floats, each on a cache line.
struct Layout {
  std::int64_t a = 0, b = 0, bias = 0, residual = 0, pre = 0, c = 0, gemm = 0;
};

Layout layout_of(const MatmulProblem& p) {
  const auto after = [](std::int64_t offset, std::int64_t count) { return offset + (count + 15) / 16 * 16; };
  Layout l;
  if (p.dtype == DType::f32) return l;
  l.b = after(l.a, extent_a(p));
  l.bias = after(l.b, extent_b(p));
  l.residual = after(l.bias, p.has_bias ? p.N : 0);
  l.pre = after(l.residual, extent_residual(p));
  l.c = after(l.pre, p.save_pre ? extent_c(p) : 0);
  l.gemm = after(l.c, extent_c(p));
  return l;
}

template <class From, class To>
void convert(CpuPool& pool, const void* from, void* to, std::int64_t count) {
  const auto* in = static_cast<const From*>(from);
  auto* out = static_cast<To*>(to);
  parallel_for(pool, count, kConvertGrain, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) out[i] = static_cast<To>(static_cast<float>(in[i]));
  });
}

// Rounds the rows of c or pre only: what lies between them belongs to others.
template <class T>
void store_rows(const MatmulProblem& p, const float* from, void* to, CpuPool& pool) {
  auto* const c = static_cast<T*>(to);
  const std::int64_t grain = std::max<std::int64_t>(1, kConvertGrain / p.N);
  parallel_for(pool, p.batch * p.M, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      const std::int64_t at = r / p.M * p.c_batch + r % p.M * p.ldc;
      for (std::int64_t n = 0; n < p.N; ++n) c[at + n] = T(from[at + n]);
    }
  });
}

template <class T>
void widened(const MatmulProblem& p, const Exec& exec) {
  auto* const floats = static_cast<float*>(exec.workspace);
  const Layout l = layout_of(p);
  CpuPool& pool = *exec.pool;
  convert<T, float>(pool, p.a, floats + l.a, extent_a(p));
  convert<T, float>(pool, p.b, floats + l.b, extent_b(p));
  if (p.has_bias) convert<T, float>(pool, p.bias, floats + l.bias, p.N);
  if (p.has_residual) convert<T, float>(pool, p.residual, floats + l.residual, extent_residual(p));
  if (p.accumulate) convert<T, float>(pool, p.c, floats + l.c, extent_c(p));
  MatmulProblem wide = p;
  wide.dtype = DType::f32;
  wide.a = floats + l.a, wide.b = floats + l.b, wide.bias = floats + l.bias, wide.c = floats + l.c;
  wide.residual = floats + l.residual, wide.pre = floats + l.pre;
  gemm_cpu(matmul_gemm_args(wide), floats + l.gemm, pool);
  store_rows<T>(p, floats + l.c, p.c, pool);
  if (p.save_pre) store_rows<T>(p, floats + l.pre, p.pre, pool);
}

}  // namespace

std::size_t matmul_cpu_workspace(const MatmulProblem& p) {
  return static_cast<std::size_t>(layout_of(p).gemm) * sizeof(float) +
         gemm_cpu_workspace(matmul_gemm_args(p));
}

void matmul_cpu(const MatmulProblem& p, const Exec& exec) {
  if (p.batch == 0 || p.M == 0 || p.N == 0) return;
  switch (p.dtype) {
    case DType::f16:
      return widened<Half>(p, exec);
    case DType::bf16:
      return widened<BFloat16>(p, exec);
    default:
      return gemm_cpu(matmul_gemm_args(p), exec.workspace, *exec.pool);
  }
}

}  // namespace gpunn
