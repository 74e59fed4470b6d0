// Gradients of the keys and values on CUDA cores, in f32.
#include "gpunn/kernels/attention/attention_dkv.cuh"

namespace gpunn {
namespace {

using namespace attention_tile;

template <int kDim>
using SimtConfig = Config<float, kDim, 1, 4, kDim <= 128 ? 32 : 16>;

template <class G>
GPUNN_KERNEL __launch_bounds__(G::C::kThreads, 1)
    attention_bwd_dkv_simt_kernel(const __grid_constant__ AttentionBackwardProblem p,
                                  const __grid_constant__ AttentionBackwardLaunch l) {
  key_gradient_block<G>(p, l);
}

}  // namespace

void attention_dkv_simt_cuda(const AttentionBackwardProblem& p, AttentionBackwardLaunch l, const Exec& exec) {
  for_dim(p.sizes, [&](auto dim) {
    using G = KeyGradients<SimtConfig<dim.value>, true, dim.value <= 128 ? dim.value : 128>;
    const Grid grid = key_gradient_grid<G>(p, l);
    launch("attention_bwd_dkv_simt_kernel", attention_bwd_dkv_simt_kernel<G>, grid, exec, p, l);
  });
}

}  // namespace gpunn
