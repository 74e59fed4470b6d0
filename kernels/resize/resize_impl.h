#pragma once
// Problems and entry points of resizing.
#include <cstdint>
#include <vector>

#include "gpunn/core/hd.h"
#include "gpunn/core/implementation.h"

namespace gpunn {

enum class ResizeRule : std::uint8_t {
  nearest,
  bilinear,
  corners,  // bilinear with align_corners
};

/// Sources along one dimension. Both extents are at most kMostResizeExtent.
inline constexpr std::int64_t kMostResizeExtent = 1 << 28;
struct ResizeAxis {
  std::int32_t in, out;
  float scale;  // places of x for one of y; >= 0
};

/// y = (1 - weight) x[first] + weight x[second]; nearest: first alone.
struct ResizeTap {
  std::int32_t first, second;
  float weight;
};

/// Where place `o` of y is in x. Rounded at each step, whatever the device: a fused multiply-add would shift
/// it where it falls on a place of x.
GPUNN_HD float resize_source(const ResizeAxis& a, ResizeRule rule, std::int32_t o) {
  const auto place = static_cast<float>(o);
  if (rule != ResizeRule::bilinear) return a.scale * place;
#if defined(__CUDA_ARCH__)
  const float source = __fadd_rn(__fmul_rn(a.scale, place + 0.5f), -0.5f);
#else
  const float product = a.scale * (place + 0.5f);
  const float source = product - 0.5f;
#endif
  return source > 0.0f ? source : 0.0f;
}

GPUNN_HD ResizeTap resize_tap(const ResizeAxis& a, ResizeRule rule, std::int32_t o) {
  const float source = resize_source(a, rule, o);
  const std::int32_t last = a.in - 1,
                     floor = source < static_cast<float>(last) ? static_cast<std::int32_t>(source) : last;
  if (rule == ResizeRule::nearest) return {floor, floor, 0.0f};
  return {floor, floor < last ? floor + 1 : floor, source - static_cast<float>(floor)};
}

/// The first place of y that reads at `i` or beyond; `out` if none.
GPUNN_HD std::int32_t resize_reader(const ResizeAxis& a, ResizeRule rule, std::int32_t i) {
  if (i <= 0) return 0;
  if (i >= a.in || !(a.scale > 0.0f)) return a.out;
  const float half = rule == ResizeRule::bilinear ? 0.5f : 0.0f;
  const float guess = (static_cast<float>(i) + half) / a.scale - half;
  std::int32_t o = guess < static_cast<float>(a.out) ? static_cast<std::int32_t>(guess) : a.out;
  // Rounding may have put it a few places off.
  while (o > 0 && resize_tap(a, rule, o - 1).first >= i) --o;
  while (o < a.out && resize_tap(a, rule, o).first < i) ++o;
  return o;
}

/// Places [first, end) of y that may read place `i` of x.
struct ResizeReaders {
  std::int32_t first, end;
};
GPUNN_HD ResizeReaders resize_readers(const ResizeAxis& a, ResizeRule rule, std::int32_t i) {
  const std::int32_t before = rule == ResizeRule::nearest ? i : i - 1;
  return {resize_reader(a, rule, before), resize_reader(a, rule, i + 1)};
}

/// What a place of y takes from place `i`.
GPUNN_HD float resize_weight(const ResizeTap& t, ResizeRule rule, std::int32_t i) {
  if (rule == ResizeRule::nearest) return t.first == i ? 1.0f : 0.0f;
  return (t.first == i ? 1.0f - t.weight : 0.0f) + (t.second == i ? t.weight : 0.0f);
}

/// Pixel (h, w) of channel c is at ((n C + c) H + h) W + w, in channels-last order at ((n H + h) W + w) C +
/// c.
struct ResizeSizes {
  std::int64_t N, C;
  ResizeAxis h, w;  // H = h.in, P = h.out; W = w.in, Q = w.out; H W and P Q below 2^31
  ResizeRule rule;
  bool channels_last;

  GPUNN_HD std::int64_t x_pixels() const { return std::int64_t{h.in} * w.in; }
  GPUNN_HD std::int64_t y_pixels() const { return std::int64_t{h.out} * w.out; }
  GPUNN_HD std::int64_t x_elements() const { return N * C * x_pixels(); }
  GPUNN_HD std::int64_t y_elements() const { return N * C * y_pixels(); }
};

struct ResizeProblem {
  DType dtype;
  const void* x;  // [N, C, H, W]
  void* y;        // [N, C, P, Q]; overlaps nothing
  ResizeSizes sizes;
};

struct ResizeBackwardProblem {
  DType dtype;
  const void* dy;  // [N, C, P, Q]
  void* dx;        // [N, C, H, W]; overlaps nothing
  ResizeSizes sizes;
};

std::vector<Operand> operands(ResizeProblem& p);
std::vector<Operand> operands(ResizeBackwardProblem& p);
Cost cost(const ResizeProblem& p);
Cost cost(const ResizeBackwardProblem& p);

extern const ImplementationList<ResizeProblem> kResize;                  // "interpolate", "forward"
extern const ImplementationList<ResizeBackwardProblem> kResizeBackward;  // "interpolate", "backward"

// Any floating dtype, host memory.
void resize_fwd_ref(const ResizeProblem& p, const Exec& exec);
void resize_bwd_ref(const ResizeBackwardProblem& p, const Exec& exec);
// f32, host memory.
void resize_fwd_cpu(const ResizeProblem& p, const Exec& exec);
void resize_bwd_cpu(const ResizeBackwardProblem& p, const Exec& exec);
// f32, f16, bf16, device memory.
void resize_fwd_cuda(const ResizeProblem& p, const Exec& exec);
void resize_bwd_cuda(const ResizeBackwardProblem& p, const Exec& exec);

}  // namespace gpunn
