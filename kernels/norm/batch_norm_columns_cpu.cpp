// Batch norm of [N, pixels, C] and [N, C] in f32 on the CPU: rows of channels. Rows are cut into parts, of
// which each gives sums for every channel; within a part a few vectors of columns are summed in registers
// over as many rows as the first cache holds.
#include <type_traits>

#include "gpunn/core/cpu_pool.h"
#include "gpunn/kernels/common/row_chunks.h"
#include "gpunn/kernels/norm/batch_norm_cpu_impl.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "gpunn/kernels/norm/batch_norm_columns_cpu.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"

#include "gpunn/kernels/norm/norm_simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gpunn {
namespace HWY_NAMESPACE {

using norms::floats;

/// Rows that are summed in f32: about `elements`, and enough that joining the sums does not show.
constexpr std::int64_t BlockRows(std::int64_t C, std::int64_t elements) {
  return std::clamp<std::int64_t>(elements / C, 16, 512);
}

/// Calls f with the number of vectors, a constant, for each group of columns [c, c + width).
template <class F>
HWY_INLINE void ForColumnGroups(std::int64_t C, F f) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(hn::ScalableTag<float>()));
  std::int64_t c = 0;
  for (; c + 4 * lanes <= C; c += 4 * lanes) f(std::integral_constant<int, 4>{}, c, 4 * lanes);
  for (; c < C; c += lanes) f(std::integral_constant<int, 1>{}, c, std::min(lanes, C - c));
}

/// Joins the moments of `rows` rows of kVectors vectors of columns (`width` of them) to means and squares.
template <int kVectors>
void JoinMoments(const float* x, std::int64_t rows, std::int64_t C, std::int64_t width, bool first,
                 double before, double* means, double* squares) {
  const hn::ScalableTag<float> d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  HWY_ALIGN float shift[kVectors * hn::MaxLanes(d)], sum[kVectors * hn::MaxLanes(d)],
      square[kVectors * hn::MaxLanes(d)];
  const auto load = [&](std::int64_t r, int k) {
    return LoadPart(d, x + r * C + k * lanes, width - k * lanes);
  };
  for (int k = 0; k < kVectors; ++k) {
    auto mean = hn::Zero(d);
    if (first) {
      for (std::int64_t r = 0; r < rows; ++r) mean = hn::Add(mean, load(r, k));
      mean = hn::Mul(mean, hn::Set(d, 1.0f / static_cast<float>(rows)));
      hn::Store(mean, d, shift + k * lanes);
    } else {
      for (std::int64_t j = k * lanes; j < std::min((k + 1) * lanes, width); ++j)
        shift[j] = static_cast<float>(means[j]);
      for (std::int64_t j = width; j < (k + 1) * lanes; ++j) shift[j] = 0;
    }
  }
  decltype(hn::Zero(d)) s[kVectors], q[kVectors], origin[kVectors];
  for (int k = 0; k < kVectors; ++k) {
    s[k] = q[k] = hn::Zero(d);
    origin[k] = hn::Load(d, shift + k * lanes);
  }
  for (std::int64_t r = 0; r < rows; ++r)
    for (int k = 0; k < kVectors; ++k) {
      const auto u = hn::Sub(load(r, k), origin[k]);
      s[k] = hn::Add(s[k], u);
      q[k] = hn::MulAdd(u, u, q[k]);
    }
  for (int k = 0; k < kVectors; ++k) {
    hn::Store(s[k], d, sum + k * lanes);
    hn::Store(q[k], d, square + k * lanes);
  }
  const auto count = static_cast<double>(rows);
  for (std::int64_t j = 0; j < width; ++j) {
    RunningMoments m{before, means[j], squares[j]};
    m.add_shifted(count, static_cast<double>(shift[j]), static_cast<double>(sum[j]),
                  static_cast<double>(square[j]));
    means[j] = m.mean;
    squares[j] = m.squares;
  }
}

/// Means and sums of squared deviations [C] of rows [begin, end).
void PartMoments(const float* x, std::int64_t begin, std::int64_t end, std::int64_t C, double* means,
                 double* squares) {
  std::fill_n(means, C, 0.0);
  std::fill_n(squares, C, 0.0);
  const std::int64_t step = BlockRows(C, 8192);
  for (std::int64_t row = begin; row < end; row += step)
    ForColumnGroups(C, [&](auto vectors, std::int64_t c, std::int64_t width) {
      JoinMoments<decltype(vectors)::value>(x + row * C + c, std::min(step, end - row), C, width,
                                            row == begin, static_cast<double>(row - begin), means + c,
                                            squares + c);
    });
}

/// lines [3, C]: the members of NormLine.
template <bool kResidual, bool kRelu>
void ApplyRows(const BatchNormProblem& p, const float* lines, std::int64_t begin, std::int64_t end) {
  const hn::ScalableTag<float> d;
  const std::int64_t C = p.sizes.C;
  const bool past_cache =
      p.sizes.elements() >= kPastCacheElements && C % static_cast<std::int64_t>(hn::Lanes(d)) == 0;
  for (std::int64_t row = begin; row < end; ++row) {
    const float *x = floats(p.x) + row * C, *residual = kResidual ? floats(p.residual) + row * C : nullptr;
    StoreRow(d, floats(p.y) + row * C, C, past_cache, [&](std::int64_t i, std::int64_t left) {
      prefetch_ahead(x + i);
      if constexpr (kResidual) prefetch_ahead(residual + i);
      auto v = hn::MulAdd(Centred(d, LoadPart(d, x + i, left), LoadPart(d, lines + i, left)),
                          LoadPart(d, lines + C + i, left), LoadPart(d, lines + 2 * C + i, left));
      if constexpr (kResidual) v = hn::Add(v, LoadPart(d, residual + i, left));
      if constexpr (kRelu) v = CutBelowZero(d, v);
      return v;
    });
  }
  if (past_cache) hwy::FlushStream();
}

void ForwardRows(const BatchNormProblem& p, const float* lines, std::int64_t begin, std::int64_t end) {
  WithFlags(p.has_residual, p.relu, [&](auto residual, auto relu) {
    ApplyRows<decltype(residual)::value, decltype(relu)::value>(p, lines, begin, end);
  });
}

template <bool kRelu, class D>
HWY_INLINE hn::Vec<D> RowGradient(D d, const BatchNormBackwardProblem& p, std::int64_t at,
                                  std::int64_t left) {
  const auto g = LoadPart(d, floats(p.dy) + at, left);
  if constexpr (kRelu) return hn::IfThenZeroElse(hn::Le(LoadPart(d, floats(p.y) + at, left), hn::Zero(d)), g);
  return g;
}

/// Adds to sums [width] and products [width] what `rows` rows from element `at` on give.
template <bool kRelu, int kVectors>
void AddSums(const BatchNormBackwardProblem& p, std::int64_t at, std::int64_t rows, std::int64_t c,
             std::int64_t width, double* sums, double* products) {
  const hn::ScalableTag<float> d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  decltype(hn::Zero(d)) s[kVectors], q[kVectors], half_mean[kVectors];
  for (int k = 0; k < kVectors; ++k) {
    s[k] = q[k] = hn::Zero(d);
    half_mean[k] = hn::Mul(LoadPart(d, floats(p.mean) + c + k * lanes, width - k * lanes), hn::Set(d, 0.5f));
  }
  for (std::int64_t r = 0; r < rows; ++r)
    for (int k = 0; k < kVectors; ++k) {
      const std::int64_t i = at + r * p.sizes.C + k * lanes, left = width - k * lanes;
      const auto g = RowGradient<kRelu>(d, p, i, left);
      s[k] = hn::Add(s[k], g);
      q[k] = hn::MulAdd(g, Centred(d, LoadPart(d, floats(p.x) + i, left), half_mean[k]), q[k]);
    }
  HWY_ALIGN float sum[kVectors * hn::MaxLanes(d)], product[kVectors * hn::MaxLanes(d)];
  for (int k = 0; k < kVectors; ++k) {
    hn::Store(s[k], d, sum + k * lanes);
    hn::Store(q[k], d, product + k * lanes);
  }
  for (std::int64_t j = 0; j < width; ++j) {
    sums[j] += static_cast<double>(sum[j]);
    products[j] += static_cast<double>(product[j]);
  }
}

/// Sums [C] of g and of g (x / 2 - mean / 2) over rows [begin, end).
void PartSums(const BatchNormBackwardProblem& p, std::int64_t begin, std::int64_t end, double* sums,
              double* products) {
  const std::int64_t C = p.sizes.C, step = BlockRows(C, 4096);
  std::fill_n(sums, C, 0.0);
  std::fill_n(products, C, 0.0);
  WithFlags(p.relu, false, [&](auto relu, auto) {
    for (std::int64_t row = begin; row < end; row += step)
      ForColumnGroups(C, [&](auto vectors, std::int64_t c, std::int64_t width) {
        AddSums<decltype(relu)::value, decltype(vectors)::value>(p, row * C + c, std::min(step, end - row), c,
                                                                 width, sums + c, products + c);
      });
  });
}

/// lines [4, C]: the members of GradientLine.
template <bool kRelu, bool kStoreDz>
void GradientRows(const BatchNormBackwardProblem& p, const float* lines, std::int64_t begin,
                  std::int64_t end) {
  const hn::ScalableTag<float> d;
  const std::int64_t C = p.sizes.C;
  const bool past_cache =
      p.sizes.elements() >= kPastCacheElements && C % static_cast<std::int64_t>(hn::Lanes(d)) == 0;
  for (std::int64_t row = begin; row < end; ++row) {
    const std::int64_t at = row * C;
    StoreRow(d, floats(p.dx) + at, C, past_cache, [&](std::int64_t i, std::int64_t left) {
      prefetch_ahead(floats(p.x) + at + i);
      prefetch_ahead(floats(p.dy) + at + i);
      if constexpr (kRelu) prefetch_ahead(floats(p.y) + at + i);
      const auto g = RowGradient<kRelu>(d, p, at + i, left);
      if constexpr (kStoreDz) StorePart(d, g, floats(p.dz) + at + i, left);
      const auto centred = Centred(d, LoadPart(d, floats(p.x) + at + i, left), LoadPart(d, lines + i, left));
      const auto rest =
          hn::MulAdd(centred, LoadPart(d, lines + 2 * C + i, left), LoadPart(d, lines + 3 * C + i, left));
      return hn::MulAdd(g, LoadPart(d, lines + C + i, left), rest);
    });
  }
  if (past_cache) hwy::FlushStream();
}

void BackwardRows(const BatchNormBackwardProblem& p, const float* lines, std::int64_t begin,
                  std::int64_t end) {
  WithFlags(p.relu, p.want_dz, [&](auto relu, auto store_dz) {
    GradientRows<decltype(relu)::value, decltype(store_dz)::value>(p, lines, begin, end);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace gpunn
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gpunn {

HWY_EXPORT(PartMoments);
HWY_EXPORT(ForwardRows);
HWY_EXPORT(PartSums);
HWY_EXPORT(BackwardRows);

namespace norms {
namespace {

/// How rows are cut: by sizes only.
struct Parts {
  std::int64_t rows, count, step;

  explicit Parts(const ChannelSizes& s) : rows(s.per_channel()) {
    constexpr std::int64_t kElements = 1 << 16, kMost = 32;
    const std::int64_t wanted = std::clamp<std::int64_t>(s.elements() / kElements, 1, kMost);
    step = (rows + wanted - 1) / wanted;
    count = (rows + step - 1) / step;
  }
  double size_of(std::int64_t part) const { return static_cast<double>(std::min(step, rows - part * step)); }
};

/// Two doubles per part and channel, then the lines.
std::size_t bytes_for(const ChannelSizes& s, std::int64_t members) {
  const auto C = static_cast<std::size_t>(s.C), parts = static_cast<std::size_t>(Parts(s).count);
  return 2 * parts * C * sizeof(double) + static_cast<std::size_t>(members) * C * sizeof(float);
}

/// f(part, begin, end, first [C], second [C]) for every part, on the pool.
template <class F>
void for_parts(const Exec& exec, const ChannelSizes& s, F f) {
  const Parts parts(s);
  auto* const sums = static_cast<double*>(exec.workspace);
  exec.pool->run(parts.count, [&](std::int64_t part) {
    double* const first = sums + 2 * part * s.C;
    f(part * parts.step, std::min(parts.rows, (part + 1) * parts.step), first, first + s.C);
  });
}

float* lines_of(const Exec& exec, const ChannelSizes& s) {
  return reinterpret_cast<float*>(static_cast<double*>(exec.workspace) + 2 * Parts(s).count * s.C);
}

}  // namespace

std::size_t columns_fwd_workspace(const BatchNormProblem& p) { return bytes_for(p.sizes, 3); }
std::size_t columns_bwd_workspace(const BatchNormBackwardProblem& p) { return bytes_for(p.sizes, 4); }

void columns_fwd(const BatchNormProblem& p, const Exec& exec) {
  const ChannelSizes& s = p.sizes;
  const Parts parts(s);
  const float* const x = floats(p.x);
  const auto* const sums = static_cast<const double*>(exec.workspace);
  if (p.training)
    for_parts(exec, s,
              [&, moments = HWY_DYNAMIC_DISPATCH(PartMoments)](std::int64_t begin, std::int64_t end,
                                                               double* means, double* squares) {
                moments(x, begin, end, s.C, means, squares);
              });
  float* const lines = lines_of(exec, s);
  for (std::int64_t c = 0; c < s.C; ++c) {
    RunningMoments m;
    if (p.training) {
      for (std::int64_t part = 0; part < parts.count; ++part)
        m.add(parts.size_of(part), sums[2 * part * s.C + c], sums[(2 * part + 1) * s.C + c]);
      if (!m.finite()) m = moments_in_double(x + c, 1, 0, parts.rows, s.C);
    }
    const NormLine line = finish_channel(p, c, m);
    lines[c] = line.half_mean;
    lines[s.C + c] = line.factor;
    lines[2 * s.C + c] = line.shift;
  }
  const auto rows = HWY_DYNAMIC_DISPATCH(ForwardRows);
  parallel_for(*exec.pool, parts.rows, rows_per_chunk(s.C),
               [&](std::int64_t begin, std::int64_t end) { rows(p, lines, begin, end); });
}

void columns_bwd(const BatchNormBackwardProblem& p, const Exec& exec) {
  const ChannelSizes& s = p.sizes;
  const Parts parts(s);
  const auto* const sums = static_cast<const double*>(exec.workspace);
  for_parts(exec, s,
            [&, part_sums = HWY_DYNAMIC_DISPATCH(PartSums)](std::int64_t begin, std::int64_t end, double* sum,
                                                            double* product) {
              part_sums(p, begin, end, sum, product);
            });
  float* const lines = lines_of(exec, s);
  for (std::int64_t c = 0; c < s.C; ++c) {
    double sum = 0, half_product = 0;
    for (std::int64_t part = 0; part < parts.count; ++part) {
      sum += sums[2 * part * s.C + c];
      half_product += sums[(2 * part + 1) * s.C + c];
    }
    const GradientLine line = finish_channel(p, c, sum, half_product);
    lines[c] = line.half_mean;
    lines[s.C + c] = line.factor;
    lines[2 * s.C + c] = line.slope;
    lines[3 * s.C + c] = line.shift;
  }
  const auto rows = HWY_DYNAMIC_DISPATCH(BackwardRows);
  parallel_for(*exec.pool, parts.rows, rows_per_chunk(s.C),
               [&](std::int64_t begin, std::int64_t end) { rows(p, lines, begin, end); });
}

}  // namespace norms
}  // namespace gpunn
#endif  // HWY_ONCE
