// Packed recurrent weights, and a step's products with them by the micro-kernels of the CPU's matrix product.
#include <algorithm>

#include "gpunn/core/cpu_pool.h"
#include "gpunn/kernels/rnn/rnn_cpu_impl.h"

namespace gpunn::detail {
namespace {

constexpr std::int64_t kPackFloats = 1 << 16;  // from here on threads share the packing
constexpr double kChunkFlops = 2.5e6;          // as the matrix product's: 12 us on one core
constexpr double kChunkBytes = 1 << 19;        // of weights, which few rows do not pay for in flops

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

template <class F>
void pack(const RnnPanels& panels, CpuPool& pool, F&& block) {
  if (panels.floats() >= kPackFloats) return pool.run(panels.blocks(), block);
  for (std::int64_t i = 0; i < panels.blocks(); ++i) block(i);
}

float* block_data(const RnnPanels& panels, std::int64_t block) {
  return panels.data + block * panels.block_units * panels.gates * panels.K;
}

// Few rows: both operands are contiguous along k.
void sums_by_dots(const RnnProduct& product, std::int64_t block, std::int64_t row, std::int64_t rows,
                  float* sums) {
  const RnnPanels& panels = *product.panels;
  const std::int64_t present = panels.units_of(block), padded = panels.padded_units_of(block);
  float dots[kRnnMaxWidth * kDotSide];
  for (std::int64_t g = 0; g < panels.gates; ++g)
    for (std::int64_t r = 0; r < rows; r += kDotSide) {
      const int side = static_cast<int>(std::min<std::int64_t>(rows - r, kDotSide));
      gemm_kernels().dot(panels.unpacked + (g * panels.units + block * panels.block_units) * panels.K,
                         panels.K, present, product.rows + (row + r) * product.ld, product.ld, side, panels.K,
                         dots);
      for (int s = 0; s < side; ++s)
        for (std::int64_t j = 0; j < present; ++j)
          sums[((r + s) * panels.gates + g) * padded + j] = dots[j * kDotSide + s];
    }
}

}  // namespace

std::int64_t RnnPanels::units_of(std::int64_t block) const {
  return std::min(block_units, units - block * block_units);
}

std::int64_t RnnPanels::padded_units_of(std::int64_t block) const {
  return ceil_div(units_of(block), lanes) * lanes;
}

std::int64_t RnnPanels::floats() const { return ceil_div(units, lanes) * lanes * gates * K; }

RnnPanels rnn_panels(std::int64_t units, std::int64_t gates, std::int64_t K) {
  const GemmKernels& kernels = gemm_kernels();
  RnnPanels panels;
  panels.units = units, panels.gates = gates, panels.K = K;
  panels.lanes = kernels.lanes;
  panels.block_units = std::max<std::int64_t>(1, kernels.max_vectors / gates) * kernels.lanes;
  return panels;
}

void pack_rnn_rows(const RnnPanels& panels, const float* w, CpuPool& pool) {
  pack(panels, pool, [&](std::int64_t block) {
    const std::int64_t padded = panels.padded_units_of(block);
    for (std::int64_t g = 0; g < panels.gates; ++g)
      gemm_kernels().transpose(w + (g * panels.units + block * panels.block_units) * panels.K, panels.K,
                               panels.units_of(block), panels.K, block_data(panels, block) + g * padded,
                               panels.gates * padded, padded);
  });
}

void pack_rnn_columns(const RnnPanels& panels, const float* w, CpuPool& pool) {
  pack(panels, pool, [&](std::int64_t block) {
    const std::int64_t present = panels.units_of(block), padded = panels.padded_units_of(block);
    float* const to = block_data(panels, block);
    gemm_kernels().copy(w + block * panels.block_units, panels.units, panels.K, present, to, padded);
    for (std::int64_t k = 0; present < padded && k < panels.K; ++k)
      std::fill(to + k * padded + present, to + (k + 1) * padded, 0.0f);
  });
}

void rnn_sums(const RnnProduct& product, std::int64_t block, std::int64_t row, std::int64_t rows,
              bool accumulate, float* sums) {
  const RnnPanels& panels = *product.panels;
  if (!panels.data) return sums_by_dots(product, block, row, rows, sums);
  const GemmKernels& kernels = gemm_kernels();
  const std::int64_t width = panels.gates * panels.padded_units_of(block);
  GemmTile tile{};
  tile.rows = product.rows + row * product.ld;
  tile.row_stride = product.ld;
  tile.column_stride = tile.ldc = tile.start_ld = width;
  tile.K = panels.K;
  for (std::int64_t n = 0; n < width;) {
    const std::int64_t vectors = std::min<std::int64_t>(kernels.max_vectors, (width - n) / panels.lanes);
    tile.columns = block_data(panels, block) + n;
    tile.c = sums + n;
    tile.start = accumulate ? tile.c : nullptr;
    kernels.tile[false][vectors][rows](tile);
    n += vectors * panels.lanes;
  }
}

std::int64_t rnn_tiles(const RnnPanels& panels, std::int64_t rows) {
  const GemmKernels& kernels = gemm_kernels();
  const std::int64_t vectors = panels.gates * panels.padded_units_of(0) / panels.lanes;
  return ceil_div(rows, kernels.max_rows[std::min<std::int64_t>(vectors, kernels.max_vectors)]);
}

std::int64_t rnn_chunks(const RnnPanels& panels, std::int64_t rows) {
  const double weights = static_cast<double>(panels.floats());
  const double wanted =
      std::max(2 * static_cast<double>(rows) * weights / kChunkFlops, sizeof(float) * weights / kChunkBytes);
  return static_cast<std::int64_t>(std::clamp(wanted, 1.0, static_cast<double>(panels.blocks())));
}

}  // namespace gpunn::detail
