// Average pooling in f32 on the CPU. Contiguous pictures: rows of a window are added first, in vectors along
// the picture's row, then its columns. Channels-last: vectors over channels.
#include <algorithm>
#include <vector>

#include "gpunn/core/cpu_pool.h"
#include "gpunn/kernels/common/row_chunks.h"
#include "gpunn/kernels/pool/pool_impl.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "gpunn/kernels/pool/avg_pool_cpu.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"

#include "gpunn/kernels/pool/simd_pool-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gpunn {
namespace HWY_NAMESPACE {

/// What sums are divided by: rows(p) columns[q], or a number for all.
template <class P>
struct Divisors {
  const P& p;
  std::vector<float> columns;

  explicit Divisors(const P& problem) : p(problem), columns(static_cast<std::size_t>(problem.sizes.w.out)) {
    for (std::int32_t q = 0; q < p.sizes.w.out; ++q)
      columns[static_cast<std::size_t>(q)] =
          p.divisor_override != 0 ? static_cast<float>(p.divisor_override)
                                  : static_cast<float>(pool_divisor(p.sizes.w, q, p.count_include_pad));
  }
  float rows(std::int32_t row) const {
    return p.divisor_override != 0 ? 1.0f
                                   : static_cast<float>(pool_divisor(p.sizes.h, row, p.count_include_pad));
  }
};

/// to += from, n elements.
HWY_INLINE void AddRow(float* to, const float* from, std::int64_t n) {
  const hn::ScalableTag<float> d;
  ForEachVector(d, n, [&](std::int64_t i, std::int64_t left) {
    StorePart(d, hn::Add(LoadPart(d, to + i, left), LoadPart(d, from + i, left)), to + i, left);
  });
}

/// The mean of n elements side by side; four sums hide the latency of additions.
HWY_INLINE float Mean(const float* x, std::int64_t n) {
  const hn::ScalableTag<float> d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  auto a = hn::Zero(d), b = a, c = a, e = a;
  std::int64_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    a = hn::Add(a, hn::LoadU(d, x + i));
    b = hn::Add(b, hn::LoadU(d, x + i + lanes));
    c = hn::Add(c, hn::LoadU(d, x + i + 2 * lanes));
    e = hn::Add(e, hn::LoadU(d, x + i + 3 * lanes));
  }
  ForEachVector(d, n - i,
                [&](std::int64_t j, std::int64_t left) { a = hn::Add(a, LoadPart(d, x + i + j, left)); });
  const auto all = hn::Add(hn::Add(a, b), hn::Add(c, e));
  return hn::GetLane(hn::SumOfLanes(d, all)) / static_cast<float>(n);
}

/// y[q] = sum of `kernel` columns from q kStride on / (rows divisors[q]).
template <int kStride>
void ColumnSums(const PoolAxis& w, const float* sums, float rows, const float* divisors, float* y) {
  const hn::ScalableTag<float> d;
  ForEachVector(d, w.out, [&](std::int64_t q, std::int64_t n) {
    auto sum = hn::Zero(d);
    for (std::int32_t s = 0; s < w.kernel; ++s)
      sum = hn::Add(sum, LoadColumns<kStride>(d, sums + q * kStride + s));
    const auto divisor = hn::Mul(hn::Set(d, rows), LoadPart(d, divisors + q, n, 1.0f));
    StorePart(d, hn::Div(sum, divisor), y + q, n);
  });
}

/// Rows of windows [begin, end) of all planes, contiguous order.
void ForwardRows(const AvgPoolProblem& p, std::int64_t begin, std::int64_t end) {
  const PoolAxis &h = p.sizes.h, &w = p.sizes.w;
  const bool vectors = VectorColumns(w);
  // Zeros on both sides stay what they are.
  std::vector<float> buffer(vectors ? PaddedWidth(w) : static_cast<std::size_t>(w.in), 0.0f);
  float* const sums = buffer.data() + (vectors ? w.pad : 0);
  const Divisors<AvgPoolProblem> divisors(p);
  for (std::int64_t i = begin; i < end; ++i) {
    const std::int64_t plane = i / h.out;
    const auto row = static_cast<std::int32_t>(i - plane * h.out);
    const PoolSpan span = pool_window(h, row);
    const float* const x = static_cast<const float*>(p.x) + plane * p.sizes.x_pixels();
    float* const y = static_cast<float*>(p.y) + i * w.out;
    std::copy_n(x + std::int64_t{span.first} * w.in, w.in, sums);
    for (std::int32_t r = span.first + 1; r < span.end; ++r) AddRow(sums, x + std::int64_t{r} * w.in, w.in);
    const float rows = divisors.rows(row);
    if (vectors) {
      (w.stride == 1 ? ColumnSums<1> : ColumnSums<2>)(w, buffer.data(), rows, divisors.columns.data(), y);
      continue;
    }
    for (std::int32_t q = 0; q < w.out; ++q) {
      const PoolSpan cols = pool_window(w, q);
      float sum = 0;
      for (std::int32_t c = cols.first; c < cols.end; ++c) sum += sums[c];
      y[q] = sum / (rows * divisors.columns[static_cast<std::size_t>(q)]);
    }
  }
}

/// Whole planes [begin, end), each to its mean.
void ForwardPlanes(const AvgPoolProblem& p, std::int64_t begin, std::int64_t end) {
  const std::int64_t pixels = p.sizes.x_pixels();
  for (std::int64_t i = begin; i < end; ++i)
    static_cast<float*>(p.y)[i] = Mean(static_cast<const float*>(p.x) + i * pixels, pixels);
}

/// Rows of windows [begin, end) of all pictures, channels-last.
void ForwardPixels(const AvgPoolProblem& p, std::int64_t begin, std::int64_t end) {
  const hn::ScalableTag<float> d;
  const PoolAxis &h = p.sizes.h, &w = p.sizes.w;
  const std::int64_t C = p.sizes.C;
  const Divisors<AvgPoolProblem> divisors(p);
  for (std::int64_t i = begin; i < end; ++i) {
    const std::int64_t n = i / h.out;
    const auto row = static_cast<std::int32_t>(i - n * h.out);
    const PoolSpan rows = pool_window(h, row);
    const float* const x = static_cast<const float*>(p.x) + n * p.sizes.x_pixels() * C;
    for (std::int32_t q = 0; q < w.out; ++q) {
      const PoolSpan cols = pool_window(w, q);
      const auto divisor = hn::Set(d, divisors.rows(row) * divisors.columns[static_cast<std::size_t>(q)]);
      float* const y = static_cast<float*>(p.y) + (i * w.out + q) * C;
      ForEachVector(d, C, [&](std::int64_t c, std::int64_t left) {
        auto sum = hn::Zero(d);
        for (std::int32_t r = rows.first; r < rows.end; ++r)
          for (std::int32_t s = cols.first; s < cols.end; ++s)
            sum = hn::Add(sum, LoadPart(d, x + (std::int64_t{r} * w.in + s) * C + c, left));
        StorePart(d, hn::Div(sum, divisor), y + c, left);
      });
    }
  }
}

/// Planes [begin, end), contiguous order: a row of windows is spread over columns once, and that row added to
/// each of the picture's.
void BackwardPlanes(const AvgPoolBackwardProblem& p, std::int64_t begin, std::int64_t end) {
  const PoolAxis &h = p.sizes.h, &w = p.sizes.w;
  const Divisors<AvgPoolBackwardProblem> divisors(p);
  std::vector<float> spread(static_cast<std::size_t>(w.in));
  for (std::int64_t plane = begin; plane < end; ++plane) {
    float* const dx = static_cast<float*>(p.dx) + plane * p.sizes.x_pixels();
    if (h.adaptive && p.sizes.y_pixels() == 1) {
      const float each = static_cast<const float*>(p.dy)[plane] / static_cast<float>(p.sizes.x_pixels());
      std::fill_n(dx, p.sizes.x_pixels(), each);
      continue;
    }
    std::fill_n(dx, p.sizes.x_pixels(), 0.0f);
    for (std::int32_t row = 0; row < h.out; ++row) {
      const float* const dy =
          static_cast<const float*>(p.dy) + plane * p.sizes.y_pixels() + std::int64_t{row} * w.out;
      const float rows = divisors.rows(row);
      std::fill(spread.begin(), spread.end(), 0.0f);
      for (std::int32_t q = 0; q < w.out; ++q) {
        const float each = dy[q] / (rows * divisors.columns[static_cast<std::size_t>(q)]);
        const PoolSpan cols = pool_window(w, q);
        for (std::int32_t c = cols.first; c < cols.end; ++c) spread[static_cast<std::size_t>(c)] += each;
      }
      const PoolSpan span = pool_window(h, row);
      for (std::int32_t r = span.first; r < span.end; ++r)
        AddRow(dx + std::int64_t{r} * w.in, spread.data(), w.in);
    }
  }
}

/// Rows of pixels [begin, end) of all pictures, channels-last: each pixel adds up the windows around it.
void BackwardPixels(const AvgPoolBackwardProblem& p, std::int64_t begin, std::int64_t end) {
  const hn::ScalableTag<float> d;
  const PoolAxis &h = p.sizes.h, &w = p.sizes.w;
  const std::int64_t C = p.sizes.C;
  const Divisors<AvgPoolBackwardProblem> divisors(p);
  for (std::int64_t i = begin; i < end; ++i) {
    const std::int64_t n = i / h.in;
    const PoolSpan rows = pool_windows_at(h, static_cast<std::int32_t>(i - n * h.in));
    for (std::int32_t col = 0; col < w.in; ++col) {
      const PoolSpan cols = pool_windows_at(w, col);
      float* const to = static_cast<float*>(p.dx) + (i * w.in + col) * C;
      ForEachVector(d, C, [&](std::int64_t c, std::int64_t left) {
        auto sum = hn::Zero(d);
        for (std::int32_t r = rows.first; r < rows.end; ++r)
          for (std::int32_t q = cols.first; q < cols.end; ++q) {
            const std::int64_t from = (n * p.sizes.y_pixels() + std::int64_t{r} * w.out + q) * C + c;
            const auto divisor = hn::Set(d, divisors.rows(r) * divisors.columns[static_cast<std::size_t>(q)]);
            sum = hn::Add(sum, hn::Div(LoadPart(d, static_cast<const float*>(p.dy) + from, left), divisor));
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
HWY_EXPORT(ForwardPlanes);
HWY_EXPORT(ForwardPixels);
HWY_EXPORT(BackwardPlanes);
HWY_EXPORT(BackwardPixels);

void avg_pool_fwd_cpu(const AvgPoolProblem& p, const Exec& exec) {
  const PoolSizes& s = p.sizes;
  const auto run = [&](auto rows, std::int64_t n, std::int64_t read) {
    parallel_for(*exec.pool, n, rows_per_chunk(read),
                 [&](std::int64_t begin, std::int64_t end) { rows(p, begin, end); });
  };
  const std::int64_t read = s.x_pixels() / s.h.out + 1;
  if (s.channels_last)
    run(HWY_DYNAMIC_DISPATCH(ForwardPixels), s.N * s.h.out, read * s.C);
  else if (s.h.adaptive && s.y_pixels() == 1)
    run(HWY_DYNAMIC_DISPATCH(ForwardPlanes), s.N * s.C, s.x_pixels());
  else
    run(HWY_DYNAMIC_DISPATCH(ForwardRows), s.N * s.C * s.h.out, read);
}

void avg_pool_bwd_cpu(const AvgPoolBackwardProblem& p, const Exec& exec) {
  const PoolSizes& s = p.sizes;
  const auto run = [&](auto rows, std::int64_t n, std::int64_t written) {
    parallel_for(*exec.pool, n, rows_per_chunk(written),
                 [&](std::int64_t begin, std::int64_t end) { rows(p, begin, end); });
  };
  if (s.channels_last)
    run(HWY_DYNAMIC_DISPATCH(BackwardPixels), s.N * s.h.in, s.w.in * s.C);
  else
    run(HWY_DYNAMIC_DISPATCH(BackwardPlanes), s.N * s.C, s.x_pixels());
}

}  // namespace gpunn
#endif  // HWY_ONCE
