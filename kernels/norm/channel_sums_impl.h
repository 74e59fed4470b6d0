#pragma once
// Sums over channels on a GPU, which the gradients of all normalisations need.
#include <cstddef>
#include <cstdint>

#include "gpunn/kernels/norm/norm_impl.h"

namespace gpunn {

/// partial [parts, 2, C]: of g, and of g (x - mean) rstd, for parts of each channel; g = dy, or with relu 0
/// where y <= 0. A channel has one mean and rstd, or with groups > 0 each group of channels of a sample has,
/// at n groups + c / (C / groups).
struct ChannelSumsProblem {
  DType dtype;
  const void* x;
  const void* y;  // only with relu
  const void* dy;
  const float* mean;  // null: 0
  const float* rstd;
  float* partial;
  ChannelSizes sizes;
  std::int64_t groups;
  bool relu;
};

std::int64_t channel_sums_most_parts(const ChannelSizes& s);
/// Issues the sums and returns the number of parts.
int channel_sums_cuda(const ChannelSumsProblem& p, const Exec& exec);

}  // namespace gpunn
