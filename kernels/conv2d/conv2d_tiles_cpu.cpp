// The SIMD pieces of the CPU's convolution, compiled once per target.
//
// Tiles on AVX-512 are those of the matrix product: 6 channels of the result x 4 vectors of pixels = 24 sums,
// 24 multiply-adds (12 cycles) for 6 broadcasts and 4 loads a step. A tap moves the pixels by any number of
// elements, so that loads cross cache lines and count twice: 14 of 24 load slots. No patch is copied for it.
#include "gpunn/kernels/conv2d/conv2d_tiles_impl.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "gpunn/kernels/conv2d/conv2d_tiles_cpu.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// after foreach_target
#include <limits>

#include "hwy/highway.h"

#include "gpunn/kernels/common/simd_rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gpunn {
namespace HWY_NAMESPACE {
namespace {

using detail::ConvDwTile;
using detail::ConvKernels;
using detail::ConvTile;
using detail::kConvMaxVectors;

using D = hn::CappedTag<float, 16>;
using V = hn::Vec<D>;
constexpr int kLanes = static_cast<int>(hn::MaxLanes(D()));

// 16 vector registers hold 6 x 2 sums, 32 hold 6 x 4.
#if HWY_TARGET <= HWY_AVX3 || HWY_ARCH_ARM_A64
constexpr int kMaxVectors = 4;
constexpr int kMaxRows[kConvMaxVectors + 1] = {0, 8, 8, 8, 6};
#else
constexpr int kMaxVectors = 2;
constexpr int kMaxRows[kConvMaxVectors + 1] = {0, 8, 6, 0, 0};
#endif

// Sums [rows, vectors * lanes] to y without the lanes that are no pixels.
HWY_NOINLINE void close_up(const ConvTile& t, const float* sums, int rows, int vectors) {
  const D d;
  for (int j = 0; j < vectors; ++j) {
    const auto keep = hn::LoadMaskBits(d, t.keep[j]);
    for (int r = 0; r < rows && t.count[j] > 0; ++r) {
      const V v = hn::Load(d, sums + (r * vectors + j) * kLanes);
      StorePart(d, hn::Compress(v, keep), t.y + r * t.y_stride + t.at[j], t.count[j]);
    }
  }
}

template <int kRows, int kVectors>
void tile(const ConvTile& t) {
  const D d;
  V sum[kRows][kVectors];
  HWY_UNROLL(8)
  for (int r = 0; r < kRows; ++r) {
    HWY_UNROLL(4)
    for (int j = 0; j < kVectors; ++j) sum[r][j] = t.start ? hn::Set(d, t.start[r]) : hn::Zero(d);
  }
  const float* HWY_RESTRICT weights = t.weights;
  const float* HWY_RESTRICT const pixels = t.pixels;
  const std::int64_t* HWY_RESTRICT offsets = t.offsets;
  const std::int64_t weight_stride = t.weight_stride;
  for (std::int64_t k = t.K; k > 0; --k) {
    const float* const from = pixels + *offsets++;
    V pixel[kVectors];
    HWY_UNROLL(4)
    for (int j = 0; j < kVectors; ++j) pixel[j] = hn::LoadU(d, from + j * kLanes);
    HWY_UNROLL(8)
    for (int r = 0; r < kRows; ++r) {
      const V weight = hn::Set(d, weights[r * weight_stride]);
      HWY_UNROLL(4)
      for (int j = 0; j < kVectors; ++j) sum[r][j] = hn::MulAdd(weight, pixel[j], sum[r][j]);
    }
    ++weights;
  }
  const V floor = hn::Set(d, t.relu ? 0.0f : -std::numeric_limits<float>::infinity());
  HWY_ALIGN float sums[kRows * kVectors * kLanes];
  float* const to = t.gaps ? sums : t.y;
  const std::int64_t stride = t.gaps ? kVectors * kLanes : t.y_stride;
  HWY_UNROLL(8)
  for (int r = 0; r < kRows; ++r) {
    HWY_UNROLL(4)
    for (int j = 0; j < kVectors; ++j)
      hn::StoreU(hn::Max(floor, sum[r][j]), d, to + r * stride + j * kLanes);  // keeps NaN
  }
  if (t.gaps) close_up(t, sums, kRows, kVectors);
}

template <int kRows, int kVectors>
void dw_tile(const ConvDwTile& t) {
  const D d;
  V sum[kRows][kVectors];
  const float* x[kRows];
  HWY_UNROLL(8)
  for (int r = 0; r < kRows; ++r) {
    x[r] = t.x + t.taps[r];
    HWY_UNROLL(4)
    for (int j = 0; j < kVectors; ++j) sum[r][j] = hn::Zero(d);
  }
  const float* HWY_RESTRICT dy = t.dy;
  const std::int64_t dy_stride = t.dy_stride;
  for (std::int64_t p = 0; p < t.P; ++p) {
    const std::int64_t end = p * t.pitch + t.Q;
    for (std::int64_t q = p * t.pitch; q < end; ++q) {
      V g[kVectors];
      HWY_UNROLL(4)
      for (int j = 0; j < kVectors; ++j) g[j] = hn::LoadU(d, dy + j * kLanes);
      HWY_UNROLL(8)
      for (int r = 0; r < kRows; ++r) {
        const V pixel = hn::Set(d, x[r][q]);
        HWY_UNROLL(4)
        for (int j = 0; j < kVectors; ++j) sum[r][j] = hn::MulAdd(pixel, g[j], sum[r][j]);
      }
      dy += dy_stride;
    }
  }
  HWY_UNROLL(8)
  for (int r = 0; r < kRows; ++r) {
    HWY_UNROLL(4)
    for (int j = 0; j < kVectors; ++j) {
      float* const to = t.dw + r * t.dw_stride + j * kLanes;
      hn::StoreU(hn::Add(hn::LoadU(d, to), sum[r][j]), d, to);
    }
  }
}

void every(const float* from, std::int64_t step, std::int64_t count, float* to) {
  std::int64_t i = 0;
#if HWY_TARGET != HWY_SCALAR
  const D d;
  if (step == 2)
    for (; i + kLanes < count; i += kLanes) {
      V even, odd;
      hn::LoadInterleaved2(d, from + 2 * i, even, odd);
      hn::StoreU(even, d, to + i);
    }
#endif
  for (; i < count; ++i) to[i] = from[i * step];
}

template <int kVectors, int kRows>
void fill_tiles(ConvKernels& kernels) {
  kernels.tile[kVectors][kRows] = tile<kRows, kVectors>;
  kernels.dw_tile[kVectors][kRows] = dw_tile<kRows, kVectors>;
  if constexpr (kRows > 1) fill_tiles<kVectors, kRows - 1>(kernels);
}

template <int kVectors>
void fill_vectors(ConvKernels& kernels) {
  kernels.max_rows[kVectors] = kMaxRows[kVectors];
  fill_tiles<kVectors, kMaxRows[kVectors]>(kernels);
  if constexpr (kVectors > 1) fill_vectors<kVectors - 1>(kernels);
}

}  // namespace

void fill_conv_kernels(ConvKernels& kernels) {
  kernels.lanes = kLanes;
  kernels.max_vectors = kMaxVectors;
  fill_vectors<kMaxVectors>(kernels);
  kernels.every = every;
}

}  // namespace HWY_NAMESPACE
}  // namespace gpunn
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gpunn {

HWY_EXPORT(fill_conv_kernels);

const detail::ConvKernels& detail::conv_kernels() {
  static const ConvKernels kernels = [] {
    ConvKernels filled{};
    HWY_DYNAMIC_DISPATCH(fill_conv_kernels)(filled);
    return filled;
  }();
  return kernels;
}

}  // namespace gpunn
#endif
