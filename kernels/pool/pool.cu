// Pooling forward. A thread takes a window, in channels-last order 16 bytes of its channels; windows of many
// pixels are shared out: a warp for each (contiguous), or a block for 32 vectors of channels (channels-last).
#include <type_traits>

#include "gpunn/kernels/common/device_dtype.h"
#include "gpunn/kernels/common/pictures.cuh"
#include "gpunn/kernels/common/reduce.cuh"
#include "gpunn/kernels/pool/pool_impl.h"

namespace gpunn {
namespace {

constexpr int kWarps = kPictureThreads / kWarpSize;
constexpr std::int32_t kNowhere = 0x7fffffff;
constexpr std::int64_t kBlocksAtOnce = 1056;  // eight on each of 132 multiprocessors; not measured
constexpr double kWideWindow = 32;  // pixels from which a window is shared out: a warp's lanes; not measured

/// Either problem. `indices` may be null.
struct Windows {
  const void* x;
  void* y;
  std::int32_t* indices;
  PoolSizes sizes;
  bool count_include_pad;
  std::int64_t divisor_override;
  bool small;  // fewer than 2^31 vectors
};

/// The elements of a window one by one, and what two parts of a window give together.
struct Sum {
  float value = 0.0f;

  GPUNN_DEVICE void see(float v, std::int32_t) { value += v; }
  GPUNN_DEVICE void merge(float v, std::int32_t) { value += v; }
  GPUNN_DEVICE std::int32_t place() const { return 0; }
  GPUNN_DEVICE float result(float divisor) const { return value / divisor; }
};

/// The first of equals in row-major order; NaN before all, the last of them.
template <bool kIndices>
struct Best {
  float value = -INFINITY;
  std::int32_t at = kNowhere;

  GPUNN_DEVICE void see(float v, std::int32_t pixel) {
    if (!(v > value) && v == v) return;
    value = v;
    if (kIndices) at = pixel;
  }
  GPUNN_DEVICE void merge(float v, std::int32_t pixel) {
    const bool better = v != v ? value == value || pixel > at : v > value || (v == value && pixel < at);
    if (!better) return;
    value = v;
    at = pixel;
  }
  GPUNN_DEVICE std::int32_t place() const { return at; }
  GPUNN_DEVICE float result(float) const { return value; }
};

template <class A>
inline constexpr bool kHasIndices = false;
template <>
inline constexpr bool kHasIndices<Best<true>> = true;

GPUNN_DEVICE float divisor_of(const Windows& g, std::int32_t p, std::int32_t q) {
  if (g.divisor_override != 0) return static_cast<float>(g.divisor_override);
  return static_cast<float>(pool_divisor(g.sizes.h, p, g.count_include_pad)) *
         static_cast<float>(pool_divisor(g.sizes.w, q, g.count_include_pad));
}

/// Writes the vector `e` of y. A window of -infinities has its first element.
template <class T, int kVec, class A>
GPUNN_DEVICE void finish(const Windows& g, std::int64_t e, float divisor, std::int32_t first,
                         const A (&a)[kVec]) {
  Vec<T, kVec> y;
  GPUNN_UNROLL
  for (int j = 0; j < kVec; ++j) y.v[j] = from_float<T>(a[j].result(divisor));
  store_vec<kVec>(static_cast<T*>(g.y) + e * kVec, y);
  if constexpr (kHasIndices<A>) {
    Vec<std::int32_t, kVec> at;
    GPUNN_UNROLL
    for (int j = 0; j < kVec; ++j) at.v[j] = a[j].at == kNowhere ? first : a[j].at;
    store_vec<kVec>(g.indices + e * kVec, at);
  }
}

template <class A>
GPUNN_DEVICE float divisor_for(const Windows& g, std::int32_t p, std::int32_t q) {
  return std::is_same_v<A, Sum> ? divisor_of(g, p, q) : 1.0f;
}

template <class T, int kVec, class A>
GPUNN_KERNEL __launch_bounds__(kPictureThreads) pool_fwd_kernel(const __grid_constant__ Windows g) {
  const PoolAxis &h = g.sizes.h, &w = g.sizes.w;
  const std::int64_t inner = picture_inner<kVec>(g.sizes.channels_last, g.sizes.C),
                     n = g.sizes.y_elements() / kVec;
  for (std::int64_t e = picture_first(); e < n; e += picture_stride()) {
    const PicturePlace at = picture_place(e, h.out, w.out, inner, g.small);
    const PoolSpan rows = pool_window(h, at.row), cols = pool_window(w, at.col);
    const T* const x = static_cast<const T*>(g.x) + (at.outer * g.sizes.x_pixels() * inner + at.inner) * kVec;
    A a[kVec];
    for (std::int32_t r = rows.first; r < rows.end; r += h.dilation)
      for (std::int32_t c = cols.first; c < cols.end; c += w.dilation) {
        const std::int32_t pixel = r * w.in + c;
        const Vec<T, kVec> v = load_vec<kVec>(x + pixel * inner * kVec);
        GPUNN_UNROLL
        for (int j = 0; j < kVec; ++j) a[j].see(to_float(v.v[j]), pixel);
      }
    finish<T>(g, e, divisor_for<A>(g, at.row, at.col), rows.first * w.in + cols.first, a);
  }
}

/// Pixels of a window by number, in row-major order.
struct Numbered {
  PoolSpan rows, cols;
  std::int32_t width, count, row_step, col_step, in;

  GPUNN_DEVICE Numbered(const PoolSizes& s, std::int32_t p, std::int32_t q)
      : rows(pool_window(s.h, p)),
        cols(pool_window(s.w, q)),
        row_step(s.h.dilation),
        col_step(s.w.dilation),
        in(s.w.in) {
    width = (cols.end - cols.first + col_step - 1) / col_step;
    count = (rows.end - rows.first + row_step - 1) / row_step * width;
  }
  GPUNN_DEVICE std::int32_t first() const { return rows.first * in + cols.first; }
  GPUNN_DEVICE std::int32_t pixel(std::int32_t k) const {
    const auto r =
        static_cast<std::int32_t>(static_cast<std::uint32_t>(k) / static_cast<std::uint32_t>(width));
    return (rows.first + r * row_step) * in + cols.first + (k - r * width) * col_step;
  }
};

/// Contiguous order: a warp per window.
template <class T, class A>
GPUNN_KERNEL __launch_bounds__(kPictureThreads) pool_fwd_warp_kernel(const __grid_constant__ Windows g) {
  const int lane = static_cast<int>(threadIdx.x % kWarpSize);
  const std::int64_t n = g.sizes.y_elements();
  for (std::int64_t e = static_cast<std::int64_t>(blockIdx.x) * kWarps + threadIdx.x / kWarpSize; e < n;
       e += static_cast<std::int64_t>(gridDim.x) * kWarps) {
    const PicturePlace at = picture_place(e, g.sizes.h.out, g.sizes.w.out, 1, g.small);
    const Numbered window(g.sizes, at.row, at.col);
    const T* const x = static_cast<const T*>(g.x) + at.outer * g.sizes.x_pixels();
    A a[1];
    for (std::int32_t k = lane; k < window.count; k += kWarpSize) {
      const std::int32_t pixel = window.pixel(k);
      a[0].see(to_float(x[pixel]), pixel);
    }
    GPUNN_UNROLL
    for (int step = kWarpSize / 2; step > 0; step /= 2) {
      const float v = __shfl_xor_sync(kFullWarp, a[0].value, step);
      const std::int32_t place = kHasIndices<A> ? __shfl_xor_sync(kFullWarp, a[0].place(), step) : 0;
      a[0].merge(v, place);
    }
    if (lane == 0) finish<T>(g, e, divisor_for<A>(g, at.row, at.col), window.first(), a);
  }
}

/// Channels-last order: a block per window and 32 vectors of channels, each warp taking every kWarps-th
/// pixel.
template <class T, int kVec, class A>
GPUNN_KERNEL __launch_bounds__(kPictureThreads) pool_fwd_block_kernel(const __grid_constant__ Windows g) {
  GPUNN_SHARED(values, float[kWarps][kWarpSize * kVec]);
  GPUNN_SHARED(places, std::int32_t[kWarps][kHasIndices<A> ? kWarpSize * kVec : 1]);
  const int lane = static_cast<int>(threadIdx.x % kWarpSize),
            warp = static_cast<int>(threadIdx.x / kWarpSize);
  const std::int64_t inner = picture_inner<kVec>(g.sizes.channels_last, g.sizes.C),
                     tiles = (inner + kWarpSize - 1) / kWarpSize;
  const std::int64_t blocks = g.sizes.N * g.sizes.y_pixels() * tiles;
  for (std::int64_t b = blockIdx.x; b < blocks; b += gridDim.x) {
    const std::int64_t y = b / tiles, i = (b - y * tiles) * kWarpSize + lane;
    const PicturePlace at = picture_place(y, g.sizes.h.out, g.sizes.w.out, 1, g.small);
    const Numbered window(g.sizes, at.row, at.col);
    const T* const x = static_cast<const T*>(g.x) + (at.outer * g.sizes.x_pixels() * inner + i) * kVec;
    A a[kVec];
    for (std::int32_t k = warp; i < inner && k < window.count; k += kWarps) {
      const std::int32_t pixel = window.pixel(k);
      const Vec<T, kVec> v = load_vec<kVec>(x + pixel * inner * kVec);
      GPUNN_UNROLL
      for (int j = 0; j < kVec; ++j) a[j].see(to_float(v.v[j]), pixel);
    }
    GPUNN_UNROLL
    for (int j = 0; j < kVec; ++j) {
      values[warp][j * kWarpSize + lane] = a[j].value;
      if (kHasIndices<A>) places[warp][j * kWarpSize + lane] = a[j].place();
    }
    __syncthreads();  // every warp's part is there
    if (warp == 0 && i < inner) {
      for (int other = 1; other < kWarps; ++other) {
        GPUNN_UNROLL
        for (int j = 0; j < kVec; ++j)
          a[j].merge(values[other][j * kWarpSize + lane],
                     kHasIndices<A> ? places[other][j * kWarpSize + lane] : 0);
      }
      finish<T>(g, y * inner + i, divisor_for<A>(g, at.row, at.col), window.first(), a);
    }
    __syncthreads();  // read before the next window's parts are written
  }
}

/// Pixels of an average window.
double window_pixels(const PoolSizes& s) {
  const auto side = [](const PoolAxis& a) {
    return a.adaptive ? static_cast<double>(a.in) / a.out
                      : static_cast<double>(a.kernel < a.in ? a.kernel : a.in);
  };
  return side(s.h) * side(s.w);
}

template <class A>
void launch_windows(DType dtype, Windows g, const Exec& exec) {
  const bool wide = window_pixels(g.sizes) >= kWideWindow;
  g.small = fits_32_bits(g.sizes.y_elements());
  for_device_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    if (wide && !g.sizes.channels_last)
      return launch("pool_fwd_warp_kernel", pool_fwd_warp_kernel<T, A>,
                    picture_grid((g.sizes.y_elements() + kWarps - 1) / kWarps), exec, g);
    for_picture_vectors<T>(
        g.sizes.channels_last, g.sizes.C, g.x, g.y, g.indices,
        [&]<int kVec>(std::integral_constant<int, kVec>) {
          const std::int64_t tiles =
              (picture_inner<kVec>(g.sizes.channels_last, g.sizes.C) + kWarpSize - 1) / kWarpSize;
          if (wide)
            launch("pool_fwd_block_kernel", pool_fwd_block_kernel<T, kVec, A>,
                   picture_grid(g.sizes.N * g.sizes.y_pixels() * tiles, kBlocksAtOnce), exec, g);
          else
            launch("pool_fwd_kernel", pool_fwd_kernel<T, kVec, A>,
                   picture_thread_grid(g.sizes.y_elements() / kVec), exec, g);
        });
  });
}

}  // namespace

void max_pool_fwd_cuda(const MaxPoolProblem& p, const Exec& exec) {
  const Windows g{p.x, p.y, p.want_indices ? p.indices : nullptr, p.sizes, true, 0, false};
  p.want_indices ? launch_windows<Best<true>>(p.dtype, g, exec)
                 : launch_windows<Best<false>>(p.dtype, g, exec);
}

void avg_pool_fwd_cuda(const AvgPoolProblem& p, const Exec& exec) {
  const Windows g{p.x, p.y, nullptr, p.sizes, p.count_include_pad, p.divisor_override, false};
  launch_windows<Sum>(p.dtype, g, exec);
}

}  // namespace gpunn
