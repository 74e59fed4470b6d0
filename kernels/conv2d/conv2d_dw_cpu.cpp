// The gradient by w: dw[(c, r, s)][k] = sum over pixels of x[c][pixel + tap] dy[pixel][k]. x is spread out to
// planes, where a tap is an offset, and broadcast; dy is read by vectors of k, turned for that unless it is
// in channels-last order. The pixels are summed in blocks (a band of rows of one picture), the sums of the
// blocks of a part are added in order, then those of the parts.
#include <algorithm>

#include "gpunn/core/cpu_pool.h"
#include "gpunn/kernels/conv2d/conv2d_planes_impl.h"
#include "gpunn/kernels/conv2d/conv2d_tiles_impl.h"
#include "gpunn/kernels/conv2d/depthwise_dw_impl.h"
#include "gpunn/kernels/matmul/gemm_impl.h"

namespace gpunn {
namespace {

using detail::conv_ceil_div;
using detail::conv_kernels;
using detail::ConvDwTile;
using detail::ConvKernels;
using detail::gemm_kernels;

constexpr std::int64_t kBlockPixels = 256;       // a panel of dy takes 64 KiB
constexpr std::int64_t kPlanesFloats = 1 << 17;  // of a block
constexpr std::int64_t kPartFloats = 1 << 21;    // of all parts, unless one takes more
constexpr std::int64_t kMaxChunks = 32;
constexpr std::int64_t kWantedItems = 16;  // where the work is enough for them
constexpr double kItemFlops = 2.5e6;
constexpr std::int64_t kLeastChannels = 8;  // of x, of an item
constexpr std::int64_t kReduceRows = 64;

bool nothing(const Conv2dDwProblem& p) { return p.sizes.w_elements() == 0; }

bool is_product(const Conv2dSizes& s) { return s.channels_last && s.groups == 1 && s.pointwise(); }

GemmArgs product(const Conv2dDwProblem& p) {
  const Conv2dSizes& s = p.sizes;
  GemmArgs g;
  g.M = s.K, g.N = s.C, g.K = s.N * s.P * s.Q;
  g.a = static_cast<const float*>(p.dy), g.lda = s.K, g.trans_a = true;
  g.b = static_cast<const float*>(p.x), g.ldb = s.C;
  g.c = static_cast<float*>(p.dw), g.ldc = s.C;
  return g;
}

struct Plan {
  detail::ConvAxis h, w;
  detail::ConvPlanes planes;
  std::int64_t bands = 0;
  std::int64_t sources = 0, results = 0;          // channels of a group
  std::int64_t channels = 0, channel_blocks = 0;  // of x, of an item
  std::int64_t parts = 1;                         // of the blocks of pixels
  std::int64_t items = 0, chunks = 0;
  bool in_place = false;         // dy is read where it is
  std::int64_t width = 0;        // results in whole vectors
  std::int64_t panel = 0;        // floats a pixel takes in a packed panel of dy
  std::int64_t part_floats = 0;  // sums [groups, sources * R * S, width]
  std::int64_t planes_floats = 0, chunk_floats = 0;
};

Plan plan_of(const Conv2dSizes& s) {
  Plan plan;
  const ConvKernels& kernels = conv_kernels();
  plan.h = detail::conv_axis(s.H, s.R, s.stride_h, s.pad_h, s.dilation_h);
  plan.w = detail::conv_axis(s.W, s.S, s.stride_w, s.pad_w, s.dilation_w);
  plan.sources = s.C / s.groups, plan.results = s.K / s.groups;
  plan.width = conv_ceil_div(plan.results, kernels.lanes) * kernels.lanes;
  plan.panel = kernels.max_vectors * kernels.lanes;
  plan.part_floats = s.C * s.R * s.S * plan.width;
  plan.in_place = s.channels_last && plan.width == plan.results;

  const std::int64_t most_rows = std::clamp<std::int64_t>(kBlockPixels / s.Q, 1, s.P);
  plan.bands = conv_ceil_div(s.P, most_rows);
  plan.planes = conv_planes(plan.h, plan.w, conv_ceil_div(s.P, plan.bands), s.Q);
  const double flops =
      2.0 * static_cast<double>(s.y_elements()) * static_cast<double>(plan.sources * s.R * s.S);
  const auto wanted =
      static_cast<std::int64_t>(std::clamp(flops / kItemFlops, 1.0, static_cast<double>(kWantedItems)));
  plan.parts = std::clamp<std::int64_t>(kPartFloats / plan.part_floats, 1, conv_ceil_div(wanted, s.groups));
  plan.parts = std::clamp<std::int64_t>(s.N * plan.bands, 1, plan.parts);
  const std::int64_t fit = std::max<std::int64_t>(1, kPlanesFloats / plan.planes.plane);
  const std::int64_t blocks = std::max(
      conv_ceil_div(plan.sources, fit),
      std::min(conv_ceil_div(wanted, s.groups * plan.parts), conv_ceil_div(plan.sources, kLeastChannels)));
  plan.channels = conv_ceil_div(plan.sources, blocks);
  plan.channel_blocks = conv_ceil_div(plan.sources, plan.channels);
  plan.items = s.groups * plan.channel_blocks * plan.parts;
  plan.chunks = std::min(plan.items, kMaxChunks);
  plan.planes_floats = planes_floats(plan.planes, plan.channels);
  plan.chunk_floats = plan.planes_floats + (plan.in_place ? 0 : plan.planes.rows * s.Q * plan.panel);
  return plan;
}

// What an item adds up: some channels of a group of x by all of dy's, over a part of the blocks.
struct Item {
  const Conv2dDwProblem& p;
  const Plan& plan;
  std::int64_t group, channel, channels;  // of x, in the group
  float* planes;
  float* panel;  // [pixels, panel]
  float* sums;   // [channels * R * S, width]
  std::vector<std::int64_t> taps;
};

// `pixels` of dy from `pixel` of picture `n` on, results [k, k + count) of the group.
void pack_dy(const Item& item, std::int64_t n, std::int64_t pixel, std::int64_t pixels, std::int64_t k,
             std::int64_t count, std::int64_t width) {
  const Conv2dSizes& s = item.p.sizes;
  const auto* const dy = static_cast<const float*>(item.p.dy);
  const std::int64_t first = item.group * item.plan.results + k, size = s.P * s.Q;
  if (!s.channels_last)
    return gemm_kernels().transpose(dy + (n * s.K + first) * size + pixel, size, count, pixels, item.panel,
                                    item.plan.panel, width);
  std::fill_n(item.panel, pixels * item.plan.panel, 0.0f);
  gemm_kernels().copy(dy + (n * size + pixel) * s.K + first, s.K, pixels, count, item.panel, item.plan.panel);
}

// Rows [row, row + rows) of picture `n`.
void add_block(const Item& item, std::int64_t n, std::int64_t row, std::int64_t rows) {
  const Conv2dSizes& s = item.p.sizes;
  const Plan& plan = item.plan;
  const ConvKernels& kernels = conv_kernels();
  const std::int64_t size = s.H * s.W, channel = item.group * plan.sources + item.channel;
  fill_planes(plan.planes,
              {static_cast<const float*>(item.p.x) + n * s.C * size + channel * (s.channels_last ? 1 : size),
               item.channels, s.H, s.W, s.C, s.channels_last},
              row, item.planes);
  ConvDwTile tile{};
  tile.x = item.planes;
  tile.pitch = plan.planes.pitch, tile.P = rows, tile.Q = s.Q;
  if (tile.pitch == s.Q) tile.P = 1, tile.Q = rows * s.Q;  // one run
  tile.dw_stride = plan.width;
  detail::for_each_panel(
      plan.width / kernels.lanes, kernels.max_vectors, [&](std::int64_t first, std::int64_t vectors) {
        const std::int64_t k = first * kernels.lanes, width = vectors * kernels.lanes;
        if (plan.in_place) {
          tile.dy = static_cast<const float*>(item.p.dy) + (n * s.P + row) * s.Q * s.K +
                    item.group * plan.results + k;
          tile.dy_stride = s.K;
        } else {
          pack_dy(item, n, row * s.Q, rows * s.Q, k, std::min(width, plan.results - k), width);
          tile.dy = item.panel;
          tile.dy_stride = plan.panel;
        }
        detail::for_each_tile(item.channels * s.R * s.S, kernels.max_rows[vectors],
                              [&](std::int64_t r, std::int64_t height) {
                                tile.taps = item.taps.data() + r;
                                tile.dw = item.sums + r * plan.width + k;
                                kernels.dw_tile[vectors][height](tile);
                              });
      });
}

void run_item(const Conv2dDwProblem& p, const Plan& plan, std::int64_t index, float* sums, float* scratch) {
  const Conv2dSizes& s = p.sizes;
  const std::int64_t part = index % plan.parts, unit = index / plan.parts, taps = s.R * s.S;
  Item item{p, plan,    unit / plan.channel_blocks,   unit % plan.channel_blocks * plan.channels,
            0, scratch, scratch + plan.planes_floats, nullptr,
            {}};
  item.channels = std::min(plan.channels, plan.sources - item.channel);
  item.sums = sums + part * plan.part_floats + (item.group * plan.sources + item.channel) * taps * plan.width;
  for (std::int64_t c = 0; c < item.channels; ++c)
    for (std::int64_t t = 0; t < taps; ++t)
      item.taps.push_back(c * plan.planes.plane + plan.planes.offset(t / s.S, t % s.S));
  std::fill_n(item.sums, item.channels * taps * plan.width, 0.0f);
  const std::int64_t blocks = s.N * plan.bands, end = (part + 1) * blocks / plan.parts;
  for (std::int64_t b = part * blocks / plan.parts; b < end; ++b) {
    const std::int64_t row = b % plan.bands * plan.planes.rows;
    if (row < s.P) add_block(item, b / plan.bands, row, std::min(plan.planes.rows, s.P - row));
  }
}

// dw[group's results][rows] of the sums of all parts.
void reduce(const Conv2dDwProblem& p, const Plan& plan, std::int64_t group, std::int64_t row,
            std::int64_t rows, float* sums) {
  const std::int64_t depth = plan.sources * p.sizes.R * p.sizes.S;
  float* const to = sums + (group * depth + row) * plan.width;
  for (std::int64_t part = 1; part < plan.parts; ++part)
    gemm_kernels().add(to + part * plan.part_floats, plan.width, rows, plan.width, to, plan.width);
  gemm_kernels().transpose(to, plan.width, rows, plan.results,
                           static_cast<float*>(p.dw) + group * plan.results * depth + row, depth, rows);
}

}  // namespace

const char* conv2d_dw_cpu_reason(const Conv2dDwProblem& p) {
  return p.dtype == DType::f32 ? detail::planes_reason(p.sizes, false) : "f32 only";
}

std::size_t conv2d_dw_cpu_workspace(const Conv2dDwProblem& p) {
  if (nothing(p)) return 0;
  if (is_product(p.sizes)) return gemm_cpu_workspace(product(p));
  if (detail::is_depthwise(p.sizes)) return detail::depthwise_dw_workspace(p.sizes);
  const Plan plan = plan_of(p.sizes);
  return static_cast<std::size_t>(plan.parts * plan.part_floats + plan.chunks * plan.chunk_floats) *
         sizeof(float);
}

void conv2d_dw_cpu(const Conv2dDwProblem& p, const Exec& exec) {
  if (nothing(p)) return;
  if (is_product(p.sizes)) return gemm_cpu(product(p), exec.workspace, *exec.pool);
  if (detail::is_depthwise(p.sizes)) return detail::depthwise_dw(p, exec.workspace, *exec.pool);
  const Plan plan = plan_of(p.sizes);
  auto* const sums = static_cast<float*>(exec.workspace);
  exec.pool->run(plan.chunks, [&](std::int64_t chunk) {
    float* const scratch = sums + plan.parts * plan.part_floats + chunk * plan.chunk_floats;
    const std::int64_t end = (chunk + 1) * plan.items / plan.chunks;
    for (std::int64_t item = chunk * plan.items / plan.chunks; item < end; ++item)
      run_item(p, plan, item, sums, scratch);
  });
  const std::int64_t depth = plan.sources * p.sizes.R * p.sizes.S, blocks = conv_ceil_div(depth, kReduceRows);
  exec.pool->run(p.sizes.groups * blocks, [&](std::int64_t i) {
    const std::int64_t row = i % blocks * kReduceRows;
    reduce(p, plan, i / blocks, row, std::min(kReduceRows, depth - row), sums);
  });
}

}  // namespace gpunn
