// Local response norm from public ops, in f32 for the halves: squares of numbers above 256 overflow in f16.
#include <array>
#include <cmath>

#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/elementwise/math_functions.h"
#include "gpunn/kernels/movement/movement.h"
#include "gpunn/kernels/norm/norm.h"
#include "gpunn/kernels/norm/norm_checks_impl.h"

namespace gpunn {

Tensor local_response_norm(const Tensor& x, std::int64_t size, double alpha, double beta, double k) {
  OpScope scope("local_response_norm");
  check_floating(x, "x");
  GPUNN_CHECK(x.dim() >= 2, "expected x [N, C, *], got ", x.shape());
  GPUNN_CHECK(size >= 1, "expected size >= 1, got ", size);
  GPUNN_CHECK(std::isfinite(alpha) && std::isfinite(beta) && std::isfinite(k),
              "expected finite alpha, beta and k, got ", alpha, ", ", beta, " and ", k);
  if (x.numel() == 0) return x.clone();
  const std::int64_t C = x.size(1);
  const Tensor wide = x.to(accumulator_of(x.dtype())).reshape({x.size(0), C, -1});
  const Tensor squares = square(wide);
  // Channels beyond the ends add nothing, and no sum reaches further than C - 1.
  const std::int64_t before = std::min(size / 2, C - 1), after = std::min((size - 1) / 2, C - 1);
  const std::array<std::int64_t, 4> widths{0, 0, before, after};
  const Tensor padded = pad(squares, widths);
  Tensor total = padded.narrow(1, 0, C);
  for (std::int64_t j = 1; j <= before + after; ++j) total = total + padded.narrow(1, j, C);
  const Tensor y = div(wide, pow(total * (alpha / static_cast<double>(size)) + k, beta));
  return y.reshape(x.shape()).to(x.dtype());
}

}  // namespace gpunn
