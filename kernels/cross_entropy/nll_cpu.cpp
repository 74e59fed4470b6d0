// Gradient of the negative log likelihood in f32 on the CPU: zeros, then one element per position. The time
// is that of writing the zeros.
#include <algorithm>
#include <limits>

#include "gpunn/core/cpu_pool.h"
#include "gpunn/kernels/common/row_chunks.h"
#include "gpunn/kernels/cross_entropy/cross_entropy_impl.h"

namespace gpunn {
namespace {

/// Positions of sample `n`.
void backward_sample(const NllBackwardProblem& p, std::int64_t n, float divisor) {
  const auto* weight = static_cast<const float*>(p.weight);
  const auto* dloss = static_cast<const float*>(p.dloss);
  float* const dx = static_cast<float*>(p.dx) + n * p.classes * p.inner;
  std::fill_n(dx, p.classes * p.inner, 0.0f);
  for (std::int64_t d = 0; d < p.inner; ++d) {
    const std::int64_t at = n * p.inner + d, t = p.target[at];
    if (t == p.ignore_index) continue;
    if (t < 0 || t >= p.classes) {
      for (std::int64_t c = 0; c < p.classes; ++c)
        dx[c * p.inner + d] = std::numeric_limits<float>::quiet_NaN();
      continue;
    }
    const float w = p.has_weight ? weight[t] : 1.0f;
    if (w != 0) dx[t * p.inner + d] = -w * (dloss[p.reduction == Reduction::none ? at : 0] / divisor);
  }
}

}  // namespace

void nll_bwd_cpu(const NllBackwardProblem& p, const Exec& exec) {
  const float divisor = p.reduction == Reduction::mean ? *static_cast<const float*>(p.count) : 1.0f;
  parallel_for(*exec.pool, p.outer, rows_per_chunk(p.classes * p.inner),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t n = begin; n < end; ++n) backward_sample(p, n, divisor);
               });
}

}  // namespace gpunn
