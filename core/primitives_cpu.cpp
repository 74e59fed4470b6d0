// The primitives on the CPU: memset and memcpy where they serve, tight runs elsewhere, tiles for transposes,
// the pool for large tensors.
#include <cstring>

#include "gpunn/core/cpu_pool.h"
#include "gpunn/core/detail/strided.h"
#include "gpunn/core/primitives_impl.h"
#include "hwy/highway.h"

namespace gpunn {

namespace {

constexpr std::int64_t kGrain = 1 << 16;  // elements per chunk
constexpr std::int64_t kTile = 32;  // a tile of 32 x 32 floats reads 32 cache lines twice: they stay in L1

template <class T>
void fill_run(T* y, std::int64_t stride, std::int64_t n, T value) {
  if (stride != 1) {
    for (std::int64_t i = 0; i < n; ++i) y[i * stride] = value;
    return;
  }
  unsigned char bytes[sizeof(T)];
  std::memcpy(bytes, &value, sizeof(T));
  if (std::all_of(bytes, bytes + sizeof(T), [&](unsigned char b) { return b == bytes[0]; })) {
    std::memset(static_cast<void*>(y), bytes[0], static_cast<std::size_t>(n) * sizeof(T));
    return;
  }
  const std::int64_t block = std::min<std::int64_t>(n, 256);
  std::fill(y, y + block, value);
  for (std::int64_t i = block; i < n; i += block)
    std::memcpy(y + i, y, static_cast<std::size_t>(std::min(block, n - i)) * sizeof(T));
}

using Run = void (*)(const void* x, std::int64_t x_stride, void* y, std::int64_t y_stride, std::int64_t n);

template <class From, class To>
void copy_run(const void* from, std::int64_t sx, void* to, std::int64_t sy, std::int64_t n) {
  const From* x = static_cast<const From*>(from);
  To* y = static_cast<To*>(to);
  if (sx == 1 && sy == 1) {
    if constexpr (std::is_same_v<From, To>) {
      std::memcpy(static_cast<void*>(y), x, static_cast<std::size_t>(n) * sizeof(From));
    } else {
      for (std::int64_t i = 0; i < n; ++i) y[i] = detail::convert_value<To>(x[i]);
    }
    return;
  }
  for (std::int64_t i = 0; i < n; ++i) y[i * sy] = detail::convert_value<To>(x[i * sx]);
}

Run run_for(DType from, DType to) {
  Run run = nullptr;
  visit_dtype(from,
              [&]<class From>(From) { visit_dtype(to, [&]<class To>(To) { run = copy_run<From, To>; }); });
  return run;
}

/// Dimension along which x is contiguous while y's inner dimension is another one, or -1.
int transposed_dim(const CopyProblem& p) {
  const int last = p.rank - 1;
  if (p.x_strides[last] <= 1) return -1;
  for (int i = 0; i < last; ++i)
    if (p.x_strides[i] == 1 && p.shape[i] >= 4) return i;
  return -1;
}

/// Copies by tiles over (across, last) with runs along the last dimension, so that each cache line of x is
/// used whole.
void copy_transposed(const CopyProblem& p, int across, Run run, const Exec& exec) {
  const int last = p.rank - 1;
  const std::int64_t size_x = static_cast<std::int64_t>(size_of(p.src_dtype));
  const std::int64_t size_y = static_cast<std::int64_t>(size_of(p.dtype));
  std::int64_t shape[kMaxRank], sx[kMaxRank], sy[kMaxRank];
  int rank = 0;
  for (int i = 0; i < last; ++i) {
    if (i == across) continue;
    shape[rank] = p.shape[i], sx[rank] = p.x_strides[i], sy[rank++] = p.y_strides[i];
  }
  const std::int64_t height = p.shape[across], width = p.shape[last];
  const std::int64_t bands = (height + kTile - 1) / kTile, strips = (width + kTile - 1) / kTile;
  shape[rank] = bands, sx[rank] = kTile * p.x_strides[across], sy[rank++] = kTile * p.y_strides[across];
  shape[rank] = strips, sx[rank] = kTile * p.x_strides[last], sy[rank++] = kTile * p.y_strides[last];
  const std::int64_t tiles = detail::numel_of(rank, shape);
  parallel_for(*exec.pool, tiles, kGrain / (kTile * kTile), [&](std::int64_t begin, std::int64_t end) {
    std::int64_t tile = begin;
    detail::walk<2>(rank, shape, {sx, sy}, begin, end, [&](std::int64_t n, const std::int64_t(&at)[2]) {
      for (std::int64_t t = 0; t < n; ++t, ++tile) {
        const std::int64_t strip = tile % strips, band = tile / strips % bands;
        const std::int64_t columns = std::min(kTile, width - strip * kTile);
        const std::int64_t rows = std::min(kTile, height - band * kTile);
        const char* x = static_cast<const char*>(p.x) + (at[0] + t * sx[rank - 1]) * size_x;
        char* y = static_cast<char*>(p.y) + (at[1] + t * sy[rank - 1]) * size_y;
        for (std::int64_t r = 0; r < rows; ++r)
          run(x + r * p.x_strides[across] * size_x, p.x_strides[last], y + r * p.y_strides[across] * size_y,
              p.y_strides[last], columns);
      }
    });
  });
}

void add_f32(const float* a, const float* b, float* y, std::int64_t n) {
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::ScalableTag<float> d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(hn::Add(hn::LoadU(d, a + i), hn::LoadU(d, b + i)), d, y + i);
  for (; i < n; ++i) y[i] = a[i] + b[i];
}

}  // namespace

void fill_cpu(const FillProblem& p, const Exec& exec) {
  visit_dtype(p.dtype, [&]<class T>(T) {
    const T value = detail::convert_value<T>(p.value);
    T* y = static_cast<T*>(p.y);
    const std::int64_t n = detail::numel_of(p.rank, p.shape), stride = p.strides[p.rank - 1];
    parallel_for(*exec.pool, n, kGrain, [&](std::int64_t begin, std::int64_t end) {
      detail::walk<1>(
          p.rank, p.shape, {p.strides}, begin, end,
          [&](std::int64_t m, const std::int64_t(&at)[1]) { fill_run(y + at[0], stride, m, value); });
    });
  });
}

void copy_cpu(const CopyProblem& p, const Exec& exec) {
  const Run run = run_for(p.src_dtype, p.dtype);
  if (const int across = transposed_dim(p); across >= 0) return copy_transposed(p, across, run, exec);
  const auto size_x = static_cast<std::int64_t>(size_of(p.src_dtype));
  const auto size_y = static_cast<std::int64_t>(size_of(p.dtype));
  const std::int64_t n = detail::numel_of(p.rank, p.shape);
  const std::int64_t sx = p.x_strides[p.rank - 1], sy = p.y_strides[p.rank - 1];
  parallel_for(*exec.pool, n, kGrain, [&](std::int64_t begin, std::int64_t end) {
    detail::walk<2>(p.rank, p.shape, {p.x_strides, p.y_strides}, begin, end,
                    [&](std::int64_t m, const std::int64_t(&at)[2]) {
                      run(static_cast<const char*>(p.x) + at[0] * size_x, sx,
                          static_cast<char*>(p.y) + at[1] * size_y, sy, m);
                    });
  });
}

void add_cpu(const AddProblem& p, const Exec& exec) {
  visit_floating(p.dtype, [&]<class T>(T) {
    using Compute = std::conditional_t<std::is_same_v<T, double>, double, float>;
    const T* a = static_cast<const T*>(p.a);
    const T* b = static_cast<const T*>(p.b);
    T* y = static_cast<T*>(p.y);
    parallel_for(*exec.pool, p.n, kGrain, [&](std::int64_t begin, std::int64_t end) {
      if constexpr (std::is_same_v<T, float>) {
        add_f32(a + begin, b + begin, y + begin, end - begin);
      } else {
        for (std::int64_t i = begin; i < end; ++i)
          y[i] = static_cast<T>(static_cast<Compute>(a[i]) + static_cast<Compute>(b[i]));
      }
    });
  });
}

}  // namespace gpunn
