// Layer, RMS and group norm in f32 on the CPU, and those of a sum: a row comes from memory once, and the
// second look at it finds it in the caches. Backward sums the weights' gradients in the same pass, a vector
// of sums per chunk of rows.
//
// A sum, or its gradient, that will go around the caches is made in a buffer, where the second look finds it:
// in its place it would first be read from memory.
#include <type_traits>

#include "gpunn/core/cpu_pool.h"
#include "gpunn/kernels/common/row_chunks.h"
#include "gpunn/kernels/norm/add_norm_impl.h"
#include "gpunn/kernels/norm/batch_norm_cpu_impl.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "gpunn/kernels/norm/layer_norm_cpu.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"

#include "gpunn/kernels/common/simd_philox-inl.h"
#include "gpunn/kernels/norm/norm_simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gpunn {
namespace HWY_NAMESPACE {

using norms::floats;

/// Mean of the squares of n elements.
double MeanSquare(const float* x, std::int64_t n) {
  const hn::ScalableTag<float> d;
  double all = 0;
  for (std::int64_t begin = 0; begin < n; begin += kMomentPiece) {
    auto s1 = hn::Zero(d), s2 = s1;
    const std::int64_t end = std::min(n, begin + kMomentPiece);
    const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
    const auto add = [&](auto& sum, std::int64_t i) {
      prefetch_ahead(x + i);
      const auto v = LoadPart(d, x + i, end - i);
      sum = hn::MulAdd(v, v, sum);
    };
    for (std::int64_t i = begin; i < end; i += 2 * lanes) {
      add(s1, i);
      if (i + lanes < end) add(s2, i + lanes);
    }
    all += static_cast<double>(Total(d, s1, s2));
  }
  if (std::isfinite(all)) return all / static_cast<double>(n);
  all = 0;  // f32 overflows before the mean does
  for (std::int64_t i = 0; i < n; ++i) all += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  return all / static_cast<double>(n);
}

/// One pixel a channel: weights go along the row. Those that are not there are null.
template <bool kWeight, bool kBias>
void ApplyAlong(const float* x, const float* w, const float* b, float* y, std::int64_t n,
                const NormLine& line, bool past_cache) {
  const hn::ScalableTag<float> d;
  const auto half_mean = hn::Set(d, line.half_mean), factor = hn::Set(d, line.factor),
             shift = hn::Set(d, line.shift);
  StoreRow(d, y, n, past_cache, [&](std::int64_t i, std::int64_t left) {
    auto v = hn::MulAdd(Centred(d, LoadPart(d, x + i, left), half_mean), factor, shift);
    if constexpr (kWeight) v = hn::Mul(v, LoadPart(d, w + i, left));
    if constexpr (kBias) v = hn::Add(v, LoadPart(d, b + i, left));
    return v;
  });
}

bool RowsPastCache(const NormRows& s) {
  return s.elements() >= kPastCacheElements && (s.pixels == 1 ? s.cols : s.pixels) >= kPastCacheSegment;
}

/// Row r, which is at x.
void NormRow(const RowNormProblem& p, std::int64_t r, const float* x, bool past_cache) {
  const NormRows& s = p.sizes;
  const std::int64_t first = r % s.groups * (s.cols / s.pixels);  // channel
  float* const y = floats(p.y) + r * s.cols;
  RunningMoments m;
  if (!p.rms) m = SegmentMoments(x, 1, 0, s.cols);
  const double rstd = 1 / std::sqrt((p.rms ? MeanSquare(x, s.cols) : m.var()) + p.eps);
  if (p.save) {
    if (!p.rms) floats(p.mean)[r] = static_cast<float>(m.mean);
    floats(p.rstd)[r] = static_cast<float>(rstd);
  }
  if (s.pixels == 1) {
    const NormLine line = NormLine::of(m.mean, rstd, 1, 0);
    return WithFlags(p.has_weight, p.has_bias, [&](auto weight, auto bias) {
      ApplyAlong<decltype(weight)::value, decltype(bias)::value>(
          x, weight ? floats(p.weight) + first : nullptr, bias ? floats(p.bias) + first : nullptr, y, s.cols,
          line, past_cache);
    });
  }
  for (std::int64_t k = 0; k < s.cols / s.pixels; ++k)
    ApplySegment<false, false>(
        x + k * s.pixels, nullptr, y + k * s.pixels, s.pixels,
        NormLine::of(m.mean, rstd, norms::weight_at(p.weight, p.has_weight, first + k, 1),
                     norms::weight_at(p.bias, p.has_bias, first + k, 0)),
        past_cache);
}

void NormRowsForward(const RowNormProblem& p, std::int64_t begin, std::int64_t end) {
  const bool past_cache = RowsPastCache(p.sizes);
  for (std::int64_t r = begin; r < end; ++r) NormRow(p, r, floats(p.x) + r * p.sizes.cols, past_cache);
  if (past_cache) hwy::FlushStream();
}

/// Longest row that is made in a buffer, 32 KB.
constexpr std::int64_t kRowBuffer = 8192;

bool InBuffer(const NormRows& s) { return RowsPastCache(s) && s.cols <= kRowBuffer; }

void CopyPastCache(const float* from, float* to, std::int64_t n) {
  const hn::ScalableTag<float> d;
  StoreRow(d, to, n, true, [&](std::int64_t i, std::int64_t left) { return LoadPart(d, from + i, left); });
}

/// f(i, x m, count) for the n elements of x; `at` is the number of the first in the mask.
template <class F>
HWY_INLINE void ForEachDropped(const DropoutMask& mask, std::int64_t at, const float* x, std::int64_t n,
                               F f) {
  const hn::ScalableTag<float> d;
  const hn::RebindToUnsigned<decltype(d)> du;
  const auto greatest = hn::Set(du, mask.greatest_kept);
  const auto scale = hn::Set(d, static_cast<float>(mask.scale)), zero = hn::Zero(d);
  ForEachBits(mask.seed, mask.offset, at, at + n, [&](std::int64_t i, auto bits, std::int64_t count) {
    const auto v = LoadPart(d, x + (i - at), count);
    // Chosen after the products: a compiler fuses a product with the sum that follows, which then is not
    // that of the ops one by one.
    const auto dropped = hn::RebindMask(d, hn::Gt(bits, greatest));
    f(i - at, hn::IfThenElse(dropped, hn::Mul(v, zero), hn::Mul(v, scale)), count);
  });
}

/// sum = residual + x, or + x m, of row r.
void SumRow(const AddNormProblem& p, std::int64_t r, float* sum) {
  const hn::ScalableTag<float> d;
  const std::int64_t cols = p.sizes.cols, at = r * cols;
  const float *x = floats(p.x) + at, *residual = floats(p.residual) + at;
  const auto add = [&](std::int64_t i, auto v, std::int64_t count) {
    prefetch_ahead(x + i);
    prefetch_ahead(residual + i);
    StorePart(d, hn::Add(LoadPart(d, residual + i, count), v), sum + i, count);
  };
  if (p.drop) return ForEachDropped(p.mask, at, x, cols, add);
  ForEachVector(d, cols, [&](std::int64_t i, std::int64_t left) { add(i, LoadPart(d, x + i, left), left); });
}

void AddNormRowsForward(const AddNormProblem& p, std::int64_t begin, std::int64_t end) {
  const std::int64_t cols = p.sizes.cols;
  const bool past_cache = RowsPastCache(p.sizes), in_buffer = InBuffer(p.sizes);
  HWY_ALIGN float buffer[kRowBuffer];
  for (std::int64_t r = begin; r < end; ++r) {
    float* const place = floats(p.sum) + r * cols;
    float* const sum = in_buffer ? buffer : place;
    SumRow(p, r, sum);
    NormRow(p, r, sum, past_cache);
    if (in_buffer) CopyPastCache(sum, place, cols);
  }
  if (past_cache) hwy::FlushStream();
}

/// Sums over a row: of g, and of g (x / 2 - mean / 2).
struct RowSums {
  float sum, product;
};

/// With kSums also adds dy xh and dy to dw and db.
template <bool kWeight, bool kSums>
RowSums SumAlong(const float* x, const float* dy, const float* w, float* dw, float* db, std::int64_t cols,
                 float half_mean_of_row, float factor_of_row) {
  const hn::ScalableTag<float> d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const auto half_mean = hn::Set(d, half_mean_of_row), factor = hn::Set(d, factor_of_row);
  auto s1 = hn::Zero(d), s2 = s1, q1 = s1, q2 = s1;
  const auto add = [&](auto& sum, auto& product, std::int64_t i) {
    prefetch_ahead(x + i);
    prefetch_ahead(dy + i);
    const std::int64_t left = cols - i;
    const auto given = LoadPart(d, dy + i, left);
    const auto centred = Centred(d, LoadPart(d, x + i, left), half_mean);
    auto g = given;
    if constexpr (kWeight) g = hn::Mul(given, LoadPart(d, w + i, left));
    sum = hn::Add(sum, g);
    product = hn::MulAdd(g, centred, product);
    if constexpr (kSums) {
      StorePart(d, hn::MulAdd(given, hn::Mul(centred, factor), LoadPart(d, dw + i, left)), dw + i, left);
      StorePart(d, hn::Add(given, LoadPart(d, db + i, left)), db + i, left);
    }
  };
  std::int64_t i = 0;
  for (; i + lanes < cols; i += 2 * lanes) {
    add(s1, q1, i);
    add(s2, q2, i + lanes);
  }
  if (i < cols) add(s1, q1, i);
  return {Total(d, s1, s2), Total(d, q1, q2)};
}

/// dx = dy w factor + (x / 2 - half_mean) slope + shift, + more with kMore
template <bool kWeight, bool kMore>
void GradientAlong(const float* x, const float* dy, const float* w, const float* more, float* dx,
                   std::int64_t n, const norms::GradientLine& line, bool past_cache) {
  const hn::ScalableTag<float> d;
  const auto half_mean = hn::Set(d, line.half_mean), factor = hn::Set(d, line.factor),
             slope = hn::Set(d, line.slope), shift = hn::Set(d, line.shift);
  StoreRow(d, dx, n, past_cache, [&](std::int64_t i, std::int64_t left) {
    auto g = LoadPart(d, dy + i, left);
    if constexpr (kWeight) g = hn::Mul(g, LoadPart(d, w + i, left));
    auto v = hn::MulAdd(g, factor, hn::MulAdd(Centred(d, LoadPart(d, x + i, left), half_mean), slope, shift));
    if constexpr (kMore) v = hn::Add(v, LoadPart(d, more + i, left));
    return v;
  });
}

/// Statistics of row r in backward.
struct SavedRow {
  float half_mean, rstd;
  SavedRow(const RowNormBackwardProblem& p, std::int64_t r)
      : half_mean(p.rms ? 0 : 0.5f * floats(p.mean)[r]), rstd(floats(p.rstd)[r]) {}
  norms::GradientLine line(const RowNormBackwardProblem& p, float sum, float product) const {
    const float n = static_cast<float>(p.sizes.cols), share = 2 * rstd * product / n;
    return {half_mean, rstd, -2 * rstd * rstd * share, p.rms ? 0 : -rstd * (sum / n)};
  }
};

/// Row r, to dx; `more` null or what is added.
void BackwardAlong(const RowNormBackwardProblem& p, std::int64_t r, const float* more, float* dx, float* dw,
                   float* db, bool past_cache) {
  const NormRows& s = p.sizes;
  const std::int64_t at = r * s.cols, first = r % s.groups * s.cols;
  const SavedRow row(p, r);
  const float *x = floats(p.x) + at, *dy = floats(p.dy) + at;
  WithFlags(p.has_weight, dw != nullptr, [&](auto weight, auto sums) {
    const float* const w = weight ? floats(p.weight) + first : nullptr;
    const RowSums of_row = SumAlong<decltype(weight)::value, decltype(sums)::value>(
        x, dy, w, sums ? dw + first : nullptr, sums ? db + first : nullptr, s.cols, row.half_mean,
        2 * row.rstd);
    const norms::GradientLine line = row.line(p, of_row.sum, of_row.product);
    if (more)
      GradientAlong<decltype(weight)::value, true>(x, dy, w, more, dx, s.cols, line, past_cache);
    else
      GradientAlong<decltype(weight)::value, false>(x, dy, w, nullptr, dx, s.cols, line, past_cache);
  });
}

void BackwardByChannel(const RowNormBackwardProblem& p, std::int64_t r, float* dw, float* db,
                       bool past_cache) {
  const NormRows& s = p.sizes;
  const std::int64_t channels = s.cols / s.pixels, first = r % s.groups * channels;
  const SavedRow row(p, r);
  float sum = 0, product = 0;
  for (std::int64_t k = 0; k < channels; ++k) {
    const std::int64_t at = r * s.cols + k * s.pixels;
    const RowSums of = SumAlong<false, false>(floats(p.x) + at, floats(p.dy) + at, nullptr, nullptr, nullptr,
                                              s.pixels, row.half_mean, 0);
    const float w = p.has_weight ? floats(p.weight)[first + k] : 1;
    sum += w * of.sum;
    product += w * of.product;
    if (!dw) continue;
    dw[first + k] += 2 * row.rstd * of.product;
    db[first + k] += of.sum;
  }
  norms::GradientLine line = row.line(p, sum, product);
  for (std::int64_t k = 0; k < channels; ++k) {
    const std::int64_t at = r * s.cols + k * s.pixels;
    line.factor = row.rstd * (p.has_weight ? floats(p.weight)[first + k] : 1);
    GradientAlong<false, false>(floats(p.x) + at, floats(p.dy) + at, nullptr, nullptr, floats(p.dx) + at,
                                s.pixels, line, past_cache);
  }
}

/// dw and db [channels] are this chunk's, or null.
void NormRowsBackward(const RowNormBackwardProblem& p, std::int64_t begin, std::int64_t end, float* dw,
                      float* db) {
  const bool past_cache = RowsPastCache(p.sizes);
  for (std::int64_t r = begin; r < end; ++r)
    p.sizes.pixels == 1 ? BackwardAlong(p, r, nullptr, floats(p.dx) + r * p.sizes.cols, dw, db, past_cache)
                        : BackwardByChannel(p, r, dw, db, past_cache);
  if (past_cache) hwy::FlushStream();
}

void AddNormRowsBackward(const AddNormBackwardProblem& p, std::int64_t begin, std::int64_t end, float* dw,
                         float* db) {
  const hn::ScalableTag<float> d;
  const std::int64_t cols = p.sizes.cols;
  const bool past_cache = RowsPastCache(p.sizes), in_buffer = p.want_dbranch && InBuffer(p.sizes);
  HWY_ALIGN float buffer[kRowBuffer];
  for (std::int64_t r = begin; r < end; ++r) {
    const std::int64_t at = r * cols;
    float* const place = floats(p.dx) + at;
    float* const dx = in_buffer ? buffer : place;
    BackwardAlong(p, r, p.has_dsum ? floats(p.dsum) + at : nullptr, dx, dw, db,
                  past_cache && !p.want_dbranch);
    if (!p.want_dbranch) continue;
    float* const dbranch = in_buffer ? buffer : floats(p.dbranch) + at;
    if (in_buffer) CopyPastCache(dx, place, cols);
    ForEachDropped(p.mask, at, dx, cols,
                   [&](std::int64_t i, auto v, std::int64_t count) { StorePart(d, v, dbranch + i, count); });
    if (in_buffer) CopyPastCache(dbranch, floats(p.dbranch) + at, cols);
  }
  if (past_cache) hwy::FlushStream();
}

}  // namespace HWY_NAMESPACE
}  // namespace gpunn
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gpunn {

HWY_EXPORT(NormRowsForward);
HWY_EXPORT(NormRowsBackward);
HWY_EXPORT(AddNormRowsForward);
HWY_EXPORT(AddNormRowsBackward);

namespace {

/// Rows of a chunk in backward: each has sums of its own for the weights, so there are few.
std::int64_t chunk_of(const NormRows& s) {
  constexpr std::int64_t kMostChunks = 16;
  return std::max(rows_per_chunk(s.cols), (s.rows + kMostChunks - 1) / kMostChunks);
}

std::int64_t chunks_of(const NormRows& s) { return (s.rows + chunk_of(s) - 1) / chunk_of(s); }

bool wants_sums(const RowNormBackwardProblem& p) { return p.want_dw || p.want_db; }

/// rows(begin, end, dw, db) for chunks of rows, each with sums [channels] of its own (null where no weights
/// want any), which are joined in their order.
template <class F>
void backward_in_chunks(const RowNormBackwardProblem& p, const Exec& exec, F rows) {
  const std::int64_t channels = p.sizes.channels(), chunk = chunk_of(p.sizes), chunks = chunks_of(p.sizes);
  auto* const sums = static_cast<float*>(exec.workspace);  // [chunks, 2, channels]
  exec.pool->run(chunks, [&](std::int64_t i) {
    float* const dw = wants_sums(p) ? sums + 2 * i * channels : nullptr;
    float* const db = dw ? dw + channels : nullptr;
    if (dw) std::fill_n(dw, 2 * channels, 0.0f);
    rows(i * chunk, std::min(p.sizes.rows, (i + 1) * chunk), dw, db);
  });
  if (!wants_sums(p)) return;
  parallel_for(*exec.pool, channels, 4096, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t k = begin; k < end; ++k) {
      double dw = 0, db = 0;
      for (std::int64_t i = 0; i < chunks; ++i) {
        dw += static_cast<double>(sums[2 * i * channels + k]);
        db += static_cast<double>(sums[(2 * i + 1) * channels + k]);
      }
      if (p.want_dw) norms::floats(p.dw)[k] = static_cast<float>(dw);
      if (p.want_db) norms::floats(p.db)[k] = static_cast<float>(db);
    }
  });
}

}  // namespace

void row_norm_fwd_cpu(const RowNormProblem& p, const Exec& exec) {
  const auto rows = HWY_DYNAMIC_DISPATCH(NormRowsForward);
  parallel_for(*exec.pool, p.sizes.rows, rows_per_chunk(p.sizes.cols),
               [&](std::int64_t begin, std::int64_t end) { rows(p, begin, end); });
}

std::size_t row_norm_bwd_cpu_workspace(const RowNormBackwardProblem& p) {
  if (!wants_sums(p)) return 0;
  return static_cast<std::size_t>(chunks_of(p.sizes) * 2 * p.sizes.channels()) * sizeof(float);
}

void row_norm_bwd_cpu(const RowNormBackwardProblem& p, const Exec& exec) {
  const auto rows = HWY_DYNAMIC_DISPATCH(NormRowsBackward);
  backward_in_chunks(p, exec, [&](std::int64_t begin, std::int64_t end, float* dw, float* db) {
    rows(p, begin, end, dw, db);
  });
}

void add_norm_fwd_cpu(const AddNormProblem& p, const Exec& exec) {
  const auto rows = HWY_DYNAMIC_DISPATCH(AddNormRowsForward);
  parallel_for(*exec.pool, p.sizes.rows, rows_per_chunk(p.sizes.cols),
               [&](std::int64_t begin, std::int64_t end) { rows(p, begin, end); });
}

std::size_t add_norm_bwd_cpu_workspace(const AddNormBackwardProblem& p) {
  return row_norm_bwd_cpu_workspace(p);
}

void add_norm_bwd_cpu(const AddNormBackwardProblem& p, const Exec& exec) {
  const auto rows = HWY_DYNAMIC_DISPATCH(AddNormRowsBackward);
  backward_in_chunks(p, exec, [&](std::int64_t begin, std::int64_t end, float* dw, float* db) {
    rows(p, begin, end, dw, db);
  });
}

}  // namespace gpunn
#endif  // HWY_ONCE
