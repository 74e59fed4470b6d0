#pragma once
// The last step of cross_entropy and nll_loss: losses of rows to one number, in a fixed order.
#include "gpunn/core/launch.cuh"
#include "gpunn/kernels/common/reduce.cuh"
#include "gpunn/kernels/cross_entropy/cross_entropy_impl.h"

namespace gpunn {

inline constexpr int kTargetReduceThreads = 256;

/// loss[0] = sum of row_loss [rows], divided by what the rows count where `count` is not null. One block.
GPUNN_KERNEL __launch_bounds__(kTargetReduceThreads)
    target_reduce_kernel(const float* row_loss, CrossEntropyTargets targets, float* loss, float* count,
                         std::int64_t rows, std::int64_t cols) {
  float sum = 0.0f, counted = 0.0f;
  for (std::int64_t n = threadIdx.x; n < rows; n += kTargetReduceThreads) {
    sum += row_loss[n];
    counted += targets.row_weight<float>(n, cols);
  }
  sum = block_reduce<SumOp, kTargetReduceThreads>(sum);
  counted = block_reduce<SumOp, kTargetReduceThreads>(counted);
  if (threadIdx.x != 0) return;
  if (count) *count = counted;
  *loss = count ? sum / counted : sum;
}

}  // namespace gpunn
