// One channel of the source in a group: nothing to broadcast to many results, so vectors of pixels are kept
// in registers over several rows instead. A vector of x is loaded once for each column of the filter and used
// by all rows of results that see it. 7 x 7 with 6 rows x 4 vectors of results: 12 rows of x are read for
// each column, 4 loads for up to 24 multiply-adds, where one load for each would halve the speed (a load off
// a cache line's border counts twice).
#include <algorithm>

#include "gpunn/core/cpu_pool.h"
#include "gpunn/kernels/conv2d/conv2d_correlate_impl.h"
#include "gpunn/kernels/conv2d/conv2d_tiles_impl.h"
#include "gpunn/kernels/matmul/gemm_impl.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "gpunn/kernels/conv2d/depthwise_cpu.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// after foreach_target
#include <limits>

#include "hwy/highway.h"

#include "gpunn/kernels/common/simd_rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gpunn {
namespace HWY_NAMESPACE {
namespace {

using detail::DepthwiseTile;

using D = hn::CappedTag<float, 16>;
using V = hn::Vec<D>;
constexpr int kLanes = static_cast<int>(hn::MaxLanes(D()));
#if HWY_TARGET <= HWY_AVX3 || HWY_ARCH_ARM_A64
constexpr int kMaxVectors = 4, kSums = 24;
#else
constexpr int kMaxVectors = 2, kSums = 12;
#endif
// Rows of a tile; one vector a row would take more rows than pictures have.
constexpr int stacked_rows(int vectors) { return vectors == 1 ? 8 : kSums / vectors; }

template <int kRows, int kVectors>
HWY_INLINE void store_rows(const DepthwiseTile& t, const V (&sum)[kRows][kVectors], std::int64_t p,
                           std::int64_t q) {
  const D d;
  const V floor = hn::Set(d, t.relu ? 0.0f : -std::numeric_limits<float>::infinity());
  HWY_UNROLL(8)
  for (int i = 0; i < kRows; ++i) {
    HWY_UNROLL(4)
    for (int j = 0; j < kVectors; ++j)
      StorePart(d, hn::Max(floor, sum[i][j]), t.y + (p + i) * t.y_pitch + q + j * kLanes,
                t.columns - q - j * kLanes);  // keeps NaN
  }
}

// What row `kRow` of x (counted from the first that the tile sees) adds, and all later rows.
template <int kR, int kRows, int kVectors, int kRow>
HWY_INLINE void add_rows(const DepthwiseTile& t, const float* x, V (&sum)[kRows][kVectors]) {
  const D d;
  for (std::int64_t s = 0; s < t.S; ++s) {
    const float* const from = x + kRow * t.pitch + t.offsets[s];
    V pixel[kVectors];
    HWY_UNROLL(4)
    for (int j = 0; j < kVectors; ++j) pixel[j] = hn::LoadU(d, from + j * kLanes);
    HWY_UNROLL(8)
    for (int i = 0; i < kRows; ++i) {
      if (kRow - i < 0 || kRow - i >= kR) continue;
      const V weight = hn::Set(d, t.w[(kRow - i) * t.S + s]);
      HWY_UNROLL(4)
      for (int j = 0; j < kVectors; ++j) sum[i][j] = hn::MulAdd(weight, pixel[j], sum[i][j]);
    }
  }
  if constexpr (kRow + 1 < kR + kRows - 1) add_rows<kR, kRows, kVectors, kRow + 1>(t, x, sum);
}

// Rows [p, p + kRows), kVectors vectors from column q on.
template <int kR, int kVectors>
void stacked_tile(const DepthwiseTile& t, std::int64_t p, std::int64_t q) {
  constexpr int kRows = stacked_rows(kVectors);
  const D d;
  V sum[kRows][kVectors];
  HWY_UNROLL(8)
  for (int i = 0; i < kRows; ++i) {
    HWY_UNROLL(4)
    for (int j = 0; j < kVectors; ++j) sum[i][j] = hn::Set(d, t.start);
  }
  add_rows<kR, kRows, kVectors, 0>(t, t.x + p * t.pitch + q, sum);
  store_rows(t, sum, p, q);
}

// Any taps.
template <int kRows, int kVectors>
void tap_tile(const DepthwiseTile& t, std::int64_t p, std::int64_t q) {
  const D d;
  V sum[kRows][kVectors];
  HWY_UNROLL(8)
  for (int i = 0; i < kRows; ++i) {
    HWY_UNROLL(4)
    for (int j = 0; j < kVectors; ++j) sum[i][j] = hn::Set(d, t.start);
  }
  const float* const x = t.x + p * t.pitch + q;
  for (std::int64_t k = 0; k < t.R * t.S; ++k) {
    const V weight = hn::Set(d, t.w[k]);
    const float* const from = x + t.offsets[k];
    HWY_UNROLL(8)
    for (int i = 0; i < kRows; ++i) {
      HWY_UNROLL(4)
      for (int j = 0; j < kVectors; ++j)
        sum[i][j] = hn::MulAdd(weight, hn::LoadU(d, from + i * t.pitch + j * kLanes), sum[i][j]);
    }
  }
  store_rows(t, sum, p, q);
}

// All rows of kVectors vectors from column q on. The last tile ends with the last row and so computes some
// rows a second time.
template <int kVectors>
void column(const DepthwiseTile& t, std::int64_t q) {
  constexpr int kFew = 4;
  const auto all = [&](auto tile, std::int64_t height) {
    for (std::int64_t p = 0; p < t.rows; p += height) tile(t, std::min(p, t.rows - height), q);
  };
  if (t.stacked && t.rows >= stacked_rows(kVectors)) {
    if (t.R == 3) return all(stacked_tile<3, kVectors>, stacked_rows(kVectors));
    if (t.R == 5) return all(stacked_tile<5, kVectors>, stacked_rows(kVectors));
    if (t.R == 7) return all(stacked_tile<7, kVectors>, stacked_rows(kVectors));
  }
  if (t.rows >= kFew) return all(tap_tile<kFew, kVectors>, kFew);
  all(tap_tile<1, kVectors>, 1);
}

}  // namespace

void depthwise_plane(const DepthwiseTile& t) {
  detail::for_each_panel(detail::conv_ceil_div(t.columns, kLanes), kMaxVectors,
                         [&](std::int64_t first, std::int64_t vectors) {
                           const std::int64_t q = first * kLanes;
                           switch (vectors) {
                             case 1:
                               return column<1>(t, q);
                             case 2:
                               return column<2>(t, q);
#if HWY_TARGET <= HWY_AVX3 || HWY_ARCH_ARM_A64
                             case 3:
                               return column<3>(t, q);
                             default:
                               return column<4>(t, q);
#endif
                           }
                         });
}

}  // namespace HWY_NAMESPACE
}  // namespace gpunn
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gpunn {
namespace {

HWY_EXPORT(depthwise_plane);

using detail::conv_ceil_div;
using detail::ConvPhase;
using detail::Correlation;

constexpr std::int64_t kMostResults = 2;        // of a channel: more are products of matrices
constexpr std::int64_t kPlaneFloats = 1 << 14;  // of one channel's band
constexpr std::int64_t kLastChannels = 16;      // taken together in channels-last order: a cache line
constexpr std::int64_t kMaxChunks = 32;

struct Plan {
  detail::ConvPlanes planes;
  std::int64_t bands = 0;
  std::int64_t channels = 1, channel_blocks = 0;  // of the source, of an item
  bool staged = false;
  std::int64_t stage_pitch = 0, stage_plane = 0;
  std::int64_t items = 0, chunks = 0;
  std::int64_t planes_floats = 0, chunk_floats = 0;
};

Plan plan_of(const Correlation& c) {
  Plan plan;
  std::int64_t rows = 0, columns = 0;
  for (const ConvPhase& phase : c.phases) {
    rows = std::max(rows, phase.rows);
    columns = std::max(columns, phase.columns);
  }
  const std::int64_t band = band_rows(c.h, c.w, rows, columns, 1, kPlaneFloats);
  plan.bands = conv_ceil_div(rows, band);
  plan.planes = conv_planes(c.h, c.w, band, columns);
  plan.channels = c.channels_last ? std::min(c.groups, kLastChannels) : 1;
  plan.channel_blocks = conv_ceil_div(c.groups, plan.channels);
  plan.staged = c.channels_last || c.step_h > 1 || c.step_w > 1;
  plan.stage_pitch = columns;
  plan.stage_plane = band * columns;
  plan.items = c.N * plan.channel_blocks * plan.bands;
  plan.chunks = std::min(plan.items, kMaxChunks);
  plan.planes_floats = planes_floats(plan.planes, plan.channels);
  plan.chunk_floats = plan.planes_floats + (plan.staged ? plan.channels * c.results * plan.stage_plane : 0);
  return plan;
}

// The taps of a phase are rows of the planes one below the other.
bool is_stacked(const Correlation& c, const ConvPhase& phase) {
  for (std::size_t i = 0; i < phase.r.size(); ++i) {
    const auto first = static_cast<std::size_t>(phase.r[0]), r = static_cast<std::size_t>(phase.r[i]);
    if (c.h.grid[r] != c.h.grid[first] || c.h.shift[r] != c.h.shift[first] + static_cast<std::int64_t>(i))
      return false;
  }
  return true;
}

// Some channels of a band of one picture.
struct Item {
  std::int64_t n, channel, channels, row;
};

// From the buffer [channels * results, rows, columns] to where the results belong.
void unstage(const Correlation& c, const Plan& plan, const ConvPhase& phase, const Item& item,
             std::int64_t rows, const float* stage) {
  const std::int64_t all = c.groups * c.results, k = item.channel * c.results,
                     count = item.channels * c.results;
  for (std::int64_t i = 0; i < rows; ++i) {
    const float* const from = stage + i * plan.stage_pitch;
    const std::int64_t h = phase.first_h + (item.row + i) * c.step_h;
    if (c.channels_last) {
      float* const to = c.y + ((item.n * c.result_h + h) * c.result_w + phase.first_w) * all + k;
      detail::gemm_kernels().transpose(from, plan.stage_plane, count, phase.columns, to, c.step_w * all,
                                       count);
      continue;
    }
    for (std::int64_t j = 0; j < count; ++j) {
      float* const to = c.y + ((item.n * all + k + j) * c.result_h + h) * c.result_w + phase.first_w;
      for (std::int64_t q = 0; q < phase.columns; ++q) to[q * c.step_w] = from[j * plan.stage_plane + q];
    }
  }
}

void run_item(const Correlation& c, const Plan& plan, const Item& item, float* scratch) {
  const std::int64_t size = c.source_h * c.source_w;
  fill_planes(plan.planes,
              {c.x + item.n * c.groups * size + item.channel * (c.channels_last ? 1 : size), item.channels,
               c.source_h, c.source_w, c.groups, c.channels_last},
              item.row, scratch);
  float* const stage = scratch + plan.planes_floats;
  for (const ConvPhase& phase : c.phases) {
    const std::int64_t rows = std::min(plan.planes.rows, phase.rows - item.row);
    if (rows <= 0) continue;
    const std::vector<std::int64_t> offsets = tap_offsets(plan.planes, phase, 1);
    detail::DepthwiseTile tile{};
    tile.pitch = plan.planes.pitch;
    tile.offsets = offsets.data();
    tile.R = static_cast<std::int64_t>(phase.r.size()), tile.S = static_cast<std::int64_t>(phase.s.size());
    tile.stacked = is_stacked(c, phase);
    tile.relu = c.relu;
    tile.y_pitch = plan.staged ? plan.stage_pitch : c.result_w;
    tile.rows = rows, tile.columns = phase.columns;
    for (std::int64_t i = 0; i < item.channels * c.results; ++i) {
      const std::int64_t k = item.channel * c.results + i;
      tile.x = scratch + i / c.results * plan.planes.plane;
      tile.w = phase.weights + k * phase.taps();
      tile.start = c.bias ? c.bias[k] : 0.0f;
      tile.y = plan.staged ? stage + i * plan.stage_plane
                           : c.y + ((item.n * c.groups * c.results + k) * c.result_h + item.row) * c.result_w;
      HWY_DYNAMIC_DISPATCH(depthwise_plane)(tile);
    }
    if (plan.staged) unstage(c, plan, phase, item, rows, stage);
  }
}

}  // namespace

bool detail::is_depthwise(const Correlation& c) {
  return c.groups > 1 && c.sources == 1 && c.results <= kMostResults;
}

std::size_t detail::depthwise_workspace(const Correlation& c) {
  const Plan plan = plan_of(c);
  return static_cast<std::size_t>(plan.chunks * plan.chunk_floats) * sizeof(float);
}

void detail::depthwise(const Correlation& c, void* workspace, CpuPool& pool) {
  const Plan plan = plan_of(c);
  pool.run(plan.chunks, [&](std::int64_t chunk) {
    float* const scratch = static_cast<float*>(workspace) + chunk * plan.chunk_floats;
    const std::int64_t end = (chunk + 1) * plan.items / plan.chunks;
    for (std::int64_t i = chunk * plan.items / plan.chunks; i < end; ++i) {
      Item item{};
      item.row = i % plan.bands * plan.planes.rows;
      item.channel = i / plan.bands % plan.channel_blocks * plan.channels;
      item.channels = std::min(plan.channels, c.groups - item.channel);
      item.n = i / plan.bands / plan.channel_blocks;
      run_item(c, plan, item, scratch);
    }
  });
}

}  // namespace gpunn
#endif
