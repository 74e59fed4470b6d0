// Blocking of the CPU's matrix product: which operand is read by vectors, what is packed, who computes what.
#include "gpunn/kernels/matmul/gemm_impl.h"

#include <algorithm>
#include <cstring>

#include "gpunn/core/cpu_pool.h"

namespace gpunn {
namespace {

using detail::gemm_kernels;
using detail::GemmKernels;
using detail::GemmTile;
using detail::kDotSide;
using detail::kGemmMaxVectors;

constexpr int kMaxLanes = 16;
constexpr std::int64_t kMaxWidth = kGemmMaxVectors * kMaxLanes;  // columns of the widest panel
constexpr std::int64_t kScratchRows = 48;      // rows of a scratch block, a multiple of all tile heights
constexpr std::int64_t kKBlock = 256;          // k of one pass over a panel: 64 KiB of columns at AVX-512
constexpr std::int64_t kPackFloats = 1 << 18;  // packed at a time, in L2 (1024^3: 163 GFLOP/s, with 2^20 135)
constexpr std::int64_t kSwapFloats = 1 << 20;  // most that a swapped product may pack, in one pass
constexpr std::int64_t kMaxDotSide = 16;       // columns of a product done by dots
constexpr std::int64_t kPackChunk = 1 << 15;   // floats one chunk packs
constexpr double kChunkFlops = 2.5e6;          // least work of a chunk: 12 us on one core
constexpr std::int64_t kMaxChunks = 64;
constexpr std::int64_t kMaxCopies = 4;         // of a packed operand, each used by the thread that packed it
constexpr std::int64_t kCopyFloats = 1 << 17;  // most that is packed once for each thread
constexpr double kMaxCopyChunks = 16;          // larger products gain more from smaller chunks
constexpr std::int64_t kMaxGroups = 32;        // of small products; each has a region of the workspace
constexpr std::int64_t kChunkRows = 96;        // rows of a chunk once there is work enough for many

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

enum class Method { nothing, dot, tiles };

// C' [R, W] = A' [R, K] B' [K, W]: the rows of A' are broadcast, B' is read by vectors. Swapped, C' is c
// transposed.
struct Plan {
  Method method = Method::nothing;
  bool swap = false;
  std::int64_t R = 0, W = 0, K = 0;
  std::int64_t vectors = 0, panels = 0;  // of W
  int lanes = 0, max_vectors = 0;
  bool transpose_columns = false;  // B' is contiguous along k and has to be turned while packing
  bool pack_all = false;  // otherwise only a last panel with lanes to spare is packed, the rest read in place
  bool turn_rows = false;   // A' is contiguous along r: blocks of it are turned, a tile then reads few lines
  std::int64_t pack_k = 0;  // k of one packing
  std::int64_t pack_floats = 0;
  std::int64_t row_blocks = 1, panel_blocks = 1;  // chunks of one product
  std::int64_t copies = 1;                        // of the packed operand there is room for
  bool own_packs = false;                         // each chunk packs for itself
  std::int64_t group = 0;  // products of one chunk when they are small, 0: chunks of one product
};

struct Operand {
  const float* data;
  std::int64_t ld;
  bool k_contiguous;  // element (i, k) at i * ld + k, else k * ld + i
  const float* at(std::int64_t i, std::int64_t k) const {
    return data + (k_contiguous ? i * ld + k : k * ld + i);
  }
  Operand from(std::int64_t i, std::int64_t k) const { return {at(i, k), ld, k_contiguous}; }
};

struct Product {
  Operand rows, columns;
  float* c;
  std::int64_t index;  // of the matrix in the batch
};

Product product(const GemmArgs& g, const Plan& plan, std::int64_t i) {
  const Operand a{g.a + i * g.a_batch, g.lda, !g.trans_a}, b{g.b + i * g.b_batch, g.ldb, g.trans_b};
  return {plan.swap ? b : a, plan.swap ? a : b, g.c + i * g.c_batch, i};
}

struct Panel {
  std::int64_t first;  // vector
  int vectors;
};

// Panels are as wide as tiles can be; a last one of a single vector would waste the multiply-add units (8
// sums in flight at most, and a load for each), so it shares the width with the one before it.
Panel panel_at(const Plan& plan, std::int64_t p) {
  const std::int64_t width = plan.max_vectors, rest = plan.vectors - (plan.panels - 1) * width;
  Panel panel{p * width, static_cast<int>(p == plan.panels - 1 ? rest : width)};
  if (rest == 1 && plan.panels > 1 && width > 2) {
    if (p == plan.panels - 2) panel.vectors = static_cast<int>(width - 1);
    if (p == plan.panels - 1) panel = {p * width - 1, 2};
  }
  return panel;
}

// Estimated cycles. The factors were fitted on an Emerald Rapids core with AVX-512 (NOTES.md); only their
// order matters.
double tiles_estimate(const GemmKernels& kernels, std::int64_t R, std::int64_t W, std::int64_t K,
                      bool transpose_columns, bool swap) {
  const double lanes = kernels.lanes, rows = static_cast<double>(R), k = static_cast<double>(K),
               columns = static_cast<double>(W);
  const double vectors = static_cast<double>(ceil_div(W, kernels.lanes));
  const double multiply = rows * k * (vectors < 2 ? 0.75 : 0.5) * vectors;
  const double pack = transpose_columns ? k * columns * 3.5 / lanes : 0;
  return multiply + pack + (swap ? rows * columns * 6 / lanes : 0);
}

double dot_estimate(const GemmKernels& kernels, const GemmArgs& g) {
  const double products = static_cast<double>(g.M) * static_cast<double>(g.N);
  return products * (static_cast<double>(g.K) * 0.6 / kernels.lanes + 8);
}

void choose_method(const GemmKernels& kernels, const GemmArgs& g, Plan& plan) {
  plan.method = Method::tiles;
  double best = tiles_estimate(kernels, g.M, g.N, g.K, g.trans_b, false);
  if (!g.accumulate && g.K * ceil_div(g.M, kMaxWidth) * kMaxWidth <= kSwapFloats) {
    const double swapped = tiles_estimate(kernels, g.N, g.M, g.K, !g.trans_a, true);
    plan.swap = swapped < best;
    best = std::min(best, swapped);
  }
  if (!g.trans_a && g.trans_b && std::min(g.M, g.N) <= kMaxDotSide && dot_estimate(kernels, g) < best) {
    plan.method = Method::dot;
    plan.swap = g.N > g.M;
  }
}

// `threads` may decide who computes and packs what, never the order of an element's sum.
Plan make_plan(const GemmArgs& g, int threads) {
  Plan plan;
  if (g.M == 0 || g.N == 0 || g.K == 0 || g.batch == 0) return plan;
  const GemmKernels& kernels = gemm_kernels();
  choose_method(kernels, g, plan);
  const bool dot = plan.method == Method::dot;
  plan.K = g.K;
  plan.lanes = kernels.lanes;
  plan.max_vectors = kernels.max_vectors;
  const double flops = 2 * static_cast<double>(g.M) * static_cast<double>(g.N) * static_cast<double>(g.K);
  plan.R = plan.swap ? g.N : g.M;
  plan.W = plan.swap ? g.M : g.N;
  if (g.batch > 1 && flops < 8 * kChunkFlops) {
    plan.group = std::max(ceil_div(g.batch, kMaxGroups),
                          static_cast<std::int64_t>(kChunkFlops / std::max(flops, 1.0)));
    plan.group = std::min(plan.group, g.batch);
  }
  const double wanted =
      plan.group ? 1 : std::clamp(flops / kChunkFlops, 1.0, static_cast<double>(kMaxChunks));
  if (wanted >= 2) {
    const std::int64_t unit = dot ? 64 : 24, even = ceil_div(plan.R, static_cast<std::int64_t>(wanted));
    const std::int64_t most = std::max(kChunkRows, ceil_div(plan.R, kMaxChunks));
    plan.row_blocks = ceil_div(plan.R, std::clamp(ceil_div(even, unit) * unit, unit, most));
  }
  if (dot) return plan;

  plan.vectors = ceil_div(plan.W, plan.lanes);
  plan.panels = ceil_div(plan.vectors, plan.max_vectors);
  plan.panel_blocks =
      std::clamp<std::int64_t>(static_cast<std::int64_t>(wanted) / plan.row_blocks, 1, plan.panels);
  plan.transpose_columns = plan.swap ? !g.trans_a : g.trans_b;
  // Reading in place saves a copy and wins until many rows share it (R = 256: 1.05x, R = 512: 0.6x).
  plan.pack_all = plan.transpose_columns || plan.R >= 320;
  plan.turn_rows = !plan.swap && g.trans_a && plan.W >= 256 && g.K > 128;
  const std::int64_t width = plan.pack_all ? plan.vectors * plan.lanes : kMaxWidth;
  plan.pack_k = plan.swap ? g.K : std::min(g.K, std::max(kKBlock, kPackFloats / width));
  if (plan.pack_all || plan.W % plan.lanes != 0) plan.pack_floats = plan.pack_k * width;
  if (plan.group == 0 && plan.pack_all && plan.pack_k == g.K && plan.pack_floats <= kCopyFloats &&
      wanted <= kMaxCopyChunks)
    plan.copies = std::min({kMaxCopies, static_cast<std::int64_t>(wanted), ceil_div(plan.R, 24)});
  // There are as many chunks as copies: more threads than that share one packing instead.
  const bool enough = threads <= kMaxCopies || wanted <= static_cast<double>(kMaxCopies);
  if (plan.copies > 1 && threads > 1 && enough) {
    plan.own_packs = true;
    plan.row_blocks = std::min<std::int64_t>(plan.copies, threads);
    plan.panel_blocks = 1;
  }
  return plan;
}

bool packed(const Plan& plan, const Panel& panel) {
  return plan.pack_all || (panel.first + panel.vectors) * plan.lanes > plan.W;
}

std::int64_t packed_offset(const Plan& plan, const Panel& panel, std::int64_t k_count) {
  return plan.pack_all ? panel.first * plan.lanes * k_count : 0;
}

// Packs k [k0, k0 + count) of a panel as [k][vectors * lanes] with zeros beyond W.
void pack_panel(const Plan& plan, const Operand& columns, const Panel& panel, std::int64_t k0,
                std::int64_t count, float* to) {
  const GemmKernels& kernels = gemm_kernels();
  const std::int64_t n0 = panel.first * plan.lanes, width = panel.vectors * plan.lanes,
                     present = std::min(width, plan.W - n0);
  if (columns.k_contiguous)
    return kernels.transpose(columns.at(n0, k0), columns.ld, present, count, to, width, width);
  kernels.copy(columns.at(n0, k0), columns.ld, count, present, to, width);
  if (present < width)
    for (std::int64_t k = 0; k < count; ++k) std::fill(to + k * width + present, to + (k + 1) * width, 0.0f);
}

void pack(const Plan& plan, const Operand& columns, std::int64_t k0, std::int64_t count, float* to,
          CpuPool* pool) {
  const std::int64_t first = plan.pack_all ? 0 : plan.panels - 1;
  const std::int64_t pieces =
      pool ? std::max<std::int64_t>(1, plan.pack_floats / kPackChunk / (plan.panels - first)) : 1;
  const std::int64_t step =
      ceil_div(ceil_div(count, pieces), 16) * 16;  // of k, so that a long panel has several chunks
  const std::int64_t steps = ceil_div(count, step);
  const auto one = [&](std::int64_t i) {
    const Panel panel = panel_at(plan, first + i / steps);
    if (!packed(plan, panel)) return;
    const std::int64_t k = i % steps * step, n = std::min(step, count - k);
    pack_panel(plan, columns, panel, k0 + k, n,
               to + packed_offset(plan, panel, count) + k * panel.vectors * plan.lanes);
  };
  if (pool && plan.pack_floats >= 2 * kPackChunk) return pool->run((plan.panels - first) * steps, one);
  for (std::int64_t i = 0; i < (plan.panels - first) * steps; ++i) one(i);
}

// A block of rows times one panel for k [k0, k0 + count), into out (c itself or scratch).
struct Block {
  Panel panel;
  std::int64_t r0, rows;
  std::int64_t count;
  Operand row_data;      // element (r0, k0) first
  const float* columns;  // element (k0, first of the panel)
  std::int64_t column_stride;
  float* out;
  std::int64_t out_ld;
  const float* start;
  std::int64_t start_ld;
  bool relu;
};

void run_tiles(const Block& block) {
  const GemmKernels& kernels = gemm_kernels();
  const int vectors = block.panel.vectors;
  const Operand& rows = block.row_data;
  const auto& tiles = kernels.tile[!rows.k_contiguous][vectors];
  // Tiles of nearly equal height: 64 rows are 9 x 6 + 2 x 5, not 10 x 6 + 4.
  const std::int64_t count = ceil_div(block.rows, kernels.max_rows[vectors]);
  const std::int64_t low = block.rows / count, tall = block.rows % count;
  GemmTile tile{};
  tile.row_stride = rows.ld;
  tile.column_stride = block.column_stride;
  tile.ldc = block.out_ld;
  std::int64_t k = 0;
  do {
    tile.K = std::min(kKBlock, block.count - k);
    tile.columns = block.columns + k * block.column_stride;
    tile.relu = block.relu && k + tile.K == block.count;
    const float* start = k == 0 ? block.start : block.out;
    tile.start_ld = k == 0 ? block.start_ld : block.out_ld;
    for (std::int64_t t = 0, r = 0; t < count; ++t) {
      tile.rows = rows.at(r, k);
      tile.c = block.out + r * block.out_ld;
      tile.start = start ? start + r * tile.start_ld : nullptr;
      const std::int64_t height = low + (t < tall);
      tiles[height](tile);
      r += height;
    }
    k += tile.K;
  } while (k < block.count);
}

// One pass over k [k0, k0 + count) for some rows and panels of one product.
struct Pass {
  const GemmArgs& g;
  const Plan& plan;
  Product product;
  const float* pack;
  std::int64_t packed_k0, packed_count;  // what pack holds
  std::int64_t k0, count;                // what this pass adds
  bool last() const { return k0 + count == plan.K; }
};

// The block goes through scratch: c is transposed, or has no room for the last vector, or needs two start
// values.
void run_scratch(const Pass& pass, Block block) {
  const GemmKernels& kernels = gemm_kernels();
  const GemmArgs& g = pass.g;
  const Plan& plan = pass.plan;
  alignas(64) float scratch[kScratchRows * kMaxWidth];
  const std::int64_t n0 = block.panel.first * plan.lanes, width = block.panel.vectors * plan.lanes;
  const std::int64_t present = std::min(width, plan.W - n0), begin = block.r0, end = begin + block.rows;
  const Operand rows = block.row_data;
  block.out = scratch;
  block.out_ld = block.start_ld = width;
  const bool resumed = pass.k0 > 0;
  block.start = g.bias || g.accumulate || resumed ? scratch : nullptr;
  for (; block.r0 < end; block.r0 += block.rows) {
    block.rows = std::min(kScratchRows, end - block.r0);
    block.row_data = rows.from(block.r0 - begin, 0);
    float* c = pass.product.c + (plan.swap ? n0 * g.ldc + block.r0 : block.r0 * g.ldc + n0);
    for (std::int64_t r = 0; block.start && r < block.rows; ++r) {
      float* row = scratch + r * width;
      std::fill(row, row + width, plan.swap && g.bias ? g.bias[block.r0 + r] : 0.0f);
      if (plan.swap) continue;
      if (g.accumulate || resumed) std::copy_n(c + r * g.ldc, present, row);
      if (g.bias && !resumed)
        for (std::int64_t n = 0; n < present; ++n) row[n] += g.bias[n0 + n];
    }
    run_tiles(block);
    const bool early = pass.last() && !g.pre;  // in the scratch block, before the sums are written
    if (early) kernels.activate(scratch, width, block.rows, width, g.activation);
    if (plan.swap) {
      kernels.transpose(scratch, width, block.rows, present, c, g.ldc, block.rows);
    } else {
      kernels.copy(scratch, width, block.rows, present, c, g.ldc);
    }
    if (!pass.last()) continue;
    const Activation left = early ? Activation::none : g.activation;
    if (plan.swap)
      detail::gemm_finish(g, pass.product.index, n0, block.r0, present, block.rows, left);
    else
      detail::gemm_finish(g, pass.product.index, block.r0, n0, block.rows, present, left);
  }
}

void run_block(const Pass& pass, const Panel& panel, std::int64_t r0, std::int64_t rows,
               const Operand& row_data) {
  const GemmArgs& g = pass.g;
  const Plan& plan = pass.plan;
  const Operand& columns = pass.product.columns;
  const std::int64_t n0 = panel.first * plan.lanes, width = panel.vectors * plan.lanes;
  Block block{};
  block.panel = panel;
  block.r0 = r0;
  block.rows = rows;
  block.count = pass.count;
  block.row_data = row_data;
  const bool in_place = !packed(plan, panel);
  block.column_stride = in_place ? columns.ld : width;
  block.columns = in_place ? columns.at(n0, pass.k0)
                           : pass.pack + packed_offset(plan, panel, pass.packed_count) +
                                 (pass.k0 - pass.packed_k0) * width;
  if (plan.swap || n0 + width > plan.W || (g.accumulate && g.bias)) return run_scratch(pass, block);
  block.out = pass.product.c + r0 * g.ldc + n0;
  block.out_ld = g.ldc;
  if (g.accumulate || pass.k0 > 0) {
    block.start = block.out;
    block.start_ld = g.ldc;
  } else if (g.bias) {
    block.start = g.bias + n0;
  }
  block.relu = pass.last() && g.activation == Activation::relu && !g.pre;
  run_tiles(block);
  if (pass.last())
    detail::gemm_finish(g, pass.product.index, r0, n0, rows, width,
                        block.relu ? Activation::none : g.activation);
}

// Rows [r0, r1) by panels [p0, p1), the rows turned block by block.
void run_turned(const Pass& whole, std::int64_t r0, std::int64_t r1, std::int64_t p0, std::int64_t p1) {
  alignas(64) float turned[kScratchRows * kKBlock];
  const Operand& rows = whole.product.rows;
  for (; r0 < r1; r0 += kScratchRows) {
    const std::int64_t count = std::min(kScratchRows, r1 - r0), end = whole.k0 + whole.count;
    Pass pass = whole;
    for (; pass.k0 < end; pass.k0 += pass.count) {
      pass.count = std::min(kKBlock, end - pass.k0);
      gemm_kernels().transpose(rows.at(r0, pass.k0), rows.ld, pass.count, count, turned, kKBlock, pass.count);
      for (std::int64_t p = p0; p < p1; ++p)
        run_block(pass, panel_at(whole.plan, p), r0, count, {turned, kKBlock, true});
    }
  }
}

// Chunk `chunk` of a pass: a block of rows by a block of panels.
void run_chunk(const Pass& pass, std::int64_t chunk) {
  const Plan& plan = pass.plan;
  const std::int64_t rows = ceil_div(plan.R, plan.row_blocks),
                     panels = ceil_div(plan.panels, plan.panel_blocks);
  const std::int64_t r0 = chunk % plan.row_blocks * rows, p0 = chunk / plan.row_blocks * panels;
  const std::int64_t r1 = std::min(plan.R, r0 + rows), p1 = std::min(plan.panels, p0 + panels);
  if (r0 >= r1) return;
  if (plan.turn_rows) return run_turned(pass, r0, r1, p0, p1);
  const Operand row_data = pass.product.rows.from(r0, pass.k0);
  for (std::int64_t p = p0; p < p1; ++p) run_block(pass, panel_at(plan, p), r0, r1 - r0, row_data);
}

void run_tiled(const GemmArgs& g, const Plan& plan, const Product& product, float* workspace, CpuPool* pool) {
  std::int64_t k0 = 0;
  if (plan.own_packs && pool)
    return pool->run(plan.row_blocks, [&](std::int64_t chunk) {
      float* const own = workspace + chunk * plan.pack_floats;
      pack(plan, product.columns, 0, plan.K, own, nullptr);
      run_chunk({g, plan, product, own, 0, plan.K, 0, plan.K}, chunk);
    });
  do {
    const std::int64_t count = std::min(plan.pack_k, plan.K - k0);
    if (plan.pack_floats > 0) pack(plan, product.columns, k0, count, workspace, pool);
    const Pass pass{g, plan, product, workspace, k0, count, k0, count};
    const std::int64_t chunks = plan.row_blocks * plan.panel_blocks;
    if (pool) {
      pool->run(chunks, [&](std::int64_t chunk) { run_chunk(pass, chunk); });
    } else {
      for (std::int64_t chunk = 0; chunk < chunks; ++chunk) run_chunk(pass, chunk);
    }
    k0 += count;
  } while (k0 < plan.K);
}

// Few rows or columns, both operands contiguous along k: sums of products by vectors along k.
void run_dot(const GemmArgs& g, const Plan& plan, const Product& product, std::int64_t r0, std::int64_t r1) {
  constexpr std::int64_t kRows = 16;
  constexpr std::int64_t kRowFloats = 1 << 13;  // rows that stay in L1 while all columns pass
  const GemmKernels& kernels = gemm_kernels();
  float sums[kRows * kDotSide];
  const std::int64_t step =
      std::clamp<std::int64_t>(kRowFloats / std::max<std::int64_t>(plan.K, 1) / 4 * 4, 4, kRows);
  for (; r0 < r1; r0 += step) {
    const std::int64_t rows = std::min(step, r1 - r0);
    for (std::int64_t s0 = 0; s0 < plan.W; s0 += kDotSide) {
      const int side = static_cast<int>(std::min<std::int64_t>(plan.W - s0, kDotSide));
      kernels.dot(product.rows.at(r0, 0), product.rows.ld, rows, product.columns.at(s0, 0),
                  product.columns.ld, side, plan.K, sums);
      for (std::int64_t r = 0; r < rows; ++r)
        for (int s = 0; s < side; ++s) {
          const std::int64_t m = plan.swap ? s0 + s : r0 + r, n = plan.swap ? r0 + r : s0 + s;
          float& c = product.c[m * g.ldc + n];
          c = (g.accumulate ? c : 0.0f) + (g.bias ? g.bias[n] : 0.0f) + sums[r * kDotSide + s];
        }
    }
    if (plan.swap)
      detail::gemm_finish(g, product.index, 0, r0, plan.W, rows, g.activation);
    else
      detail::gemm_finish(g, product.index, r0, 0, rows, plan.W, g.activation);
  }
}

void run_product(const GemmArgs& g, const Plan& plan, const Product& product, float* workspace,
                 CpuPool* pool) {
  if (plan.method == Method::tiles) return run_tiled(g, plan, product, workspace, pool);
  const std::int64_t rows = ceil_div(plan.R, plan.row_blocks);
  if (!pool) return run_dot(g, plan, product, 0, plan.R);
  pool->run(plan.row_blocks,
            [&](std::int64_t i) { run_dot(g, plan, product, i * rows, std::min(plan.R, (i + 1) * rows)); });
}

}  // namespace

std::size_t detail::gemm_whole_workspace(const GemmArgs& args) {
  const Plan plan = make_plan(args, 1);
  const std::int64_t regions = plan.group > 0 ? ceil_div(args.batch, plan.group) : plan.copies;
  return static_cast<std::size_t>(plan.pack_floats * regions) * sizeof(float);
}

std::int64_t detail::gemm_whole_chunks(const GemmArgs& args) {
  const Plan plan = make_plan(args, 1);
  return plan.row_blocks * plan.panel_blocks;
}

void detail::gemm_finish(const GemmArgs& g, std::int64_t i, std::int64_t m, std::int64_t n, std::int64_t rows,
                         std::int64_t cols, Activation activation) {
  const GemmKernels& kernels = gemm_kernels();
  const std::int64_t at = i * g.c_batch + m * g.ldc + n;
  float* const c = g.c + at;
  if (g.pre) kernels.copy(c, g.ldc, rows, cols, g.pre + at, g.ldc);
  if (activation != Activation::none) kernels.activate(c, g.ldc, rows, cols, activation);
  if (g.residual) kernels.add(g.residual + i * g.r_batch + m * g.ldr + n, g.ldr, rows, cols, c, g.ldc);
}

namespace {

// No products to add, and perhaps no operands: c = activation(start) + residual.
void start_only(const GemmArgs& g) {
  for (std::int64_t i = 0; i < g.batch; ++i)
    for (std::int64_t m = 0; m < g.M; ++m) {
      float* const row = g.c + i * g.c_batch + m * g.ldc;
      for (std::int64_t n = 0; n < g.N; ++n)
        row[n] = (g.accumulate ? row[n] : 0.0f) + (g.bias ? g.bias[n] : 0.0f);
      detail::gemm_finish(g, i, m, 0, 1, g.N, g.activation);
    }
}

}  // namespace

void detail::gemm_whole(const GemmArgs& args, void* workspace, CpuPool* pool) {
  if (args.K == 0) return start_only(args);
  const Plan plan = make_plan(args, pool ? pool->threads() : 1);
  if (plan.method == Method::nothing) return;
  float* const pack = static_cast<float*>(workspace);
  if (plan.group == 0) {
    for (std::int64_t i = 0; i < args.batch; ++i) run_product(args, plan, product(args, plan, i), pack, pool);
    return;
  }
  const auto group = [&](std::int64_t chunk) {
    const std::int64_t end = std::min(args.batch, (chunk + 1) * plan.group);
    for (std::int64_t i = chunk * plan.group; i < end; ++i)
      run_product(args, plan, product(args, plan, i), pack + chunk * plan.pack_floats, nullptr);
  };
  const std::int64_t groups = ceil_div(args.batch, plan.group);
  if (pool) return pool->run(groups, group);
  for (std::int64_t chunk = 0; chunk < groups; ++chunk) group(chunk);
}

}  // namespace gpunn
