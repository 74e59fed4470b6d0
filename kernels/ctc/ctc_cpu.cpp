// CTC in f32 on the CPU: the reference's recurrence in float, samples shared out over the pool. A step
// depends on the one before and a row of symbols is short, so that the samples are where the parallelism is.
#include "gpunn/core/cpu_pool.h"
#include "gpunn/kernels/ctc/ctc_sample_impl.h"

namespace gpunn {

void ctc_fwd_cpu(const CtcProblem& p, const Exec& exec) {
  const auto* x = static_cast<const float*>(p.log_probs);
  const std::int64_t symbols = 2 * p.width + 1;
  exec.pool->run(p.batch, [&](std::int64_t n) {
    float* const alpha = static_cast<float*>(p.alpha) + n * p.steps * symbols;
    const float value = ctc_forward_sample<float>(
        p, n, [&](std::int64_t t, std::int64_t c) { return x[(t * p.batch + n) * p.classes + c]; },
        [&](std::int64_t t, std::int64_t s, float v) { alpha[t * symbols + s] = v; });
    static_cast<float*>(p.loss)[n] = p.zero_infinity && std::isinf(value) ? 0 : value;
  });
}

void ctc_bwd_cpu(const CtcBackwardProblem& p, const Exec& exec) {
  const auto* x = static_cast<const float*>(p.log_probs);
  const auto* dloss = static_cast<const float*>(p.dloss);
  auto* dx = static_cast<float*>(p.dlog_probs);
  const std::int64_t symbols = 2 * p.width + 1;
  exec.pool->run(p.batch, [&](std::int64_t n) {
    const auto alpha = [&](std::int64_t t, std::int64_t s) {
      return static_cast<const float*>(p.alpha)[(n * p.steps + t) * symbols + s];
    };
    const float loss = ctc_loss_of_sample<float>(p, n, alpha);
    const bool impossible = std::isinf(loss);
    for (std::int64_t t = 0; t < p.steps; ++t)
      std::fill_n(dx + (t * p.batch + n) * p.classes, p.classes,
                  impossible && !p.zero_infinity && t < p.input_lengths[n] ? std::nanf("") : 0.0f);
    if (impossible) return;
    ctc_posteriors_of_sample<float>(
        p, n, loss, [&](std::int64_t t, std::int64_t c) { return x[(t * p.batch + n) * p.classes + c]; },
        alpha,
        [&](std::int64_t t, std::int64_t c, float v) {
          dx[(t * p.batch + n) * p.classes + c] -= dloss[n] * v;
        });
  });
}

}  // namespace gpunn
