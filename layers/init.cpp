#include "gpunn/layers/init.h"

#include <algorithm>
#include <cmath>

#include "gpunn/core/autograd.h"

namespace gpunn::init {

namespace {

void check(const Tensor& w, double a, double b) {
  GPUNN_CHECK(w.defined(), "expected a tensor to initialise, got an undefined one");
  GPUNN_CHECK(is_floating(w.dtype()), "expected a floating tensor to initialise, got ", w.dtype());
  GPUNN_CHECK(std::isfinite(a) && std::isfinite(b), "expected finite arguments, got ", a, " and ", b);
}

// w = offset + scale * draw, element by element on the host, then copied to where w lives.
void fill_from(const Tensor& w, const Tensor& draws, double offset, double scale) {
  NoGrad no_grad;
  float* values = draws.host<float>();
  for (std::int64_t i = 0; i < draws.numel(); ++i) values[i] = static_cast<float>(offset + scale * values[i]);
  w.copy_(draws);
}

}  // namespace

Fans fans_of(const Tensor& w) {
  GPUNN_CHECK(w.defined() && w.dim() >= 2, "expected a weight [out, in, ...], got ",
              w.defined() ? to_string(w.shape()) : "an undefined tensor");
  double receptive = 1;
  for (int i = 2; i < w.dim(); ++i) receptive *= static_cast<double>(w.size(i));
  return {static_cast<double>(w.size(1)) * receptive, static_cast<double>(w.size(0)) * receptive};
}

void constant(const Tensor& w, double value) {
  check(w, value, 0);
  NoGrad no_grad;
  w.fill_(value);
}
void zeros(const Tensor& w) { constant(w, 0); }
void ones(const Tensor& w) { constant(w, 1); }

void normal(const Tensor& w, double mean, double std) {
  check(w, mean, std);
  GPUNN_CHECK(std >= 0, "expected a standard deviation >= 0, got ", std);
  fill_from(w, randn(w.shape(), {.dtype = DType::f32, .device = Device::cpu()}), mean, std);
}

void uniform(const Tensor& w, double low, double high) {
  check(w, low, high);
  GPUNN_CHECK(low <= high, "expected low <= high, got ", low, " and ", high);
  fill_from(w, rand(w.shape(), {.dtype = DType::f32, .device = Device::cpu()}), low, high - low);
}

namespace {
void symmetric(const Tensor& w, double bound) { uniform(w, -bound, bound); }
double root(double value, double fan) { return fan > 0 ? std::sqrt(value / fan) : 0; }
}  // namespace

void xavier_uniform(const Tensor& w, double gain) {
  const Fans fans = fans_of(w);
  symmetric(w, gain * root(6, fans.in + fans.out));
}
void xavier_normal(const Tensor& w, double gain) {
  const Fans fans = fans_of(w);
  normal(w, 0, gain * root(2, fans.in + fans.out));
}
void he_uniform(const Tensor& w) { symmetric(w, root(6, fans_of(w).in)); }
void he_normal(const Tensor& w) { normal(w, 0, root(2, fans_of(w).in)); }
void sqrt_max(const Tensor& w) {
  const Fans fans = fans_of(w);
  normal(w, 0, root(1, std::max(fans.in, fans.out)));
}

}  // namespace gpunn::init
