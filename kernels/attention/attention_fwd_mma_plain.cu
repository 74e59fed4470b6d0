// Forward on tensor cores where only lengths, causal and windows hide keys: full tiles of keys meet no mask.
#include "gpunn/kernels/attention/attention_fwd_mma.cuh"

namespace gpunn {
namespace {

using namespace attention_tile;

template <class F>
GPUNN_KERNEL __launch_bounds__(F::C::kThreads)
    attention_fwd_mma_plain_kernel(const __grid_constant__ AttentionProblem p,
                                   const __grid_constant__ AttentionForwardLaunch l) {
  forward_block<F>(p, l);
}

}  // namespace

void attention_fwd_mma_plain_cuda(const AttentionProblem& p, AttentionForwardLaunch l, const Exec& exec) {
  for_half_and_dim(p.dtype, p.sizes, [&](auto zero, auto dim) {
    using F = Forward<MmaForwardConfig<decltype(zero), dim.value, false>, false, false>;
    const Grid grid = forward_grid<F>(p, l);
    launch("attention_fwd_mma_plain_kernel", attention_fwd_mma_plain_kernel<F>, grid, exec, p, l);
  });
}

}  // namespace gpunn
