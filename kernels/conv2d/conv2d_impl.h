#pragma once
// Problems and entry points of the convolution and its derivatives.
#include <cstddef>
#include <cstdint>
#include <vector>

#include "gpunn/core/implementation.h"

namespace gpunn {

class TuningKey;

/// Sizes shared by the three problems. Element (n, c, h, w) of a picture is at
/// ((n C + c) H + h) W + w, in channels-last order at ((n H + h) W + w) C + c; element (k, c, r, s) of a
/// filter at ((k C/groups + c) R + r) S + s in both. Row p of y sees rows p stride_h - pad_h + r dilation_h
/// of x; those outside [0, H) are zeros, so what is missing at the bottom needs no number of its own. P may
/// be less than what fits (output padding of a transposed convolution). All sizes are at least 1 and all but
/// N below 2^31, as are strides, padding and dilation; N, too, is at least 1 in a problem.
struct Conv2dSizes {
  std::int64_t N, C, H, W;  // x
  std::int64_t K, R, S;     // filters
  std::int64_t P, Q;        // rows and columns of y
  std::int64_t stride_h, stride_w;
  std::int64_t pad_h, pad_w;  // above and left
  std::int64_t dilation_h, dilation_w;
  std::int64_t groups;  // divides C and K
  bool channels_last;   // x, y and their gradients

  bool operator==(const Conv2dSizes&) const = default;
  constexpr std::int64_t x_elements() const { return N * C * H * W; }
  constexpr std::int64_t y_elements() const { return N * K * P * Q; }
  constexpr std::int64_t w_elements() const { return K * (C / groups) * R * S; }
  /// Every group has one input channel.
  constexpr bool depthwise() const { return groups == C && groups > 1; }
  /// A product of matrices without any rearrangement of x.
  constexpr bool pointwise() const {
    return R == 1 && S == 1 && stride_h == 1 && stride_w == 1 && pad_h == 0 && pad_w == 0 && P == H && Q == W;
  }
};

struct Conv2dProblem {
  DType dtype;
  const void* x;     // [N, C, H, W]
  const void* w;     // [K, C/groups, R, S]
  const void* bias;  // [K], only when has_bias
  void* y;           // [N, K, P, Q]; overlaps nothing
  Conv2dSizes sizes;
  bool has_bias;
  bool relu;
  bool tf32;  // f32 operands may be rounded to TF32
};

/// dx = conv2d's gradient by x; with a bias [C] the transposed convolution.
struct Conv2dDxProblem {
  DType dtype;
  const void* dy;    // [N, K, P, Q]
  const void* w;     // [K, C/groups, R, S]
  const void* bias;  // [C], only when has_bias
  void* dx;          // [N, C, H, W]; overlaps nothing. Elements that no window sees become the bias or 0
  Conv2dSizes sizes;
  bool has_bias;
  bool tf32;
};

struct Conv2dDwProblem {
  DType dtype;
  const void* x;   // [N, C, H, W]
  const void* dy;  // [N, K, P, Q]
  void* dw;        // [K, C/groups, R, S]
  Conv2dSizes sizes;
  bool tf32;
};

/// Through conv2d's end: dz = dy where y > 0 (relu), db[k] = sum of dz over n and the pixels.
struct ChannelGradProblem {
  DType dtype;
  const void* dy;  // [N, K, pixels], in channels-last order [N, pixels, K]
  const void* y;   // like dy, only with relu
  void* dz;        // like dy, only with relu; may be dy
  void* db;        // [K], only when want_db
  std::int64_t N, K, pixels;
  bool channels_last;
  bool relu;
  bool want_db;
};

std::vector<Operand> operands(Conv2dProblem& p);
std::vector<Operand> operands(Conv2dDxProblem& p);
std::vector<Operand> operands(Conv2dDwProblem& p);
std::vector<Operand> operands(ChannelGradProblem& p);
Cost cost(const Conv2dProblem& p);
Cost cost(const Conv2dDxProblem& p);
Cost cost(const Conv2dDwProblem& p);
Cost cost(const ChannelGradProblem& p);
/// What the speed depends on, for Tuned.
void describe(const Conv2dProblem& p, TuningKey& key);
void describe(const Conv2dDxProblem& p, TuningKey& key);
void describe(const Conv2dDwProblem& p, TuningKey& key);

extern const ImplementationList<Conv2dProblem> kConv2d;            // "conv2d", "forward"
extern const ImplementationList<Conv2dDxProblem> kConv2dDx;        // "conv2d_dx", "forward"
extern const ImplementationList<Conv2dDwProblem> kConv2dDw;        // "conv2d_dw", "forward"
extern const ImplementationList<ChannelGradProblem> kChannelGrad;  // "channel_grad", "backward"

// Any floating dtype, host memory.
void conv2d_ref(const Conv2dProblem& p, const Exec& exec);
void conv2d_dx_ref(const Conv2dDxProblem& p, const Exec& exec);
void conv2d_dw_ref(const Conv2dDwProblem& p, const Exec& exec);
void channel_grad_ref(const ChannelGradProblem& p, const Exec& exec);
// f32, host memory, both orders. Refused: dilations whose padded rows would take more than 256 MiB.
const char* conv2d_cpu_reason(const Conv2dProblem& p);
const char* conv2d_dx_cpu_reason(const Conv2dDxProblem& p);
const char* conv2d_dw_cpu_reason(const Conv2dDwProblem& p);
const char* channel_grad_cpu_reason(const ChannelGradProblem& p);
std::size_t conv2d_cpu_workspace(const Conv2dProblem& p);
std::size_t conv2d_dx_cpu_workspace(const Conv2dDxProblem& p);
std::size_t conv2d_dw_cpu_workspace(const Conv2dDwProblem& p);
std::size_t channel_grad_cpu_workspace(const ChannelGradProblem& p);
void conv2d_cpu(const Conv2dProblem& p, const Exec& exec);
void conv2d_dx_cpu(const Conv2dDxProblem& p, const Exec& exec);
void conv2d_dw_cpu(const Conv2dDwProblem& p, const Exec& exec);
void channel_grad_cpu(const ChannelGradProblem& p, const Exec& exec);
// f32, host memory, oneDNN opened at run time; one single-threaded call per part of the batch.
const char* conv2d_onednn_reason(const Conv2dProblem& p);
const char* conv2d_dx_onednn_reason(const Conv2dDxProblem& p);
const char* conv2d_dw_onednn_reason(const Conv2dDwProblem& p);
std::size_t conv2d_onednn_workspace(const Conv2dProblem& p);
std::size_t conv2d_dx_onednn_workspace(const Conv2dDxProblem& p);
std::size_t conv2d_dw_onednn_workspace(const Conv2dDwProblem& p);
void conv2d_onednn(const Conv2dProblem& p, const Exec& exec);
void conv2d_dx_onednn(const Conv2dDxProblem& p, const Exec& exec);
void conv2d_dw_onednn(const Conv2dDwProblem& p, const Exec& exec);
// Device memory: implicit products of matrices. simt: f32 on the CUDA cores, any sizes, both orders; mma: f16
// and bf16, and f32 rounded to TF32, on tensor cores (sm_80), f32 accumulation.
const char* conv2d_simt_reason(const Conv2dProblem& p);
const char* conv2d_dx_simt_reason(const Conv2dDxProblem& p);
const char* conv2d_dw_simt_reason(const Conv2dDwProblem& p);
std::size_t conv2d_cuda_workspace(const Conv2dProblem& p);       // filters in another order
std::size_t conv2d_dx_cuda_workspace(const Conv2dDxProblem& p);  // likewise
std::size_t conv2d_dw_cuda_workspace(const Conv2dDwProblem& p);  // pieces of the long sum over the pixels
void conv2d_simt_cuda(const Conv2dProblem& p, const Exec& exec);
void conv2d_dx_simt_cuda(const Conv2dDxProblem& p, const Exec& exec);
void conv2d_dw_simt_cuda(const Conv2dDwProblem& p, const Exec& exec);
const char* conv2d_mma_reason(const Conv2dProblem& p);
const char* conv2d_dx_mma_reason(const Conv2dDxProblem& p);
const char* conv2d_dw_mma_reason(const Conv2dDwProblem& p);
void conv2d_mma_cuda(const Conv2dProblem& p, const Exec& exec);
void conv2d_dx_mma_cuda(const Conv2dDxProblem& p, const Exec& exec);
void conv2d_dw_mma_cuda(const Conv2dDwProblem& p, const Exec& exec);
// f32, f16, bf16, device memory: one thread per result, for few input channels of a group.
const char* conv2d_direct_reason(const Conv2dProblem& p);
void conv2d_direct_cuda(const Conv2dProblem& p, const Exec& exec);
// f32, f16, bf16, device memory: one input channel a group.
const char* conv2d_depthwise_reason(const Conv2dProblem& p);
const char* conv2d_dx_depthwise_reason(const Conv2dDxProblem& p);
const char* conv2d_dw_depthwise_reason(const Conv2dDwProblem& p);
std::size_t conv2d_dw_depthwise_workspace(const Conv2dDwProblem& p);
void conv2d_depthwise_cuda(const Conv2dProblem& p, const Exec& exec);
void conv2d_dx_depthwise_cuda(const Conv2dDxProblem& p, const Exec& exec);
void conv2d_dw_depthwise_cuda(const Conv2dDwProblem& p, const Exec& exec);
// f32, f16, bf16, device memory.
std::size_t channel_grad_cuda_workspace(const ChannelGradProblem& p);
void channel_grad_cuda(const ChannelGradProblem& p, const Exec& exec);
// f32, f16, bf16, device memory, cuDNN opened at run time.
const char* conv2d_cudnn_reason(const Conv2dProblem& p);
const char* conv2d_dx_cudnn_reason(const Conv2dDxProblem& p);
const char* conv2d_dw_cudnn_reason(const Conv2dDwProblem& p);
std::size_t conv2d_cudnn_workspace(const Conv2dProblem& p);
std::size_t conv2d_dx_cudnn_workspace(const Conv2dDxProblem& p);
std::size_t conv2d_dw_cudnn_workspace(const Conv2dDwProblem& p);
void conv2d_cudnn(const Conv2dProblem& p, const Exec& exec);
void conv2d_dx_cudnn(const Conv2dDxProblem& p, const Exec& exec);
void conv2d_dw_cudnn(const Conv2dDwProblem& p, const Exec& exec);

}  // namespace gpunn
