// Resizing: a thread per pixel of the result, forward of y and backward of dx, in channels-last order for 16
// bytes of its channels. Backward finds the pixels of y that read it from the step, and adds them in order.
#include "gpunn/kernels/common/device_dtype.h"
#include "gpunn/kernels/common/pictures.cuh"
#include "gpunn/kernels/resize/resize_impl.h"

namespace gpunn {
namespace {

template <class T, int kVec>
GPUNN_DEVICE void add_weighted(float (&sum)[kVec], float weight, const T* from) {
  const Vec<T, kVec> v = load_vec<kVec>(from);
  GPUNN_UNROLL
  for (int j = 0; j < kVec; ++j) sum[j] += weight * to_float(v.v[j]);
}

template <class T, int kVec>
GPUNN_DEVICE void store_sums(T* to, const float (&sum)[kVec]) {
  Vec<T, kVec> v;
  GPUNN_UNROLL
  for (int j = 0; j < kVec; ++j) v.v[j] = from_float<T>(sum[j]);
  store_vec<kVec>(to, v);
}

template <class T, int kVec, bool kNearest>
GPUNN_KERNEL __launch_bounds__(kPictureThreads)
    resize_fwd_kernel(const __grid_constant__ ResizeProblem p, bool small) {
  const ResizeSizes& s = p.sizes;
  const std::int64_t inner = picture_inner<kVec>(s.channels_last, s.C), n = s.y_elements() / kVec;
  for (std::int64_t e = picture_first(); e < n; e += picture_stride()) {
    const PicturePlace at = picture_place(e, s.h.out, s.w.out, inner, small);
    const ResizeTap rows = resize_tap(s.h, s.rule, at.row), cols = resize_tap(s.w, s.rule, at.col);
    const T* const x = static_cast<const T*>(p.x) + (at.outer * s.x_pixels() * inner + at.inner) * kVec;
    T* const y = static_cast<T*>(p.y) + e * kVec;
    const auto pixel = [&](std::int32_t h, std::int32_t w) { return x + (h * s.w.in + w) * inner * kVec; };
    if constexpr (kNearest) {
      store_vec<kVec>(y, load_vec<kVec>(pixel(rows.first, cols.first)));
    } else {
      float sum[kVec] = {};
      const float up = 1.0f - rows.weight, left = 1.0f - cols.weight;
      add_weighted(sum, up * left, pixel(rows.first, cols.first));
      add_weighted(sum, up * cols.weight, pixel(rows.first, cols.second));
      add_weighted(sum, rows.weight * left, pixel(rows.second, cols.first));
      add_weighted(sum, rows.weight * cols.weight, pixel(rows.second, cols.second));
      store_sums(y, sum);
    }
  }
}

template <class T, int kVec, bool kNearest>
GPUNN_KERNEL __launch_bounds__(kPictureThreads)
    resize_bwd_kernel(const __grid_constant__ ResizeBackwardProblem p, bool small) {
  const ResizeSizes& s = p.sizes;
  const std::int64_t inner = picture_inner<kVec>(s.channels_last, s.C), n = s.x_elements() / kVec;
  for (std::int64_t e = picture_first(); e < n; e += picture_stride()) {
    const PicturePlace at = picture_place(e, s.h.in, s.w.in, inner, small);
    const ResizeReaders rows = resize_readers(s.h, s.rule, at.row),
                        cols = resize_readers(s.w, s.rule, at.col);
    const T* const dy = static_cast<const T*>(p.dy) + (at.outer * s.y_pixels() * inner + at.inner) * kVec;
    float sum[kVec] = {};
    for (std::int32_t r = rows.first; r < rows.end; ++r) {
      const float down = kNearest ? 1.0f : resize_weight(resize_tap(s.h, s.rule, r), s.rule, at.row);
      for (std::int32_t c = cols.first; c < cols.end; ++c) {
        const float right = kNearest ? 1.0f : resize_weight(resize_tap(s.w, s.rule, c), s.rule, at.col);
        add_weighted(sum, down * right, dy + (r * s.w.out + c) * inner * kVec);
      }
    }
    store_sums(static_cast<T*>(p.dx) + e * kVec, sum);
  }
}

/// f(storage type, vector width, nearest or not).
template <class P, class F>
void for_kernel(const P& p, const void* a, const void* b, F&& f) {
  for_device_dtype(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    for_picture_vectors<T>(p.sizes.channels_last, p.sizes.C, a, b, nullptr, [&](auto width) {
      if (p.sizes.rule == ResizeRule::nearest)
        f(zero, width, std::true_type{});
      else
        f(zero, width, std::false_type{});
    });
  });
}

}  // namespace

void resize_fwd_cuda(const ResizeProblem& p, const Exec& exec) {
  const std::int64_t n = p.sizes.y_elements();
  for_kernel(p, p.x, p.y,
             [&]<class T, int kVec, bool kNearest>(T, std::integral_constant<int, kVec>,
                                                   std::bool_constant<kNearest>) {
               launch("resize_fwd_kernel", resize_fwd_kernel<T, kVec, kNearest>,
                      picture_thread_grid(n / kVec), exec, p, fits_32_bits(n));
             });
}

void resize_bwd_cuda(const ResizeBackwardProblem& p, const Exec& exec) {
  const std::int64_t n = p.sizes.x_elements();
  for_kernel(p, p.dy, p.dx,
             [&]<class T, int kVec, bool kNearest>(T, std::integral_constant<int, kVec>,
                                                   std::bool_constant<kNearest>) {
               launch("resize_bwd_kernel", resize_bwd_kernel<T, kVec, kNearest>,
                      picture_thread_grid(n / kVec), exec, p, fits_32_bits(n));
             });
}

}  // namespace gpunn
