// Optimizer steps on f32 masters and states, with 16-bit gradients and parameters.
#include "gpunn/kernels/optim/update.cuh"

namespace gpunn {

namespace {

template <UpdateRule kRule, class T>
GPUNN_KERNEL __launch_bounds__(optim::kBlock)
    update_fwd_master_kernel(const __grid_constant__ UpdateProblem p) {
  optim::update_chunk<kRule, true, T, float>(p);
}

}  // namespace

void update_master_cuda(const UpdateProblem& p, const Exec& exec) {
  optim::for_rule(p.settings.rule, [&]<class Rule>(Rule) {
    for_device_dtype(p.dtype, [&]<class T>(T) {
      if constexpr (sizeof(T) == 2)  // accepts() refuses the others
        launch("update_fwd_master_kernel", update_fwd_master_kernel<Rule::kValue, T>,
               {dim3(optim::blocks_of(p)), dim3(optim::kBlock)}, exec, p);
    });
  });
}

}  // namespace gpunn
