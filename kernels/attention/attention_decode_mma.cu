// Decode in halves, on tensor cores.
#include "gpunn/kernels/attention/attention_decode.cuh"

namespace gpunn {
namespace {

using namespace attention_tile;

template <class F>
GPUNN_KERNEL __launch_bounds__(F::C::kThreads)
    attention_fwd_decode_mma_kernel(const __grid_constant__ AttentionProblem p,
                                    const __grid_constant__ AttentionForwardLaunch l) {
  forward_block<F>(p, l);
}

}  // namespace

void attention_decode_mma_cuda(const AttentionProblem& p, const AttentionForwardLaunch& l, const Exec& exec) {
  for_half_and_dim(p.dtype, p.sizes, [&](auto zero, auto dim) {
    using F = Forward<DecodeConfig<decltype(zero), dim.value>, true, true>;
    launch("attention_fwd_decode_mma_kernel", attention_fwd_decode_mma_kernel<F>, decode_grid<F>(p, l), exec,
           p, l);
  });
}

}  // namespace gpunn
