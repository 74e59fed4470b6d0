#include <cmath>
#include <limits>

#include "gpunn/kernels/common/ref_access.h"
#include "gpunn/kernels/softmax/softmax_impl.h"

namespace gpunn {

void softmax_fwd_ref(const SoftmaxProblem& p, const Exec&) {
  const RefIn x(p.x, p.dtype);
  const RefOut y(p.y, p.dtype);
  for (std::int64_t row = 0; row < p.rows; ++row) {
    const std::int64_t begin = row * p.cols, end = begin + p.cols;
    double max = -std::numeric_limits<double>::infinity();
    for (std::int64_t i = begin; i < end; ++i) max = std::fmax(max, x[i]);
    double sum = 0;
    for (std::int64_t i = begin; i < end; ++i) sum += std::exp(x[i] - max);
    for (std::int64_t i = begin; i < end; ++i)
      y.set(i, p.log ? x[i] - max - std::log(sum) : std::exp(x[i] - max) / sum);
  }
}

void softmax_bwd_ref(const SoftmaxBackwardProblem& p, const Exec&) {
  const RefIn y(p.y, p.dtype), dy(p.dy, p.dtype);
  const RefOut dx(p.dx, p.dtype);
  for (std::int64_t row = 0; row < p.rows; ++row) {
    const std::int64_t begin = row * p.cols, end = begin + p.cols;
    double sum = 0;
    for (std::int64_t i = begin; i < end; ++i) sum += p.log ? dy[i] : dy[i] * y[i];
    for (std::int64_t i = begin; i < end; ++i)
      dx.set(i, p.log ? dy[i] - std::exp(y[i]) * sum : y[i] * (dy[i] - sum));
  }
}

}  // namespace gpunn
