#pragma once
// Pooling: one number for each window of a picture, with PyTorch's names and defaults.
//
//   max_pool2d           the largest element; of equals the first in row-major order, and NaN before all
//   avg_pool2d           sum / divisor: divisor_override if that is not 0, else the window's elements, with
//                        count_include_pad those of the padding, too (never what hangs over it)
//   lp_pool2d            (sum of x^p)^(1/p), as PyTorch computes it: the root of |average| times the kernel
//   adaptive_*_pool2d    P windows that cover the picture: rows floor(p H / P) up to ceil((p + 1) H / P)
//   global_avg_pool2d    the mean of each channel
//   max_unpool2d         zeros, with each element of x at its index
//
// Window (p, q) begins at row p stride - padding. P = (H + 2 padding - dilation (kernel - 1) - 1) / stride +
// 1, rounded down, or up with ceil_mode; but the last window begins inside the picture or the padding before
// it. Elements outside never count.
//
// Tensors: pictures [N, C, H, W] or [C, H, W], series [N, C, L] or [C, L]; f32, f16, bf16, and f64 on the
// CPU. Halves are added in f32. A picture in channels-last order is computed in that order and the result has
// it; everything else is made contiguous first. Indices are i64 in public, h W + w within the picture.
//
// Backward keeps: max its indices as i32 (no indices are computed where nobody asks), average nothing, Lp
// what its parts keep. Each gradient is gathered: an element of dx adds up the windows that contain it in
// ascending order, without atomics. Second derivatives: all (average and its gradient are linear; the
// gradient of max's gradient reads at the indices). lp_pool2d's gradient is not a number where a window holds
// zeros only, as in PyTorch. max_unpool2d: of repeated indices the last wins, and only it has a gradient.
//
// Determinism: bitwise, whatever the number of threads.
// Errors: InvalidArgument for undefined tensors, ranks, dtypes other than floating ones, pictures without
// channels or pixels, kernel, stride or dilation below 1 (stride 0: the kernel), padding below 0 or above
// half the kernel, a result without pixels, windows that see padding only (dilation), dilation in an average,
// divisor_override in a maximum, extents above 2^28 or pictures of 2^31 pixels; for max_unpool2d also for an
// index outside the result (on a GPU the call waits for that check unless it is turned off) and an impossible
// output_size. An empty batch gives an empty result.
#include <cstdint>
#include <optional>

#include "gpunn/core/api.h"
#include "gpunn/core/tensor.h"
#include "gpunn/kernels/common/size2d.h"

namespace gpunn {

struct PoolOptions {
  Size2d stride = 0;  // 0: the kernel
  Size2d padding = 0;
  Size2d dilation = 1;  // max only
  bool ceil_mode = false;
  bool count_include_pad = true;      // average only
  std::int64_t divisor_override = 0;  // average only; 0: none
};

/// `values` in the dtype of x, `indices` i64 in the picture, of one shape.
struct MaxPoolResult {
  Tensor values;
  Tensor indices;
};

/// [N, C, H, W] to [N, C, P, Q].
GPUNN_API Tensor max_pool2d(const Tensor& x, Size2d kernel, const PoolOptions& options = {});
GPUNN_API MaxPoolResult max_pool2d_with_indices(const Tensor& x, Size2d kernel,
                                                const PoolOptions& options = {});
GPUNN_API Tensor avg_pool2d(const Tensor& x, Size2d kernel, const PoolOptions& options = {});
/// `norm_type` is p, not 0; stride 0: the kernel.
GPUNN_API Tensor lp_pool2d(const Tensor& x, double norm_type, Size2d kernel, Size2d stride = 0,
                           bool ceil_mode = false);

/// [N, C, H, W] to [N, C, out.h, out.w].
GPUNN_API Tensor adaptive_avg_pool2d(const Tensor& x, Size2d out);
GPUNN_API Tensor adaptive_max_pool2d(const Tensor& x, Size2d out);
GPUNN_API MaxPoolResult adaptive_max_pool2d_with_indices(const Tensor& x, Size2d out);
/// [N, C, H, W] to [N, C, 1, 1].
GPUNN_API Tensor global_avg_pool2d(const Tensor& x);

struct MaxUnpoolOptions {
  Size2d stride = 0;  // 0: the kernel
  Size2d padding = 0;
  std::optional<Size2d>
      output_size{};          // none: (P - 1) stride + kernel - 2 padding; else less than a stride away
  bool check_indices = true;  // on a GPU; see indexing.h
};
/// x [N, C, P, Q] and i64 `indices` of its shape to [N, C, H, W].
GPUNN_API Tensor max_unpool2d(const Tensor& x, const Tensor& indices, Size2d kernel,
                              const MaxUnpoolOptions& options = {});

struct Pool1dOptions {
  std::int64_t stride = 0;  // 0: the kernel
  std::int64_t padding = 0;
  std::int64_t dilation = 1;  // max only
  bool ceil_mode = false;
  bool count_include_pad = true;  // average only
};

/// The same on series: [N, C, L] to [N, C, Q]; indices are places in the series.
GPUNN_API Tensor max_pool1d(const Tensor& x, std::int64_t kernel, const Pool1dOptions& options = {});
GPUNN_API MaxPoolResult max_pool1d_with_indices(const Tensor& x, std::int64_t kernel,
                                                const Pool1dOptions& options = {});
GPUNN_API Tensor avg_pool1d(const Tensor& x, std::int64_t kernel, const Pool1dOptions& options = {});
GPUNN_API Tensor lp_pool1d(const Tensor& x, double norm_type, std::int64_t kernel, std::int64_t stride = 0,
                           bool ceil_mode = false);
GPUNN_API Tensor adaptive_avg_pool1d(const Tensor& x, std::int64_t out);
GPUNN_API Tensor adaptive_max_pool1d(const Tensor& x, std::int64_t out);
GPUNN_API MaxPoolResult adaptive_max_pool1d_with_indices(const Tensor& x, std::int64_t out);

struct MaxUnpool1dOptions {
  std::int64_t stride = 0;  // 0: the kernel
  std::int64_t padding = 0;
  std::optional<std::int64_t> output_size{};
  bool check_indices = true;
};
/// x [N, C, Q] and i64 `indices` of its shape to [N, C, L].
GPUNN_API Tensor max_unpool1d(const Tensor& x, const Tensor& indices, std::int64_t kernel,
                              const MaxUnpool1dOptions& options = {});

}  // namespace gpunn
