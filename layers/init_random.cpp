// Initial values that take more than a draw: truncated normals and orthogonal matrices.
#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>
#include <vector>

#include "gpunn/core/autograd.h"
#include "gpunn/layers/init.h"

namespace gpunn::init {

namespace {

/// Distribution function and density of the standard normal. Precise relative to its size in the lower tail.
double normal_cdf(double z) { return 0.5 * std::erfc(-z / std::numbers::sqrt2); }
double normal_density(double z) {
  return std::exp(-0.5 * z * z) / (std::numbers::sqrt2 / std::numbers::inv_sqrtpi);
}

/// The z in [low, high] with normal_cdf(z) = p: Newton's steps, halving where one leaves the bracket.
double normal_quantile(double p, double low, double high) {
  double z = 0.5 * (low + high);
  for (int i = 0; i < 200 && high - low > 1e-12 * (1 + std::abs(z)); ++i) {
    const double excess = normal_cdf(z) - p;
    (excess > 0 ? high : low) = z;
    const double step = excess / normal_density(z);
    const double next = z - step;
    const bool inside = next > low && next < high;
    z = inside ? next : 0.5 * (low + high);
    if (inside && std::abs(step) < 1e-12) break;
  }
  return z;
}

void check_weight(const Tensor& w) {
  GPUNN_CHECK(w.defined() && is_floating(w.dtype()), "expected a floating tensor to initialise, got ",
              w.defined() ? name_of(w.dtype()) : "an undefined one");
}

/// Makes `vectors` orthonormal, one after the other. Each is freed of the earlier ones twice: once loses
/// digits where little is left of it.
void orthonormalise(std::vector<std::vector<double>>& vectors) {
  const auto dot = [](const std::vector<double>& a, const std::vector<double>& b) {
    return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
  };
  for (std::size_t k = 0; k < vectors.size(); ++k) {
    std::vector<double>& v = vectors[k];
    for (int pass = 0; pass < 2; ++pass) {
      for (std::size_t j = 0; j < k; ++j) {
        const double along = dot(vectors[j], v);
        for (std::size_t i = 0; i < v.size(); ++i) v[i] -= along * vectors[j][i];
      }
    }
    const double length = std::sqrt(dot(v, v));
    for (double& x : v) x /= length;
  }
}

}  // namespace

void trunc_normal(const Tensor& w, double mean, double std, double a, double b) {
  check_weight(w);
  GPUNN_CHECK(std::isfinite(mean), "expected a finite mean, got ", mean);
  GPUNN_CHECK(std::isfinite(std) && std > 0, "expected std > 0, got ", std);
  GPUNN_CHECK(a < b && std::isfinite(a) && std::isfinite(b), "expected finite a < b, got ", a, " and ", b);
  double low = (a - mean) / std, high = (b - mean) / std;
  // The lower tail is the precise one: an interval above the mean is mirrored.
  const double sign = low > 0 ? -1 : 1;
  if (low > 0) {
    std::swap(low, high);
    low = -low, high = -high;
  }
  const double from = normal_cdf(low), to = normal_cdf(high);
  GPUNN_CHECK(to > from, "expected an interval with some probability, got [", a, ", ", b, "] for mean ", mean,
              " and std ", std);
  NoGrad no_grad;
  const Tensor draws = rand(w.shape(), {.dtype = DType::f32, .device = Device::cpu()});
  float* values = draws.host<float>();
  for (std::int64_t i = 0; i < draws.numel(); ++i) {
    const double z = normal_quantile(from + (to - from) * static_cast<double>(values[i]), low, high);
    values[i] = static_cast<float>(std::clamp(mean + sign * std * z, a, b));
  }
  w.copy_(draws);
}

void orthogonal(const Tensor& w, double gain) {
  check_weight(w);
  GPUNN_CHECK(w.dim() >= 2, "expected a weight [out, in, ...], got ", w.shape());
  GPUNN_CHECK(std::isfinite(gain), "expected a finite gain, got ", gain);
  if (w.numel() == 0) return;
  NoGrad no_grad;
  const Tensor draws = randn(w.shape(), {.dtype = DType::f32, .device = Device::cpu()});
  float* values = draws.host<float>();
  const auto rows = static_cast<std::size_t>(w.size(0));
  const auto cols = static_cast<std::size_t>(w.numel()) / rows;
  const bool by_row = rows <= cols;
  const std::size_t count = std::min(rows, cols), length = std::max(rows, cols);
  const auto place = [&](std::size_t k, std::size_t i) { return by_row ? k * cols + i : i * cols + k; };
  std::vector<std::vector<double>> vectors(count, std::vector<double>(length));
  for (std::size_t k = 0; k < count; ++k)
    for (std::size_t i = 0; i < length; ++i) vectors[k][i] = static_cast<double>(values[place(k, i)]);
  orthonormalise(vectors);
  for (std::size_t k = 0; k < count; ++k)
    for (std::size_t i = 0; i < length; ++i) values[place(k, i)] = static_cast<float>(gain * vectors[k][i]);
  w.copy_(draws);
}

}  // namespace gpunn::init
