#include <limits>

#include "gpunn/kernels/common/reduction.h"
#include "gpunn/kernels/common/ref_access.h"
#include "gpunn/kernels/rotary/rotary_impl.h"

namespace gpunn {

void rotary_ref(const RotaryProblem& p, const Exec&) {
  const RefIn x(p.x, p.dtype), cos(p.cos, accumulator_of(p.dtype)), sin(p.sin, accumulator_of(p.dtype));
  const RefOut y(p.y, p.dtype);
  const std::int64_t half = p.R / 2;
  for (std::int64_t b = 0; b < p.B; ++b)
    for (std::int64_t t = 0; t < p.T; ++t)
      for (std::int64_t h = 0; h < p.H; ++h) {
        const std::int64_t from = b * p.x_batch + t * p.x_time + h * p.x_head;
        const std::int64_t to = ((b * p.T + t) * p.H + h) * p.D, at = rotary_position(p, b, t);
        for (std::int64_t i = 0; i < half; ++i) {
          const std::int64_t first = p.interleaved ? 2 * i : i, second = p.interleaved ? 2 * i + 1 : i + half;
          const double c = at < 0 ? std::numeric_limits<double>::quiet_NaN() : cos[at * half + i];
          const double s = at < 0 ? c : p.back ? -sin[at * half + i] : sin[at * half + i];
          y.set(to + first, x[from + first] * c - x[from + second] * s);
          y.set(to + second, x[from + second] * c + x[from + first] * s);
        }
        for (std::int64_t d = p.R; d < p.D; ++d) y.set(to + d, x[from + d]);
      }
}

}  // namespace gpunn
