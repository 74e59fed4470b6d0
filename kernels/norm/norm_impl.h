#pragma once
// Problems and entry points of the normalisations: by channel (batch norm) and by row (layer, RMS, group).
//
// "acc" is accumulator_of(dtype): f32, or f64 for f64. Weights, biases, running statistics and their
// gradients are in weight_dtype(): acc when wide_weights, else dtype.
#include <cstddef>
#include <cstdint>
#include <vector>

#include "gpunn/core/hd.h"
#include "gpunn/core/implementation.h"
#include "gpunn/kernels/common/reduction.h"

namespace gpunn {

/// Where an element of channel c is: ((n C + c) pixels + i), in channels-last order ((n pixels + i) C + c).
struct ChannelSizes {
  std::int64_t N, C, pixels;
  bool channels_last;

  GPUNN_HD std::int64_t elements() const { return N * C * pixels; }
  GPUNN_HD std::int64_t per_channel() const { return N * pixels; }
};

/// y = (x - mean) rstd w + b + residual, cut off below 0 with relu; mean and rstd = 1 / sqrt(var + eps) of
/// each channel are x's with `training`, else the running ones.
struct BatchNormProblem {
  DType dtype;
  const void* x;         // [N, C, pixels]
  const void* weight;    // [C], only when has_weight
  const void* bias;      // [C], only when has_bias
  const void* residual;  // like x, only when has_residual
  void* running_mean;    // [C], only when has_running; training moves both towards x's by the momentum
  void* running_var;     // [C], only when has_running
  void* y;               // like x; may be x or residual unless training
  void* mean;            // acc [C], only when save
  void* rstd;            // acc [C], only when save
  ChannelSizes sizes;
  double momentum, eps;
  bool training, relu, save;
  bool has_weight, has_bias, has_residual, has_running, wide_weights;
};

/// With g = dy, with relu 0 where y <= 0, and xh = (x - mean) rstd:
///   dx = w rstd (g - mean of g - xh * mean of g xh), without the means unless `training`
///   dw = sum of g xh, db = sum of g, dz = g
struct BatchNormBackwardProblem {
  DType dtype;
  const void* x;       // [N, C, pixels]
  const void* y;       // like x, only with relu
  const void* dy;      // like x
  const void* weight;  // [C], only when has_weight
  const void* mean;    // acc [C]
  const void* rstd;    // acc [C]
  void* dx;            // like x; may be dy
  void* dz;            // like x, only when want_dz; overlaps nothing
  void* dw;            // [C], only when want_dw
  void* db;            // [C], only when want_dw
  ChannelSizes sizes;
  bool training, relu;
  bool has_weight, wide_weights, want_dz, want_dw;
};

/// Rows of `cols` elements, `groups` of which make a sample: column c of row r belongs to the channel
/// (r % groups) (cols / pixels) + c / pixels, of which there are channels(). Layer norm: 1 group, 1 pixel.
struct NormRows {
  std::int64_t rows, cols, groups, pixels;

  GPUNN_HD std::int64_t elements() const { return rows * cols; }
  GPUNN_HD std::int64_t channels() const { return groups * (cols / pixels); }
};

/// y = (x - mean) rstd w + b by rows; with rms mean is 0 and rstd = 1 / sqrt(mean of x^2 + eps).
struct RowNormProblem {
  DType dtype;
  const void* x;       // [rows, cols]
  const void* weight;  // [channels], only when has_weight
  const void* bias;    // [channels], only when has_bias
  void* y;             // [rows, cols]
  void* mean;          // acc [rows], only when save and not rms
  void* rstd;          // acc [rows], only when save
  NormRows sizes;
  double eps;
  bool rms, save, has_weight, has_bias, wide_weights;
};

/// With g = dy w and xh = (x - mean) rstd:
///   dx = rstd (g - mean of g - xh * mean of g xh), with rms without the first mean
///   dw = sum of dy xh, db = sum of dy, over all samples
struct RowNormBackwardProblem {
  DType dtype;
  const void* x;       // [rows, cols]
  const void* dy;      // [rows, cols]
  const void* weight;  // [channels], only when has_weight
  const void* mean;    // acc [rows], not with rms
  const void* rstd;    // acc [rows]
  void* dx;            // [rows, cols]; may be dy
  void* dw;            // [channels], only when want_dw
  void* db;            // [channels], only when want_db
  NormRows sizes;
  bool rms, has_weight, wide_weights, want_dw, want_db;
};

template <class P>
constexpr DType weight_dtype(const P& p) {
  return p.wide_weights ? accumulator_of(p.dtype) : p.dtype;
}

std::vector<Operand> operands(BatchNormProblem& p);
std::vector<Operand> operands(BatchNormBackwardProblem& p);
std::vector<Operand> operands(RowNormProblem& p);
std::vector<Operand> operands(RowNormBackwardProblem& p);
Cost cost(const BatchNormProblem& p);
Cost cost(const BatchNormBackwardProblem& p);
Cost cost(const RowNormProblem& p);
Cost cost(const RowNormBackwardProblem& p);

extern const ImplementationList<BatchNormProblem> kBatchNormForward;
extern const ImplementationList<BatchNormBackwardProblem> kBatchNormBackward;
extern const ImplementationList<RowNormProblem> kRowNormForward;
extern const ImplementationList<RowNormBackwardProblem> kRowNormBackward;

// Any floating dtype, host memory.
void batch_norm_fwd_ref(const BatchNormProblem& p, const Exec& exec);
void batch_norm_bwd_ref(const BatchNormBackwardProblem& p, const Exec& exec);
void row_norm_fwd_ref(const RowNormProblem& p, const Exec& exec);
void row_norm_bwd_ref(const RowNormBackwardProblem& p, const Exec& exec);
// f32, host memory. The workspace holds sums of parts of channels.
std::size_t batch_norm_fwd_cpu_workspace(const BatchNormProblem& p);
std::size_t batch_norm_bwd_cpu_workspace(const BatchNormBackwardProblem& p);
std::size_t row_norm_bwd_cpu_workspace(const RowNormBackwardProblem& p);
void batch_norm_fwd_cpu(const BatchNormProblem& p, const Exec& exec);
void batch_norm_bwd_cpu(const BatchNormBackwardProblem& p, const Exec& exec);
void row_norm_fwd_cpu(const RowNormProblem& p, const Exec& exec);
void row_norm_bwd_cpu(const RowNormBackwardProblem& p, const Exec& exec);
// f32, f16, bf16, device memory.
std::size_t batch_norm_fwd_cuda_workspace(const BatchNormProblem& p);
std::size_t batch_norm_bwd_cuda_workspace(const BatchNormBackwardProblem& p);
std::size_t row_norm_bwd_cuda_workspace(const RowNormBackwardProblem& p);
void batch_norm_fwd_cuda(const BatchNormProblem& p, const Exec& exec);
void batch_norm_bwd_cuda(const BatchNormBackwardProblem& p, const Exec& exec);
void row_norm_fwd_cuda(const RowNormProblem& p, const Exec& exec);
void row_norm_bwd_cuda(const RowNormBackwardProblem& p, const Exec& exec);
/// dw and db alone, as far as they are wanted, in the workspace of row_norm_bwd_cuda.
void row_norm_weights_cuda(const RowNormBackwardProblem& p, const Exec& exec);

}  // namespace gpunn
