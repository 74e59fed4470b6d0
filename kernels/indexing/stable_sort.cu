// Each pass: digits are counted by tile of keys, the counts scanned digit by
// digit and tile by tile, and the keys placed in their order. A warp owns a
// tile, so that the order within a tile needs no barrier.
#include "gpunn/core/launch.cuh"
#include "gpunn/kernels/common/reduce.cuh"
#include "gpunn/kernels/indexing/stable_sort_impl.h"

namespace gpunn {
namespace {

constexpr int kDigits = 256, kDigitBits = 8;
constexpr int kTileWarps = 4;  // tiles of a block
constexpr int kTileThreads = kTileWarps * kWarpSize;
constexpr int kScanThreads = 256, kScanItems = 16;
constexpr std::int64_t kMostTiles = 1024, kLeastTile = 256;

/// Keys of a tile, a multiple of the warp: few keys are spread over many warps,
/// many keys make long tiles.
std::int64_t tile_of(std::int64_t n) {
  const std::int64_t wanted = (n + kMostTiles - 1) / kMostTiles;
  const std::int64_t tile = wanted > kLeastTile ? wanted : kLeastTile;
  return (tile + kWarpSize - 1) / kWarpSize * kWarpSize;
}

struct Pass {
  const std::uint32_t* keys;       // [n]
  const std::uint32_t* positions;  // [n]; null in the first pass: i itself
  std::uint32_t* keys_out;
  std::uint32_t* positions_out;
  std::uint32_t* counts;  // [kDigits, tiles]: keys, after the scan the first place
  std::int64_t n, tile, tiles;
  int shift;
};

GPUNN_DEVICE int digit_of(std::uint32_t key, int shift) {
  return static_cast<int>((key >> shift) & (kDigits - 1));
}

GPUNN_KERNEL __launch_bounds__(kTileThreads) stable_sort_count_kernel(const __grid_constant__ Pass p) {
  GPUNN_SHARED(counts, std::uint32_t[kTileWarps][kDigits]);
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize,
            lane = static_cast<int>(threadIdx.x) % kWarpSize;
  const std::int64_t tile = static_cast<std::int64_t>(blockIdx.x) * kTileWarps + warp;
  for (int d = lane; d < kDigits; d += kWarpSize) counts[warp][d] = 0;
  __syncwarp();  // zeros are there before anyone adds
  const std::int64_t begin = tile * p.tile, end = begin + p.tile < p.n ? begin + p.tile : p.n;
  // Integers: the order of these additions does not matter.
  for (std::int64_t i = begin + lane; i < end; i += kWarpSize)
    atomicAdd(&counts[warp][digit_of(p.keys[i], p.shift)], 1u);
  __syncwarp();  // all of the tile is counted
  if (tile < p.tiles)
    for (int d = lane; d < kDigits; d += kWarpSize) p.counts[d * p.tiles + tile] = counts[warp][d];
}

/// counts[i] = sum of counts[0 .. i), in one block: kDigits * kMostTiles
/// entries at most.
GPUNN_KERNEL __launch_bounds__(kScanThreads) stable_sort_scan_kernel(std::uint32_t* counts, std::int64_t n) {
  GPUNN_SHARED(warp_sums, std::uint32_t[kScanThreads / kWarpSize]);
  const int t = static_cast<int>(threadIdx.x), lane = t % kWarpSize, warp = t / kWarpSize;
  std::uint32_t before = 0;
  for (std::int64_t base = 0; base < n; base += kScanThreads * kScanItems) {
    const std::int64_t first = base + static_cast<std::int64_t>(t) * kScanItems;
    std::uint32_t items[kScanItems], sum = 0;
    GPUNN_UNROLL
    for (int j = 0; j < kScanItems; ++j) {
      items[j] = first + j < n ? counts[first + j] : 0;
      sum += items[j];
    }
    std::uint32_t through = sum;  // of this warp's threads up to this one
    GPUNN_UNROLL
    for (int offset = 1; offset < kWarpSize; offset *= 2) {
      const std::uint32_t other = __shfl_up_sync(kFullWarp, through, static_cast<unsigned>(offset));
      if (lane >= offset) through += other;
    }
    __syncthreads();  // warp_sums of the round before have been read
    if (lane == kWarpSize - 1) warp_sums[warp] = through;
    __syncthreads();  // every warp's sum is there
    std::uint32_t place = before + through - sum;
    for (int w = 0; w < kScanThreads / kWarpSize; ++w) {
      if (w < warp) place += warp_sums[w];
      before += warp_sums[w];
    }
    GPUNN_UNROLL
    for (int j = 0; j < kScanItems; ++j) {
      if (first + j < n) counts[first + j] = place;
      place += items[j];
    }
  }
}

GPUNN_KERNEL __launch_bounds__(kTileThreads) stable_sort_place_kernel(const __grid_constant__ Pass p) {
  GPUNN_SHARED(places, std::uint32_t[kTileWarps][kDigits]);
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize,
            lane = static_cast<int>(threadIdx.x) % kWarpSize;
  const std::int64_t tile = static_cast<std::int64_t>(blockIdx.x) * kTileWarps + warp;
  if (tile < p.tiles)
    for (int d = lane; d < kDigits; d += kWarpSize) places[warp][d] = p.counts[d * p.tiles + tile];
  __syncwarp();  // places are there before they are used
  const std::int64_t begin = tile * p.tile, end = begin + p.tile < p.n ? begin + p.tile : p.n;
  for (std::int64_t step = begin; step < end; step += kWarpSize) {
    const std::int64_t i = step + lane;
    const bool there = i < end;
    const std::uint32_t key = there ? p.keys[i] : 0;
    const int digit = there ? digit_of(key, p.shift) : kDigits;  // lanes behind the end match one another
    const unsigned peers = __match_any_sync(kFullWarp, digit);
    const auto rank = static_cast<unsigned>(__popc(peers & ((1u << lane) - 1u)));
    if (there) {
      const std::uint32_t to = places[warp][digit] + rank;
      p.keys_out[to] = key;
      p.positions_out[to] = p.positions ? p.positions[i] : static_cast<std::uint32_t>(i);
    }
    __syncwarp();  // all have read their place
    if (there && rank == 0) places[warp][digit] += static_cast<std::uint32_t>(__popc(peers));
    __syncwarp();  // the next round reads what this one added
  }
}

}  // namespace

std::uint32_t* sort_input(void* workspace) { return static_cast<std::uint32_t*>(workspace); }

std::size_t sort_workspace(std::int64_t n) {
  const std::int64_t tile = tile_of(n), tiles = (n + tile - 1) / tile;
  return static_cast<std::size_t>(4 * n + kDigits * tiles) * sizeof(std::uint32_t);
}

SortedKeys sort_keys_cuda(void* workspace, std::int64_t n, std::uint32_t most, const Exec& exec) {
  std::uint32_t* keys = sort_input(workspace);
  std::uint32_t* other_keys = keys + n;
  std::uint32_t* positions = keys + 2 * n;
  std::uint32_t* other_positions = keys + 3 * n;
  Pass p{};
  p.counts = keys + 4 * n;
  p.n = n;
  p.tile = tile_of(n);
  p.tiles = (n + p.tile - 1) / p.tile;
  const Grid tiles{dim3(static_cast<unsigned>((p.tiles + kTileWarps - 1) / kTileWarps)), dim3(kTileThreads)};
  for (p.shift = 0; p.shift < 32 && (p.shift == 0 || most >> p.shift != 0); p.shift += kDigitBits) {
    p.keys = keys;
    p.positions = p.shift == 0 ? nullptr : positions;
    p.keys_out = other_keys;
    p.positions_out = other_positions;
    launch("stable_sort_count_kernel", stable_sort_count_kernel, tiles, exec, p);
    launch("stable_sort_scan_kernel", stable_sort_scan_kernel, {dim3(1), dim3(kScanThreads)}, exec, p.counts,
           kDigits * p.tiles);
    launch("stable_sort_place_kernel", stable_sort_place_kernel, tiles, exec, p);
    std::uint32_t* const sorted_keys = other_keys;
    std::uint32_t* const sorted_positions = other_positions;
    other_keys = keys;
    other_positions = positions;
    keys = sorted_keys;
    positions = sorted_positions;
  }
  return {keys, positions};
}

}  // namespace gpunn
