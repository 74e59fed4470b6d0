#include "gpunn/kernels/common/ref_access.h"
#include "gpunn/kernels/ctc/ctc_sample_impl.h"

namespace gpunn {

void ctc_fwd_ref(const CtcProblem& p, const Exec&) {
  const DType acc = accumulator_of(p.dtype);
  const RefIn x(p.log_probs, p.dtype);
  const RefOut alpha(p.alpha, acc), loss(p.loss, acc);
  const std::int64_t symbols = 2 * p.width + 1;
  for (std::int64_t n = 0; n < p.batch; ++n) {
    const double value = ctc_forward_sample<double>(
        p, n, [&](std::int64_t t, std::int64_t c) { return x[(t * p.batch + n) * p.classes + c]; },
        [&](std::int64_t t, std::int64_t s, double v) { alpha.set((n * p.steps + t) * symbols + s, v); });
    loss.set(n, p.zero_infinity && std::isinf(value) ? 0 : value);
  }
}

void ctc_bwd_ref(const CtcBackwardProblem& p, const Exec&) {
  const DType acc = accumulator_of(p.dtype);
  const RefIn x(p.log_probs, p.dtype), alphas(p.alpha, acc), dloss(p.dloss, acc);
  const RefOut dx(p.dlog_probs, p.dtype);
  const std::int64_t symbols = 2 * p.width + 1;
  std::vector<double> posterior(static_cast<std::size_t>(p.steps * p.classes));
  for (std::int64_t n = 0; n < p.batch; ++n) {
    const auto alpha = [&](std::int64_t t, std::int64_t s) {
      return alphas[(n * p.steps + t) * symbols + s];
    };
    const double loss = ctc_loss_of_sample<double>(p, n, alpha);
    const bool impossible = std::isinf(loss);
    std::fill(posterior.begin(), posterior.end(), 0.0);
    if (impossible && !p.zero_infinity)
      std::fill_n(posterior.begin(), p.input_lengths[n] * p.classes, std::nan(""));
    if (!impossible)
      ctc_posteriors_of_sample<double>(
          p, n, loss, [&](std::int64_t t, std::int64_t c) { return x[(t * p.batch + n) * p.classes + c]; },
          alpha,
          [&](std::int64_t t, std::int64_t c, double v) {
            posterior[static_cast<std::size_t>(t * p.classes + c)] += v;
          });
    for (std::int64_t t = 0; t < p.steps; ++t)
      for (std::int64_t c = 0; c < p.classes; ++c)
        dx.set((t * p.batch + n) * p.classes + c,
               -dloss[n] * posterior[static_cast<std::size_t>(t * p.classes + c)]);
  }
}

}  // namespace gpunn
