// Resizing in f32 on the CPU. Contiguous pictures: two rows are mixed in vectors, then columns are gathered
// from the mixture. Channels-last: vectors over channels. What each row and column reads is worked out once.
#include <algorithm>
#include <vector>

#include "gpunn/core/cpu_pool.h"
#include "gpunn/kernels/common/row_chunks.h"
#include "gpunn/kernels/resize/resize_tables_impl.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "gpunn/kernels/resize/resize_cpu.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"

#include "gpunn/kernels/common/simd_rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gpunn {
namespace HWY_NAMESPACE {

/// to = (1 - weight) a + weight b, n elements.
HWY_INLINE void MixRows(float* to, const float* a, const float* b, float weight, std::int64_t n) {
  const hn::ScalableTag<float> d;
  const auto up = hn::Set(d, 1.0f - weight), down = hn::Set(d, weight);
  ForEachVector(d, n, [&](std::int64_t i, std::int64_t left) {
    const auto first = hn::Mul(up, LoadPart(d, a + i, left));
    StorePart(d, hn::MulAdd(down, LoadPart(d, b + i, left), first), to + i, left);
  });
}

/// to += weight from, n elements.
HWY_INLINE void AddRow(float* to, float weight, const float* from, std::int64_t n) {
  const hn::ScalableTag<float> d;
  const auto w = hn::Set(d, weight);
  ForEachVector(d, n, [&](std::int64_t i, std::int64_t left) {
    StorePart(d, hn::MulAdd(w, LoadPart(d, from + i, left), LoadPart(d, to + i, left)), to + i, left);
  });
}

/// y[q] = row[first[q]], mixed with row[second[q]] unless the rule is nearest.
void GatherColumns(const ResizeTaps& w, ResizeRule rule, const float* row, float* y, std::int64_t n) {
  const hn::ScalableTag<float> d;
  const hn::RebindToSigned<decltype(d)> di;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t q = 0;
  for (; q + lanes <= n; q += lanes) {
    auto v = hn::GatherIndex(d, row, hn::LoadU(di, w.first.data() + q));
    if (rule != ResizeRule::nearest) {
      const auto weight = hn::LoadU(d, w.weight.data() + q);
      const auto second = hn::GatherIndex(d, row, hn::LoadU(di, w.second.data() + q));
      v = hn::MulAdd(weight, second, hn::Mul(hn::Sub(hn::Set(d, 1.0f), weight), v));
    }
    hn::StoreU(v, d, y + q);
  }
  for (; q < n; ++q) {
    const ResizeTap t = w[static_cast<std::int32_t>(q)];
    y[q] = rule == ResizeRule::nearest ? row[t.first]
                                       : (1.0f - t.weight) * row[t.first] + t.weight * row[t.second];
  }
}

/// Rows of y [begin, end) of all planes, contiguous order.
void ForwardRows(const ResizeProblem& p, const ResizeTables& tables, std::int64_t begin, std::int64_t end) {
  const ResizeAxis &h = p.sizes.h, &w = p.sizes.w;
  std::vector<float> mixed(static_cast<std::size_t>(w.in));
  for (std::int64_t i = begin; i < end; ++i) {
    const std::int64_t plane = i / h.out;
    const ResizeTap rows = tables.h[static_cast<std::int32_t>(i - plane * h.out)];
    const float* const x = static_cast<const float*>(p.x) + plane * p.sizes.x_pixels();
    const float* row = x + std::int64_t{rows.first} * w.in;
    if (p.sizes.rule != ResizeRule::nearest) {
      MixRows(mixed.data(), row, x + std::int64_t{rows.second} * w.in, rows.weight, w.in);
      row = mixed.data();
    }
    GatherColumns(tables.w, p.sizes.rule, row, static_cast<float*>(p.y) + i * w.out, w.out);
  }
}

/// Rows of y [begin, end) of all pictures, channels-last.
void ForwardPixels(const ResizeProblem& p, const ResizeTables& tables, std::int64_t begin, std::int64_t end) {
  const hn::ScalableTag<float> d;
  const ResizeAxis &h = p.sizes.h, &w = p.sizes.w;
  const std::int64_t C = p.sizes.C;
  for (std::int64_t i = begin; i < end; ++i) {
    const std::int64_t n = i / h.out;
    const ResizeTap rows = tables.h[static_cast<std::int32_t>(i - n * h.out)];
    const float* const x = static_cast<const float*>(p.x) + n * p.sizes.x_pixels() * C;
    for (std::int32_t q = 0; q < w.out; ++q) {
      const ResizeTap cols = tables.w[q];
      float* const y = static_cast<float*>(p.y) + (i * w.out + q) * C;
      const auto pixel = [&](std::int32_t r, std::int32_t c) { return x + (std::int64_t{r} * w.in + c) * C; };
      const float* const a = pixel(rows.first, cols.first);
      if (p.sizes.rule == ResizeRule::nearest) {
        std::copy_n(a, C, y);
        continue;
      }
      const float *const b = pixel(rows.first, cols.second), *const e = pixel(rows.second, cols.first),
                         *const f = pixel(rows.second, cols.second);
      const float up = 1.0f - rows.weight, left = 1.0f - cols.weight;
      const auto wa = hn::Set(d, up * left), wb = hn::Set(d, up * cols.weight),
                 we = hn::Set(d, rows.weight * left), wf = hn::Set(d, rows.weight * cols.weight);
      ForEachVector(d, C, [&](std::int64_t c, std::int64_t rest) {
        auto v = hn::Mul(wa, LoadPart(d, a + c, rest));
        v = hn::MulAdd(wb, LoadPart(d, b + c, rest), v);
        v = hn::MulAdd(we, LoadPart(d, e + c, rest), v);
        StorePart(d, hn::MulAdd(wf, LoadPart(d, f + c, rest), v), y + c, rest);
      });
    }
  }
}

/// Planes [begin, end), contiguous order: a row of dy is spread over the columns of x, then added to its
/// rows.
void BackwardPlanes(const ResizeBackwardProblem& p, const ResizeTables& tables, std::int64_t begin,
                    std::int64_t end) {
  const ResizeAxis &h = p.sizes.h, &w = p.sizes.w;
  std::vector<float> spread(static_cast<std::size_t>(w.in));
  for (std::int64_t plane = begin; plane < end; ++plane) {
    float* const dx = static_cast<float*>(p.dx) + plane * p.sizes.x_pixels();
    std::fill_n(dx, p.sizes.x_pixels(), 0.0f);
    for (std::int32_t row = 0; row < h.out; ++row) {
      const float* const dy =
          static_cast<const float*>(p.dy) + plane * p.sizes.y_pixels() + std::int64_t{row} * w.out;
      std::fill(spread.begin(), spread.end(), 0.0f);
      const bool nearest = p.sizes.rule == ResizeRule::nearest;
      for (std::int32_t q = 0; q < w.out; ++q) {
        const ResizeTap t = tables.w[q];
        spread[static_cast<std::size_t>(t.first)] += nearest ? dy[q] : (1.0f - t.weight) * dy[q];
        if (!nearest) spread[static_cast<std::size_t>(t.second)] += t.weight * dy[q];
      }
      const ResizeTap rows = tables.h[row];
      AddRow(dx + std::int64_t{rows.first} * w.in, 1.0f - rows.weight, spread.data(), w.in);
      if (!nearest) AddRow(dx + std::int64_t{rows.second} * w.in, rows.weight, spread.data(), w.in);
    }
  }
}

/// Rows of x [begin, end) of all pictures, channels-last: each pixel adds up those that read it.
void BackwardPixels(const ResizeBackwardProblem& p, const ResizeTables& tables, std::int64_t begin,
                    std::int64_t end) {
  const ResizeAxis &h = p.sizes.h, &w = p.sizes.w;
  const ResizeRule rule = p.sizes.rule;
  const std::int64_t C = p.sizes.C;
  for (std::int64_t i = begin; i < end; ++i) {
    const std::int64_t n = i / h.in;
    const auto row = static_cast<std::int32_t>(i - n * h.in);
    const ResizeReaders rows = resize_readers(h, rule, row);
    const float* const dy = static_cast<const float*>(p.dy) + n * p.sizes.y_pixels() * C;
    for (std::int32_t col = 0; col < w.in; ++col) {
      const ResizeReaders cols = resize_readers(w, rule, col);
      float* const to = static_cast<float*>(p.dx) + (i * w.in + col) * C;
      std::fill_n(to, C, 0.0f);
      for (std::int32_t r = rows.first; r < rows.end; ++r)
        for (std::int32_t q = cols.first; q < cols.end; ++q)
          AddRow(to, resize_weight(tables.h[r], rule, row) * resize_weight(tables.w[q], rule, col),
                 dy + (std::int64_t{r} * w.out + q) * C, C);
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

void resize_fwd_cpu(const ResizeProblem& p, const Exec& exec) {
  const ResizeSizes& s = p.sizes;
  const ResizeTables tables(s);
  const auto rows = s.channels_last ? HWY_DYNAMIC_DISPATCH(ForwardPixels) : HWY_DYNAMIC_DISPATCH(ForwardRows);
  parallel_for(*exec.pool, (s.channels_last ? s.N : s.N * s.C) * s.h.out,
               rows_per_chunk(s.channels_last ? s.w.out * s.C : s.w.out + s.w.in),
               [&](std::int64_t begin, std::int64_t end) { rows(p, tables, begin, end); });
}

void resize_bwd_cpu(const ResizeBackwardProblem& p, const Exec& exec) {
  const ResizeSizes& s = p.sizes;
  const ResizeTables tables(s);
  const auto rows =
      s.channels_last ? HWY_DYNAMIC_DISPATCH(BackwardPixels) : HWY_DYNAMIC_DISPATCH(BackwardPlanes);
  // A unit of work is a row of dx with its share of dy, or a plane.
  const std::int64_t work = s.x_pixels() + s.y_pixels();
  parallel_for(*exec.pool, s.channels_last ? s.N * s.h.in : s.N * s.C,
               rows_per_chunk(s.channels_last ? work / s.h.in * s.C + 1 : work),
               [&](std::int64_t begin, std::int64_t end) { rows(p, tables, begin, end); });
}

}  // namespace gpunn
#endif  // HWY_ONCE
