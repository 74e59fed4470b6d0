#pragma once
// Problems and entry points of pooling.
#include <cstdint>
#include <vector>

#include "gpunn/core/hd.h"
#include "gpunn/core/implementation.h"

namespace gpunn {

/// Places first, first + step, ... below end.
struct PoolSpan {
  std::int32_t first, end;
};

/// Windows along one dimension. Every number is at most kMostPoolExtent, so that sums of a few fit 32 bits.
inline constexpr std::int64_t kMostPoolExtent = 1 << 28;
struct PoolAxis {
  std::int32_t in, out;                        // places, windows
  std::int32_t kernel, stride, pad, dilation;  // 1, 1, 0, 1 when adaptive
  bool adaptive;                               // window o is [o in / out, ceil((o + 1) in / out))
};

/// Windows that fit into `in` places and the padding; rounded up, the last begins in one of these or before.
constexpr std::int64_t pool_extent(std::int64_t in, std::int64_t kernel, std::int64_t stride,
                                   std::int64_t pad, std::int64_t dilation, bool ceil_mode) {
  const std::int64_t room = in + 2 * pad - dilation * (kernel - 1) - 1 + (ceil_mode ? stride - 1 : 0);
  if (room < 0) return 0;
  const std::int64_t out = room / stride + 1;
  return ceil_mode && (out - 1) * stride >= in + pad ? out - 1 : out;
}

/// a b / d, rounded down.
GPUNN_HD std::int32_t pool_ratio(std::int32_t a, std::int32_t b, std::int32_t d) {
  const auto product = static_cast<std::uint64_t>(a) * static_cast<std::uint64_t>(b);
  const auto divisor = static_cast<std::uint32_t>(d);
  // 64-bit division takes a GPU ten times as long.
  return static_cast<std::int32_t>(product <= 0xffffffffu ? static_cast<std::uint32_t>(product) / divisor
                                                          : product / divisor);
}

/// The places that window `o` sees, `dilation` apart; at least one.
GPUNN_HD PoolSpan pool_window(const PoolAxis& a, std::int32_t o) {
  if (a.adaptive) return {pool_ratio(o, a.in, a.out), a.in - pool_ratio(a.out - 1 - o, a.in, a.out)};
  std::int32_t first = o * a.stride - a.pad;
  const std::int32_t end = first + a.dilation * (a.kernel - 1) + 1;
  if (first < 0) first += (-first + a.dilation - 1) / a.dilation * a.dilation;
  return {first, end < a.in ? end : a.in};
}

/// The windows that may contain place `i`: with dilation 1 those that do.
GPUNN_HD PoolSpan pool_windows_at(const PoolAxis& a, std::int32_t i) {
  if (a.adaptive) return {pool_ratio(i, a.out, a.in), a.out - pool_ratio(a.in - 1 - i, a.out, a.in)};
  const std::int32_t before = i + a.pad - a.dilation * (a.kernel - 1), last = (i + a.pad) / a.stride;
  return {before <= 0 ? 0 : (before + a.stride - 1) / a.stride, last < a.out ? last + 1 : a.out};
}

/// The part of an average's divisor that window `o` has along this axis.
GPUNN_HD std::int32_t pool_divisor(const PoolAxis& a, std::int32_t o, bool count_include_pad) {
  if (a.adaptive || !count_include_pad) {
    const PoolSpan s = pool_window(a, o);
    return s.end - s.first;
  }
  const std::int32_t first = o * a.stride - a.pad, end = first + a.kernel, most = a.in + a.pad;
  return (end < most ? end : most) - first;
}

/// Pixel (h, w) of channel c is at ((n C + c) H + h) W + w, in channels-last order at ((n H + h) W + w) C +
/// c.
struct PoolSizes {
  std::int64_t N, C;
  PoolAxis h, w;  // H = h.in, P = h.out; W = w.in, Q = w.out; H W and P Q below 2^31
  bool channels_last;

  GPUNN_HD std::int64_t x_pixels() const { return std::int64_t{h.in} * w.in; }
  GPUNN_HD std::int64_t y_pixels() const { return std::int64_t{h.out} * w.out; }
  GPUNN_HD std::int64_t x_elements() const { return N * C * x_pixels(); }
  GPUNN_HD std::int64_t y_elements() const { return N * C * y_pixels(); }
};

struct MaxPoolProblem {
  DType dtype;
  const void* x;          // [N, C, H, W]
  void* y;                // [N, C, P, Q]; overlaps nothing
  std::int32_t* indices;  // like y: h W + w of the maximum; null unless want_indices
  PoolSizes sizes;
  bool want_indices;
};

/// dx[i] = sum of dy over the windows whose index is i.
struct MaxPoolBackwardProblem {
  DType dtype;
  const void* dy;               // [N, C, P, Q]
  const std::int32_t* indices;  // like dy: each within its window
  void* dx;                     // [N, C, H, W]; overlaps nothing
  PoolSizes sizes;
};

/// y[o] = x[indices[o]]: the gradient of that.
struct PoolGatherProblem {
  DType dtype;
  const void* x;                // [N, C, H, W]
  const std::int32_t* indices;  // like y: in [0, H W)
  void* y;                      // [N, C, P, Q]; overlaps nothing
  PoolSizes sizes;
};

struct AvgPoolProblem {
  DType dtype;
  const void* x;  // [N, C, H, W]
  void* y;        // [N, C, P, Q]; overlaps nothing
  PoolSizes sizes;
  bool count_include_pad;
  std::int64_t divisor_override;  // 0: none
};

/// dx[i] = sum of dy / divisor over the windows that contain i.
struct AvgPoolBackwardProblem {
  DType dtype;
  const void* dy;  // [N, C, P, Q]
  void* dx;        // [N, C, H, W]; overlaps nothing
  PoolSizes sizes;
  bool count_include_pad;
  std::int64_t divisor_override;
};

std::vector<Operand> operands(MaxPoolProblem& p);
std::vector<Operand> operands(MaxPoolBackwardProblem& p);
std::vector<Operand> operands(PoolGatherProblem& p);
std::vector<Operand> operands(AvgPoolProblem& p);
std::vector<Operand> operands(AvgPoolBackwardProblem& p);
Cost cost(const MaxPoolProblem& p);
Cost cost(const MaxPoolBackwardProblem& p);
Cost cost(const PoolGatherProblem& p);
Cost cost(const AvgPoolProblem& p);
Cost cost(const AvgPoolBackwardProblem& p);

extern const ImplementationList<MaxPoolProblem> kMaxPool;                  // "max_pool2d", "forward"
extern const ImplementationList<MaxPoolBackwardProblem> kMaxPoolBackward;  // "max_pool2d", "backward"
extern const ImplementationList<PoolGatherProblem> kPoolGather;            // "max_pool2d", "gather"
extern const ImplementationList<AvgPoolProblem> kAvgPool;                  // "avg_pool2d", "forward"
extern const ImplementationList<AvgPoolBackwardProblem> kAvgPoolBackward;  // "avg_pool2d", "backward"

// Any floating dtype, host memory.
void max_pool_fwd_ref(const MaxPoolProblem& p, const Exec& exec);
void max_pool_bwd_ref(const MaxPoolBackwardProblem& p, const Exec& exec);
void pool_gather_ref(const PoolGatherProblem& p, const Exec& exec);
void avg_pool_fwd_ref(const AvgPoolProblem& p, const Exec& exec);
void avg_pool_bwd_ref(const AvgPoolBackwardProblem& p, const Exec& exec);
// f32, host memory.
void max_pool_fwd_cpu(const MaxPoolProblem& p, const Exec& exec);
void max_pool_bwd_cpu(const MaxPoolBackwardProblem& p, const Exec& exec);
void pool_gather_cpu(const PoolGatherProblem& p, const Exec& exec);
void avg_pool_fwd_cpu(const AvgPoolProblem& p, const Exec& exec);
void avg_pool_bwd_cpu(const AvgPoolBackwardProblem& p, const Exec& exec);
// f32, f16, bf16, device memory.
void max_pool_fwd_cuda(const MaxPoolProblem& p, const Exec& exec);
void max_pool_bwd_cuda(const MaxPoolBackwardProblem& p, const Exec& exec);
void pool_gather_cuda(const PoolGatherProblem& p, const Exec& exec);
void avg_pool_fwd_cuda(const AvgPoolProblem& p, const Exec& exec);
void avg_pool_bwd_cuda(const AvgPoolBackwardProblem& p, const Exec& exec);

}  // namespace gpunn
