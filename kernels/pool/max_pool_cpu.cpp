// Maximum pooling in f32 on the CPU. Contiguous pictures: vectors over the windows of a row where these move
// by one or two columns, else window by window. Channels-last: vectors over channels.
#include <algorithm>
#include <cstring>
#include <limits>
#include <vector>

#include "gpunn/core/cpu_pool.h"
#include "gpunn/kernels/common/row_chunks.h"
#include "gpunn/kernels/pool/pool_impl.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "gpunn/kernels/pool/max_pool_cpu.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"

#include "gpunn/kernels/pool/simd_pool-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gpunn {
namespace HWY_NAMESPACE {

constexpr float kLowest = -std::numeric_limits<float>::infinity();

/// A running maximum and where it was; the first of equals stays, NaN beats all.
template <class D>
struct Best {
  using DI = hn::RebindToSigned<D>;
  hn::Vec<D> value;
  hn::Vec<DI> at;

  HWY_INLINE void See(hn::Vec<D> v, hn::Vec<DI> place) {
    const auto better = hn::Or(hn::Gt(v, value), hn::IsNaN(v));
    value = hn::IfThenElse(better, v, value);
    at = hn::IfThenElse(hn::RebindMask(DI(), better), place, at);
  }
};

/// i32 lanes through the float stores, which know about parts.
template <class D, class VI>
HWY_INLINE void StoreIndices(D d, VI at, std::int32_t* to, std::int64_t n) {
  StorePart(d, hn::BitCast(d, at), reinterpret_cast<float*>(to), n);
}
template <class D>
HWY_INLINE auto LoadIndices(D d, const std::int32_t* from, std::int64_t n) {
  return hn::BitCast(hn::RebindToSigned<D>(), LoadPart(d, reinterpret_cast<const float*>(from), n));
}

/// The rows of one row of windows; column c of row r is at row[r][c + pad].
struct MaxRows {
  const float* const* row;
  PoolSpan span;
};

/// One row of windows in vectors. kKernel 0: any.
template <int kStride, int kKernel, bool kIndices>
void WindowRow(const MaxPoolProblem& p, const MaxRows& rows, float* y, std::int32_t* indices) {
  const hn::ScalableTag<float> d;
  const hn::RebindToSigned<decltype(d)> di;
  const PoolAxis &w = p.sizes.w, &h = p.sizes.h;
  const int kernel = kKernel ? kKernel : w.kernel;
  const auto steps = hn::Mul(hn::Iota(di, 0), hn::Set(di, kStride));
  ForEachVector(d, w.out, [&](std::int64_t q, std::int64_t n) {
    Best<decltype(d)> best{hn::Set(d, kLowest), hn::Set(di, -1)};
    const auto first = static_cast<std::int32_t>(q) * kStride;
    for (std::int32_t i = rows.span.first, r = 0; i < rows.span.end; i += h.dilation, ++r)
      for (int s = 0; s < kernel; ++s) {
        const std::int32_t column = first + s * w.dilation;
        best.See(LoadColumns<kStride>(d, rows.row[r] + column),
                 hn::Add(steps, hn::Set(di, i * w.in + column - w.pad)));
      }
    StorePart(d, best.value, y + q, n);
    if constexpr (kIndices) {
      StoreIndices(d, best.at, indices + q, n);
      // A window of -infinities has its first element.
      const std::int64_t count = std::min(n, static_cast<std::int64_t>(hn::Lanes(d)));
      const auto real = hn::FirstN(di, static_cast<std::size_t>(count));
      if (HWY_LIKELY(hn::AllFalse(di, hn::And(hn::Lt(best.at, hn::Zero(di)), real)))) return;
      for (std::int64_t o = q; o < q + count; ++o)
        if (indices[o] < 0)
          indices[o] = rows.span.first * w.in + pool_window(w, static_cast<std::int32_t>(o)).first;
    }
  });
}

template <bool kIndices>
void VectorRow(const MaxPoolProblem& p, const MaxRows& rows, float* y, std::int32_t* indices) {
  const PoolAxis& w = p.sizes.w;
  if (w.stride == 1) return WindowRow<1, 0, kIndices>(p, rows, y, indices);
  if (w.kernel == 2) return WindowRow<2, 2, kIndices>(p, rows, y, indices);
  if (w.kernel == 3) return WindowRow<2, 3, kIndices>(p, rows, y, indices);
  WindowRow<2, 0, kIndices>(p, rows, y, indices);
}

void ScalarRow(const MaxPoolProblem& p, const float* plane, PoolSpan rows, float* y, std::int32_t* indices) {
  const PoolAxis &h = p.sizes.h, &w = p.sizes.w;
  for (std::int32_t q = 0; q < w.out; ++q) {
    const PoolSpan cols = pool_window(w, q);
    std::int32_t at = rows.first * w.in + cols.first;
    float best = kLowest;
    for (std::int32_t r = rows.first; r < rows.end; r += h.dilation)
      for (std::int32_t c = cols.first; c < cols.end; c += w.dilation) {
        const float v = plane[r * w.in + c];
        if (!(v > best) && v == v) continue;
        best = v;
        at = r * w.in + c;
      }
    y[q] = best;
    if (indices) indices[q] = at;
  }
}

/// Rows of windows [begin, end) of all planes, contiguous order.
void ForwardRows(const MaxPoolProblem& p, std::int64_t begin, std::int64_t end) {
  const PoolAxis &h = p.sizes.h, &w = p.sizes.w;
  const bool vectors = VectorColumns(w);
  const std::size_t width = vectors ? PaddedWidth(w) : 0;
  const bool overhangs = (w.out - 1) * w.stride + w.dilation * (w.kernel - 1) - w.pad >= w.in;
  const std::size_t most_rows = static_cast<std::size_t>(std::min(h.kernel, h.in));
  std::vector<float> padded(vectors ? most_rows * width : 0, kLowest);
  std::vector<const float*> row(vectors ? most_rows : 0);
  const float* const x_end = static_cast<const float*>(p.x) + p.sizes.x_elements();
  for (std::int64_t i = begin; i < end; ++i) {
    const std::int64_t plane = i / h.out;
    const PoolSpan span = pool_window(h, static_cast<std::int32_t>(i - plane * h.out));
    const float* const x = static_cast<const float*>(p.x) + plane * p.sizes.x_pixels();
    float* const y = static_cast<float*>(p.y) + i * w.out;
    std::int32_t* const indices = p.want_indices ? p.indices + i * w.out : nullptr;
    if (!vectors) {
      ScalarRow(p, x, span, y, indices);
      continue;
    }
    std::size_t slot = 0;
    for (std::int32_t r = span.first; r < span.end; r += h.dilation, ++slot) {
      const float* const from = x + std::int64_t{r} * w.in;
      // What vectors read beyond the row is not used, but must be there.
      if (w.pad == 0 && !overhangs && x_end - from >= static_cast<std::ptrdiff_t>(width)) {
        row[slot] = from;
      } else {
        float* const to = padded.data() + slot * width;
        std::memcpy(to + w.pad, from, static_cast<std::size_t>(w.in) * sizeof(float));
        row[slot] = to;
      }
    }
    indices ? VectorRow<true>(p, {row.data(), span}, y, indices)
            : VectorRow<false>(p, {row.data(), span}, y, indices);
  }
}

/// Rows of windows [begin, end) of all pictures, channels-last.
void ForwardPixels(const MaxPoolProblem& p, std::int64_t begin, std::int64_t end) {
  const hn::ScalableTag<float> d;
  const hn::RebindToSigned<decltype(d)> di;
  const PoolAxis &h = p.sizes.h, &w = p.sizes.w;
  const std::int64_t C = p.sizes.C;
  for (std::int64_t i = begin; i < end; ++i) {
    const std::int64_t n = i / h.out;
    const PoolSpan rows = pool_window(h, static_cast<std::int32_t>(i - n * h.out));
    const float* const x = static_cast<const float*>(p.x) + n * p.sizes.x_pixels() * C;
    for (std::int32_t q = 0; q < w.out; ++q) {
      const PoolSpan cols = pool_window(w, q);
      const std::int64_t to = (i * w.out + q) * C;
      ForEachVector(d, C, [&](std::int64_t c, std::int64_t left) {
        Best<decltype(d)> best{hn::Set(d, kLowest), hn::Set(di, rows.first * w.in + cols.first)};
        for (std::int32_t r = rows.first; r < rows.end; r += h.dilation)
          for (std::int32_t s = cols.first; s < cols.end; s += w.dilation) {
            const std::int32_t pixel = r * w.in + s;
            best.See(LoadPart(d, x + pixel * C + c, left), hn::Set(di, pixel));
          }
        StorePart(d, best.value, static_cast<float*>(p.y) + to + c, left);
        if (p.want_indices) StoreIndices(d, best.at, p.indices + to + c, left);
      });
    }
  }
}

/// Two vectors lane by lane in turn: 2 n floats. `room`: floats that may be overwritten from `to` on.
template <class D>
HWY_INLINE void StorePairs(D d, hn::Vec<D> even, hn::Vec<D> odd, float* to, std::int64_t n,
                           std::int64_t room) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  if (HWY_LIKELY(room >= 2 * lanes)) return hn::StoreInterleaved2(even, odd, d, to);
  HWY_ALIGN float pairs[2 * hn::MaxLanes(d)];
  hn::StoreInterleaved2(even, odd, d, pairs);
  std::copy_n(pairs, 2 * std::min(n, lanes), to);
}

/// Windows of 2 x 2 side by side: dy goes to one of four places. Vectors may spill over into what is
/// written next, not beyond `end`.
void BackwardPairs(const MaxPoolBackwardProblem& p, const float* dy, const std::int32_t* indices, float* dx,
                   const float* end) {
  const hn::ScalableTag<float> d;
  const hn::RebindToSigned<decltype(d)> di;
  const PoolAxis &h = p.sizes.h, &w = p.sizes.w;
  const auto steps = hn::Add(hn::Iota(di, 0), hn::Iota(di, 0));
  const std::int32_t covered = 2 * w.out;
  for (std::int32_t r = 0; r < 2 * h.out; ++r) {
    const float* const from = dy + std::int64_t{r / 2} * w.out;
    const std::int32_t* const at = indices + std::int64_t{r / 2} * w.out;
    float* const to = dx + std::int64_t{r} * w.in;
    ForEachVector(d, w.out, [&](std::int64_t q, std::int64_t n) {
      const auto here = hn::Add(steps, hn::Set(di, r * w.in + 2 * static_cast<std::int32_t>(q)));
      const auto place = LoadIndices(d, at + q, n);
      const auto v = LoadPart(d, from + q, n);
      const auto even = hn::RebindMask(d, hn::Eq(place, here));
      const auto odd = hn::RebindMask(d, hn::Eq(place, hn::Add(here, hn::Set(di, 1))));
      StorePairs(d, hn::IfThenElseZero(even, v), hn::IfThenElseZero(odd, v), to + 2 * q, n,
                 end - (to + 2 * q));
    });
    std::fill(to + covered, to + w.in, 0.0f);
  }
  std::fill(dx + std::int64_t{2} * h.out * w.in, dx + p.sizes.x_pixels(), 0.0f);
}

/// Planes [begin, end), contiguous order.
void BackwardPlanes(const MaxPoolBackwardProblem& p, std::int64_t begin, std::int64_t end) {
  const PoolAxis &h = p.sizes.h, &w = p.sizes.w;
  const std::int64_t x_pixels = p.sizes.x_pixels(), y_pixels = p.sizes.y_pixels();
  const auto pair = [](const PoolAxis& a) {
    return !a.adaptive && a.kernel == 2 && a.stride == 2 && a.pad == 0 && a.dilation == 1 &&
           2 * a.out <= a.in;
  };
  const bool pairs = pair(h) && pair(w);
  const float* const last = static_cast<const float*>(p.dx) + end * x_pixels;
  for (std::int64_t plane = begin; plane < end; ++plane) {
    const float* const dy = static_cast<const float*>(p.dy) + plane * y_pixels;
    const std::int32_t* const indices = p.indices + plane * y_pixels;
    float* const dx = static_cast<float*>(p.dx) + plane * x_pixels;
    if (pairs) {
      BackwardPairs(p, dy, indices, dx, last);
      continue;
    }
    // One thread has the plane: windows are added in ascending order.
    std::fill_n(dx, x_pixels, 0.0f);
    for (std::int64_t o = 0; o < y_pixels; ++o) dx[indices[o]] += dy[o];
  }
}

/// Rows of pixels [begin, end) of all pictures, channels-last: each pixel looks at the windows around it.
void BackwardPixels(const MaxPoolBackwardProblem& p, std::int64_t begin, std::int64_t end) {
  const hn::ScalableTag<float> d;
  const hn::RebindToSigned<decltype(d)> di;
  const PoolAxis &h = p.sizes.h, &w = p.sizes.w;
  const std::int64_t C = p.sizes.C;
  for (std::int64_t i = begin; i < end; ++i) {
    const std::int64_t n = i / h.in;
    const auto row = static_cast<std::int32_t>(i - n * h.in);
    const PoolSpan rows = pool_windows_at(h, row);
    for (std::int32_t col = 0; col < w.in; ++col) {
      const PoolSpan cols = pool_windows_at(w, col);
      const auto own = hn::Set(di, row * w.in + col);
      float* const to = static_cast<float*>(p.dx) + (i * w.in + col) * C;
      ForEachVector(d, C, [&](std::int64_t c, std::int64_t left) {
        auto sum = hn::Zero(d);
        for (std::int32_t r = rows.first; r < rows.end; ++r)
          for (std::int32_t q = cols.first; q < cols.end; ++q) {
            const std::int64_t from = (n * p.sizes.y_pixels() + std::int64_t{r} * w.out + q) * C + c;
            const auto chosen = hn::RebindMask(d, hn::Eq(LoadIndices(d, p.indices + from, left), own));
            const auto v = LoadPart(d, static_cast<const float*>(p.dy) + from, left);
            sum = hn::Add(sum, hn::IfThenElseZero(chosen, v));
          }
        StorePart(d, sum, to + c, left);
      });
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace gpunn
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gpunn {

HWY_EXPORT(ForwardRows);
HWY_EXPORT(ForwardPixels);
HWY_EXPORT(BackwardPlanes);
HWY_EXPORT(BackwardPixels);

void max_pool_fwd_cpu(const MaxPoolProblem& p, const Exec& exec) {
  const PoolSizes& s = p.sizes;
  const auto rows = s.channels_last ? HWY_DYNAMIC_DISPATCH(ForwardPixels) : HWY_DYNAMIC_DISPATCH(ForwardRows);
  // A row of windows reads `stride` rows that no other reads.
  const std::int64_t read = s.x_pixels() / s.h.out + 1;
  parallel_for(*exec.pool, (s.channels_last ? s.N : s.N * s.C) * s.h.out,
               rows_per_chunk(s.channels_last ? read * s.C : read),
               [&](std::int64_t begin, std::int64_t end) { rows(p, begin, end); });
}

void max_pool_bwd_cpu(const MaxPoolBackwardProblem& p, const Exec& exec) {
  const PoolSizes& s = p.sizes;
  if (s.channels_last) {
    const auto rows = HWY_DYNAMIC_DISPATCH(BackwardPixels);
    parallel_for(*exec.pool, s.N * s.h.in, rows_per_chunk(s.w.in * s.C),
                 [&](std::int64_t begin, std::int64_t end) { rows(p, begin, end); });
    return;
  }
  const auto planes = HWY_DYNAMIC_DISPATCH(BackwardPlanes);
  parallel_for(*exec.pool, s.N * s.C, rows_per_chunk(s.x_pixels()),
               [&](std::int64_t begin, std::int64_t end) { planes(p, begin, end); });
}

void pool_gather_cpu(const PoolGatherProblem& p, const Exec& exec) {
  const PoolSizes& s = p.sizes;
  const auto* const x = static_cast<const float*>(p.x);
  auto* const y = static_cast<float*>(p.y);
  // Pictures of C channels side by side, or C pictures of one.
  const std::int64_t C = s.channels_last ? s.C : 1, pictures = s.N * s.C / C, pixels = s.y_pixels();
  parallel_for(*exec.pool, pictures * pixels, rows_per_chunk(C), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t o = begin; o < end; ++o) {
      const float* const from = x + o / pixels * s.x_pixels() * C;
      for (std::int64_t c = 0; c < C; ++c) y[o * C + c] = from[p.indices[o * C + c] * C + c];
    }
  });
}

}  // namespace gpunn
#endif  // HWY_ONCE
