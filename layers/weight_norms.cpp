#include "gpunn/layers/weight_norms.h"

#include <cmath>

#include "gpunn/core/autograd.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/elementwise/math_functions.h"
#include "gpunn/kernels/matmul/matmul.h"
#include "gpunn/kernels/reduce/reduce.h"

namespace gpunn::detail {

namespace {
Tensor of_length_one(const Tensor& x, double eps) { return x / clamp(norm(x), eps, HUGE_VAL); }
}  // namespace

void check_spectral(const SpectralNormOptions& options) {
  GPUNN_CHECK(options.n_power_iterations >= 1 && options.eps > 0,
              "expected spectral_norm with at least one power iteration and eps > 0, got ",
              options.n_power_iterations, " and ", options.eps);
}

Tensor unit_vector(std::int64_t n, double eps) {
  NoGrad no_grad;
  return of_length_one(randn({n}, {.device = Device::cpu()}), eps);
}

Tensor spectral_weight(const Tensor& weight, const Tensor& u, const Tensor& v, int dim, int iterations,
                       double eps) {
  OpScope scope("spectral_norm");
  const Tensor matrix = weight.transpose(0, dim).reshape({weight.size(dim), -1});
  // Tensors of this forward: a later one overwrites u and v before this one's backward may have run.
  Tensor left, right;
  {
    NoGrad no_grad;
    left = u.clone();
    right = v.clone();
    for (int i = 0; i < iterations; ++i) {
      right = of_length_one(matmul(matrix.t(), left), eps);
      left = of_length_one(matmul(matrix, right), eps);
    }
    if (iterations > 0) {
      u.copy_(left);
      v.copy_(right);
    }
  }
  return weight / sum(left * matmul(matrix, right));
}

Tensor norm_except(const Tensor& v, int dim) {
  GPUNN_CHECK(dim >= -1 && dim < v.dim(), "expected a weight_norm dim from -1 to ", v.dim() - 1, ", got ",
              dim);
  if (dim == -1) return norm(v);
  Dims others;
  for (int i = 0; i < v.dim(); ++i)
    if (i != dim) others.push_back(i);
  return norm(v, 2, others, true);
}

Tensor scaled_weight(const Tensor& g, const Tensor& v, int dim) {
  OpScope scope("weight_norm");
  return v * (g / norm_except(v, dim));
}

}  // namespace gpunn::detail
