// A picture (of one group) is taken band by band. A band's source is spread out to planes that stay in L2,
// and blocks of channels of the result are computed from them, panel by panel of pixels.
#include "gpunn/kernels/conv2d/conv2d_correlate_impl.h"

#include <algorithm>

#include "gpunn/core/cpu_pool.h"
#include "gpunn/kernels/conv2d/conv2d_tiles_impl.h"
#include "gpunn/kernels/matmul/gemm_impl.h"

namespace gpunn::detail {
namespace {

constexpr std::int64_t kPlanesFloats = 1 << 17;     // of a band: a quarter of L2
constexpr std::int64_t kWeightFloats = 1 << 16;     // that pass over a band at a time
constexpr std::int64_t kMostBlock = 240;            // channels of the result of a block
constexpr std::int64_t kWorkspaceFloats = 1 << 22;  // of all chunks together, unless one needs more
constexpr std::int64_t kMaxChunks = 32;
constexpr std::int64_t kWantedItems = 16;  // where the work is enough for them
constexpr double kItemFlops = 2.5e6;
constexpr std::int64_t kLeastResults = 24;  // channels of an item when a band is shared by several

struct Plan {
  std::int64_t rows = 0, columns = 0;  // of the largest phase
  std::int64_t bands = 0;
  ConvPlanes planes;
  std::int64_t parts = 1, part = 0;  // of the result's channels: each an item
  std::int64_t block = 0;            // channels whose weights are used for all panels of a band
  bool staged = false;               // results go through a buffer
  std::int64_t items = 0, chunks = 0;
  std::int64_t planes_floats = 0, chunk_floats = 0;
};

Plan plan_of(const Correlation& c) {
  Plan plan;
  std::int64_t taps = 1;
  double steps = 0;
  for (const ConvPhase& phase : c.phases) {
    plan.rows = std::max(plan.rows, phase.rows);
    plan.columns = std::max(plan.columns, phase.columns);
    taps = std::max(taps, phase.taps());
    steps += static_cast<double>(phase.rows * phase.columns) * static_cast<double>(phase.taps());
  }
  const std::int64_t band = band_rows(c.h, c.w, plan.rows, plan.columns, c.sources, kPlanesFloats);
  plan.bands = conv_ceil_div(plan.rows, band);
  plan.planes = conv_planes(c.h, c.w, band, plan.columns);
  const double flops =
      2 * steps * static_cast<double>(c.N * c.groups * c.results) * static_cast<double>(c.sources);
  const auto wanted =
      static_cast<std::int64_t>(std::clamp(flops / kItemFlops, 1.0, static_cast<double>(kWantedItems)));
  plan.items = c.N * c.groups * plan.bands;
  plan.part = std::max(std::min(c.results, kLeastResults),
                       conv_ceil_div(c.results, conv_ceil_div(wanted, plan.items)));
  plan.parts = conv_ceil_div(c.results, plan.part);
  plan.items *= plan.parts;
  const std::int64_t block = kWeightFloats / (c.sources * taps) / kLeastResults * kLeastResults;
  plan.block = std::min(plan.part, std::clamp(block, kLeastResults, kMostBlock));
  plan.staged = c.channels_last || c.step_h > 1 || c.step_w > 1;
  plan.planes_floats = planes_floats(plan.planes, c.sources);
  const ConvKernels& kernels = conv_kernels();
  plan.chunk_floats =
      plan.planes_floats + (plan.staged ? plan.block * kernels.max_vectors * kernels.lanes : 0);
  plan.chunks = std::clamp<std::int64_t>(kWorkspaceFloats / plan.chunk_floats, 1, kMaxChunks);
  plan.chunks = std::min(plan.chunks, plan.items);
  return plan;
}

// One band of one phase, as pixels of the planes: `rows` runs of `columns` at every `pitch`.
struct Band {
  const Correlation& c;
  const Plan& plan;
  const ConvPhase& phase;
  const float* planes;
  std::vector<std::int64_t> offsets;  // [sources * taps]
  std::int64_t n, row, rows;          // picture, and rows of the phase
  float* stage;                       // [block, panel] when results go through it

  std::int64_t results_before(std::int64_t pixel) const {
    const std::int64_t pitch = plan.planes.pitch, i = std::min(pixel / pitch, rows);
    return i == rows ? rows * phase.columns : i * phase.columns + std::min(pixel - i * pitch, phase.columns);
  }
};

// Which lanes of the panel's vectors are results, and where they go in a plane of the result.
void place_results(const Band& band, std::int64_t pixel, std::int64_t vectors, ConvTile& tile) {
  const std::int64_t lanes = conv_kernels().lanes, pitch = band.plan.planes.pitch;
  tile.gaps = false;
  for (std::int64_t j = 0; j < vectors; ++j, pixel += lanes) {
    tile.at[j] = band.results_before(pixel);
    tile.count[j] = band.results_before(pixel + lanes) - tile.at[j];
    std::fill_n(tile.keep[j], 8, tile.count[j] == lanes ? std::uint8_t{0xff} : std::uint8_t{0});
    if (tile.count[j] == lanes) continue;
    tile.gaps = true;
    for (std::int64_t i = 0, column = pixel % pitch; i < lanes;
         ++i, column = column + 1 == pitch ? 0 : column + 1)
      if (column < band.phase.columns) tile.keep[j][i / 8] |= static_cast<std::uint8_t>(1 << i % 8);
  }
}

// The staged results of channels [k, k + count), to their places: `width` pixels from `pixel` on.
void unstage(const Band& band, std::int64_t k, std::int64_t count, std::int64_t pixel, std::int64_t width) {
  const Correlation& c = band.c;
  const std::int64_t pitch = band.plan.planes.pitch, all = c.groups * c.results;
  const std::int64_t ld = conv_kernels().max_vectors * conv_kernels().lanes;
  for (std::int64_t i = pixel / pitch; i < band.rows && i * pitch < pixel + width; ++i) {
    const std::int64_t begin = std::max<std::int64_t>(0, pixel - i * pitch);
    const std::int64_t columns = std::min(band.phase.columns, pixel + width - i * pitch) - begin;
    if (columns <= 0) continue;
    const float* from = band.stage + i * pitch + begin - pixel;
    const std::int64_t h = band.phase.first_h + (band.row + i) * c.step_h,
                       w = band.phase.first_w + begin * c.step_w;
    if (c.channels_last) {
      gemm_kernels().transpose(from, ld, count, columns,
                               c.y + ((band.n * c.result_h + h) * c.result_w + w) * all + k, c.step_w * all,
                               count);
      continue;
    }
    for (std::int64_t r = 0; r < count; ++r) {
      float* const to = c.y + ((band.n * all + k + r) * c.result_h + h) * c.result_w + w;
      for (std::int64_t q = 0; q < columns; ++q) to[q * c.step_w] = from[r * ld + q];
    }
  }
}

// The panels of a band, all but what belongs to channels.
std::vector<ConvTile> panels_of(const Band& band) {
  const ConvKernels& kernels = conv_kernels();
  const std::int64_t lanes = kernels.lanes,
                     pixels = (band.rows - 1) * band.plan.planes.pitch + band.phase.columns;
  std::vector<ConvTile> panels;
  panels.reserve(static_cast<std::size_t>(pixels / (lanes * kernels.max_vectors) + 2));
  for_each_panel(
      conv_ceil_div(pixels, lanes), kernels.max_vectors, [&](std::int64_t first, std::int64_t vectors) {
        ConvTile tile{};
        tile.vectors = vectors;
        tile.pixels = band.planes + first * lanes;
        tile.offsets = band.offsets.data();
        tile.weight_stride = tile.K = static_cast<std::int64_t>(band.offsets.size());
        tile.relu = band.c.relu;
        tile.y_stride = band.plan.staged ? kernels.max_vectors * lanes : band.c.result_h * band.c.result_w;
        if (!band.plan.staged) place_results(band, first * lanes, vectors, tile);
        panels.push_back(tile);
      });
  return panels;
}

// Channels [k, k + rows) of the result in one panel, to y.
void run_tile(const Band& band, ConvTile& tile, std::int64_t k, std::int64_t rows, float* y) {
  tile.weights = band.phase.weights + k * tile.K;
  tile.start = band.c.bias ? band.c.bias + k : nullptr;
  tile.y = y;
  conv_kernels().tile[tile.vectors][rows](tile);
}

// Channels [k, k + count) of the result, all panels. A few channels go over all panels, so that their results
// are written in order (panel by panel over all channels took twice as long where there is little to add up).
void run_block(const Band& band, std::vector<ConvTile>& panels, std::int64_t k, std::int64_t count) {
  const Correlation& c = band.c;
  const ConvKernels& kernels = conv_kernels();
  const std::int64_t most = kernels.max_rows[kernels.max_vectors];
  if (!band.plan.staged) {
    const std::int64_t plane = c.result_h * c.result_w;
    float* const y = c.y + (band.n * c.groups * c.results + k) * plane + band.row * c.result_w;
    for_each_tile(count, most, [&](std::int64_t r, std::int64_t rows) {
      for (ConvTile& tile : panels)
        run_tile(band, tile, k + r, rows, y + r * plane + (tile.gaps ? 0 : tile.at[0]));
    });
    return;
  }
  for (ConvTile& tile : panels) {
    for_each_tile(count, most, [&](std::int64_t r, std::int64_t rows) {
      run_tile(band, tile, k + r, rows, band.stage + r * tile.y_stride);
    });
    unstage(band, k, count, tile.pixels - band.planes, tile.vectors * kernels.lanes);
  }
}

void run_item(const Correlation& c, const Plan& plan, std::int64_t item, float* scratch) {
  const std::int64_t part = item % plan.parts, row = item / plan.parts % plan.bands * plan.planes.rows;
  const std::int64_t picture = item / plan.parts / plan.bands, n = picture / c.groups, g = picture % c.groups;
  const std::int64_t all = c.groups * c.sources, size = c.source_h * c.source_w;
  fill_planes(plan.planes,
              {c.x + n * all * size + g * c.sources * (c.channels_last ? 1 : size), c.sources, c.source_h,
               c.source_w, all, c.channels_last},
              row, scratch);
  const std::int64_t end =
      (g + 1) * c.results - std::max<std::int64_t>(0, c.results - (part + 1) * plan.part);
  for (const ConvPhase& phase : c.phases) {
    Band band{c,
              plan,
              phase,
              scratch,
              {},
              n,
              row,
              std::min(plan.planes.rows, phase.rows - row),
              scratch + plan.planes_floats};
    if (band.rows <= 0 || phase.columns <= 0) continue;
    band.offsets = tap_offsets(plan.planes, phase, c.sources);
    std::vector<ConvTile> panels = panels_of(band);
    for (std::int64_t k = g * c.results + part * plan.part; k < end; k += plan.block)
      run_block(band, panels, k, std::min(plan.block, end - k));
  }
}

}  // namespace

std::vector<std::int64_t> tap_offsets(const ConvPlanes& planes, const ConvPhase& phase,
                                      std::int64_t channels) {
  std::vector<std::int64_t> offsets;
  offsets.reserve(static_cast<std::size_t>(channels * phase.taps()));
  for (std::int64_t c = 0; c < channels; ++c)
    for (const std::int64_t r : phase.r)
      for (const std::int64_t s : phase.s) offsets.push_back(c * planes.plane + planes.offset(r, s));
  return offsets;
}

std::size_t correlate_workspace(const Correlation& c) {
  if (is_depthwise(c)) return depthwise_workspace(c);
  const Plan plan = plan_of(c);
  return static_cast<std::size_t>(plan.chunks * plan.chunk_floats) * sizeof(float);
}

void correlate(const Correlation& c, void* workspace, CpuPool& pool) {
  if (is_depthwise(c)) return depthwise(c, workspace, pool);
  const Plan plan = plan_of(c);
  pool.run(plan.chunks, [&](std::int64_t chunk) {
    float* const scratch = static_cast<float*>(workspace) + chunk * plan.chunk_floats;
    const std::int64_t end = (chunk + 1) * plan.items / plan.chunks;
    for (std::int64_t item = chunk * plan.items / plan.chunks; item < end; ++item)
      run_item(c, plan, item, scratch);
  });
}

}  // namespace gpunn::detail
