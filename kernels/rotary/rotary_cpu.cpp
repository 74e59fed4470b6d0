// f32 on the CPU: vectors of pairs; a short last vector goes through scalar code, which rounds alike (one
// multiplication and one fused multiply-add each).
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "gpunn/core/cpu_pool.h"
#include "gpunn/kernels/common/row_chunks.h"
#include "gpunn/kernels/rotary/rotary_impl.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "gpunn/kernels/rotary/rotary_cpu.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"

#include "gpunn/kernels/common/simd_rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gpunn {
namespace HWY_NAMESPACE {
namespace {

struct Row {
  const float *x, *cos, *sin;
  float* y;
  float sign;  // of the sine: -1 turns back
};

void TurnHalves(const Row& r, std::int64_t half) {
  const hn::ScalableTag<float> d;
  const auto sign = hn::Set(d, r.sign);
  ForEachVector(d, half, [&](std::int64_t i, std::int64_t left) {
    const auto a = LoadPart(d, r.x + i, left), b = LoadPart(d, r.x + half + i, left);
    const auto c = LoadPart(d, r.cos + i, left), s = hn::Mul(LoadPart(d, r.sin + i, left), sign);
    StorePart(d, hn::NegMulAdd(b, s, hn::Mul(a, c)), r.y + i, left);
    StorePart(d, hn::MulAdd(a, s, hn::Mul(b, c)), r.y + half + i, left);
  });
}

void TurnNeighbours(const Row& r, std::int64_t half) {
  const hn::ScalableTag<float> d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const auto sign = hn::Set(d, r.sign);
  HWY_ALIGN float in[2 * HWY_LANES(float)], out[2 * HWY_LANES(float)];
  for (std::int64_t i = 0; i < half; i += lanes) {
    const std::int64_t left = half - i;
    const bool whole = left >= lanes;
    if (!whole) {
      std::fill(std::begin(in), std::end(in), 0.0f);
      std::copy_n(r.x + 2 * i, 2 * left, in);
    }
    hn::Vec<decltype(d)> a, b;
    hn::LoadInterleaved2(d, whole ? r.x + 2 * i : in, a, b);
    const auto c = LoadPart(d, r.cos + i, left), s = hn::Mul(LoadPart(d, r.sin + i, left), sign);
    hn::StoreInterleaved2(hn::NegMulAdd(b, s, hn::Mul(a, c)), hn::MulAdd(a, s, hn::Mul(b, c)), d,
                          whole ? r.y + 2 * i : out);
    if (!whole) std::copy_n(out, 2 * left, r.y + 2 * i);
  }
}

/// Rows [begin, end) of B T, all heads of each.
void RotaryRows(const RotaryProblem& p, std::int64_t begin, std::int64_t end) {
  const std::int64_t half = p.R / 2;
  for (std::int64_t row = begin; row < end; ++row) {
    const std::int64_t b = row / p.T, t = row % p.T, at = rotary_position(p, b, t);
    for (std::int64_t h = 0; h < p.H; ++h) {
      const float* x = static_cast<const float*>(p.x) + b * p.x_batch + t * p.x_time + h * p.x_head;
      float* y = static_cast<float*>(p.y) + (row * p.H + h) * p.D;
      if (at < 0) {
        std::fill_n(y, p.R, std::numeric_limits<float>::quiet_NaN());
      } else {
        const Row r{x, static_cast<const float*>(p.cos) + at * half,
                    static_cast<const float*>(p.sin) + at * half, y, p.back ? -1.0f : 1.0f};
        p.interleaved ? TurnNeighbours(r, half) : TurnHalves(r, half);
      }
      std::copy(x + p.R, x + p.D, y + p.R);
    }
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace gpunn
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gpunn {

namespace {
HWY_EXPORT(RotaryRows);
}

void rotary_cpu(const RotaryProblem& p, const Exec& exec) {
  const auto rows = HWY_DYNAMIC_DISPATCH(RotaryRows);
  parallel_for(*exec.pool, p.B * p.T, rows_per_chunk(p.H * p.D),
               [&](std::int64_t begin, std::int64_t end) { rows(p, begin, end); });
}

}  // namespace gpunn
#endif  // HWY_ONCE
