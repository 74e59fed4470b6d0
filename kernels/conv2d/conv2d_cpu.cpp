// The CPU's convolution of f32. Channels-last pictures without any rearrangement are one product of matrices;
// everything else is a correlation over planes.
#include <numeric>
#include <utility>

#include "gpunn/core/cpu_pool.h"
#include "gpunn/kernels/conv2d/conv2d_correlate_impl.h"
#include "gpunn/kernels/matmul/gemm_impl.h"

namespace gpunn {
namespace {

using detail::Correlation;

bool nothing(const Conv2dProblem& p) { return p.sizes.y_elements() == 0; }

bool is_product(const Conv2dSizes& s) { return s.channels_last && s.groups == 1 && s.pointwise(); }

GemmArgs product(const Conv2dProblem& p) {
  const Conv2dSizes& s = p.sizes;
  GemmArgs g;
  g.M = s.N * s.P * s.Q, g.N = s.K, g.K = s.C;
  g.a = static_cast<const float*>(p.x), g.lda = s.C;
  g.b = static_cast<const float*>(p.w), g.ldb = s.C, g.trans_b = true;
  g.c = static_cast<float*>(p.y), g.ldc = s.K;
  g.bias = p.has_bias ? static_cast<const float*>(p.bias) : nullptr;
  g.activation = p.relu ? Activation::relu : Activation::none;
  return g;
}

Correlation correlation(const Conv2dProblem& p) {
  const Conv2dSizes& s = p.sizes;
  Correlation c;
  c.N = s.N, c.groups = s.groups;
  c.sources = s.C / s.groups, c.results = s.K / s.groups;
  c.source_h = s.H, c.source_w = s.W, c.result_h = s.P, c.result_w = s.Q;
  c.channels_last = s.channels_last;
  c.h = detail::conv_axis(s.H, s.R, s.stride_h, s.pad_h, s.dilation_h);
  c.w = detail::conv_axis(s.W, s.S, s.stride_w, s.pad_w, s.dilation_w);
  detail::ConvPhase phase;
  phase.rows = s.P, phase.columns = s.Q;
  phase.r.resize(static_cast<std::size_t>(s.R));
  std::iota(phase.r.begin(), phase.r.end(), 0);
  phase.s.resize(static_cast<std::size_t>(s.S));
  std::iota(phase.s.begin(), phase.s.end(), 0);
  phase.weights = static_cast<const float*>(p.w);
  c.phases.push_back(std::move(phase));
  c.x = static_cast<const float*>(p.x);
  c.bias = p.has_bias ? static_cast<const float*>(p.bias) : nullptr;
  c.y = static_cast<float*>(p.y);
  c.relu = p.relu;
  return c;
}

}  // namespace

const char* conv2d_cpu_reason(const Conv2dProblem& p) {
  return p.dtype == DType::f32 ? detail::planes_reason(p.sizes, false) : "f32 only";
}

std::size_t conv2d_cpu_workspace(const Conv2dProblem& p) {
  if (nothing(p)) return 0;
  return is_product(p.sizes) ? gemm_cpu_workspace(product(p)) : correlate_workspace(correlation(p));
}

void conv2d_cpu(const Conv2dProblem& p, const Exec& exec) {
  if (nothing(p)) return;
  if (is_product(p.sizes)) return gemm_cpu(product(p), exec.workspace, *exec.pool);
  correlate(correlation(p), exec.workspace, *exec.pool);
}

}  // namespace gpunn
