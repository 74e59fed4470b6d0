// Implementation lists, operands and costs of the normalisations.
#include "gpunn/kernels/norm/norm.h"

#include "gpunn/kernels/common/device_dtype.h"
#include "gpunn/kernels/norm/norm_impl.h"

namespace gpunn {
namespace {

template <class P>
const char* accepts_cpu(const P& p) {
  return p.dtype == DType::f32 ? nullptr : "takes f32";
}
#if GPUNN_HAS_CUDA
template <class P>
const char* accepts_cuda(const P& p) {
  return device_dtype_reason(p.dtype);
}
#endif

const Implementation<BatchNormProblem> kBatchForwardEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", DeviceType::cuda, accepts_cuda<BatchNormProblem>, batch_norm_fwd_cuda_workspace,
     Determinism::bitwise, batch_norm_fwd_cuda},
#endif
    {"cpu", DeviceType::cpu, accepts_cpu<BatchNormProblem>, batch_norm_fwd_cpu_workspace,
     Determinism::bitwise, batch_norm_fwd_cpu},
    {"ref", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise, batch_norm_fwd_ref},
};

const Implementation<BatchNormBackwardProblem> kBatchBackwardEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", DeviceType::cuda, accepts_cuda<BatchNormBackwardProblem>, batch_norm_bwd_cuda_workspace,
     Determinism::bitwise, batch_norm_bwd_cuda},
#endif
    {"cpu", DeviceType::cpu, accepts_cpu<BatchNormBackwardProblem>, batch_norm_bwd_cpu_workspace,
     Determinism::bitwise, batch_norm_bwd_cpu},
    {"ref", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise, batch_norm_bwd_ref},
};

const Implementation<RowNormProblem> kRowForwardEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", DeviceType::cuda, accepts_cuda<RowNormProblem>, nullptr, Determinism::bitwise,
     row_norm_fwd_cuda},
#endif
    {"cpu", DeviceType::cpu, accepts_cpu<RowNormProblem>, nullptr, Determinism::bitwise, row_norm_fwd_cpu},
    {"ref", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise, row_norm_fwd_ref},
};

const Implementation<RowNormBackwardProblem> kRowBackwardEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", DeviceType::cuda, accepts_cuda<RowNormBackwardProblem>, row_norm_bwd_cuda_workspace,
     Determinism::bitwise, row_norm_bwd_cuda},
#endif
    {"cpu", DeviceType::cpu, accepts_cpu<RowNormBackwardProblem>, row_norm_bwd_cpu_workspace,
     Determinism::bitwise, row_norm_bwd_cpu},
    {"ref", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise, row_norm_bwd_ref},
};

Operand in(const char* name, const void*& pointer, DType dtype, std::int64_t n, bool there = true) {
  return {name, const_cast<void**>(&pointer), dtype, there ? n : 0, Role::in};
}
Operand out(const char* name, void*& pointer, DType dtype, std::int64_t n, bool there = true) {
  return {name, &pointer, dtype, there ? n : 0, Role::out};
}

double bytes(std::int64_t elements, DType dtype) {
  return static_cast<double>(elements) * static_cast<double>(size_of(dtype));
}

}  // namespace

const ImplementationList<BatchNormProblem> kBatchNormForward{"batch_norm", "forward", kBatchForwardEntries};
const ImplementationList<BatchNormBackwardProblem> kBatchNormBackward{"batch_norm", "backward",
                                                                      kBatchBackwardEntries};
const ImplementationList<RowNormProblem> kRowNormForward{"row_norm", "forward", kRowForwardEntries};
const ImplementationList<RowNormBackwardProblem> kRowNormBackward{"row_norm", "backward",
                                                                  kRowBackwardEntries};

std::vector<Operand> operands(BatchNormProblem& p) {
  const DType acc = accumulator_of(p.dtype), wide = weight_dtype(p);
  const std::int64_t n = p.sizes.elements(), C = p.sizes.C;
  const Role running = p.training ? Role::inout : Role::in;
  return {in("x", p.x, p.dtype, n),
          in("weight", p.weight, wide, C, p.has_weight),
          in("bias", p.bias, wide, C, p.has_bias),
          in("residual", p.residual, p.dtype, n, p.has_residual),
          {"running_mean", &p.running_mean, wide, p.has_running ? C : 0, running},
          {"running_var", &p.running_var, wide, p.has_running ? C : 0, running},
          out("y", p.y, p.dtype, n),
          out("mean", p.mean, acc, C, p.save),
          out("rstd", p.rstd, acc, C, p.save)};
}

std::vector<Operand> operands(BatchNormBackwardProblem& p) {
  const DType acc = accumulator_of(p.dtype), wide = weight_dtype(p);
  const std::int64_t n = p.sizes.elements(), C = p.sizes.C;
  return {in("x", p.x, p.dtype, n),
          in("y", p.y, p.dtype, n, p.relu),
          in("dy", p.dy, p.dtype, n),
          in("weight", p.weight, wide, C, p.has_weight),
          in("mean", p.mean, acc, C),
          in("rstd", p.rstd, acc, C),
          out("dx", p.dx, p.dtype, n),
          out("dz", p.dz, p.dtype, n, p.want_dz),
          out("dw", p.dw, wide, C, p.want_dw),
          out("db", p.db, wide, C, p.want_dw)};
}

std::vector<Operand> operands(RowNormProblem& p) {
  const DType acc = accumulator_of(p.dtype), wide = weight_dtype(p);
  const NormRows& s = p.sizes;
  return {in("x", p.x, p.dtype, s.elements()),
          in("weight", p.weight, wide, s.channels(), p.has_weight),
          in("bias", p.bias, wide, s.channels(), p.has_bias),
          out("y", p.y, p.dtype, s.elements()),
          out("mean", p.mean, acc, s.rows, p.save && !p.rms),
          out("rstd", p.rstd, acc, s.rows, p.save)};
}

std::vector<Operand> operands(RowNormBackwardProblem& p) {
  const DType acc = accumulator_of(p.dtype), wide = weight_dtype(p);
  const NormRows& s = p.sizes;
  return {in("x", p.x, p.dtype, s.elements()),
          in("dy", p.dy, p.dtype, s.elements()),
          in("weight", p.weight, wide, s.channels(), p.has_weight),
          in("mean", p.mean, acc, s.rows, !p.rms),
          in("rstd", p.rstd, acc, s.rows),
          out("dx", p.dx, p.dtype, s.elements()),
          out("dw", p.dw, wide, s.channels(), p.want_dw),
          out("db", p.db, wide, s.channels(), p.want_db)};
}

// What a batch is normalised with is known only once all of it was read: x counts twice, as do x, dy and y in
// backward. Rows are short enough to be read once.
Cost cost(const BatchNormProblem& p) {
  const std::int64_t n = p.sizes.elements();
  const std::int64_t passes = (p.training ? 2 : 1) + (p.has_residual ? 1 : 0) + 1;
  return {bytes(passes * n, p.dtype), (p.training ? 8.0 : 3.0) * static_cast<double>(n)};
}

Cost cost(const BatchNormBackwardProblem& p) {
  const std::int64_t n = p.sizes.elements();
  const std::int64_t reads = p.relu ? 3 : 2;
  return {bytes(((p.training ? 2 : 1) * reads + 1 + (p.want_dz ? 1 : 0)) * n, p.dtype),
          10.0 * static_cast<double>(n)};
}

Cost cost(const RowNormProblem& p) {
  const std::int64_t n = p.sizes.elements();
  return {bytes(2 * n, p.dtype), 8.0 * static_cast<double>(n)};
}

Cost cost(const RowNormBackwardProblem& p) {
  const std::int64_t n = p.sizes.elements();
  return {bytes(3 * n, p.dtype), 12.0 * static_cast<double>(n)};
}

}  // namespace gpunn
