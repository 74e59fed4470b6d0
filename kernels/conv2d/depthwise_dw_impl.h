#pragma once
// The CPU's gradient by w where each group has one channel of x.
#include <cstddef>
#include <cstdint>

#include "gpunn/kernels/conv2d/conv2d_impl.h"

namespace gpunn {
class CpuPool;
}

namespace gpunn::detail {

/// One channel of x and of dy: sums[r * S + s] += sum over p < rows and q < columns of
/// x[p * pitch + offsets[r * S + s] + q] * dy[p * dy_pitch + q], a vector of partial sums for each tap.
struct DepthwiseDwTile {
  const float* x;  // whole vectors are read
  std::int64_t pitch;
  const std::int64_t* offsets;  // [R * S]
  std::int64_t R, S;
  bool stacked;  // the offset of (r, s) is that of (0, s) and r * pitch
  const float* dy;
  std::int64_t dy_pitch;
  std::int64_t rows, columns;
  float* sums;  // [R * S, lanes], aligned
};

bool is_depthwise(const Conv2dSizes& s);
std::size_t depthwise_dw_workspace(const Conv2dSizes& s);
void depthwise_dw(const Conv2dDwProblem& p, void* workspace, CpuPool& pool);

}  // namespace gpunn::detail
