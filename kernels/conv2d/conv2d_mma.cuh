#pragma once
// Products of windows and filters on tensor cores, in the tiles of mma_tile.cuh; conv2d_mma.cu runs them
// forward, conv2d_dx_mma.cu for dx.
//
// Where channels lie together and a group has a multiple of 16 bytes of them, the windows' tile arrives by
// cp.async in pieces of 16 bytes, along k. Everything else is gathered element by element, across k, with
// neighbouring threads at neighbouring windows.
#include "gpunn/core/launch.cuh"
#include "gpunn/kernels/common/mma_tile.cuh"
#include "gpunn/kernels/conv2d/conv2d_windows.cuh"

namespace gpunn::conv2d_device {

using mma_tile::Config;
using mma_tile::kStages;

/// A tile [kM, kTileK + kPad] of what windows see, 16 bytes at a time.
template <class C>
struct VectorGather {
  static constexpr bool kAcross = false;
  static constexpr int kVectors = C::kTileK / C::kPad;   // of a row
  static constexpr int kApart = C::kThreads / kVectors;  // rows from one of a thread to the next
  static constexpr int kRows = C::kM / kApart;

  const typename C::T* source;
  Window windows[kRows];
  TapWalk walk;
  int place;

  GPUNN_DEVICE VectorGather(const WindowProduct& p, const Part& part, const Window (&all)[C::kM])
      : source(static_cast<const typename C::T*>(p.source)),
        walk(walk_taps(taps_of(p, part), static_cast<int>(threadIdx.x) % kVectors * C::kPad, C::kTileK)) {
    const int row = static_cast<int>(threadIdx.x) / kVectors;
    GPUNN_UNROLL
    for (int i = 0; i < kRows; ++i) windows[i] = all[row + i * kApart];
    place = row * (C::kTileK + C::kPad) + static_cast<int>(threadIdx.x) % kVectors * C::kPad;
  }

  GPUNN_DEVICE void load(typename C::T* to) {
    const Tap tap = walk.tap();
    GPUNN_UNROLL
    for (int i = 0; i < kRows; ++i)
      copy_seen_16(to + place + i * kApart * (C::kTileK + C::kPad), source, walk.taps.from, windows[i], tap);
    walk.next_tile();
  }
};

/// A tile [kTileK, kM + kPad] element by element; a thread stays with one window.
template <class C>
struct ElementGather {
  static constexpr bool kAcross = true;
  static constexpr int kPart = C::kTileK * C::kM / C::kThreads;

  const typename C::T* source;
  Window window;
  TapWalk walk;

  GPUNN_DEVICE ElementGather(const WindowProduct& p, const Part& part, const Window (&all)[C::kM])
      : source(static_cast<const typename C::T*>(p.source)),
        window(all[static_cast<int>(threadIdx.x) % C::kM]),
        walk(walk_taps(taps_of(p, part), static_cast<int>(threadIdx.x) / C::kM * kPart, C::kTileK - kPart)) {}

  GPUNN_DEVICE void load(typename C::T* to) {
    const int t = static_cast<int>(threadIdx.x);
    copy_part<kPart, C::kM + C::kPad>(to + t / C::kM * kPart * (C::kM + C::kPad) + t % C::kM, source, window,
                                      walk);
  }
};

template <class C, template <class> class Gather, bool kDx>
GPUNN_KERNEL __launch_bounds__(C::kThreads) conv2d_fwd_mma_kernel(const __grid_constant__ WindowProduct p) {
  using T = typename C::T;
  GPUNN_DYN_SHARED(memory);
  GPUNN_SHARED(windows, Window[C::kM]);
  GPUNN_SHARED(places, std::int64_t[C::kM]);
  T* const stages = reinterpret_cast<T*>(memory);  // [kStages, kStageSize]: windows' tile, then filters'
  const Part part = part_of_block<C::kM, C::kN>(p);
  if (!part.exists) return;  // the whole block
  note_rows<C::kM>(p, part, windows, places);
  __syncthreads();  // the rows' windows are known
  Gather<C> gather(p, part, windows);
  // Filters lie along k forward, across for dx.
  const mma_tile::Source<T> filters{
      static_cast<const T*>(p.filters) + static_cast<std::int64_t>(part.group) * p.filter_taps * p.columns +
          (kDx ? part.first_tap * p.columns : 0),
      kDx ? p.columns : p.filter_taps, kDx ? part.K : p.columns, kDx ? p.columns : part.K, p.wide_filters};
  const int steps = (part.K + C::kTileK - 1) / C::kTileK;
  const auto load = [&](int step) {
    if (step < steps) {
      T* const stage = stages + step % kStages * C::kStageSize;
      gather.load(stage);
      if constexpr (kDx) {
        mma_tile::load_tile<C, C::kTileK, C::kN>(stage + C::kSizeA, filters, step * C::kTileK, part.origin.n);
      } else {
        mma_tile::load_tile<C, C::kN, C::kTileK>(stage + C::kSizeA, filters, part.origin.n, step * C::kTileK);
      }
    }
    ptx::cp_async_commit();
  };
  const int warp = static_cast<int>(threadIdx.x) / mma_tile::kWarp;
  const int m = warp / C::kWarpsN * C::kWarpM, n = warp % C::kWarpsN * C::kWarpN;
  mma_tile::Sums<C> sum = {};
  for (int s = 0; s < kStages - 1; ++s) load(s);
  GPUNN_ROLLED
  for (int step = 0; step < steps; ++step) {
    ptx::cp_async_wait<kStages - 2>();
    __syncthreads();  // this step's stage has arrived, and all have read the one that is loaded next
    load(step + kStages - 1);
    mma_tile::multiply_stage<C, Gather<C>::kAcross, kDx>(stages + step % kStages * C::kStageSize, m, n, sum);
  }
  __syncthreads();  // all copies were waited for; all have read the stages, which become the warps' scratch
  float* const own = reinterpret_cast<float*>(memory) + warp * mma_tile::kScratch<C>;
  mma_tile::store_sums<C>(sum, own, p.to.channel != 1, [&](int row, int column, float v) {
    deliver<T>(p, part, places[m + row], part.origin.n + n + column, v);
  });
}

template <class C, template <class> class Gather, bool kDx>
void run_mma(WindowProduct p, const Exec& exec) {
  p.tiles = tiles_of(p, C::kM, C::kN);
  const Grid grid{dim3(static_cast<unsigned>(p.tiles * parts_of(p))), dim3(C::kThreads), C::kSharedBytes};
  launch(kDx ? "conv2d_dx_mma_kernel" : "conv2d_fwd_mma_kernel", conv2d_fwd_mma_kernel<C, Gather, kDx>, grid,
         exec, p);
}

/// Tiles of 128 x 128, or x 64 for fewer columns, where they fill a GPU.
template <class T, bool kDx>
void run_mma_dtype(const WindowProduct& p, DType dtype, const Exec& exec) {
  const auto fills = [&](int m, int n) { return tiles_of(p, m, n) * parts_of(p) >= kEnoughTiles; };
  const bool large = p.columns > 64 && fills(128, 128);
  if (p.from.channel == 1 && channels_by_16_bytes(p.source, p.channels, dtype)) {
    if (large) return run_mma<Config<T, 128, 128, 64, 32>, VectorGather, kDx>(p, exec);
    if (fills(128, 64)) return run_mma<Config<T, 128, 64, 64, 32>, VectorGather, kDx>(p, exec);
    return run_mma<Config<T, 64, 64, 32, 32>, VectorGather, kDx>(p, exec);
  }
  if (large) return run_mma<Config<T, 128, 128, 64, 32>, ElementGather, kDx>(p, exec);
  run_mma<Config<T, 64, 64, 32, 32>, ElementGather, kDx>(p, exec);
}

template <bool kDx>
void run_mma(const WindowProduct& p, DType dtype, const Exec& exec) {
  switch (dtype) {
    case DType::f16:
      return run_mma_dtype<Half, kDx>(p, dtype, exec);
    case DType::bf16:
      return run_mma_dtype<BFloat16, kDx>(p, dtype, exec);
    default:
      return run_mma_dtype<float, kDx>(p, dtype, exec);
  }
}

}  // namespace gpunn::conv2d_device
