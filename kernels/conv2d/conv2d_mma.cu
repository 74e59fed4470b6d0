// conv2d on tensor cores: f16, bf16, and f32 rounded to TF32.
#include "gpunn/kernels/conv2d/conv2d_mma.cuh"

namespace gpunn {

const char* conv2d_mma_reason(const Conv2dProblem& p) {
  return conv2d_device::mma_reason(p.sizes, p.dtype, p.tf32);
}

void conv2d_mma_cuda(const Conv2dProblem& p, const Exec& exec) {
  using namespace conv2d_device;
  run_mma<false>(windows_of(p, arrange_filters(p, exec)), p.dtype, exec);
}

}  // namespace gpunn
