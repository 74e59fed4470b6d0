// The gradient by w where each group has one channel of x. A sum for each tap: vectors of partial sums, one
// for each column, added up at the end. A row of x is read once for each column of the filter and multiplied
// by the rows of dy that see it: 7 x 7 in blocks of four columns takes 4 loads of x and 7 of dy for 28
// multiply-adds.
#include <algorithm>

#include "gpunn/core/cpu_pool.h"
#include "gpunn/kernels/conv2d/conv2d_planes_impl.h"
#include "gpunn/kernels/conv2d/conv2d_tiles_impl.h"
#include "gpunn/kernels/conv2d/depthwise_dw_impl.h"
#include "gpunn/kernels/matmul/gemm_impl.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "gpunn/kernels/conv2d/depthwise_dw_cpu.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"

#include "gpunn/kernels/common/simd_rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gpunn {
namespace HWY_NAMESPACE {
namespace {

using detail::DepthwiseDwTile;

using D = hn::CappedTag<float, 16>;
using V = hn::Vec<D>;
constexpr int kLanes = static_cast<int>(hn::MaxLanes(D()));
#if HWY_TARGET <= HWY_AVX3 || HWY_ARCH_ARM_A64
constexpr int kSums = 28;
#else
constexpr int kSums = 12;
#endif
constexpr int most_columns(int rows) { return std::clamp(kSums / rows, 1, 4); }

// Rows h in [first, end) of x, counted from what tap (row, s) sees of row 0 of dy on: taps (row + r, s + j)
// get x[h] * dy[h - r], r < kR and j < kColumns.
template <int kR, int kColumns>
void add_rows(const DepthwiseDwTile& t, const std::int64_t* offsets, std::int64_t first, std::int64_t end,
              float* sums) {
  const D d;
  V sum[kR][kColumns];
  HWY_UNROLL(8)
  for (int r = 0; r < kR; ++r) {
    HWY_UNROLL(4)
    for (int j = 0; j < kColumns; ++j) sum[r][j] = hn::Load(d, sums + (r * t.S + j) * kLanes);
  }
  for (std::int64_t q = 0; q < t.columns; q += kLanes) {
    const std::int64_t left = t.columns - q;  // lanes beyond are zeros of x, too: 0 * infinity is not 0
    for (std::int64_t h = first; h < end; ++h) {
      V pixel[kColumns];
      HWY_UNROLL(4)
      for (int j = 0; j < kColumns; ++j)
        pixel[j] = FirstLanes(d, hn::LoadU(d, t.x + h * t.pitch + offsets[j] + q), left);
      HWY_UNROLL(8)
      for (int r = 0; r < kR; ++r) {
        const V g = LoadPart(d, t.dy + (h - r) * t.dy_pitch + q, left);
        HWY_UNROLL(4)
        for (int j = 0; j < kColumns; ++j) sum[r][j] = hn::MulAdd(pixel[j], g, sum[r][j]);
      }
    }
  }
  HWY_UNROLL(8)
  for (int r = 0; r < kR; ++r) {
    HWY_UNROLL(4)
    for (int j = 0; j < kColumns; ++j) hn::Store(sum[r][j], d, sums + (r * t.S + j) * kLanes);
  }
}

// All columns of the filter; `sums` belongs to the tap (row, 0).
template <int kR>
void all_columns(const DepthwiseDwTile& t, std::int64_t row, std::int64_t first, std::int64_t end) {
  if (first >= end) return;
  detail::for_each_tile(t.S, most_columns(kR), [&](std::int64_t s, std::int64_t columns) {
    const std::int64_t* const offsets = t.offsets + row * t.S + s;
    float* const sums = t.sums + (row * t.S + s) * kLanes;
    switch (columns) {
      case 1:
        return add_rows<kR, 1>(t, offsets, first, end, sums);
      case 2:
        return add_rows<kR, std::min(2, most_columns(kR))>(t, offsets, first, end, sums);
      case 3:
        return add_rows<kR, std::min(3, most_columns(kR))>(t, offsets, first, end, sums);
      default:
        return add_rows<kR, most_columns(kR)>(t, offsets, first, end, sums);
    }
  });
}

}  // namespace

// Where all rows of the filter see a row of x they share it; at the top and the bottom, and where the rows of
// the filter are not one below the other in the planes, each row of the filter goes alone.
void depthwise_dw_plane(const DepthwiseDwTile& t) {
  const bool shared = t.stacked && t.rows >= t.R && (t.R == 3 || t.R == 5 || t.R == 7);
  for (std::int64_t r = 0; r < t.R; ++r) {
    if (!shared) {
      all_columns<1>(t, r, 0, t.rows);
      continue;
    }
    // Row h of x as tap (0, s) counts them; tap (r, s) counts from row r on.
    all_columns<1>(t, r, 0, t.R - 1 - r);
    all_columns<1>(t, r, t.rows - r, t.rows);
  }
  if (!shared) return;
  if (t.R == 3) return all_columns<3>(t, 0, 2, t.rows);
  if (t.R == 5) return all_columns<5>(t, 0, 4, t.rows);
  all_columns<7>(t, 0, 6, t.rows);
}

void depthwise_dw_sums(const float* sums, std::int64_t taps, float* dw) {
  const D d;
  for (std::int64_t t = 0; t < taps; ++t)
    dw[t] = hn::GetLane(hn::SumOfLanes(d, hn::Load(d, sums + t * kLanes)));
}

}  // namespace HWY_NAMESPACE
}  // namespace gpunn
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gpunn {
namespace {

HWY_EXPORT(depthwise_dw_plane);
HWY_EXPORT(depthwise_dw_sums);

using detail::conv_ceil_div;

constexpr std::int64_t kPlaneFloats = 1 << 14;  // of one channel's band
constexpr std::int64_t kLastChannels = 16;      // taken together in channels-last order: a cache line
constexpr std::int64_t kMaxChunks = 32;
constexpr std::int64_t kMostLanes = 16;

struct Plan {
  detail::ConvAxis h, w;
  detail::ConvPlanes planes;
  std::int64_t bands = 0;
  std::int64_t results = 1;                       // of a channel
  std::int64_t channels = 1, channel_blocks = 0;  // of x, of an item
  bool stacked = false;
  std::int64_t chunks = 0;
  std::int64_t planes_floats = 0, sums_floats = 0, dy_plane = 0, chunk_floats = 0;
};

Plan plan_of(const Conv2dSizes& s) {
  Plan plan;
  plan.h = detail::conv_axis(s.H, s.R, s.stride_h, s.pad_h, s.dilation_h);
  plan.w = detail::conv_axis(s.W, s.S, s.stride_w, s.pad_w, s.dilation_w);
  const std::int64_t band = band_rows(plan.h, plan.w, s.P, s.Q, 1, kPlaneFloats);
  plan.bands = conv_ceil_div(s.P, band);
  plan.planes = conv_planes(plan.h, plan.w, band, s.Q);
  plan.results = s.K / s.C;
  plan.channels = s.channels_last ? std::min(s.C, kLastChannels) : 1;
  plan.channel_blocks = conv_ceil_div(s.C, plan.channels);
  plan.stacked = s.stride_h == 1 && s.dilation_h == 1;
  plan.chunks = std::min(plan.channel_blocks, kMaxChunks);
  plan.planes_floats = planes_floats(plan.planes, plan.channels);
  plan.sums_floats = plan.channels * plan.results * s.R * s.S * kMostLanes;
  plan.dy_plane = conv_ceil_div(band * s.Q, kMostLanes) * kMostLanes;
  plan.chunk_floats = plan.sums_floats + plan.planes_floats +
                      (s.channels_last ? plan.channels * plan.results * plan.dy_plane : 0);
  return plan;
}

// A block of channels of x over all pictures.
void run_block(const Conv2dDwProblem& p, const Plan& plan, std::int64_t block, float* scratch) {
  const Conv2dSizes& s = p.sizes;
  const std::int64_t channel = block * plan.channels, channels = std::min(plan.channels, s.C - channel);
  const std::int64_t size = s.H * s.W, first = channel * plan.results, count = channels * plan.results;
  float* const sums = scratch;
  float* const planes = sums + plan.sums_floats;
  float* const turned = planes + plan.planes_floats;  // dy [count, rows, Q]
  std::fill_n(sums, plan.sums_floats, 0.0f);
  std::vector<std::int64_t> offsets;
  for (std::int64_t t = 0; t < s.R * s.S; ++t) offsets.push_back(plan.planes.offset(t / s.S, t % s.S));
  const std::int64_t sums_step = s.R * s.S * detail::conv_kernels().lanes;
  for (std::int64_t i = 0; i < s.N * plan.bands; ++i) {
    const std::int64_t n = i / plan.bands, row = i % plan.bands * plan.planes.rows;
    if (row >= s.P) continue;
    detail::DepthwiseDwTile tile{};
    tile.pitch = plan.planes.pitch;
    tile.offsets = offsets.data();
    tile.R = s.R, tile.S = s.S;
    tile.stacked = plan.stacked;
    tile.dy_pitch = s.Q;
    tile.rows = std::min(plan.planes.rows, s.P - row), tile.columns = s.Q;
    fill_planes(plan.planes,
                {static_cast<const float*>(p.x) + n * s.C * size + channel * (s.channels_last ? 1 : size),
                 channels, s.H, s.W, s.C, s.channels_last},
                row, planes);
    const auto* const dy = static_cast<const float*>(p.dy);
    if (s.channels_last)
      detail::gemm_kernels().transpose(dy + (n * s.P + row) * s.Q * s.K + first, s.K, tile.rows * s.Q, count,
                                       turned, plan.dy_plane, tile.rows * s.Q);
    for (std::int64_t k = 0; k < count; ++k) {
      tile.x = planes + k / plan.results * plan.planes.plane;
      tile.dy = s.channels_last ? turned + k * plan.dy_plane : dy + ((n * s.K + first + k) * s.P + row) * s.Q;
      tile.sums = sums + k * sums_step;
      HWY_DYNAMIC_DISPATCH(depthwise_dw_plane)(tile);
    }
  }
  for (std::int64_t k = 0; k < count; ++k) HWY_DYNAMIC_DISPATCH(depthwise_dw_sums)
  (sums + k * sums_step, s.R * s.S, static_cast<float*>(p.dw) + (first + k) * s.R * s.S);
}

}  // namespace

bool detail::is_depthwise(const Conv2dSizes& s) { return s.depthwise() && s.K / s.C <= 2; }

std::size_t detail::depthwise_dw_workspace(const Conv2dSizes& s) {
  const Plan plan = plan_of(s);
  return static_cast<std::size_t>(plan.chunks * plan.chunk_floats) * sizeof(float);
}

void detail::depthwise_dw(const Conv2dDwProblem& p, void* workspace, CpuPool& pool) {
  const Plan plan = plan_of(p.sizes);
  pool.run(plan.chunks, [&](std::int64_t chunk) {
    float* const scratch = static_cast<float*>(workspace) + chunk * plan.chunk_floats;
    const std::int64_t end = (chunk + 1) * plan.channel_blocks / plan.chunks;
    for (std::int64_t b = chunk * plan.channel_blocks / plan.chunks; b < end; ++b)
      run_block(p, plan, b, scratch);
  });
}

}  // namespace gpunn
#endif
