#include <cmath>
#include <vector>

#include "gpunn/kernels/common/ref_access.h"
#include "gpunn/kernels/elementwise/activation_functors_impl.h"
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
    case Activation::gelu:
      return elementwise::Gelu::apply(v, 0.0, 0.0);
    case Activation::gelu_tanh:
      return elementwise::GeluTanh::apply(v, 0.0, 0.0);
    default:
      return v;
  }
}

/// activation'(z) as a function of y = activation(z).
double slope_of_y(double y, Activation activation) {
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

/// activation'(z); sigmoid's and tanh's without the cancellation of the forms in y.
double slope_of_pre(double z, Activation activation) {
  switch (activation) {
    case Activation::relu:
      return z > 0 ? 1 : 0;
    case Activation::sigmoid:
      return elementwise::logistic_slope(z);
    case Activation::tanh:
      return 4 * elementwise::logistic_slope(2 * z);
    case Activation::gelu:
      return elementwise::GeluGrad::apply(1.0, z, 0.0, 0.0);
    case Activation::gelu_tanh:
      return elementwise::GeluTanhGrad::apply(1.0, z, 0.0, 0.0);
    default:
      return 1;
  }
}

}  // namespace

void matmul_ref(const MatmulProblem& p, const Exec&) {
  const RefIn a(p.a, p.dtype), b(p.b, p.dtype), bias(p.bias, p.dtype), residual(p.residual, p.dtype);
  const RefOut c(p.c, p.dtype), pre(p.pre, p.dtype);
  for (std::int64_t i = 0; i < p.batch; ++i)
    for (std::int64_t m = 0; m < p.M; ++m)
      for (std::int64_t n = 0; n < p.N; ++n) {
        const std::int64_t at = i * p.c_batch + m * p.ldc + n;
        double sum = p.accumulate ? c[at] : 0;
        for (std::int64_t k = 0; k < p.K; ++k)
          sum += a[i * p.a_batch + (p.trans_a ? k * p.lda + m : m * p.lda + k)] *
                 b[i * p.b_batch + (p.trans_b ? n * p.ldb + k : k * p.ldb + n)];
        if (p.has_bias) sum += bias[n];
        if (p.save_pre) pre.set(at, sum);
        const double added = p.has_residual ? residual[i * p.r_batch + m * p.ldr + n] : 0;
        c.set(at, activate(sum, p.activation) + added);
      }
}

void bias_grad_ref(const BiasGradProblem& p, const Exec&) {
  const RefIn dy(p.dy, p.dtype), saved(p.from_pre ? p.pre : p.y, p.dtype);
  const auto slope = [&](std::int64_t i) {
    if (p.activation == Activation::none) return 1.0;
    return p.from_pre ? slope_of_pre(saved[i], p.activation) : slope_of_y(saved[i], p.activation);
  };
  const RefOut dz(p.dz, p.dtype), db(p.db, p.dtype);
  std::vector<double> sums(static_cast<std::size_t>(p.cols));
  for (std::int64_t r = 0; r < p.rows; ++r)
    for (std::int64_t c = 0; c < p.cols; ++c) {
      const std::int64_t i = r * p.cols + c;
      const double g = dy[i] * slope(i);
      if (p.want_dz) dz.set(i, g);
      sums[static_cast<std::size_t>(c)] += g;
    }
  for (std::int64_t c = 0; p.want_db && c < p.cols; ++c) db.set(c, sums[static_cast<std::size_t>(c)]);
}

}  // namespace gpunn
