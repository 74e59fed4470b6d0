#pragma once
// The pieces of the CPU's recurrent sequences: products of a step with the packed recurrent weights, and the
// non-linearities of a block of units, applied while the block's sums are in L1.
#include <algorithm>
#include <cstdint>
#include <span>

#include "gpunn/core/cpu_pool.h"
#include "gpunn/kernels/matmul/gemm_impl.h"
#include "gpunn/kernels/rnn/rnn_impl.h"

namespace gpunn::detail {

/// Units [.., units) of some sequences going forward. All arrays start at the block's first sequence and
/// unit; rows of gx and gates are G H floats apart, of sums `sums_ld`, of the others H.
struct RnnForwardTile {
  std::int64_t rows, units, H;
  const float* sums;  // gate g of unit j of row r at r * sums_ld + g * sums_gate + j
  std::int64_t sums_ld, sums_gate;
  const float* gx;      // gates H apart
  const float* b_hn;    // gru, or null
  const float* h_prev;  // gru
  const float* c_prev;  // lstm
  float* y;
  float* c;      // lstm; may be c_prev
  float* gates;  // null: not kept
  float* cells;  // lstm, null: not kept
  float* extra;  // gru, null: not kept
  float* z;      // gru without reset_after: z from its gates' block to n's
};

/// The same going back.
struct RnnBackwardTile {
  std::int64_t rows, units, H;
  const float* sums;  // what reaches h through the products; null: nothing
  std::int64_t sums_ld;
  const float* dy;      // null: zeros
  const float* dh;      // more that reaches h; null: zeros
  const float* dc;      // lstm, what reaches c from later; null: zeros
  const float* gates;   // null for tanh, relu
  const float* y;       // tanh, relu
  const float* h_prev;  // gru
  const float* c;       // lstm
  const float* c_prev;  // lstm
  const float* extra;   // gru, rows `extra_ld` apart as those of dextra
  std::int64_t extra_ld;
  float* dgx;
  float* dgh;      // gru cells: [rows, G, H], of which r and z are written; else null
  float* dextra;   // gru with reset_after
  float* dh_prev;  // gru: what does not go through the products; may be dh
  float* dc_prev;  // lstm; may be dc
};

/// The code for one SIMD target.
struct RnnKernels {
  void (*forward[4])(const RnnForwardTile&);  // by mode
  void (*backward[4])(const RnnBackwardTile&);
  // Without reset_after: r and z, then n and h; dz and dn, then dr from the sums, which are dn w_hn.
  void (*gru_reset)(const RnnForwardTile&), (*gru_candidate)(const RnnForwardTile&);
  void (*gru_candidate_grad)(const RnnBackwardTile&), (*gru_reset_grad)(const RnnBackwardTile&);
};
const RnnKernels& rnn_kernels();

/// Weights [K, gates * units], block by block of units: a block is [K, gates, its units padded to vectors],
/// what a call of the micro-kernel reads in order. The gates of a unit share a block.
struct RnnPanels {
  std::int64_t units = 0, gates = 1, K = 0;
  std::int64_t lanes = 1, block_units = 1;  // of all blocks but the last
  float* data = nullptr;
  /// Weights [gates * units, K] as they are, with `data` null: for products that are too few to pack for.
  const float* unpacked = nullptr;

  std::int64_t blocks() const { return (units + block_units - 1) / block_units; }
  std::int64_t units_of(std::int64_t block) const;         // present ones
  std::int64_t padded_units_of(std::int64_t block) const;  // whole vectors
  std::int64_t floats() const;                             // of data
};
RnnPanels rnn_panels(std::int64_t units, std::int64_t gates, std::int64_t K);
/// w is [gates * units, K].
void pack_rnn_rows(const RnnPanels& panels, const float* w, CpuPool& pool);
/// w is [K, units]; one gate.
void pack_rnn_columns(const RnnPanels& panels, const float* w, CpuPool& pool);

inline constexpr std::int64_t kRnnMaxRows = kGemmMaxRows;
inline constexpr std::int64_t kRnnMaxWidth = 64;  // gates * padded units of a block

/// rows [.., K], `ld` apart, times panels.
struct RnnProduct {
  const float* rows;
  std::int64_t ld;
  const RnnPanels* panels;
};
/// sums [rows, gates, padded units] = the product's rows [row, row + rows) times its block, added to what is
/// there with `accumulate`; rows <= kRnnMaxRows.
void rnn_sums(const RnnProduct& product, std::int64_t block, std::int64_t row, std::int64_t rows,
              bool accumulate, float* sums);
/// Tiles that `rows` are cut into, of nearly equal heights.
std::int64_t rnn_tiles(const RnnPanels& panels, std::int64_t rows);
/// Chunks of blocks worth a thread each.
std::int64_t rnn_chunks(const RnnPanels& panels, std::int64_t rows);

/// Sums of some rows and units.
struct RnnBlock {
  std::int64_t row, rows, unit, units;
  const float* sums;  // [rows, gates, units padded]; null: there is no product
  std::int64_t sums_ld, sums_gate;
};

/// finish(block) for all blocks of `rows` rows, whose sums are those of `products` one after the other.
/// Blocks come in any order, on several threads where they are worth it.
template <class F>
void for_each_block(std::span<const RnnProduct> products, std::int64_t rows, CpuPool& pool, F&& finish) {
  const RnnPanels& shape = *products[0].panels;
  const std::int64_t chunks = rnn_chunks(shape, rows), tiles = rnn_tiles(shape, rows);
  pool.run(chunks, [&](std::int64_t chunk) {
    alignas(64) float sums[kRnnMaxRows * kRnnMaxWidth];
    const std::int64_t end = (chunk + 1) * shape.blocks() / chunks;
    for (std::int64_t i = chunk * shape.blocks() / chunks; i < end; ++i) {
      const std::int64_t padded = shape.padded_units_of(i);
      for (std::int64_t tile = 0, row = 0; tile < tiles; ++tile) {
        const std::int64_t height = rows / tiles + (tile < rows % tiles);
        for (std::size_t k = 0; k < products.size(); ++k) rnn_sums(products[k], i, row, height, k > 0, sums);
        finish(RnnBlock{row, height, i * shape.block_units, shape.units_of(i), sums, shape.gates * padded,
                        padded});
        row += height;
      }
    }
  });
}

/// f(begin, end) for groups of sequences, which run through all steps without waiting for each other. Which
/// group a sequence is in changes nothing in its bits: an element's sum is in ascending k in any tile.
template <class F>
void for_each_group(const RnnSizes& s, CpuPool& pool, F&& f) {
  constexpr std::int64_t kRows = 4;  // fewer leave the multiply-add units waiting for weights
  constexpr double kFlops = 5e6;     // of a group: 25 us
  const double flops = 2 * static_cast<double>(s.rows) * static_cast<double>(s.G() * s.H * s.H);
  const auto paying = static_cast<std::int64_t>(std::min(flops / kFlops, 1e6));
  const std::int64_t groups =
      std::max<std::int64_t>(1, std::min<std::int64_t>({pool.threads(), s.B / kRows, paying}));
  pool.run(groups, [&](std::int64_t g) { f(g * s.B / groups, (g + 1) * s.B / groups); });
}

/// Sequences that stand alike in a step. Rows count those of x and y; -1: there is no such step.
struct RnnRun {
  std::int64_t first, count;           // sequences
  std::int64_t row;                    // of the first one
  std::int64_t row_before, row_after;  // in the order of the direction
};

/// f(run) for the runs of step t among sequences [begin, end): those that have step t + 1, and those that
/// end.
template <class P, class F>
void for_each_run(const P& p, std::int64_t t, std::int64_t begin, std::int64_t end, F&& f) {
  const std::int64_t* const first_row = p.host_first_row;
  const RnnStep step = rnn_step(p, first_row, t);
  const RnnStep next = t + 1 < p.sizes.T ? rnn_step(p, first_row, t + 1) : RnnStep{0, 0};
  const std::int64_t earlier = t > 0 ? rnn_step(p, first_row, t - 1).row : -1;
  const auto run = [&](std::int64_t b0, std::int64_t b1, std::int64_t later) {
    b0 = b0 > begin ? b0 : begin;
    b1 = b1 < end ? b1 : end;
    if (b0 >= b1) return;
    const std::int64_t before = earlier < 0 ? -1 : earlier + b0, after = later < 0 ? -1 : later + b0;
    f(p.sizes.reverse ? RnnRun{b0, b1 - b0, step.row + b0, after, before}
                      : RnnRun{b0, b1 - b0, step.row + b0, before, after});
  };
  run(0, next.batch, next.row);
  run(next.batch, step.batch, -1);
}

/// Element `offset` of an array that may be missing.
template <class T>
T* rnn_at(T* array, std::int64_t offset) {
  return array ? array + offset : nullptr;
}
inline const float* rnn_floats(const void* array) { return static_cast<const float*>(array); }
inline float* rnn_floats(void* array) { return static_cast<float*>(array); }

/// The reset before the product: a step has two products one after the other.
inline bool resets_first(const RnnSizes& s) { return s.mode == RnnMode::gru && !s.reset_after; }

}  // namespace gpunn::detail
