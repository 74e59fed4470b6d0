// The ordered lists of implementations, and what describes their problems.
#include "gpunn/kernels/common/device_dtype.h"
#include "gpunn/kernels/matmul/matmul_impl.h"

namespace gpunn {
namespace {

// oneDNN stands behind ours: on the shapes of small networks ours is as fast or faster on one thread (batch
// 64, layers 784-256-128-64-10, forward and both gradients: 1.0 to 1.8 times), on squares of 512 and 1024
// oneDNN is 3 to 5 % faster, which does not pay for bits that differ between a machine that has it and one
// that has not. NOTES.md has the table.
const Implementation<MatmulProblem> kMatmulEntries[] = {
#if GPUNN_HAS_CUDA && !GPUNN_EMULATED
    {"cublaslt", DeviceType::cuda, matmul_cublaslt_reason, matmul_cublaslt_workspace, Determinism::bitwise,
     matmul_cublaslt},
#endif
#if GPUNN_HAS_CUDA
    {"mma", DeviceType::cuda,
     [](const MatmulProblem& p) -> const char* {
       if (p.dtype == DType::f32 && !p.tf32) return "takes f32 only where TF32 is allowed";
       return device_dtype_reason(p.dtype);
     },
     matmul_split_workspace, Determinism::bitwise, matmul_mma_cuda},
    {"simt", DeviceType::cuda,
     [](const MatmulProblem& p) -> const char* { return p.dtype == DType::f32 ? nullptr : "takes f32"; },
     matmul_split_workspace, Determinism::bitwise, matmul_simt_cuda},
#endif
    {"cpu", DeviceType::cpu, [](const MatmulProblem& p) { return device_dtype_reason(p.dtype); },
     matmul_cpu_workspace, Determinism::bitwise, matmul_cpu},
#if GPUNN_HAS_ONEDNN_HEADERS
    {"onednn", DeviceType::cpu, matmul_onednn_reason, nullptr, Determinism::bitwise, matmul_onednn},
#endif
    {"ref", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise, matmul_ref},
};

const Implementation<BiasGradProblem> kBiasGradEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", DeviceType::cuda, [](const BiasGradProblem& p) { return device_dtype_reason(p.dtype); },
     bias_grad_cuda_workspace, Determinism::bitwise, bias_grad_cuda},
#endif
    {"cpu", DeviceType::cpu,
     [](const BiasGradProblem& p) -> const char* { return p.dtype == DType::f32 ? nullptr : "takes f32"; },
     bias_grad_cpu_workspace, Determinism::bitwise, bias_grad_cpu},
    {"ref", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise, bias_grad_ref},
};

}  // namespace

const ImplementationList<MatmulProblem> kMatmul{"matmul", "forward", kMatmulEntries};
const ImplementationList<BiasGradProblem> kBiasGrad{"bias_grad", "backward", kBiasGradEntries};

std::vector<Operand> operands(MatmulProblem& p) {
  return {{"a", const_cast<void**>(&p.a), p.dtype, extent_a(p), Role::in},
          {"b", const_cast<void**>(&p.b), p.dtype, extent_b(p), Role::in},
          {"bias", const_cast<void**>(&p.bias), p.dtype, p.has_bias ? p.N : 0, Role::in},
          {"residual", const_cast<void**>(&p.residual), p.dtype, extent_residual(p), Role::in},
          {"c", &p.c, p.dtype, extent_c(p), p.accumulate ? Role::inout : Role::out},
          {"pre", &p.pre, p.dtype, p.save_pre ? extent_c(p) : 0, Role::out}};
}

std::vector<Operand> operands(BiasGradProblem& p) {
  const std::int64_t n = p.rows * p.cols;
  return {{"dy", const_cast<void**>(&p.dy), p.dtype, n, Role::in},
          {"y", const_cast<void**>(&p.y), p.dtype, p.activation == Activation::none || p.from_pre ? 0 : n,
           Role::in},
          {"pre", const_cast<void**>(&p.pre), p.dtype, p.from_pre ? n : 0, Role::in},
          {"dz", &p.dz, p.dtype, p.want_dz ? n : 0, Role::out},
          {"db", &p.db, p.dtype, p.want_db ? p.cols : 0, Role::out}};
}

// A broadcast matrix counts once.
Cost cost(const MatmulProblem& p) {
  const double M = static_cast<double>(p.M), N = static_cast<double>(p.N), K = static_cast<double>(p.K);
  const double batch = static_cast<double>(p.batch);
  const double elements = (p.a_batch ? batch : 1) * M * K + (p.b_batch ? batch : 1) * K * N +
                          (p.has_bias ? N : 0) + (p.has_residual ? (p.r_batch ? batch : 1) * M * N : 0) +
                          (1 + p.accumulate + p.save_pre) * batch * M * N;
  return {elements * static_cast<double>(size_of(p.dtype)), 2 * batch * M * N * K};
}

Cost cost(const BiasGradProblem& p) {
  const double n = static_cast<double>(p.rows) * static_cast<double>(p.cols);
  const double passes = 1 + (p.activation != Activation::none) + p.want_dz;
  const double elements = n * passes + (p.want_db ? static_cast<double>(p.cols) : 0);
  return {elements * static_cast<double>(size_of(p.dtype)), n * (p.activation == Activation::none ? 1 : 3)};
}

}  // namespace gpunn
