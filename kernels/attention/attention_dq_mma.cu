// Gradients of the queries on tensor cores.
#include "gpunn/kernels/attention/attention_dq.cuh"

namespace gpunn {
namespace {

using namespace attention_tile;

template <class T, int kDim, bool kGeneral>
using MmaConfig = Config<T, kDim, kDim <= 128 ? 2 : 1, 4, 32>;

template <class G>
GPUNN_KERNEL __launch_bounds__(G::C::kThreads)
    attention_bwd_dq_mma_kernel(const __grid_constant__ AttentionBackwardProblem p,
                                const __grid_constant__ AttentionBackwardLaunch l) {
  query_gradient_block<G>(p, l);
}

}  // namespace

void attention_dq_mma_cuda(const AttentionBackwardProblem& p, AttentionBackwardLaunch l, const Exec& exec) {
  const auto start = [&](auto general) {
    for_half_and_dim(p.dtype, p.sizes, [&](auto zero, auto dim) {
      using G = QueryGradients<MmaConfig<decltype(zero), dim.value, general.value>, general.value>;
      const Grid grid = query_gradient_grid<G>(p, l);
      launch("attention_bwd_dq_mma_kernel", attention_bwd_dq_mma_kernel<G>, grid, exec, p, l);
    });
  };
  if (attention_is_plain(p)) return start(std::false_type{});
  start(std::true_type{});
}

}  // namespace gpunn
