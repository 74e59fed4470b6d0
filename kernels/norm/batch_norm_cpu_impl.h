#pragma once
// Between the two memory orders of batch norm in f32 on the CPU.
#include <algorithm>
#include <cmath>

#include "gpunn/kernels/norm/moments_impl.h"
#include "gpunn/kernels/norm/norm_impl.h"

namespace gpunn::norms {

inline const float* floats(const void* p) { return static_cast<const float*>(p); }
inline float* floats(void* p) { return static_cast<float*>(p); }
inline double weight_at(const void* weight, bool there, std::int64_t c, double otherwise) {
  return there ? static_cast<double>(floats(weight)[c]) : otherwise;
}

/// Ends the statistics of channel c: writes what is to be kept and moves the running ones.
inline NormLine finish_channel(const BatchNormProblem& p, std::int64_t c, const RunningMoments& m) {
  double mean = m.mean, var = 0;
  if (p.training) {
    var = m.var();
    if (p.has_running) {
      float *running_mean = floats(p.running_mean) + c, *running_var = floats(p.running_var) + c;
      const double rest = 1 - p.momentum;
      *running_mean = static_cast<float>(rest * static_cast<double>(*running_mean) + p.momentum * mean);
      *running_var =
          static_cast<float>(rest * static_cast<double>(*running_var) + p.momentum * (m.squares / (m.n - 1)));
    }
  } else {
    mean = static_cast<double>(floats(p.running_mean)[c]);
    var = static_cast<double>(floats(p.running_var)[c]);
  }
  const double rstd = 1 / std::sqrt(var + p.eps);
  if (p.save) {
    floats(p.mean)[c] = static_cast<float>(mean);
    floats(p.rstd)[c] = static_cast<float>(rstd);
  }
  return NormLine::of(mean, rstd, weight_at(p.weight, p.has_weight, c, 1),
                      weight_at(p.bias, p.has_bias, c, 0));
}

/// dx = dy factor + (x / 2 - half_mean) slope + shift
struct GradientLine {
  float half_mean, factor, slope, shift;
};

/// Ends the sums over channel c: of g, and of g (x / 2 - mean / 2).
inline GradientLine finish_channel(const BatchNormBackwardProblem& p, std::int64_t c, double sum,
                                   double half_product) {
  const double rstd = static_cast<double>(floats(p.rstd)[c]), product = 2 * rstd * half_product;
  if (p.want_dw) {
    floats(p.dw)[c] = static_cast<float>(product);
    floats(p.db)[c] = static_cast<float>(sum);
  }
  const double factor = rstd * weight_at(p.weight, p.has_weight, c, 1);
  const double share = p.training ? 1 / static_cast<double>(p.sizes.per_channel()) : 0;
  const auto or_none = [&](double v) { return p.training ? static_cast<float>(v) : 0.0f; };
  return {0.5f * floats(p.mean)[c], static_cast<float>(factor), or_none(-2 * factor * rstd * product * share),
          or_none(-factor * sum * share)};
}

// [N, pixels, C]; the others are in batch_norm_cpu.cpp.
std::size_t columns_fwd_workspace(const BatchNormProblem& p);
std::size_t columns_bwd_workspace(const BatchNormBackwardProblem& p);
void columns_fwd(const BatchNormProblem& p, const Exec& exec);
void columns_bwd(const BatchNormBackwardProblem& p, const Exec& exec);

}  // namespace gpunn::norms
