// Masks and one-hot rows on a GPU.
#include "gpunn/kernels/common/reduce.cuh"
#include "gpunn/kernels/indexing/index_device.cuh"
#include "gpunn/kernels/indexing/indexing_impl.h"
#include "gpunn/kernels/movement/element_bits_impl.h"

namespace gpunn {
namespace {

constexpr std::int64_t kTile = 2048;  // mask elements of a block
constexpr int kWarps = kIndexBlock / kWarpSize;

template <class T, int kRank>
struct MaskedFill {
  const T* x;
  const bool* mask;
  T* y;
  std::int64_t n;
  T value;
  Strided<kRank> at;
};

template <class T, int kRank>
GPUNN_KERNEL __launch_bounds__(kIndexBlock)
    masked_fill_kernel(const __grid_constant__ MaskedFill<T, kRank> m) {
  for (std::int64_t i = first_element(); i < m.n; i += element_stride()) {
    std::int64_t at, unused;
    offsets_of(m.at, i, at, unused);
    m.y[i] = m.mask[at] ? m.value : m.x[i];
  }
}

/// counts[block] = true elements of its tile.
GPUNN_KERNEL __launch_bounds__(kIndexBlock)
    mask_count_kernel(const bool* mask, std::int64_t* counts, std::int64_t n) {
  const std::int64_t begin = static_cast<std::int64_t>(blockIdx.x) * kTile;
  const std::int64_t end = begin + kTile < n ? begin + kTile : n;
  long long count = 0;
  for (std::int64_t i = begin + threadIdx.x; i < end; i += kIndexBlock) count += mask[i];
  count = block_reduce<CountOp, kIndexBlock>(count);
  if (threadIdx.x == 0) counts[blockIdx.x] = count;
}

/// counts[i] = sum of counts[0 .. i); total = the sum of all. One block: a
/// thread sums a run of its own, then adds what the threads before it found.
GPUNN_KERNEL __launch_bounds__(kIndexBlock)
    mask_scan_kernel(std::int64_t* counts, std::int64_t* total, std::int64_t n) {
  GPUNN_SHARED(sums, long long[kIndexBlock]);
  const std::int64_t run = (n + kIndexBlock - 1) / kIndexBlock;
  const std::int64_t begin = static_cast<std::int64_t>(threadIdx.x) * run;
  const std::int64_t end = begin + run < n ? begin + run : n;
  long long sum = 0;
  for (std::int64_t i = begin; i < end; ++i) sum += counts[i];
  sums[threadIdx.x] = sum;
  __syncthreads();  // every run's sum is there
  long long before = 0, all = 0;
  for (unsigned t = 0; t < kIndexBlock; ++t) {
    if (t < threadIdx.x) before += sums[t];
    all += sums[t];
  }
  for (std::int64_t i = begin; i < end; ++i) {
    const long long count = counts[i];
    counts[i] = before;
    before += count;
  }
  if (threadIdx.x == 0) *total = all;
}

/// Writes the tile's positions from places[block] on; the block goes through it
/// 256 elements at a time.
GPUNN_KERNEL __launch_bounds__(kIndexBlock)
    mask_place_kernel(const bool* mask, const std::int64_t* places, const std::int64_t* total,
                      std::int64_t* positions, std::int64_t n) {
  GPUNN_SHARED(warp_counts, int[kWarps]);
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize,
            warp = static_cast<int>(threadIdx.x) / kWarpSize;
  const std::int64_t begin = static_cast<std::int64_t>(blockIdx.x) * kTile;
  std::int64_t place = places[blockIdx.x];
  for (std::int64_t step = begin; step < begin + kTile; step += kIndexBlock) {
    const std::int64_t i = step + static_cast<std::int64_t>(threadIdx.x);
    const bool on = i < n && mask[i];
    const unsigned ballot = __ballot_sync(kFullWarp, on);
    if (lane == 0) warp_counts[warp] = __popc(ballot);
    __syncthreads();  // every warp's count is there
    std::int64_t to = place + __popc(ballot & ((1u << lane) - 1u));
    for (int w = 0; w < kWarps; ++w) {
      if (w < warp) to += warp_counts[w];
      place += warp_counts[w];
    }
    if (on) positions[to] = i;
    if (i < n && i >= *total) positions[i] = -1;
    __syncthreads();  // counts have been read before the next step overwrites
                      // them
  }
}

template <class T>
GPUNN_KERNEL __launch_bounds__(kIndexBlock)
    one_hot_kernel(const std::int64_t* index, T* y, std::int64_t n, std::int64_t classes, T one) {
  const bool small = n <= 0x7fffffff;
  for (std::int64_t i = first_element(); i < n; i += element_stride()) {
    const std::int64_t row = divide(i, classes, small);
    y[i] = index[row] == i - row * classes ? one : T{};
  }
}

std::int64_t tiles_of(const MaskPositionsProblem& p) { return (p.n + kTile - 1) / kTile; }

}  // namespace

void masked_fill_cuda(const MaskedFillProblem& p, const Exec& exec) {
  std::int64_t n = 1;
  for (int d = 0; d < p.rank; ++d) n *= p.shape[d];
  for_element_size(size_of(p.dtype), [&]<class T>(T) {
    for_index_rank(p.rank, [&]<int kRank>(std::integral_constant<int, kRank>) {
      launch("masked_fill_kernel", masked_fill_kernel<T, kRank>, element_grid(n), exec,
             MaskedFill<T, kRank>{static_cast<const T*>(p.x), p.mask, static_cast<T*>(p.y), n,
                                  static_cast<T>(element_bits(p.dtype, p.value)),
                                  strided_of<kRank>(p.rank, p.shape, p.mask_strides, nullptr)});
    });
  });
}

std::size_t mask_positions_cuda_workspace(const MaskPositionsProblem& p) {
  return static_cast<std::size_t>(tiles_of(p)) * sizeof(std::int64_t);
}

void mask_positions_cuda(const MaskPositionsProblem& p, const Exec& exec) {
  auto* counts = static_cast<std::int64_t*>(exec.workspace);
  const std::int64_t tiles = tiles_of(p);
  const Grid grid{dim3(static_cast<unsigned>(tiles)), dim3(kIndexBlock)};
  launch("mask_count_kernel", mask_count_kernel, grid, exec, p.mask, counts, p.n);
  launch("mask_scan_kernel", mask_scan_kernel, {dim3(1), dim3(kIndexBlock)}, exec, counts, p.count, tiles);
  launch("mask_place_kernel", mask_place_kernel, grid, exec, p.mask, counts, p.count, p.positions, p.n);
}

void one_hot_cuda(const OneHotProblem& p, const Exec& exec) {
  for_element_size(size_of(p.dtype), [&]<class T>(T) {
    launch("one_hot_kernel", one_hot_kernel<T>, element_grid(p.n * p.classes), exec, p.index,
           static_cast<T*>(p.y), p.n * p.classes, p.classes, static_cast<T>(element_bits(p.dtype, 1)));
  });
}

}  // namespace gpunn
