// Backward steps on tensor cores and on CUDA cores.
#include "gpunn/kernels/common/device_dtype.h"
#include "gpunn/kernels/rnn/steps_bwd.cuh"

namespace gpunn {
namespace {

template <class C>
GPUNN_KERNEL __launch_bounds__(C::kThreads) rnn_bwd_step_kernel(const __grid_constant__ RnnBackwardProblem p,
                                                                const __grid_constant__ RnnBackwardStep s) {
  rnn_backward_block<C>(p, s);
}

template <class T, bool kTensor>
void run(const RnnBackwardProblem& p, const RnnBackwardStep& s, const Exec& exec) {
  rnn_for_backward_tile(p, s, [&](auto rows) {
    using C = RnnBackwardConfig<T, kTensor, rows.value>;
    launch("rnn_bwd_step_kernel", rnn_bwd_step_kernel<C>, rnn_backward_grid<C>(p, s), exec, p, s);
  });
}

}  // namespace

void rnn_bwd_step_mma_cuda(const RnnBackwardProblem& p, const RnnBackwardStep& s, const Exec& exec) {
  for_device_dtype(p.dtype, [&](auto zero) { run<decltype(zero), true>(p, s, exec); });
}

void rnn_bwd_step_simt_cuda(const RnnBackwardProblem& p, const RnnBackwardStep& s, const Exec& exec) {
  run<float, false>(p, s, exec);
}

}  // namespace gpunn
