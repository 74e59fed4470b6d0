// Sums over channels, in parts that a later kernel joins in their order.
#include "gpunn/kernels/norm/channel_sums_impl.h"

#include "gpunn/kernels/common/device_dtype.h"
#include "gpunn/kernels/norm/channels.cuh"

namespace gpunn {
namespace {

using namespace channels;

/// x and g of kWidth elements.
template <class T, int kWidth>
struct Elements {
  float x[kWidth], g[kWidth];
  GPUNN_DEVICE Elements(const ChannelSumsProblem& p, std::int64_t at) {
    load_floats(static_cast<const T*>(p.x) + at, x);
    load_floats(static_cast<const T*>(p.dy) + at, g);
    if (!p.relu) return;
    float y[kWidth];
    load_floats(static_cast<const T*>(p.y) + at, y);
    GPUNN_UNROLL
    for (int k = 0; k < kWidth; ++k) g[k] = y[k] <= 0.0f ? 0.0f : g[k];
  }
};

/// (x - mean) rstd, halved in between so that the difference stays finite.
struct Normal {
  float half_mean = 0.0f, factor = 0.0f;
  Normal() = default;
  GPUNN_DEVICE Normal(const ChannelSumsProblem& p, std::int64_t n, std::int64_t c) {
    const std::int64_t i = p.groups > 0 ? n * p.groups + c / (p.sizes.C / p.groups) : c;
    half_mean = p.mean ? 0.5f * p.mean[i] : 0.0f;
    factor = 2.0f * p.rstd[i];
  }
  GPUNN_DEVICE float operator()(float x) const { return fmaf(x, 0.5f, -half_mean) * factor; }
};

template <class T, int kWidth>
GPUNN_KERNEL __launch_bounds__(kThreads)
    channel_sums_bwd_plane_kernel(const __grid_constant__ ChannelSumsProblem p,
                                  const __grid_constant__ Planes g) {
  const std::int64_t c = g.channel_of_block();
  float sum = 0.0f, product = 0.0f;
  g.for_each_piece(c, [&](std::int64_t n, std::int64_t at, std::int64_t length) {
    const Normal normal(p, n, c);
    for_each_of_lane<kWidth>(length, [&](std::int64_t i) {
      const Elements<T, kWidth> e(p, at + i);
      GPUNN_UNROLL
      for (int k = 0; k < kWidth; ++k) {
        sum += e.g[k];
        product = fmaf(e.g[k], normal(e.x[k]), product);
      }
    });
  });
  sum = block_reduce<SumOp, kThreads>(sum);
  product = block_reduce<SumOp, kThreads>(product);
  if (threadIdx.x != 0) return;
  float* const out = p.partial + g.part_of_block() * 2 * g.C + c;
  out[0] = sum;
  out[g.C] = product;
}

/// Pairs are joined by one tree.
struct TwoSums {
  float sum, product;
};
struct TwoSumsOp {
  static GPUNN_DEVICE TwoSums combine(TwoSums a, TwoSums b) { return {a.sum + b.sum, a.product + b.product}; }
};

/// kByRow: mean and rstd change from row to row.
template <class T, int kWidth, bool kByRow>
GPUNN_KERNEL __launch_bounds__(kThreads)
    channel_sums_bwd_column_kernel(const __grid_constant__ ChannelSumsProblem p,
                                   const __grid_constant__ Columns g) {
  GPUNN_SHARED(kept, TwoSums[kThreads * kWidth]);
  const std::int64_t c = g.vector_index() * kWidth;
  TwoSums own[kWidth] = {};
  if (g.inside()) {
    Normal normal[kWidth] = {};
    GPUNN_UNROLL
    for (int k = 0; k < kWidth; ++k)
      if (!kByRow) normal[k] = Normal(p, 0, c + k);
    g.for_each_row([&](std::int64_t row) {
      const Elements<T, kWidth> e(p, row * g.C + c);
      if (kByRow) {
        normal[0] = Normal(p, row, c);
        GPUNN_UNROLL
        for (int k = 1; k < kWidth; ++k) normal[k] = p.groups == 1 ? normal[0] : Normal(p, row, c + k);
      }
      GPUNN_UNROLL
      for (int k = 0; k < kWidth; ++k) {
        own[k].sum += e.g[k];
        own[k].product = fmaf(e.g[k], normal[k](e.x[k]), own[k].product);
      }
    });
  }
  join_down<TwoSumsOp>(g, kept, own);
  if (g.row_lane() != 0 || !g.inside()) return;
  float* const out = p.partial + blockIdx.y * 2 * g.C + c;
  GPUNN_UNROLL
  for (int k = 0; k < kWidth; ++k) out[k] = own[k].sum, out[g.C + k] = own[k].product;
}

}  // namespace

std::int64_t channel_sums_most_parts(const ChannelSizes& s) {
  constexpr std::int64_t kMostParts = 512;
  if (!s.channels_last) return Planes(s).parts;
  return kMostParts < s.per_channel() ? kMostParts : s.per_channel();
}

int channel_sums_cuda(const ChannelSumsProblem& p, const Exec& exec) {
  const ChannelSizes& s = p.sizes;
  int parts = 0;
  for_device_dtype(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const bool vectors = in_vectors(s.channels_last ? s.C : s.pixels, sizeof(T), p.x, p.y, p.dy);
    for_width<T>(vectors, [&](auto width) {
      constexpr int kWidth = decltype(width)::value;
      if (!s.channels_last) {
        const Planes g(s);
        parts = g.parts;
        return launch("channel_sums_bwd_plane_kernel", channel_sums_bwd_plane_kernel<T, kWidth>,
                      g.sums_grid(), exec, p, g);
      }
      const Columns g(s, kWidth, channel_sums_most_parts(s));
      parts = g.parts;
      if (p.groups > 0)
        launch("channel_sums_bwd_column_kernel", channel_sums_bwd_column_kernel<T, kWidth, true>, g.grid(),
               exec, p, g);
      else
        launch("channel_sums_bwd_column_kernel", channel_sums_bwd_column_kernel<T, kWidth, false>, g.grid(),
               exec, p, g);
    });
  });
  return parts;
}

}  // namespace gpunn
