// The SIMD pieces of the CPU's matrix product, compiled once per target.
//
// Tiles on AVX-512: 6 rows x 4 vectors = 24 accumulators, 4 vectors of columns, one broadcast. Per k: 24
// multiply-adds for 10 loads, so the two multiply-add units are the limit: 196-217 of 200-212 GFLOP/s
// measured (Emerald Rapids, one core, K 32 to 784, rows read in place), while 14 x 2 gives 168-190 with rows
// read in place (14 row addresses do not fit the registers) and 205 with packed rows, which then have to be
// packed first.
#include "gpunn/kernels/matmul/gemm_impl.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "gpunn/kernels/matmul/gemm_kernels.cpp"
// The pieces below shuffle vectors of known size.
#undef HWY_DISABLED_TARGETS
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
#include "hwy/foreach_target.h"
// after foreach_target
#include <algorithm>
#include <atomic>
#include <cstring>
#include <limits>

#include "gpunn/kernels/elementwise/simd_activations-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace gpunn::detail {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;
constexpr int kLanes = HWY_LANES(float);

// 16 vector registers hold 6 x 2 accumulators, 32 hold 6 x 4.
#if HWY_TARGET <= HWY_AVX3 || HWY_ARCH_ARM_A64
constexpr int kMaxVectors = 4;
constexpr int kMaxRows[kGemmMaxVectors + 1] = {0, 8, 8, 8, 6};
#else
constexpr int kMaxVectors = 2;
constexpr int kMaxRows[kGemmMaxVectors + 1] = {0, 8, 6, 0, 0};
#endif

// AVX2's masked moves of 32-bit lanes leave the masked-out memory alone; Highway's macro speaks for all lane
// sizes.
#define GPUNN_MASKED_MOVES (HWY_TARGET <= HWY_AVX2 && HWY_ARCH_X86)

// The first `n` lanes; the others are zero and their memory is not touched.
HWY_INLINE V load_first(const float* from, int n) {
  const D d;
  if (n >= kLanes) return hn::LoadU(d, from);
#if !GPUNN_MASKED_MOVES
  HWY_ALIGN float lanes[kLanes] = {};
  std::memcpy(lanes, from, static_cast<std::size_t>(n) * sizeof(float));
  return hn::Load(d, lanes);
#else
  return hn::MaskedLoad(hn::FirstN(d, static_cast<std::size_t>(n)), d, from);
#endif
}

HWY_INLINE void store_first(V v, float* to, int n) {
  const D d;
  if (n >= kLanes) return hn::StoreU(v, d, to);
#if !GPUNN_MASKED_MOVES
  HWY_ALIGN float lanes[kLanes];
  hn::Store(v, d, lanes);
  std::memcpy(to, lanes, static_cast<std::size_t>(n) * sizeof(float));
#else
  hn::BlendedStore(v, hn::FirstN(d, static_cast<std::size_t>(n)), d, to);
#endif
}

template <bool kRowUnit, int kRows, int kVectors>
void tile(const GemmTile& t) {
  const D d;
  V sum[kRows][kVectors];
  HWY_UNROLL(8)
  for (int r = 0; r < kRows; ++r) {
    HWY_UNROLL(4)
    for (int j = 0; j < kVectors; ++j)
      sum[r][j] = t.start ? hn::LoadU(d, t.start + r * t.start_ld + j * kLanes) : hn::Zero(d);
  }
  const float* HWY_RESTRICT rows = t.rows;
  const float* HWY_RESTRICT columns = t.columns;
  float* HWY_RESTRICT const c = t.c;
  const std::int64_t row_stride = t.row_stride, column_stride = t.column_stride, ldc = t.ldc;
  for (std::int64_t k = t.K; k > 0; --k) {
    V column[kVectors];
    HWY_UNROLL(4)
    for (int j = 0; j < kVectors; ++j) column[j] = hn::LoadU(d, columns + j * kLanes);
    HWY_UNROLL(8)
    for (int r = 0; r < kRows; ++r) {
      const V row = hn::Set(d, kRowUnit ? rows[r] : rows[r * row_stride]);
      HWY_UNROLL(4)
      for (int j = 0; j < kVectors; ++j) sum[r][j] = hn::MulAdd(row, column[j], sum[r][j]);
    }
    columns += column_stride;
    rows += kRowUnit ? row_stride : 1;
  }
  const V floor = hn::Set(d, t.relu ? 0.0f : -std::numeric_limits<float>::infinity());
  HWY_UNROLL(8)
  for (int r = 0; r < kRows; ++r) {
    HWY_UNROLL(4)
    for (int j = 0; j < kVectors; ++j)
      hn::StoreU(hn::Max(floor, sum[r][j]), d, c + r * ldc + j * kLanes);  // keeps NaN
  }
}

#if HWY_TARGET == HWY_SCALAR

void transpose(const float* from, std::int64_t from_ld, std::int64_t rows, std::int64_t cols, float* to,
               std::int64_t to_ld, std::int64_t width) {
  for (std::int64_t c = 0; c < cols; ++c)
    for (std::int64_t r = 0; r < width; ++r) to[c * to_ld + r] = r < rows ? from[r * from_ld + c] : 0.0f;
}

#else

// A vector of 128-bit pieces of every fourth row.
HWY_INLINE V load_pieces(const float* const* p, std::int64_t column) {
  const hn::FixedTag<float, 4> d4;
#if HWY_MAX_BYTES == 64
  const hn::FixedTag<float, 8> d8;
  return hn::Combine(D(), hn::Combine(d8, hn::LoadU(d4, p[12] + column), hn::LoadU(d4, p[8] + column)),
                     hn::Combine(d8, hn::LoadU(d4, p[4] + column), hn::LoadU(d4, p[0] + column)));
#elif HWY_MAX_BYTES == 32
  return hn::Combine(D(), hn::LoadU(d4, p[4] + column), hn::LoadU(d4, p[0] + column));
#else
  return hn::LoadU(d4, p[0] + column);
#endif
}

// Four columns of kLanes rows at once: 4 x 4 transposes inside the 128-bit blocks.
HWY_INLINE void transpose_four(const float* const* p, std::int64_t column, V (&out)[4]) {
  const D d;
  const hn::RepartitionToWide<D> dw;
  const V v0 = load_pieces(p, column), v1 = load_pieces(p + 1, column);
  const V v2 = load_pieces(p + 2, column), v3 = load_pieces(p + 3, column);
  const auto l01 = hn::BitCast(dw, hn::InterleaveLower(d, v0, v1)),
             l23 = hn::BitCast(dw, hn::InterleaveLower(d, v2, v3));
  const auto u01 = hn::BitCast(dw, hn::InterleaveUpper(d, v0, v1)),
             u23 = hn::BitCast(dw, hn::InterleaveUpper(d, v2, v3));
  out[0] = hn::BitCast(d, hn::InterleaveLower(dw, l01, l23));
  out[1] = hn::BitCast(d, hn::InterleaveUpper(dw, l01, l23));
  out[2] = hn::BitCast(d, hn::InterleaveLower(dw, u01, u23));
  out[3] = hn::BitCast(d, hn::InterleaveUpper(dw, u01, u23));
}

void transpose(const float* from, std::int64_t from_ld, std::int64_t rows, std::int64_t cols, float* to,
               std::int64_t to_ld, std::int64_t width) {
  const D d;
  for (std::int64_t r0 = 0; r0 < width; r0 += kLanes) {
    const int present = static_cast<int>(std::clamp<std::int64_t>(rows - r0, 0, kLanes));
    const int written = static_cast<int>(std::min<std::int64_t>(width - r0, kLanes));
    const auto mask = hn::FirstN(d, static_cast<std::size_t>(present));
    const float* p[kLanes];
    for (int i = 0; i < kLanes; ++i) p[i] = from + std::min(r0 + i, rows - 1) * from_ld;
    std::int64_t c = 0;
    for (; c + 4 <= cols; c += 4) {
      V out[4];
      transpose_four(p, c, out);
      HWY_UNROLL(4)
      for (int i = 0; i < 4; ++i) {
        const V v = present == kLanes ? out[i] : hn::IfThenElseZero(mask, out[i]);
        store_first(v, to + (c + i) * to_ld + r0, written);
      }
    }
    for (; c < cols; ++c)
      for (int i = 0; i < written; ++i) to[c * to_ld + r0 + i] = i < present ? p[i][c] : 0.0f;
  }
}

#endif

template <int kRows, int kSide>
HWY_INLINE void dot_block(const float* x, std::int64_t x_ld, const float* y, std::int64_t y_ld,
                          std::int64_t K, float* out) {
  const D d;
  V sum[kRows][kSide];
  HWY_UNROLL(8)
  for (int r = 0; r < kRows; ++r) {
    HWY_UNROLL(4)
    for (int s = 0; s < kSide; ++s) sum[r][s] = hn::Zero(d);
  }
  for (std::int64_t k = 0; k < K; k += kLanes) {
    const int n = static_cast<int>(std::min<std::int64_t>(K - k, kLanes));
    V side[kSide];
    HWY_UNROLL(4)
    for (int s = 0; s < kSide; ++s) side[s] = load_first(y + s * y_ld + k, n);
    HWY_UNROLL(8)
    for (int r = 0; r < kRows; ++r) {
      const V row = load_first(x + r * x_ld + k, n);
      HWY_UNROLL(4)
      for (int s = 0; s < kSide; ++s) sum[r][s] = hn::MulAdd(row, side[s], sum[r][s]);
    }
  }
  HWY_UNROLL(8)
  for (int r = 0; r < kRows; ++r) {
    HWY_UNROLL(4)
    for (int s = 0; s < kSide; ++s) out[r * kDotSide + s] = hn::GetLane(hn::SumOfLanes(d, sum[r][s]));
  }
}

template <int kSide>
void dot_side(const float* x, std::int64_t x_ld, std::int64_t rows, const float* y, std::int64_t y_ld,
              std::int64_t K, float* out) {
  constexpr int kBlock = kSide == 1 ? 8 : kMaxVectors == 4 ? 4 : 2;
  std::int64_t r = 0;
  for (; r + kBlock <= rows; r += kBlock)
    dot_block<kBlock, kSide>(x + r * x_ld, x_ld, y, y_ld, K, out + r * kDotSide);
  for (; r < rows; ++r) dot_block<1, kSide>(x + r * x_ld, x_ld, y, y_ld, K, out + r * kDotSide);
}

void dot(const float* x, std::int64_t x_ld, std::int64_t rows, const float* y, std::int64_t y_ld, int side,
         std::int64_t K, float* out) {
  switch (side) {
    case 1:
      return dot_side<1>(x, x_ld, rows, y, y_ld, K, out);
    case 2:
      return dot_side<2>(x, x_ld, rows, y, y_ld, K, out);
    case 3:
      return dot_side<3>(x, x_ld, rows, y, y_ld, K, out);
    default:
      return dot_side<4>(x, x_ld, rows, y, y_ld, K, out);
  }
}

void copy(const float* from, std::int64_t from_ld, std::int64_t rows, std::int64_t cols, float* to,
          std::int64_t to_ld) {
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t c = 0; c < cols; c += kLanes) {
      const int n = static_cast<int>(std::min<std::int64_t>(cols - c, kLanes));
      store_first(load_first(from + r * from_ld + c, n), to + r * to_ld + c, n);
    }
}

void add(const float* from, std::int64_t from_ld, std::int64_t rows, std::int64_t cols, float* to,
         std::int64_t to_ld) {
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t c = 0; c < cols; c += kLanes) {
      const int n = static_cast<int>(std::min<std::int64_t>(cols - c, kLanes));
      float* const p = to + r * to_ld + c;
      store_first(hn::Add(load_first(p, n), load_first(from + r * from_ld + c, n)), p, n);
    }
}

template <class F>
HWY_INLINE void map(float* c, std::int64_t ldc, std::int64_t rows, std::int64_t cols, F f) {
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t i = 0; i < cols; i += kLanes) {
      float* p = c + r * ldc + i;
      const int n = static_cast<int>(std::min<std::int64_t>(cols - i, kLanes));
      store_first(f(load_first(p, n)), p, n);
    }
}

void activate(float* c, std::int64_t ldc, std::int64_t rows, std::int64_t cols, Activation activation) {
  const D d;
  switch (activation) {
    case Activation::none:
      return;
    case Activation::relu:
      return map(c, ldc, rows, cols, [d](V v) HWY_ATTR { return hn::Max(hn::Zero(d), v); });
    case Activation::sigmoid:
      return map(c, ldc, rows, cols, [d](V v) HWY_ATTR { return gpunn::HWY_NAMESPACE::Sigmoid(d, v); });
    case Activation::tanh:
      return map(c, ldc, rows, cols, [d](V v) HWY_ATTR { return gpunn::HWY_NAMESPACE::Tanh(d, v); });
    case Activation::gelu:
      return map(c, ldc, rows, cols, [d](V v) HWY_ATTR { return gpunn::HWY_NAMESPACE::Gelu(d, v); });
    case Activation::gelu_tanh:
      return map(c, ldc, rows, cols, [d](V v) HWY_ATTR { return gpunn::HWY_NAMESPACE::GeluTanh(d, v); });
  }
}

template <bool kRowUnit, int kVectors, int kRows>
void fill_tiles(GemmKernels& kernels) {
  kernels.tile[kRowUnit][kVectors][kRows] = tile<kRowUnit, kRows, kVectors>;
  if constexpr (kRows > 1) fill_tiles<kRowUnit, kVectors, kRows - 1>(kernels);
}

template <int kVectors>
void fill_vectors(GemmKernels& kernels) {
  kernels.max_rows[kVectors] = kMaxRows[kVectors];
  fill_tiles<false, kVectors, kMaxRows[kVectors]>(kernels);
  fill_tiles<true, kVectors, kMaxRows[kVectors]>(kernels);
  if constexpr (kVectors > 1) fill_vectors<kVectors - 1>(kernels);
}

}  // namespace

void fill_kernels(GemmKernels& kernels) {
  kernels.target = hwy::TargetName(HWY_TARGET);
  kernels.lanes = kLanes;
  kernels.max_vectors = kMaxVectors;
  fill_vectors<kMaxVectors>(kernels);
  kernels.transpose = transpose;
  kernels.dot = dot;
  kernels.copy = copy;
  kernels.add = add;
  kernels.activate = activate;
}

}  // namespace HWY_NAMESPACE
}  // namespace gpunn::detail
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gpunn::detail {

HWY_EXPORT(fill_kernels);

namespace {
std::atomic<const GemmKernels*> replacement{nullptr};
}

GemmKernels make_gemm_kernels() {
  GemmKernels kernels{};
  HWY_DYNAMIC_DISPATCH(fill_kernels)(kernels);
  return kernels;
}

const GemmKernels& gemm_kernels() {
  if (const GemmKernels* const other = replacement.load(std::memory_order_acquire)) [[unlikely]]
    return *other;
  static const GemmKernels kernels = make_gemm_kernels();
  return kernels;
}

void replace_gemm_kernels(const GemmKernels* kernels) {
  replacement.store(kernels, std::memory_order_release);
}

}  // namespace gpunn::detail
#endif
