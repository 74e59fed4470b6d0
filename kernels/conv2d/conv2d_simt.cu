// conv2d and conv2d_dx in f32 on the CUDA cores: products of windows and filters in the tiles of
// simt_tile.cuh, in any order and with any sizes.
//
// The windows' tile is gathered element by element, k-major as it is multiplied. Neighbouring threads take
// neighbouring windows of a picture in planes, or neighbouring taps of one in channels-last order: those lie
// together.
#include "gpunn/core/launch.cuh"
#include "gpunn/kernels/common/simt_tile.cuh"
#include "gpunn/kernels/conv2d/conv2d_windows.cuh"

namespace gpunn {
namespace {

using namespace conv2d_device;
using namespace simt_tile;

/// With `along_k` a thread stays with its k of each tile, else it takes kPart of them in a row.
template <int kTile>
inline constexpr int kPart = kTile * kTileK / kThreads;

template <int kTile>
GPUNN_DEVICE TapWalk walk_of(const Taps& taps, bool along_k) {
  const int t = static_cast<int>(threadIdx.x);
  return along_k ? walk_taps(taps, t % kTileK, kTileK)
                 : walk_taps(taps, t / kTile * kPart<kTile>, kTileK - kPart<kTile>);
}

/// The next tile of what the windows see.
template <int kTile>
GPUNN_DEVICE void gather(Tile<kTile>& to, const float* source, const Window (&windows)[kTile], bool along_k,
                         TapWalk& walk) {
  const int t = static_cast<int>(threadIdx.x);
  if (!along_k)
    return copy_part<kPart<kTile>, kTile + kPad>(&to[t / kTile * kPart<kTile>][t % kTile], source,
                                                 windows[t % kTile], walk);
  const int k = t % kTileK;
  const Tap tap = walk.tap();
  GPUNN_UNROLL
  for (int i = 0; i < kPart<kTile>; ++i) {
    const int m = t / kTileK + i * (kThreads / kTileK);
    copy_seen(&to[k][m], source, walk.taps.from, windows[m], tap);
  }
  walk.next_tile();
}

template <int kTile, bool kDx>
GPUNN_KERNEL __launch_bounds__(kThreads, kDx&& kTile == 128 ? 1 : 2)
    conv2d_fwd_simt_kernel(const __grid_constant__ WindowProduct p) {
  GPUNN_SHARED(tiles, Tiles<kTile>);
  GPUNN_SHARED(windows, Window[kTile]);
  GPUNN_SHARED(places, std::int64_t[kTile]);
  const Part part = part_of_block<kTile, kTile>(p);
  if (!part.exists) return;  // the whole block
  note_rows<kTile>(p, part, windows, places);
  __syncthreads();  // the rows' windows are known
  const auto* const source = static_cast<const float*>(p.source);
  const float* const filters = static_cast<const float*>(p.filters) +
                               static_cast<std::int64_t>(part.group) * p.filter_taps * p.columns +
                               (kDx ? part.first_tap * p.columns : 0);
  const bool along_k = p.from.channel == 1 && p.channel_inner;
  TapWalk walk = walk_of<kTile>(taps_of(p, part), along_k);
  const int steps = (part.K + kTileK - 1) / kTileK;
  const auto load = [&](int step) {
    if (step < steps) {
      gather<kTile>(tiles[step & 1], source, windows, along_k, walk);
      load_tile<kTile>(tiles[2 + (step & 1)], filters, kDx ? p.columns : p.filter_taps, !kDx, p.wide_filters,
                       part.origin.n, p.columns, step * kTileK, part.K);
    }
    ptx::cp_async_commit();
  };
  float sum[kTile / kSide][kTile / kSide] = {};
  load(0);
  GPUNN_ROLLED
  for (int step = 0; step < steps; ++step) {
    load(step + 1);
    ptx::cp_async_wait<1>();
    __syncthreads();  // this step's tiles have arrived from every thread
    multiply_tile<kTile>(tiles[step & 1], tiles[2 + (step & 1)], sum);
    __syncthreads();  // all have read them before they are overwritten
  }
  const auto finish = [&](int m, int n, float v) {
    deliver<float>(p, part, places[m], part.origin.n + n, v);
  };
  store_sums<kTile>(sum, tiles, p.to.channel != 1, finish);
}

template <int kTile, bool kDx>
void run(WindowProduct p, const Exec& exec) {
  p.tiles = tiles_of(p, kTile, kTile);
  const Grid grid{dim3(static_cast<unsigned>(p.tiles * parts_of(p))), dim3(kThreads)};
  launch(kDx ? "conv2d_dx_simt_kernel" : "conv2d_fwd_simt_kernel", conv2d_fwd_simt_kernel<kTile, kDx>, grid,
         exec, p);
}

template <bool kDx>
void run(const WindowProduct& p, const Exec& exec) {
  constexpr int kLarge = 128, kSmall = 64;
  if (p.columns > kSmall && tiles_of(p, kLarge, kLarge) * parts_of(p) >= kEnoughTiles)
    return run<kLarge, kDx>(p, exec);
  run<kSmall, kDx>(p, exec);
}

}  // namespace

const char* conv2d_simt_reason(const Conv2dProblem& p) {
  return p.dtype == DType::f32 ? sizes_reason(p.sizes) : "takes f32";
}

const char* conv2d_dx_simt_reason(const Conv2dDxProblem& p) {
  return p.dtype == DType::f32 ? sizes_reason(p.sizes) : "takes f32";
}

void conv2d_simt_cuda(const Conv2dProblem& p, const Exec& exec) {
  run<false>(windows_of(p, arrange_filters(p, exec)), exec);
}

void conv2d_dx_simt_cuda(const Conv2dDxProblem& p, const Exec& exec) {
  for_phases(p, arrange_filters(p, exec), [&](const WindowProduct& product) { run<true>(product, exec); });
}

}  // namespace gpunn
