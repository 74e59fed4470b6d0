// Batch norm of [N, C, pixels] in f32 on the CPU: a channel is one core's work from statistics to result, so
// that what it reads twice comes out of its second cache (a channel of 64 x 56 x 56 is 0.8 MB), and results
// are written around the caches.
#include <type_traits>

#include "gpunn/core/cpu_pool.h"
#include "gpunn/kernels/common/row_chunks.h"
#include "gpunn/kernels/norm/batch_norm_cpu_impl.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "gpunn/kernels/norm/batch_norm_cpu.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"

#include "gpunn/kernels/norm/norm_simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gpunn {
namespace HWY_NAMESPACE {

using norms::floats;

bool WritesPastCache(const ChannelSizes& s) {
  return s.elements() >= kPastCacheElements && s.pixels >= kPastCacheSegment;
}

void ForwardChannels(const BatchNormProblem& p, std::int64_t begin, std::int64_t end) {
  const ChannelSizes& s = p.sizes;
  const std::int64_t stride = s.C * s.pixels;
  const bool past_cache = WritesPastCache(s);
  for (std::int64_t c = begin; c < end; ++c) {
    const std::int64_t first = c * s.pixels;
    const float* const x = floats(p.x) + first;
    RunningMoments m;
    if (p.training) m = SegmentMoments(x, s.N, stride, s.pixels);
    const NormLine line = norms::finish_channel(p, c, m);
    WithFlags(p.has_residual, p.relu, [&](auto residual, auto relu) {
      for (std::int64_t at = 0; at < s.N * stride; at += stride)
        ApplySegment<decltype(residual)::value, decltype(relu)::value>(
            x + at, residual ? floats(p.residual) + first + at : nullptr, floats(p.y) + first + at, s.pixels,
            line, past_cache);
    });
  }
  if (past_cache) hwy::FlushStream();
}

/// The gradient that comes through relu.
template <bool kRelu, class D>
HWY_INLINE hn::Vec<D> GradientAt(D d, const float* dy, const float* y, std::int64_t i, std::int64_t left) {
  const auto g = LoadPart(d, dy + i, left);
  if constexpr (kRelu) return hn::IfThenZeroElse(hn::Le(LoadPart(d, y + i, left), hn::Zero(d)), g);
  return g;
}

struct ChannelSums {
  double sum = 0, half_product = 0;
};

template <bool kRelu>
ChannelSums SumChannel(const BatchNormBackwardProblem& p, std::int64_t first, float mean) {
  const hn::ScalableTag<float> d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const ChannelSizes& s = p.sizes;
  const auto half_mean = hn::Set(d, 0.5f * mean);
  ChannelSums sums;
  auto s1 = hn::Zero(d), s2 = s1, q1 = s1, q2 = s1;
  std::int64_t count = 0;
  const auto flush = [&] {
    sums.sum += static_cast<double>(Total(d, s1, s2));
    sums.half_product += static_cast<double>(Total(d, q1, q2));
    s1 = s2 = q1 = q2 = hn::Zero(d);
    count = 0;
  };
  for (std::int64_t n = 0; n < s.N; ++n)
    for (std::int64_t begin = 0; begin < s.pixels; begin += kMomentPiece) {
      const std::int64_t at = first + n * s.C * s.pixels + begin;
      const std::int64_t length = std::min(kMomentPiece, s.pixels - begin);
      const float *x = floats(p.x) + at, *dy = floats(p.dy) + at, *y = kRelu ? floats(p.y) + at : nullptr;
      const auto add = [&](auto& sum, auto& product, std::int64_t i) {
        prefetch_ahead(x + i);
        prefetch_ahead(dy + i);
        if constexpr (kRelu) prefetch_ahead(y + i);
        const auto g = GradientAt<kRelu>(d, dy, y, i, length - i);
        sum = hn::Add(sum, g);
        product = hn::MulAdd(g, Centred(d, LoadPart(d, x + i, length - i), half_mean), product);
      };
      std::int64_t i = 0;
      for (; i + lanes < length; i += 2 * lanes) {
        add(s1, q1, i);
        add(s2, q2, i + lanes);
      }
      if (i < length) add(s1, q1, i);
      count += length;
      if (count >= kMomentPiece) flush();
    }
  flush();
  return sums;
}

template <bool kRelu, bool kStoreDz>
void GradientSegment(const BatchNormBackwardProblem& p, std::int64_t at, const norms::GradientLine& line,
                     bool past_cache) {
  const hn::ScalableTag<float> d;
  const float *x = floats(p.x) + at, *dy = floats(p.dy) + at, *y = kRelu ? floats(p.y) + at : nullptr;
  float* const dz = kStoreDz ? floats(p.dz) + at : nullptr;
  const auto half_mean = hn::Set(d, line.half_mean), factor = hn::Set(d, line.factor),
             slope = hn::Set(d, line.slope), shift = hn::Set(d, line.shift);
  StoreRow(d, floats(p.dx) + at, p.sizes.pixels, past_cache, [&](std::int64_t i, std::int64_t left) {
    const auto g = GradientAt<kRelu>(d, dy, y, i, left);
    if constexpr (kStoreDz) StorePart(d, g, dz + i, left);
    const auto rest = hn::MulAdd(Centred(d, LoadPart(d, x + i, left), half_mean), slope, shift);
    return hn::MulAdd(g, factor, rest);
  });
}

void BackwardChannels(const BatchNormBackwardProblem& p, std::int64_t begin, std::int64_t end) {
  const ChannelSizes& s = p.sizes;
  const std::int64_t stride = s.C * s.pixels;
  const bool past_cache = WritesPastCache(s);
  for (std::int64_t c = begin; c < end; ++c) {
    const std::int64_t first = c * s.pixels;
    WithFlags(p.relu, p.want_dz, [&](auto relu, auto store_dz) {
      ChannelSums sums;
      if (p.training || p.want_dw) sums = SumChannel<decltype(relu)::value>(p, first, floats(p.mean)[c]);
      const norms::GradientLine line = norms::finish_channel(p, c, sums.sum, sums.half_product);
      for (std::int64_t at = 0; at < s.N * stride; at += stride)
        GradientSegment<decltype(relu)::value, decltype(store_dz)::value>(p, first + at, line, past_cache);
    });
  }
  if (past_cache) hwy::FlushStream();
}

}  // namespace HWY_NAMESPACE
}  // namespace gpunn
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gpunn {

HWY_EXPORT(ForwardChannels);
HWY_EXPORT(BackwardChannels);

std::size_t batch_norm_fwd_cpu_workspace(const BatchNormProblem& p) {
  return p.sizes.channels_last ? norms::columns_fwd_workspace(p) : 0;
}
std::size_t batch_norm_bwd_cpu_workspace(const BatchNormBackwardProblem& p) {
  return p.sizes.channels_last ? norms::columns_bwd_workspace(p) : 0;
}

void batch_norm_fwd_cpu(const BatchNormProblem& p, const Exec& exec) {
  if (p.sizes.channels_last) return norms::columns_fwd(p, exec);
  const auto channels = HWY_DYNAMIC_DISPATCH(ForwardChannels);
  parallel_for(*exec.pool, p.sizes.C, rows_per_chunk(p.sizes.per_channel()),
               [&](std::int64_t begin, std::int64_t end) { channels(p, begin, end); });
}

void batch_norm_bwd_cpu(const BatchNormBackwardProblem& p, const Exec& exec) {
  if (p.sizes.channels_last) return norms::columns_bwd(p, exec);
  const auto channels = HWY_DYNAMIC_DISPATCH(BackwardChannels);
  parallel_for(*exec.pool, p.sizes.C, rows_per_chunk(p.sizes.per_channel()),
               [&](std::int64_t begin, std::int64_t end) { channels(p, begin, end); });
}

}  // namespace gpunn
#endif  // HWY_ONCE
