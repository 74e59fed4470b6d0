#pragma once
// Convolution of pictures and of series, its two derivatives, and the transposed convolution.
//
//   y[n, k, p, q] = b[k] + sum over c, r, s of
//                   w[k, c, r, s] x[n, g C/G + c, p stride_h + r dilation_h - pad_h, q stride_w + ...]
//
// (cross-correlation, as everywhere in the field; outside the picture x is 0; g is the group of k.) The three
// ops conv2d, conv2d_dx and conv2d_dw are closed under derivation: the gradients of each are the other two,
// so that derivatives of any order work.
//
// Tensors: pictures [N, C, H, W], filters [K, C / groups, R, S], bias [K], all of one floating dtype and on
// one device. Halves accumulate in f32; f32 products may be rounded to TF32 on a GPU when that is allowed
// (allow_tf32()). Layout: a picture in channels-last order is computed in that order and the result has it;
// everything else is made contiguous first. Filters stay contiguous.
//
// Backward keeps x and w, with relu y as well. Determinism: bitwise, whatever the number of threads.
// Errors: InvalidArgument for undefined tensors, ranks, dtypes and devices that differ, sizes that do not fit
// each other, groups that do not divide both numbers of channels, stride, dilation or groups below 1,
// negative padding, a filter larger than the padded picture, `same` with a stride, and any size but that of
// the batch that is 0 or 2^31 and more. An empty batch gives an empty result (and dw of zeros).
//
// Source: V. Dumoulin and F. Visin, "A guide to convolution arithmetic for deep learning", 2016.
#include <cstdint>

#include "gpunn/core/api.h"
#include "gpunn/core/tensor.h"
#include "gpunn/kernels/common/size2d.h"

namespace gpunn {

struct Conv2dOptions {
  Size2d stride = 1;
  Padding2d padding = 0;
  Size2d dilation = 1;
  std::int64_t groups = 1;
  bool relu = false;  // max(y, 0) in the same pass
};

/// [N, C, H, W] to [N, K, P, Q] with P = (H + 2 pad - dilation (R - 1) - 1) / stride + 1, rounded down. `b`
/// may be undefined. A picture without batch [C, H, W] gives one without batch.
GPUNN_API Tensor conv2d(const Tensor& x, const Tensor& w, const Tensor& b = {},
                        const Conv2dOptions& options = {});

/// The gradient of conv2d by x: from dy [N, K, P, Q] and w to [N, C, H, W]; `x_size` is {H, W} (several give
/// one P). dy is the gradient of what comes before relu: options with relu are refused, here and in
/// conv2d_dw.
GPUNN_API Tensor conv2d_dx(const Tensor& dy, const Tensor& w, Size2d x_size,
                           const Conv2dOptions& options = {});

/// The gradient of conv2d by w: from x [N, C, H, W] and dy [N, K, P, Q] to [K, C / groups, R, S]; `w_size` is
/// {R, S}.
GPUNN_API Tensor conv2d_dw(const Tensor& x, const Tensor& dy, Size2d w_size,
                           const Conv2dOptions& options = {});

struct ConvTranspose2dOptions {
  Size2d stride = 1;
  Size2d padding = 0;
  Size2d output_padding = 0;  // rows and columns more at the bottom and right; below stride or dilation
  std::int64_t groups = 1;
  Size2d dilation = 1;
};

/// The transposed convolution: what conv2d_dx computes, as a layer of its own. x [N, C, H, W], w [C, K /
/// groups, R, S], b [K] or undefined; the result is [N, K, (H - 1) stride - 2 padding + dilation (R - 1) +
/// output_padding + 1, ...].
GPUNN_API Tensor conv_transpose2d(const Tensor& x, const Tensor& w, const Tensor& b = {},
                                  const ConvTranspose2dOptions& options = {});

struct Conv1dOptions {
  std::int64_t stride = 1;
  std::int64_t padding = 0;
  std::int64_t dilation = 1;
  std::int64_t groups = 1;
  bool same = false;  // instead of `padding`: the result has the length of the input
  bool relu = false;
};

/// Series [N, C, L] (or [C, L]) with filters [K, C / groups, S].
GPUNN_API Tensor conv1d(const Tensor& x, const Tensor& w, const Tensor& b = {},
                        const Conv1dOptions& options = {});

}  // namespace gpunn
