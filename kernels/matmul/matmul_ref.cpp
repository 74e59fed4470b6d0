#include <cmath>
#include <vector>

#include "gpunn/kernels/common/ref_access.h"
#include "gpunn/kernels/matmul/matmul_impl.h"

namespace gpunn {
namespace {

double activate(double v, Activation activation) {
  switch (activation) {
    case Activation::relu:
      return v < 0 ? 0 : v;  // keeps NaN
    case Activation::sigmoid:
      return 1 / (1 + std::exp(-v));
    case Activation::tanh:
      return std::tanh(v);
    default:
      return v;
  }
}

/// activation'(z) as a function of y = activation(z).
double derivative(double y, Activation activation) {
  switch (activation) {
    case Activation::relu:
      return y > 0 ? 1 : 0;
    case Activation::sigmoid:
      return y * (1 - y);
    case Activation::tanh:
      return 1 - y * y;
    default:
      return 1;
  }
}

}  // namespace

void matmul_ref(const MatmulProblem& p, const Exec&) {
  const RefIn a(p.a, p.dtype), b(p.b, p.dtype), bias(p.bias, p.dtype);
  const RefOut c(p.c, p.dtype);
  for (std::int64_t i = 0; i < p.batch; ++i)
    for (std::int64_t m = 0; m < p.M; ++m)
      for (std::int64_t n = 0; n < p.N; ++n) {
        const std::int64_t at = i * p.c_batch + m * p.ldc + n;
        double sum = p.accumulate ? c[at] : 0;
        for (std::int64_t k = 0; k < p.K; ++k)
          sum += a[i * p.a_batch + (p.trans_a ? k * p.lda + m : m * p.lda + k)] *
                 b[i * p.b_batch + (p.trans_b ? n * p.ldb + k : k * p.ldb + n)];
        if (p.has_bias) sum += bias[n];
        c.set(at, activate(sum, p.activation));
      }
}

void bias_grad_ref(const BiasGradProblem& p, const Exec&) {
  const RefIn dy(p.dy, p.dtype), y(p.y, p.dtype);
  const RefOut dz(p.dz, p.dtype), db(p.db, p.dtype);
  std::vector<double> sums(static_cast<std::size_t>(p.cols));
  for (std::int64_t r = 0; r < p.rows; ++r)
    for (std::int64_t c = 0; c < p.cols; ++c) {
      const std::int64_t i = r * p.cols + c;
      const double g = p.activation == Activation::none ? dy[i] : dy[i] * derivative(y[i], p.activation);
      if (p.want_dz) dz.set(i, g);
      sums[static_cast<std::size_t>(c)] += g;
    }
  for (std::int64_t c = 0; p.want_db && c < p.cols; ++c) db.set(c, sums[static_cast<std::size_t>(c)]);
}

}  // namespace gpunn
