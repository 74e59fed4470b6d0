// conv2d_dw on tensor cores: f16, bf16, and f32 rounded to TF32, in the tiles of mma_tile.cuh.
//
// In channels-last order dy is a matrix that lies across k, the pixels; what the windows see is copied across
// as well, 16 bytes of channels at a time where a group has a multiple of them. Pictures in planes are
// gathered element by element along k, where neighbouring pixels lie.
#include "gpunn/core/launch.cuh"
#include "gpunn/kernels/common/mma_tile.cuh"
#include "gpunn/kernels/conv2d/conv2d_dw_device.cuh"

namespace gpunn {
namespace {

using namespace conv2d_device;
using namespace mma_tile;

enum class Reading { vectors, elements, planes };

/// A tile [kTileK, kN + kPad] of what pixels' windows see, 16 bytes at a time; a thread stays with its
/// columns.
template <class C>
GPUNN_DEVICE void copy_pixels_16(typename C::T* to, const PixelProduct& p, const DwPart& part, const Tap& tap,
                                 PixelWalk& walk, const Digits& by) {
  constexpr int kVectors = C::kN / C::kPad, kApart = C::kThreads / kVectors, kLd = C::kN + C::kPad;
  const int t = static_cast<int>(threadIdx.x);
  typename C::T* const first = to + t / kVectors * kLd + t % kVectors * C::kPad;
  GPUNN_UNROLL
  for (int i = 0; i < C::kTileK / kApart; ++i) {
    copy_seen_16(first + i * kApart * kLd, static_cast<const typename C::T*>(p.x), p.from,
                 window_of(p, part, walk), tap);
    walk.advance(kApart, by);
  }
}

/// Loads both tiles of a step, and goes on to the next.
template <class C, Reading kReading>
struct Loader {
  using T = typename C::T;
  static constexpr bool kAcross = kReading != Reading::planes;
  static constexpr int kVectors = C::kN / C::kPad;
  // Columns, or for planes pixels, that neighbouring threads take.
  static constexpr int kBeside = kReading == Reading::vectors    ? kVectors
                                 : kReading == Reading::elements ? C::kN
                                                                 : C::kTileK;

  const PixelProduct& p;
  const DwPart& part;
  const Tap (&columns)[C::kN];
  PixelWalk walk;
  Digits by;  // vectors: from one pixel of a thread to the next; planes: a step
  Source<T> dy;

  GPUNN_DEVICE Loader(const PixelProduct& product, const DwPart& tile, const Tap (&taps)[C::kN])
      : p(product), part(tile), columns(taps) {
    const int t = static_cast<int>(threadIdx.x);
    walk = walk_pixels(p, part, kAcross ? t / kBeside : t % kBeside);
    by = walk.counter.split(kAcross ? C::kThreads / kBeside : C::kTileK);
    const std::int64_t group = static_cast<std::int64_t>(part.group) * p.filters;
    dy = {static_cast<const T*>(p.dy) + group, static_cast<std::int64_t>(p.groups) * p.filters, part.end,
          p.filters, p.wide_dy};
  }

  GPUNN_DEVICE void load(T* stage, std::int64_t k0) {
    T* const to = stage + C::kSizeA;
    constexpr int kLd = C::kTileK + C::kPad;
    if constexpr (kAcross) load_tile<C, C::kTileK, C::kM>(stage, dy, k0, part.origin.m);
    if constexpr (kReading == Reading::vectors) {
      const int n = static_cast<int>(threadIdx.x) % kVectors * C::kPad;
      copy_pixels_16<C>(to, p, part, columns[n], walk, by);
    } else if constexpr (kReading == Reading::elements) {
      copy_pixels<C::kThreads, C::kTileK, C::kN, C::kN + C::kPad>(to, p, part, columns, walk);
    } else {
      copy_filters<C::kThreads, C::kTileK, C::kM, 1, kLd>(stage, p, part, walk);
      copy_columns<C::kThreads, C::kTileK, C::kN, 1, kLd>(to, p, window_of(p, part, walk), columns);
      walk.advance(C::kTileK, by);
    }
  }
};

template <class C, Reading kReading>
GPUNN_KERNEL __launch_bounds__(C::kThreads) conv2d_dw_mma_kernel(const __grid_constant__ PixelProduct p) {
  using T = typename C::T;
  using Load = Loader<C, kReading>;
  GPUNN_DYN_SHARED(memory);
  GPUNN_SHARED(columns, Tap[C::kN]);
  T* const stages = reinterpret_cast<T*>(memory);  // [kStages, kStageSize]: dy's tile, then x's
  const DwPart part = dw_part_of_block<C::kM, C::kN>(p);
  note_columns<C::kN>(p, part, columns);
  __syncthreads();  // the columns' taps are known
  Load loader(p, part, columns);
  const std::int64_t steps = (part.end - part.begin + C::kTileK - 1) / C::kTileK;
  const auto load = [&](std::int64_t step) {
    if (step < steps) loader.load(stages + step % kStages * C::kStageSize, part.begin + step * C::kTileK);
    ptx::cp_async_commit();
  };
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int m = warp / C::kWarpsN * C::kWarpM, n = warp % C::kWarpsN * C::kWarpN;
  Sums<C> sum = {};
  for (int s = 0; s < kStages - 1; ++s) load(s);
  GPUNN_ROLLED
  for (std::int64_t step = 0; step < steps; ++step) {
    ptx::cp_async_wait<kStages - 2>();
    __syncthreads();  // this step's stage has arrived, and all have read the one that is loaded next
    load(step + kStages - 1);
    multiply_stage<C, Load::kAcross, Load::kAcross>(stages + step % kStages * C::kStageSize, m, n, sum);
  }
  __syncthreads();  // all copies were waited for; all have read the stages, which become the warps' scratch
  float* const own = reinterpret_cast<float*>(memory) + warp * kScratch<C>;
  store_sums<C>(sum, own, false, [&](int row, int column, float v) {
    deliver<T>(p, part, part.origin.m + m + row, part.origin.n + n + column, v);
  });
}

template <class C>
void run(const Conv2dDwProblem& p, const PixelProduct& product, const Exec& exec) {
  const Grid grid{pixel_grid(product, p.sizes), dim3(C::kThreads), C::kSharedBytes};
  const auto start = [&](auto kernel) { launch("conv2d_dw_mma_kernel", kernel, grid, exec, product); };
  if (!p.sizes.channels_last) {
    start(conv2d_dw_mma_kernel<C, Reading::planes>);
  } else if (channels_by_16_bytes(p.x, product.channels, p.dtype)) {
    start(conv2d_dw_mma_kernel<C, Reading::vectors>);
  } else {
    start(conv2d_dw_mma_kernel<C, Reading::elements>);
  }
  sum_pieces(p, product, exec);
}

}  // namespace

const char* conv2d_dw_mma_reason(const Conv2dDwProblem& p) { return mma_reason(p.sizes, p.dtype, p.tf32); }

void conv2d_dw_mma_cuda(const Conv2dDwProblem& p, const Exec& exec) {
  const PixelProduct product = pixels_of(p, exec);
  for_device_dtype(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    if (pieces_of(p.sizes).tile == 128) {
      run<Config<T, 128, 128, 64, 32>>(p, product, exec);
    } else {
      run<Config<T, 64, 64, 32, 32>>(p, product, exec);
    }
  });
}

}  // namespace gpunn
