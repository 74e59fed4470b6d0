// The ordered lists of implementations, and what describes their problems.
#include "gpunn/core/tuning.h"
#include "gpunn/kernels/common/device_dtype.h"
#include "gpunn/kernels/conv2d/conv2d_impl.h"

namespace gpunn {
namespace {

const Implementation<Conv2dProblem> kForwardEntries[] = {
#if GPUNN_HAS_ONEDNN_HEADERS
    {"onednn", DeviceType::cpu, conv2d_onednn_reason, conv2d_onednn_workspace, Determinism::bitwise,
     conv2d_onednn},
#endif
    {"cpu", DeviceType::cpu, conv2d_cpu_reason, conv2d_cpu_workspace, Determinism::bitwise, conv2d_cpu},
#if GPUNN_HAS_CUDA && !GPUNN_EMULATED
    {"cudnn", DeviceType::cuda, conv2d_cudnn_reason, conv2d_cudnn_workspace, Determinism::bitwise,
     conv2d_cudnn},
#endif
#if GPUNN_HAS_CUDA
    {"depthwise", DeviceType::cuda, conv2d_depthwise_reason, nullptr, Determinism::bitwise,
     conv2d_depthwise_cuda},
    {"direct", DeviceType::cuda, conv2d_direct_reason, nullptr, Determinism::bitwise, conv2d_direct_cuda},
    {"mma", DeviceType::cuda, conv2d_mma_reason, conv2d_cuda_workspace, Determinism::bitwise,
     conv2d_mma_cuda},
    {"simt", DeviceType::cuda, conv2d_simt_reason, conv2d_cuda_workspace, Determinism::bitwise,
     conv2d_simt_cuda},
#endif
    {"ref", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise, conv2d_ref},
};

const Implementation<Conv2dDxProblem> kDxEntries[] = {
#if GPUNN_HAS_ONEDNN_HEADERS
    {"onednn", DeviceType::cpu, conv2d_dx_onednn_reason, conv2d_dx_onednn_workspace, Determinism::bitwise,
     conv2d_dx_onednn},
#endif
    {"cpu", DeviceType::cpu, conv2d_dx_cpu_reason, conv2d_dx_cpu_workspace, Determinism::bitwise,
     conv2d_dx_cpu},
#if GPUNN_HAS_CUDA && !GPUNN_EMULATED
    {"cudnn", DeviceType::cuda, conv2d_dx_cudnn_reason, conv2d_dx_cudnn_workspace, Determinism::bitwise,
     conv2d_dx_cudnn},
#endif
#if GPUNN_HAS_CUDA
    {"depthwise", DeviceType::cuda, conv2d_dx_depthwise_reason, nullptr, Determinism::bitwise,
     conv2d_dx_depthwise_cuda},
    {"mma", DeviceType::cuda, conv2d_dx_mma_reason, conv2d_dx_cuda_workspace, Determinism::bitwise,
     conv2d_dx_mma_cuda},
    {"simt", DeviceType::cuda, conv2d_dx_simt_reason, conv2d_dx_cuda_workspace, Determinism::bitwise,
     conv2d_dx_simt_cuda},
#endif
    {"ref", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise, conv2d_dx_ref},
};

const Implementation<Conv2dDwProblem> kDwEntries[] = {
#if GPUNN_HAS_ONEDNN_HEADERS
    {"onednn", DeviceType::cpu, conv2d_dw_onednn_reason, conv2d_dw_onednn_workspace, Determinism::bitwise,
     conv2d_dw_onednn},
#endif
    {"cpu", DeviceType::cpu, conv2d_dw_cpu_reason, conv2d_dw_cpu_workspace, Determinism::bitwise,
     conv2d_dw_cpu},
#if GPUNN_HAS_CUDA && !GPUNN_EMULATED
    {"cudnn", DeviceType::cuda, conv2d_dw_cudnn_reason, conv2d_dw_cudnn_workspace, Determinism::bitwise,
     conv2d_dw_cudnn},
#endif
#if GPUNN_HAS_CUDA
    {"depthwise", DeviceType::cuda, conv2d_dw_depthwise_reason, conv2d_dw_depthwise_workspace,
     Determinism::bitwise, conv2d_dw_depthwise_cuda},
    {"mma", DeviceType::cuda, conv2d_dw_mma_reason, conv2d_dw_cuda_workspace, Determinism::bitwise,
     conv2d_dw_mma_cuda},
    {"simt", DeviceType::cuda, conv2d_dw_simt_reason, conv2d_dw_cuda_workspace, Determinism::bitwise,
     conv2d_dw_simt_cuda},
#endif
    {"ref", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise, conv2d_dw_ref},
};

const Implementation<ChannelGradProblem> kChannelGradEntries[] = {
    {"cpu", DeviceType::cpu, channel_grad_cpu_reason, channel_grad_cpu_workspace, Determinism::bitwise,
     channel_grad_cpu},
#if GPUNN_HAS_CUDA
    {"cuda", DeviceType::cuda, [](const ChannelGradProblem& p) { return device_dtype_reason(p.dtype); },
     channel_grad_cuda_workspace, Determinism::bitwise, channel_grad_cuda},
#endif
    {"ref", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise, channel_grad_ref},
};

void describe(const Conv2dSizes& s, TuningKey& key) {
  key.add("N", s.N).add("C", s.C).add("H", s.H).add("W", s.W);
  key.add("K", s.K).add("R", s.R).add("S", s.S).add("P", s.P).add("Q", s.Q);
  key.add("stride_h", s.stride_h).add("stride_w", s.stride_w);
  key.add("pad_h", s.pad_h).add("pad_w", s.pad_w);
  key.add("dilation_h", s.dilation_h).add("dilation_w", s.dilation_w);
  key.add("groups", s.groups).add("channels_last", s.channels_last);
}

double product(std::initializer_list<std::int64_t> sizes) {
  double n = 1;
  for (const std::int64_t size : sizes) n *= static_cast<double>(size);
  return n;
}

/// All three read two of x, w and y and write the third, with one multiply-add for each tap of each window
/// (those on the zeros around the picture included).
Cost cost(const Conv2dSizes& s, DType dtype, std::int64_t bias) {
  const double elements = product({s.N, s.C, s.H, s.W}) + product({s.N, s.K, s.P, s.Q}) +
                          product({s.K, s.C / s.groups, s.R, s.S}) + static_cast<double>(bias);
  return {elements * static_cast<double>(size_of(dtype)),
          2 * product({s.N, s.K, s.P, s.Q, s.C / s.groups, s.R, s.S})};
}

}  // namespace

const ImplementationList<Conv2dProblem> kConv2d{"conv2d", "forward", kForwardEntries};
const ImplementationList<Conv2dDxProblem> kConv2dDx{"conv2d_dx", "forward", kDxEntries};
const ImplementationList<Conv2dDwProblem> kConv2dDw{"conv2d_dw", "forward", kDwEntries};
const ImplementationList<ChannelGradProblem> kChannelGrad{"channel_grad", "backward", kChannelGradEntries};

std::vector<Operand> operands(Conv2dProblem& p) {
  return {{"x", const_cast<void**>(&p.x), p.dtype, p.sizes.x_elements(), Role::in},
          {"w", const_cast<void**>(&p.w), p.dtype, p.sizes.w_elements(), Role::in},
          {"bias", const_cast<void**>(&p.bias), p.dtype, p.has_bias ? p.sizes.K : 0, Role::in},
          {"y", &p.y, p.dtype, p.sizes.y_elements(), Role::out}};
}

std::vector<Operand> operands(Conv2dDxProblem& p) {
  return {{"dy", const_cast<void**>(&p.dy), p.dtype, p.sizes.y_elements(), Role::in},
          {"w", const_cast<void**>(&p.w), p.dtype, p.sizes.w_elements(), Role::in},
          {"bias", const_cast<void**>(&p.bias), p.dtype, p.has_bias ? p.sizes.C : 0, Role::in},
          {"dx", &p.dx, p.dtype, p.sizes.x_elements(), Role::out}};
}

std::vector<Operand> operands(Conv2dDwProblem& p) {
  return {{"x", const_cast<void**>(&p.x), p.dtype, p.sizes.x_elements(), Role::in},
          {"dy", const_cast<void**>(&p.dy), p.dtype, p.sizes.y_elements(), Role::in},
          {"dw", &p.dw, p.dtype, p.sizes.w_elements(), Role::out}};
}

std::vector<Operand> operands(ChannelGradProblem& p) {
  const std::int64_t n = p.N * p.K * p.pixels;
  return {{"dy", const_cast<void**>(&p.dy), p.dtype, n, Role::in},
          {"y", const_cast<void**>(&p.y), p.dtype, p.relu ? n : 0, Role::in},
          {"dz", &p.dz, p.dtype, p.relu ? n : 0, Role::out},
          {"db", &p.db, p.dtype, p.want_db ? p.K : 0, Role::out}};
}

Cost cost(const Conv2dProblem& p) { return cost(p.sizes, p.dtype, p.has_bias ? p.sizes.K : 0); }
Cost cost(const Conv2dDxProblem& p) { return cost(p.sizes, p.dtype, p.has_bias ? p.sizes.C : 0); }
Cost cost(const Conv2dDwProblem& p) { return cost(p.sizes, p.dtype, 0); }
Cost cost(const ChannelGradProblem& p) {
  const double n = product({p.N, p.K, p.pixels});
  const double elements = n * (p.relu ? 3 : 1) + (p.want_db ? static_cast<double>(p.K) : 0);
  return {elements * static_cast<double>(size_of(p.dtype)), n * (p.relu + p.want_db)};
}

void describe(const Conv2dProblem& p, TuningKey& key) {
  describe(p.sizes, key);
  key.add("bias", p.has_bias).add("relu", p.relu).add("tf32", p.tf32);
  key.add_alignment({p.x, p.w, p.bias, p.y});
}
void describe(const Conv2dDxProblem& p, TuningKey& key) {
  describe(p.sizes, key);
  key.add("bias", p.has_bias).add("tf32", p.tf32).add_alignment({p.dy, p.w, p.bias, p.dx});
}
void describe(const Conv2dDwProblem& p, TuningKey& key) {
  describe(p.sizes, key);
  key.add("tf32", p.tf32).add_alignment({p.x, p.dy, p.dw});
}

}  // namespace gpunn
