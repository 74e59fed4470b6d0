// Gradients of the queries on CUDA cores, in f32.
#include "gpunn/kernels/attention/attention_dq.cuh"

namespace gpunn {
namespace {

using namespace attention_tile;

template <int kDim>
using SimtConfig = Config<float, kDim, 1, 4, kDim <= 128 ? 32 : 16>;

template <class G>
GPUNN_KERNEL __launch_bounds__(G::C::kThreads)
    attention_bwd_dq_simt_kernel(const __grid_constant__ AttentionBackwardProblem p,
                                 const __grid_constant__ AttentionBackwardLaunch l) {
  query_gradient_block<G>(p, l);
}

}  // namespace

void attention_dq_simt_cuda(const AttentionBackwardProblem& p, AttentionBackwardLaunch l, const Exec& exec) {
  for_dim(p.sizes, [&](auto dim) {
    using G = QueryGradients<SimtConfig<dim.value>, true>;
    const Grid grid = query_gradient_grid<G>(p, l);
    launch("attention_bwd_dq_simt_kernel", attention_bwd_dq_simt_kernel<G>, grid, exec, p, l);
  });
}

}  // namespace gpunn
