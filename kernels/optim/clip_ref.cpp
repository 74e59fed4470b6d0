// Reference of norms and rescaling, in double.
#include <algorithm>
#include <cmath>

#include "gpunn/kernels/common/ref_access.h"
#include "gpunn/kernels/optim/clip_functors_impl.h"

namespace gpunn {

void norm_partials_ref(const NormProblem& p, const Exec&) {
  const RefOut partials(p.partials, norm_dtype(p.dtype));
  std::int64_t chunk = 0;
  for (int t = 0; t < p.count; ++t) {
    const NormSlot& slot = p.slots[t];
    const RefIn x(slot.x, p.dtype);
    for (std::int64_t begin = 0; begin < slot.n; begin += kNormChunk) {
      double sum = 0;
      for (std::int64_t i = begin; i < std::min(slot.n, begin + kNormChunk); ++i)
        sum = optim::join_norms(p.kind, sum, optim::norm_term(p.kind, x[i], p.exponent));
      partials.set(chunk++, sum);
    }
  }
}

void norm_join_ref(const NormJoinProblem& p, const Exec&) {
  const RefIn partials(p.partials, p.dtype);
  const RefOut result(p.result, p.dtype);
  double sum = 0;
  for (std::int64_t i = 0; i < p.n; ++i) sum = optim::join_norms(p.kind, sum, partials[i]);
  const double norm = optim::norm_root(p.kind, sum, p.exponent);
  result.set(0, norm);
  result.set(1, optim::clip_factor(norm, p.max_norm));
}

void rescale_ref(const RescaleProblem& p, const Exec&) {
  const double scale = p.clamps ? 1 : load_ref(p.scale, norm_dtype(p.dtype), 0);
  for (int t = 0; t < p.count; ++t) {
    const RefOut x(p.slots[t].x, p.dtype);
    for (std::int64_t i = 0; i < p.slots[t].n; ++i)
      x.set(i, p.clamps ? optim::clamped(x[i], p.bound) : x[i] * scale);
  }
}

}  // namespace gpunn
