// Forward on CUDA cores, in f32.
#include "gpunn/kernels/attention/attention_fwd.cuh"

namespace gpunn {
namespace {

using namespace attention_tile;

template <int kDim>
using SimtForwardConfig = Config<float, kDim, kDim <= 64 ? 2 : 1, 4, kDim <= 128 ? 32 : 16>;

template <class F>
GPUNN_KERNEL __launch_bounds__(F::C::kThreads)
    attention_fwd_simt_kernel(const __grid_constant__ AttentionProblem p,
                              const __grid_constant__ AttentionForwardLaunch l) {
  forward_block<F>(p, l);
}

}  // namespace

void attention_fwd_simt_tiles_cuda(const AttentionProblem& p, AttentionForwardLaunch l, const Exec& exec) {
  for_dim(p.sizes, [&](auto dim) {
    using F = Forward<SimtForwardConfig<dim.value>, true, false>;
    const Grid grid = forward_grid<F>(p, l);
    launch("attention_fwd_simt_kernel", attention_fwd_simt_kernel<F>, grid, exec, p, l);
  });
}

}  // namespace gpunn
