// CTC: a block per sample, threads over the symbols of a step, a barrier between steps. The forward variables
// of all steps are in global memory (the block's own, so they stay in cache from one step to the next); of
// the backward variables only two rows are kept.
#include "gpunn/kernels/common/convert.cuh"
#include "gpunn/kernels/common/device_dtype.h"
#include "gpunn/kernels/common/rows.cuh"
#include "gpunn/kernels/ctc/ctc_impl.h"

namespace gpunn {
namespace {

constexpr int kThreads = 128;

/// ln(e^a + e^b + e^c)
GPUNN_DEVICE float log_add(float a, float b, float c) {
  const float max = fmaxf(a, fmaxf(b, c));
  if (max == -INFINITY) return max;
  return max + logf(expf(a - max) + expf(b - max) + expf(c - max));
}

template <class T, class P>
GPUNN_DEVICE float log_prob(const P& p, std::int64_t n, std::int64_t t, std::int64_t c) {
  return to_float(static_cast<const T*>(p.log_probs)[(t * p.batch + n) * p.classes + c]);
}

/// One step of the forward variables: `now` from `before`, both [symbols]; `before` is not read at t = 0.
template <class T>
GPUNN_DEVICE void forward_step(const CtcProblem& p, std::int64_t n, std::int64_t t, const float* before,
                               float* now) {
  const CtcSymbols symbols = ctc_symbols(p, n);
  for (std::int64_t s = threadIdx.x; s < 2 * p.width + 1; s += kThreads) {
    float reach = -INFINITY;
    if (s < symbols.count && t < p.input_lengths[n]) {
      if (t == 0)
        reach = s < 2 ? 0.0f : -INFINITY;
      else
        reach = log_add(before[s], s >= 1 ? before[s - 1] : -INFINITY,
                        symbols.skips_to(s) ? before[s - 2] : -INFINITY);
    }
    now[s] = reach == -INFINITY ? reach : reach + log_prob<T>(p, n, t, symbols[s]);
  }
}

/// Loss of a sample from its last forward variables.
template <class P>
GPUNN_DEVICE float loss_of(const P& p, std::int64_t n, const float* alpha) {
  const std::int64_t count = 2 * p.target_lengths[n] + 1;
  const float* const last = alpha + (p.input_lengths[n] - 1) * (2 * p.width + 1);
  return -log_add(last[count - 1], count > 1 ? last[count - 2] : -INFINITY, -INFINITY);
}

template <class T>
GPUNN_KERNEL __launch_bounds__(kThreads) ctc_fwd_kernel(CtcProblem p) {
  const std::int64_t n = blockIdx.x, symbols = 2 * p.width + 1;
  float* const alpha = static_cast<float*>(p.alpha) + n * p.steps * symbols;
  for (std::int64_t t = 0; t < p.steps; ++t) {
    float* const now = alpha + t * symbols;
    forward_step<T>(p, n, t, t > 0 ? now - symbols : now, now);
    __syncthreads();  // the next step reads neighbours' symbols
  }
  if (threadIdx.x != 0) return;
  const float loss = loss_of(p, n, alpha);
  static_cast<float*>(p.loss)[n] = p.zero_infinity && loss == INFINITY ? 0.0f : loss;
}

/// Is s the first place of its symbol? Its thread then adds up all places, in order.
GPUNN_DEVICE bool is_first_place(const CtcSymbols& symbols, std::int64_t s) {
  if (s % 2 == 0) return s == 0;
  for (std::int64_t i = 1; i < s; i += 2)
    if (symbols[i] == symbols[s]) return false;
  return true;
}

/// Gradients of one step from `mass`, ln of alpha and beta together (the step's probability once), [symbols].
template <class T>
GPUNN_DEVICE void write_step(const CtcBackwardProblem& p, std::int64_t n, std::int64_t t, const float* mass,
                             float loss) {
  const CtcSymbols symbols = ctc_symbols(p, n);
  T* const dx = static_cast<T*>(p.dlog_probs) + (t * p.batch + n) * p.classes;
  const float dloss = static_cast<const float*>(p.dloss)[n];
  for (std::int64_t s = threadIdx.x; s < symbols.count; s += kThreads) {
    if (!is_first_place(symbols, s)) continue;
    float sum = 0.0f;
    for (std::int64_t i = s; i < symbols.count; i += 2)
      if (symbols[i] == symbols[s]) sum += expf(mass[i] + loss);
    dx[symbols[s]] = from_float<T>(-dloss * sum);
  }
}

/// rows [batch, 3, symbols]: two rows of backward variables, and the step's mass.
template <class T>
GPUNN_KERNEL __launch_bounds__(kThreads) ctc_bwd_kernel(CtcBackwardProblem p, float* rows) {
  const std::int64_t n = blockIdx.x, symbols = 2 * p.width + 1, length = p.input_lengths[n];
  const float* const alpha = static_cast<const float*>(p.alpha) + n * p.steps * symbols;
  const CtcSymbols target = ctc_symbols(p, n);
  const float loss = loss_of(p, n, alpha);
  const bool impossible = loss == INFINITY;
  for (std::int64_t i = threadIdx.x; i < p.steps * p.classes; i += kThreads) {
    const std::int64_t t = i / p.classes;
    const bool none = impossible && !p.zero_infinity && t < length;
    static_cast<T*>(p.dlog_probs)[(t * p.batch + n) * p.classes + i % p.classes] =
        from_float<T>(none ? NAN : 0.0f);
  }
  float* const own = rows + n * 3 * symbols;
  float* const mass = own + 2 * symbols;
  for (std::int64_t t = length - 1; t >= 0 && !impossible; --t) {
    const float* const after = own + (t + 1) % 2 * symbols;
    float* const now = own + t % 2 * symbols;
    for (std::int64_t s = threadIdx.x; s < target.count; s += kThreads) {
      float reach = s >= target.count - 2 ? 0.0f : -INFINITY;
      if (t + 1 < length)
        reach = log_add(after[s], s + 1 < target.count ? after[s + 1] : -INFINITY,
                        target.skips_to(s + 2) ? after[s + 2] : -INFINITY);
      now[s] = reach == -INFINITY ? reach : reach + log_prob<T>(p, n, t, target[s]);
      mass[s] = reach == -INFINITY ? reach : reach + alpha[t * symbols + s];
    }
    __syncthreads();  // the mass is whole, and so are the zeros of dlog_probs
    write_step<T>(p, n, t, mass, loss);
    __syncthreads();  // the mass is read before the next step overwrites it
  }
}

Grid sample_grid(std::int64_t batch) { return {dim3(static_cast<unsigned>(batch)), dim3(kThreads)}; }

}  // namespace

void ctc_fwd_cuda(const CtcProblem& p, const Exec& exec) {
  for_device_dtype(p.dtype, [&](auto zero) {
    launch("ctc_fwd_kernel", ctc_fwd_kernel<decltype(zero)>, sample_grid(p.batch), exec, p);
  });
}

std::size_t ctc_bwd_cuda_workspace(const CtcBackwardProblem& p) {
  return static_cast<std::size_t>(p.batch * 3 * (2 * p.width + 1)) * sizeof(float);
}

void ctc_bwd_cuda(const CtcBackwardProblem& p, const Exec& exec) {
  for_device_dtype(p.dtype, [&](auto zero) {
    launch("ctc_bwd_kernel", ctc_bwd_kernel<decltype(zero)>, sample_grid(p.batch), exec, p,
           static_cast<float*>(exec.workspace));
  });
}

}  // namespace gpunn
