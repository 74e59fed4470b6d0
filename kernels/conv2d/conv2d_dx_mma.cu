// conv2d_dx on tensor cores: f16, bf16, and f32 rounded to TF32.
#include "gpunn/kernels/conv2d/conv2d_mma.cuh"

namespace gpunn {

const char* conv2d_dx_mma_reason(const Conv2dDxProblem& p) {
  return conv2d_device::mma_reason(p.sizes, p.dtype, p.tf32);
}

void conv2d_dx_mma_cuda(const Conv2dDxProblem& p, const Exec& exec) {
  using namespace conv2d_device;
  for_phases(p, arrange_filters(p, exec),
             [&](const WindowProduct& product) { run_mma<true>(product, p.dtype, exec); });
}

}  // namespace gpunn
