#include "tests/core/coresident_kernels.h"

#include "gpunn/core/launch_coresident.cuh"
#include "gpunn/kernels/common/grid_barrier.cuh"

namespace gpunn::testing {
namespace {

GPUNN_KERNEL __launch_bounds__(kRotateThreads)
    rotate_kernel(const float* x, float* values, float* y, unsigned* counter, int rounds) {
  GridBarrier barrier(counter);
  const unsigned own = blockIdx.x * kRotateThreads + threadIdx.x;
  const unsigned next = (blockIdx.x + 1) % gridDim.x * kRotateThreads + threadIdx.x;
  float value = x[own];
  for (int i = 0; i < rounds; ++i) {
    values[own] = value;
    barrier.sync();  // the neighbour's value is there
    value = values[next];
    barrier.arrive();  // and has been read
    if (i + 1 == rounds) y[own] = value;
    barrier.wait();
  }
}

}  // namespace

void launch_rotate(const float* x, float* values, float* y, unsigned* counter, int blocks, int rounds,
                   bool zero, const Exec& exec) {
  if (zero) zero_grid_barrier(counter, exec);
  launch_coresident("rotate_kernel", rotate_kernel,
                    {dim3(static_cast<unsigned>(blocks)), dim3(kRotateThreads)}, exec, x, values, y, counter,
                    rounds);
}

int rotate_blocks(std::size_t shared_bytes, const Exec& exec) {
  return coresident_blocks(rotate_kernel, kRotateThreads, shared_bytes, exec);
}

}  // namespace gpunn::testing
