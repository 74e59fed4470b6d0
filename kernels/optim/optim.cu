// Optimizer steps whose states have the parameters' dtype.
#include "gpunn/kernels/optim/update.cuh"

namespace gpunn {

namespace {

template <UpdateRule kRule, class T>
GPUNN_KERNEL __launch_bounds__(optim::kBlock) update_fwd_kernel(const __grid_constant__ UpdateProblem p) {
  optim::update_chunk<kRule, false, T, T>(p);
}

}  // namespace

void update_cuda(const UpdateProblem& p, const Exec& exec) {
  optim::for_rule(p.settings.rule, [&]<class Rule>(Rule) {
    for_device_dtype(p.dtype, [&]<class T>(T) {
      launch("update_fwd_kernel", update_fwd_kernel<Rule::kValue, T>,
             {dim3(optim::blocks_of(p)), dim3(optim::kBlock)}, exec, p);
    });
  });
}

}  // namespace gpunn
