#pragma once
// Pictures of another size, by nearest neighbour or bilinear interpolation, with PyTorch's arithmetic.
//
// An output row p reads at source row s, computed in f32 (also for other dtypes) from the step
//   scale = H / P, or 1 / scale_h in interpolate_scale; with align_corners (H - 1) / (P - 1), 0 for P = 1:
//   nearest                  row min(floor(p scale), H - 1)
//   bilinear                 s = max(scale (p + 0.5) - 0.5, 0); rows floor(s) and the next (the last stays),
//   bilinear, align_corners  s = scale p                        weighted 1 - (s - floor(s)) and s - floor(s)
// and likewise for columns.
//
// Tensors: [N, C, H, W] or [C, H, W]; f32, f16, bf16, and f64 on the CPU. Halves are added in f32. A picture
// in channels-last order is computed in that order and the result has it; everything else is made contiguous.
// Backward keeps nothing. The gradient is gathered: each element of dx adds up the outputs that read it, in
// ascending order, without atomics. Second derivatives: all (the op is linear; its gradient's gradient is
// it). Determinism: bitwise, whatever the number of threads. Errors: InvalidArgument for undefined tensors,
// ranks, dtypes other than floating ones, pictures without channels or pixels, sizes below 1, scales that are
// not positive and finite or give a size below 1, extents above 2^28 or pictures of 2^31 pixels, and
// align_corners without bilinear. An empty batch gives an empty result.
#include <cstdint>

#include "gpunn/core/api.h"
#include "gpunn/core/tensor.h"
#include "gpunn/kernels/common/size2d.h"

namespace gpunn {

enum class Interpolation : std::uint8_t { nearest, bilinear };

/// [N, C, H, W] to [N, C, size.h, size.w].
GPUNN_API Tensor interpolate(const Tensor& x, Size2d size, Interpolation mode = Interpolation::nearest,
                             bool align_corners = false);

/// The same with size floor(H scale_h), floor(W scale_w).
GPUNN_API Tensor interpolate_scale(const Tensor& x, double scale_h, double scale_w,
                                   Interpolation mode = Interpolation::nearest, bool align_corners = false);

}  // namespace gpunn
