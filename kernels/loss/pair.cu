// Cosines and distances of pairs of rows: a warp per pair. Rows are read once forward and once backward.
#include "gpunn/kernels/common/convert.cuh"
#include "gpunn/kernels/common/device_dtype.h"
#include "gpunn/kernels/common/rows.cuh"
#include "gpunn/kernels/loss/loss_impl.h"

namespace gpunn {
namespace {

/// |v|^p
GPUNN_DEVICE float power(float v, float p) {
  const float size = fabsf(v);
  if (p == 1.0f) return size;
  return p == 2.0f ? v * v : powf(size, p);
}

template <class T>
GPUNN_KERNEL __launch_bounds__(kWarpRowThreads) pair_fwd_cosine_kernel(PairProblem p) {
  const auto eps = static_cast<float>(p.eps);
  for (std::int64_t row = first_warp_row(); row < p.rows; row += warp_row_stride()) {
    const T* const a = static_cast<const T*>(p.x1) + row * p.cols;
    const T* const b = static_cast<const T*>(p.x2) + row * p.cols;
    float dot = 0.0f, square1 = 0.0f, square2 = 0.0f;
    for (std::int64_t c = lane_index(); c < p.cols; c += kWarpSize) {
      const float u = to_float(a[c]), v = to_float(b[c]);
      dot += u * v;
      square1 += u * u;
      square2 += v * v;
    }
    dot = warp_reduce<SumOp>(dot);
    const float norm1 = fmaxf(sqrtf(warp_reduce<SumOp>(square1)), eps);
    const float norm2 = fmaxf(sqrtf(warp_reduce<SumOp>(square2)), eps);
    if (lane_index() != 0) continue;
    static_cast<float*>(p.y)[row] = dot / (norm1 * norm2);
    static_cast<float*>(p.norms)[2 * row] = norm1;
    static_cast<float*>(p.norms)[2 * row + 1] = norm2;
  }
}

template <class T>
GPUNN_KERNEL __launch_bounds__(kWarpRowThreads) pair_fwd_distance_kernel(PairProblem p) {
  const auto eps = static_cast<float>(p.eps), exponent = static_cast<float>(p.p);
  for (std::int64_t row = first_warp_row(); row < p.rows; row += warp_row_stride()) {
    const T* const a = static_cast<const T*>(p.x1) + row * p.cols;
    const T* const b = static_cast<const T*>(p.x2) + row * p.cols;
    float sum = 0.0f;
    for (std::int64_t c = lane_index(); c < p.cols; c += kWarpSize)
      sum += power(to_float(a[c]) - to_float(b[c]) + eps, exponent);
    sum = warp_reduce<SumOp>(sum);
    const float root = exponent == 1.0f ? sum : exponent == 2.0f ? sqrtf(sum) : powf(sum, 1.0f / exponent);
    if (lane_index() == 0) static_cast<float*>(p.y)[row] = root;
  }
}

template <class T>
GPUNN_KERNEL __launch_bounds__(kWarpRowThreads) pair_bwd_cosine_kernel(PairBackwardProblem p) {
  const auto eps = static_cast<float>(p.eps);
  for (std::int64_t row = first_warp_row(); row < p.rows; row += warp_row_stride()) {
    const float norm1 = static_cast<const float*>(p.norms)[2 * row];
    const float norm2 = static_cast<const float*>(p.norms)[2 * row + 1];
    const float y = static_cast<const float*>(p.y)[row], dy = static_cast<const float*>(p.dy)[row];
    const float both = dy / (norm1 * norm2);
    const float own1 = norm1 > eps ? dy * y / (norm1 * norm1) : 0.0f;
    const float own2 = norm2 > eps ? dy * y / (norm2 * norm2) : 0.0f;
    for (std::int64_t c = lane_index(); c < p.cols; c += kWarpSize) {
      const std::int64_t i = row * p.cols + c;
      const float u = to_float(static_cast<const T*>(p.x1)[i]), v = to_float(static_cast<const T*>(p.x2)[i]);
      static_cast<T*>(p.dx1)[i] = from_float<T>(both * v - own1 * u);
      static_cast<T*>(p.dx2)[i] = from_float<T>(both * u - own2 * v);
    }
  }
}

template <class T>
GPUNN_KERNEL __launch_bounds__(kWarpRowThreads) pair_bwd_distance_kernel(PairBackwardProblem p) {
  const auto eps = static_cast<float>(p.eps), exponent = static_cast<float>(p.p);
  for (std::int64_t row = first_warp_row(); row < p.rows; row += warp_row_stride()) {
    const float y = static_cast<const float*>(p.y)[row], dy = static_cast<const float*>(p.dy)[row];
    for (std::int64_t c = lane_index(); c < p.cols; c += kWarpSize) {
      const std::int64_t i = row * p.cols + c;
      const float v =
          to_float(static_cast<const T*>(p.x1)[i]) - to_float(static_cast<const T*>(p.x2)[i]) + eps;
      const float size = exponent == 1.0f ? 1.0f : power(v / y, exponent == 2.0f ? 1.0f : exponent - 1.0f);
      const float slope = y == 0.0f || v == 0.0f ? 0.0f : dy * copysignf(size, v);
      static_cast<T*>(p.dx1)[i] = from_float<T>(slope);
      static_cast<T*>(p.dx2)[i] = from_float<T>(-slope);
    }
  }
}

}  // namespace

void pair_fwd_cuda(const PairProblem& p, const Exec& exec) {
  for_device_dtype(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    if (p.kind == PairKind::cosine)
      launch("pair_fwd_cosine_kernel", pair_fwd_cosine_kernel<T>, warp_row_grid(p.rows), exec, p);
    else
      launch("pair_fwd_distance_kernel", pair_fwd_distance_kernel<T>, warp_row_grid(p.rows), exec, p);
  });
}

void pair_bwd_cuda(const PairBackwardProblem& p, const Exec& exec) {
  for_device_dtype(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    if (p.kind == PairKind::cosine)
      launch("pair_bwd_cosine_kernel", pair_bwd_cosine_kernel<T>, warp_row_grid(p.rows), exec, p);
    else
      launch("pair_bwd_distance_kernel", pair_bwd_distance_kernel<T>, warp_row_grid(p.rows), exec, p);
  });
}

}  // namespace gpunn
