// Pooling backward: each pixel gathers from the windows that contain it, in ascending order, and is written
// once. And the gather that is the gradient of max pooling's gradient.
#include "gpunn/kernels/common/device_dtype.h"
#include "gpunn/kernels/common/pictures.cuh"
#include "gpunn/kernels/pool/pool_impl.h"

namespace gpunn {
namespace {

template <class T, int kVec>
GPUNN_KERNEL __launch_bounds__(kPictureThreads)
    max_pool_bwd_kernel(const __grid_constant__ MaxPoolBackwardProblem p, bool small) {
  const PoolAxis &h = p.sizes.h, &w = p.sizes.w;
  const std::int64_t inner = picture_inner<kVec>(p.sizes.channels_last, p.sizes.C),
                     n = p.sizes.x_elements() / kVec;
  for (std::int64_t e = picture_first(); e < n; e += picture_stride()) {
    const PicturePlace at = picture_place(e, h.in, w.in, inner, small);
    const PoolSpan rows = pool_windows_at(h, at.row), cols = pool_windows_at(w, at.col);
    const std::int64_t base = at.outer * p.sizes.y_pixels() * inner + at.inner;
    const std::int32_t own = at.row * w.in + at.col;
    float sum[kVec] = {};
    for (std::int32_t r = rows.first; r < rows.end; ++r)
      for (std::int32_t c = cols.first; c < cols.end; ++c) {
        const std::int64_t from = (base + (r * w.out + c) * inner) * kVec;
        const Vec<std::int32_t, kVec> index = load_vec<kVec>(p.indices + from);
        const Vec<T, kVec> dy = load_vec<kVec>(static_cast<const T*>(p.dy) + from);
        GPUNN_UNROLL
        for (int j = 0; j < kVec; ++j)
          if (index.v[j] == own) sum[j] += to_float(dy.v[j]);
      }
    Vec<T, kVec> dx;
    GPUNN_UNROLL
    for (int j = 0; j < kVec; ++j) dx.v[j] = from_float<T>(sum[j]);
    store_vec<kVec>(static_cast<T*>(p.dx) + e * kVec, dx);
  }
}

/// Divides each dy again, as PyTorch does, rather than multiply by a rounded inverse.
template <class T, int kVec>
GPUNN_KERNEL __launch_bounds__(kPictureThreads)
    avg_pool_bwd_kernel(const __grid_constant__ AvgPoolBackwardProblem p, bool small) {
  const PoolAxis &h = p.sizes.h, &w = p.sizes.w;
  const std::int64_t inner = picture_inner<kVec>(p.sizes.channels_last, p.sizes.C),
                     n = p.sizes.x_elements() / kVec;
  const bool fixed = p.divisor_override != 0;
  for (std::int64_t e = picture_first(); e < n; e += picture_stride()) {
    const PicturePlace at = picture_place(e, h.in, w.in, inner, small);
    const PoolSpan rows = pool_windows_at(h, at.row), cols = pool_windows_at(w, at.col);
    const std::int64_t base = at.outer * p.sizes.y_pixels() * inner + at.inner;
    float sum[kVec] = {};
    for (std::int32_t r = rows.first; r < rows.end; ++r) {
      const float height = fixed ? static_cast<float>(p.divisor_override)
                                 : static_cast<float>(pool_divisor(h, r, p.count_include_pad));
      for (std::int32_t c = cols.first; c < cols.end; ++c) {
        const float width = fixed ? 1.0f : static_cast<float>(pool_divisor(w, c, p.count_include_pad));
        const std::int64_t from = (base + (r * w.out + c) * inner) * kVec;
        const Vec<T, kVec> dy = load_vec<kVec>(static_cast<const T*>(p.dy) + from);
        GPUNN_UNROLL
        for (int j = 0; j < kVec; ++j) sum[j] += to_float(dy.v[j]) / (height * width);
      }
    }
    Vec<T, kVec> dx;
    GPUNN_UNROLL
    for (int j = 0; j < kVec; ++j) dx.v[j] = from_float<T>(sum[j]);
    store_vec<kVec>(static_cast<T*>(p.dx) + e * kVec, dx);
  }
}

template <class T>
GPUNN_KERNEL __launch_bounds__(kPictureThreads)
    pool_gather_kernel(const __grid_constant__ PoolGatherProblem p, bool small) {
  const std::int64_t inner = picture_inner<1>(p.sizes.channels_last, p.sizes.C), n = p.sizes.y_elements();
  for (std::int64_t e = picture_first(); e < n; e += picture_stride()) {
    const PicturePlace at = picture_place(e, p.sizes.h.out, p.sizes.w.out, inner, small);
    const std::int64_t from = (at.outer * p.sizes.x_pixels() + p.indices[e]) * inner + at.inner;
    static_cast<T*>(p.y)[e] = static_cast<const T*>(p.x)[from];
  }
}

}  // namespace

void max_pool_bwd_cuda(const MaxPoolBackwardProblem& p, const Exec& exec) {
  const std::int64_t n = p.sizes.x_elements();
  for_device_dtype(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    for_picture_vectors<T>(p.sizes.channels_last, p.sizes.C, p.dy, p.dx, p.indices,
                           [&]<int kVec>(std::integral_constant<int, kVec>) {
                             launch("max_pool_bwd_kernel", max_pool_bwd_kernel<T, kVec>,
                                    picture_thread_grid(n / kVec), exec, p, fits_32_bits(n));
                           });
  });
}

void avg_pool_bwd_cuda(const AvgPoolBackwardProblem& p, const Exec& exec) {
  const std::int64_t n = p.sizes.x_elements();
  for_device_dtype(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    for_picture_vectors<T>(p.sizes.channels_last, p.sizes.C, p.dy, p.dx, nullptr,
                           [&]<int kVec>(std::integral_constant<int, kVec>) {
                             launch("avg_pool_bwd_kernel", avg_pool_bwd_kernel<T, kVec>,
                                    picture_thread_grid(n / kVec), exec, p, fits_32_bits(n));
                           });
  });
}

void pool_gather_cuda(const PoolGatherProblem& p, const Exec& exec) {
  for_device_dtype(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    launch("pool_gather_kernel", pool_gather_kernel<T>, picture_thread_grid(p.sizes.y_elements()), exec, p,
           fits_32_bits(p.sizes.y_elements()));
  });
}

}  // namespace gpunn
