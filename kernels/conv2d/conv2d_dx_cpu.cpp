// The gradient by x as a correlation over dy. Element h of dx gets products from the taps r for which
// h + pad - r dilation is a multiple of the stride: with stride 2 the even and the odd rows have taps of
// their own, phases, each a correlation with stride 1. The filters are put in the order of the phases first.
#include <algorithm>
#include <utility>

#include "gpunn/core/cpu_pool.h"
#include "gpunn/kernels/conv2d/conv2d_correlate_impl.h"
#include "gpunn/kernels/matmul/gemm_impl.h"

namespace gpunn {
namespace {

using detail::conv_ceil_div;
using detail::ConvAxis;
using detail::ConvPhase;
using detail::Correlation;

bool nothing(const Conv2dDxProblem& p) { return p.sizes.x_elements() == 0; }

bool is_product(const Conv2dSizes& s) { return s.channels_last && s.groups == 1 && s.pointwise(); }

GemmArgs product(const Conv2dDxProblem& p) {
  const Conv2dSizes& s = p.sizes;
  GemmArgs g;
  g.M = s.N * s.P * s.Q, g.N = s.C, g.K = s.K;
  g.a = static_cast<const float*>(p.dy), g.lda = s.K;
  g.b = static_cast<const float*>(p.w), g.ldb = s.C;
  g.c = static_cast<float*>(p.dx), g.ldc = s.C;
  g.bias = p.has_bias ? static_cast<const float*>(p.bias) : nullptr;
  return g;
}

// One dimension: which taps each phase has.
struct PhaseAxis {
  struct Phase {
    std::int64_t first, count;
    std::vector<std::int64_t> taps;
  };
  ConvAxis axis;  // by tap: the distance from element i of its phase
  std::vector<Phase> phases;
};

PhaseAxis phase_axis(std::int64_t results, std::int64_t sources, std::int64_t taps, std::int64_t stride,
                     std::int64_t pad, std::int64_t dilation) {
  PhaseAxis out;
  out.axis.source = sources;
  out.axis.grid.assign(static_cast<std::size_t>(taps), 0);
  std::int64_t least = 0, most = 0;
  bool any = false;
  for (std::int64_t a = 0; a < std::min(stride, results); ++a) {
    PhaseAxis::Phase phase{a, conv_ceil_div(results - a, stride), {}};
    for (std::int64_t t = taps - 1; t >= 0; --t) {  // so that distances ascend
      const std::int64_t distance = a + pad - t * dilation;
      if (distance % stride != 0) continue;
      phase.taps.push_back(t);
      least = any ? std::min(least, distance / stride) : distance / stride;
      most = any ? std::max(most, distance / stride) : distance / stride;
      any = true;
    }
    out.phases.push_back(std::move(phase));
  }
  out.axis.first = {least};
  out.axis.most_shift = most - least;
  out.axis.shift.assign(static_cast<std::size_t>(taps), 0);
  for (const PhaseAxis::Phase& phase : out.phases)
    for (const std::int64_t t : phase.taps)
      out.axis.shift[static_cast<std::size_t>(t)] = (phase.first + pad - t * dilation) / stride - least;
  return out;
}

Correlation correlation(const Conv2dDxProblem& p, const float* weights) {
  const Conv2dSizes& s = p.sizes;
  Correlation c;
  c.N = s.N, c.groups = s.groups;
  c.sources = s.K / s.groups, c.results = s.C / s.groups;
  c.source_h = s.P, c.source_w = s.Q, c.result_h = s.H, c.result_w = s.W;
  c.channels_last = s.channels_last;
  PhaseAxis h = phase_axis(s.H, s.P, s.R, s.stride_h, s.pad_h, s.dilation_h);
  PhaseAxis w = phase_axis(s.W, s.Q, s.S, s.stride_w, s.pad_w, s.dilation_w);
  for (const PhaseAxis::Phase& a : h.phases)
    for (const PhaseAxis::Phase& b : w.phases) {
      ConvPhase phase{a.first, b.first, a.count, b.count, a.taps, b.taps, weights};
      weights += phase.taps() * s.C * c.sources;
      c.phases.push_back(std::move(phase));
    }
  c.h = std::move(h.axis);
  c.w = std::move(w.axis);
  c.step_h = s.stride_h, c.step_w = s.stride_w;
  c.x = static_cast<const float*>(p.dy);
  c.bias = p.has_bias ? static_cast<const float*>(p.bias) : nullptr;
  c.y = static_cast<float*>(p.dx);
  return c;
}

// The filters of channel `c` (of all of x) for each phase: [channels of dy, taps of the phase].
void turn_filters(const Conv2dDxProblem& p, const Correlation& correlation, std::int64_t c, float* to) {
  const Conv2dSizes& s = p.sizes;
  const std::int64_t group = c / correlation.results, taps = s.R * s.S;
  const std::int64_t stride = correlation.results * taps;  // from one channel of dy to the next
  const float* const from = static_cast<const float*>(p.w) + group * correlation.sources * stride +
                            (c - group * correlation.results) * taps;
  for (const ConvPhase& phase : correlation.phases) {
    float* out = to + c * correlation.sources * phase.taps();
    for (std::int64_t k = 0; k < correlation.sources; ++k)
      for (const std::int64_t row : phase.r)
        for (const std::int64_t column : phase.s) *out++ = from[k * stride + row * s.S + column];
    to += s.C * correlation.sources * phase.taps();
  }
}

// Floats that the filters take in the workspace, in whole cache lines.
std::int64_t filter_floats(const Conv2dSizes& s) { return conv_ceil_div(s.w_elements(), 16) * 16; }

}  // namespace

const char* conv2d_dx_cpu_reason(const Conv2dDxProblem& p) {
  return p.dtype == DType::f32 ? detail::planes_reason(p.sizes, true) : "f32 only";
}

std::size_t conv2d_dx_cpu_workspace(const Conv2dDxProblem& p) {
  if (nothing(p)) return 0;
  if (is_product(p.sizes)) return gemm_cpu_workspace(product(p));
  return static_cast<std::size_t>(filter_floats(p.sizes)) * sizeof(float) +
         correlate_workspace(correlation(p, nullptr));
}

void conv2d_dx_cpu(const Conv2dDxProblem& p, const Exec& exec) {
  if (nothing(p)) return;
  if (is_product(p.sizes)) return gemm_cpu(product(p), exec.workspace, *exec.pool);
  const Conv2dSizes& s = p.sizes;
  auto* const filters = static_cast<float*>(exec.workspace);
  const Correlation c = correlation(p, filters);
  constexpr std::int64_t kGrain = 1 << 14;  // floats
  parallel_for(*exec.pool, s.C,
               std::max<std::int64_t>(1, kGrain * s.C / std::max<std::int64_t>(1, s.w_elements())),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t i = begin; i < end; ++i) turn_filters(p, c, i, filters);
               });
  correlate(c, filters + filter_floats(s), *exec.pool);
}

}  // namespace gpunn
