// Negative log likelihood: a gather forward, zeros and one element per position backward.
#include <cstdint>

#include "gpunn/kernels/common/device_dtype.h"
#include "gpunn/kernels/common/rows.cuh"
#include "gpunn/kernels/common/vec.cuh"
#include "gpunn/kernels/cross_entropy/target_reduce.cuh"

namespace gpunn {
namespace {

constexpr int kThreads = 256;

/// row_loss [outer, inner]: 0 where ignored, NaN for what is no class.
template <class T>
GPUNN_KERNEL __launch_bounds__(kThreads) nll_fwd_kernel(NllProblem p, float* row_loss) {
  const T* const x = static_cast<const T*>(p.x);
  const auto* weight = static_cast<const float*>(p.weight);
  const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * kThreads, n_all = p.outer * p.inner;
  for (std::int64_t n = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x; n < n_all;
       n += stride) {
    const std::int64_t t = p.target[n];
    float value = NAN;
    if (t == p.ignore_index) {
      value = 0.0f;
    } else if (t >= 0 && t < p.classes) {
      const float w = p.has_weight ? weight[t] : 1.0f;
      value = w == 0.0f ? 0.0f : -w * to_float(x[(n / p.inner * p.classes + t) * p.inner + n % p.inner]);
    }
    row_loss[n] = value;
  }
}

/// A thread per element of dx: writes are contiguous, and a target is read from cache `classes` times.
template <class T>
GPUNN_KERNEL __launch_bounds__(kThreads) nll_bwd_kernel(NllBackwardProblem p) {
  T* const dx = static_cast<T*>(p.dx);
  const auto* weight = static_cast<const float*>(p.weight);
  const auto* dloss = static_cast<const float*>(p.dloss);
  const float divisor = p.count ? *static_cast<const float*>(p.count) : 1.0f;
  const bool by_position = p.reduction == Reduction::none;
  const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * kThreads;
  const std::int64_t sample = p.classes * p.inner, elements = p.outer * sample;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < elements;
       i += stride) {
    const std::int64_t c = i / p.inner % p.classes, n = i / sample * p.inner + i % p.inner;
    const std::int64_t t = p.target[n];
    float value = 0.0f;
    if (t != p.ignore_index && (t < 0 || t >= p.classes)) value = NAN;
    if (t != p.ignore_index && t == c) {
      const float w = p.has_weight ? weight[t] : 1.0f;
      value = w == 0.0f ? 0.0f : -w * (dloss[by_position ? n : 0] / divisor);
    }
    dx[i] = from_float<T>(value);
  }
}

Grid element_grid(std::int64_t n) { return {dim3(row_blocks(n, kThreads)), dim3(kThreads)}; }

}  // namespace

std::size_t nll_fwd_cuda_workspace(const NllProblem& p) {
  return p.reduction == Reduction::none ? 0 : static_cast<std::size_t>(p.outer * p.inner) * sizeof(float);
}

void nll_fwd_cuda(const NllProblem& p, const Exec& exec) {
  const bool by_position = p.reduction == Reduction::none;
  auto* loss = static_cast<float*>(p.loss);
  float* const row_loss = by_position ? loss : static_cast<float*>(exec.workspace);
  const std::int64_t n = p.outer * p.inner;
  for_device_dtype(p.dtype, [&](auto zero) {
    launch("nll_fwd_kernel", nll_fwd_kernel<decltype(zero)>, element_grid(n), exec, p, row_loss);
  });
  if (by_position) return;
  const CrossEntropyTargets targets{p.target, nullptr, p.weight, p.ignore_index, 0, false, p.has_weight};
  launch("target_reduce_kernel", target_reduce_kernel, {dim3(1), dim3(kTargetReduceThreads)}, exec, row_loss,
         targets, loss, static_cast<float*>(p.count), n, p.classes);
}

void nll_bwd_cuda(const NllBackwardProblem& p, const Exec& exec) {
  for_device_dtype(p.dtype, [&](auto zero) {
    launch("nll_bwd_kernel", nll_bwd_kernel<decltype(zero)>, element_grid(p.outer * p.classes * p.inner),
           exec, p);
  });
}

}  // namespace gpunn
