#include "gpunn/core/philox.h"
#include "gpunn/kernels/common/ref_access.h"
#include "gpunn/kernels/random/random_impl.h"

namespace gpunn {
namespace {

std::uint32_t bits_at(std::uint64_t seed, std::uint64_t offset, std::int64_t i) {
  return philox_at(seed, offset + static_cast<std::uint64_t>(i) / 4).v[i % 4];
}

}  // namespace

void dropout_ref(const DropoutProblem& p, const Exec&) {
  const RefIn x(p.x, p.dtype);
  const RefOut y(p.y, p.dtype);
  // The product of two floats is exact in double: rounded to float it is what float arithmetic gives.
  const double scale = p.dtype == DType::f64 ? p.scale : static_cast<double>(static_cast<float>(p.scale));
  for (std::int64_t i = 0; i < p.n; ++i) {
    const double product = x[i] * (bits_at(p.seed, p.offset, i) <= p.greatest_kept ? scale : 0.0);
    y.set(i, p.dtype == DType::f64 ? product : static_cast<double>(static_cast<float>(product)));
  }
}

void bernoulli_ref(const BernoulliProblem& p, const Exec&) {
  const RefOut y(p.y, p.dtype);
  for (std::int64_t i = 0; i < p.n; ++i) {
    const double probability = p.one_for_all ? static_cast<double>(p.probability) : load_ref(p.p, p.dtype, i);
    const float u = philox_uniform(bits_at(p.seed, p.offset, i));
    y.set(i, static_cast<double>(u) < probability ? 1 : 0);
  }
}

}  // namespace gpunn
