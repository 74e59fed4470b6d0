// Forward steps on tensor cores.
#include "gpunn/kernels/common/device_dtype.h"
#include "gpunn/kernels/rnn/steps_fwd.cuh"

namespace gpunn {
namespace {

template <class C, int kGates>
GPUNN_KERNEL __launch_bounds__(C::kThreads)
    rnn_fwd_step_mma_kernel(const __grid_constant__ RnnForwardProblem p,
                            const __grid_constant__ RnnForwardStep s) {
  rnn_forward_block<C, kGates>(p, s);
}

}  // namespace

void rnn_fwd_step_mma_cuda(const RnnForwardProblem& p, const RnnForwardStep& s, const Exec& exec) {
  for_device_dtype(p.dtype, [&](auto zero) {
    rnn_for_forward_tile(p, s, [&](auto gates, auto rows) {
      using C = RnnForwardConfig<decltype(zero), true, gates.value, rows.value>;
      launch("rnn_fwd_step_mma_kernel", rnn_fwd_step_mma_kernel<C, gates.value>,
             rnn_forward_grid<C, gates.value>(p, s), exec, p, s);
    });
  });
}

}  // namespace gpunn
