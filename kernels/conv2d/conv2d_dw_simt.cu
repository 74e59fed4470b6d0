// conv2d_dw in f32 on the CUDA cores, in the tiles of simt_tile.cuh, any order and sizes. Both tiles are
// gathered k-major, k being pixels: along pixels where pictures lie in planes, along channels else.
#include "gpunn/core/launch.cuh"
#include "gpunn/kernels/common/simt_tile.cuh"
#include "gpunn/kernels/conv2d/conv2d_dw_device.cuh"

namespace gpunn {
namespace {

using namespace conv2d_device;
using namespace simt_tile;

template <int kTile, bool kPlanes>
GPUNN_KERNEL __launch_bounds__(kThreads) conv2d_dw_simt_kernel(const __grid_constant__ PixelProduct p) {
  constexpr int kLd = kTile + kPad;
  GPUNN_SHARED(tiles, Tiles<kTile>);
  GPUNN_SHARED(columns, Tap[kTile]);
  const DwPart part = dw_part_of_block<kTile, kTile>(p);
  note_columns<kTile>(p, part, columns);
  __syncthreads();  // the columns' taps are known
  const int t = static_cast<int>(threadIdx.x);
  PixelWalk walk = walk_pixels(p, part, kPlanes ? t % kTileK : t / kTile);
  const Digits by = walk.counter.split(kTileK);
  const std::int64_t K = static_cast<std::int64_t>(p.groups) * p.filters;
  const std::int64_t steps = (part.end - part.begin + kTileK - 1) / kTileK;
  const auto load = [&](std::int64_t step) {
    const int stage = static_cast<int>(step & 1);
    if (step < steps) {
      if constexpr (kPlanes) {
        copy_filters<kThreads, kTileK, kTile, kLd, 1>(&tiles[stage][0][0], p, part, walk);
        copy_columns<kThreads, kTileK, kTile, kLd, 1>(&tiles[2 + stage][0][0], p, window_of(p, part, walk),
                                                      columns);
        walk.advance(kTileK, by);
      } else {
        const float* const dy =
            static_cast<const float*>(p.dy) + static_cast<std::int64_t>(part.group) * p.filters;
        load_tile<kTile>(tiles[stage], dy, K, false, p.wide_dy, part.origin.m, p.filters,
                         part.begin + step * kTileK, part.end);
        copy_pixels<kThreads, kTileK, kTile, kLd>(&tiles[2 + stage][0][0], p, part, columns, walk);
      }
    }
    ptx::cp_async_commit();
  };
  float sum[kTile / kSide][kTile / kSide] = {};
  load(0);
  GPUNN_ROLLED
  for (std::int64_t step = 0; step < steps; ++step) {
    load(step + 1);
    ptx::cp_async_wait<1>();
    __syncthreads();  // this step's tiles have arrived from every thread
    multiply_tile<kTile>(tiles[step & 1], tiles[2 + (step & 1)], sum);
    __syncthreads();  // all have read them before they are overwritten
  }
  const auto finish = [&](int m, int n, float v) {
    deliver<float>(p, part, part.origin.m + m, part.origin.n + n, v);
  };
  store_sums<kTile>(sum, tiles, false, finish);
}

template <int kTile, bool kPlanes>
void run(const Conv2dDwProblem& p, const Exec& exec) {
  const PixelProduct product = pixels_of(p, exec);
  launch("conv2d_dw_simt_kernel", conv2d_dw_simt_kernel<kTile, kPlanes>,
         Grid{pixel_grid(product, p.sizes), dim3(kThreads)}, exec, product);
  sum_pieces(p, product, exec);
}

template <bool kPlanes>
void run(const Conv2dDwProblem& p, const Exec& exec) {
  if (pieces_of(p.sizes).tile == 128) return run<128, kPlanes>(p, exec);
  run<64, kPlanes>(p, exec);
}

}  // namespace

const char* conv2d_dw_simt_reason(const Conv2dDwProblem& p) {
  return p.dtype == DType::f32 ? sizes_reason(p.sizes) : "takes f32";
}

void conv2d_dw_simt_cuda(const Conv2dDwProblem& p, const Exec& exec) {
  if (p.sizes.channels_last) return run<false>(p, exec);
  run<true>(p, exec);
}

}  // namespace gpunn
