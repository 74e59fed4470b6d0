// The transposed convolution: conv2d's gradient by its input, x in the place of dy.
#include <algorithm>

#include "gpunn/core/op.h"
#include "gpunn/kernels/conv2d/conv2d_ops_impl.h"

namespace gpunn {
namespace {

/// Rows (or columns) of the result.
std::int64_t spread(std::int64_t size, std::int64_t stride, std::int64_t pad, std::int64_t dilation,
                    std::int64_t taps, std::int64_t more) {
  detail::check_extent(stride, 1, "stride");
  detail::check_extent(dilation, 1, "dilation");
  detail::check_extent(pad, 0, "padding");
  detail::check_extent(more, 0, "output padding");
  GPUNN_CHECK(more < std::max(stride, dilation), "expected output padding below stride or dilation, got ",
              more, " with ", stride, " and ", dilation);
  const std::int64_t result = (size - 1) * stride + dilation * (taps - 1) + more + 1 - 2 * pad;
  detail::check_extent(result, 1, "size of the result");
  return result;
}

}  // namespace

Tensor conv_transpose2d(const Tensor& x, const Tensor& w, const Tensor& b, const ConvTranspose2dOptions& o) {
  OpScope scope("conv_transpose2d");
  check_floating(x, "input");
  if (x.dim() == 3) return conv_transpose2d(x.unsqueeze(0), w, b, o).squeeze(0);
  detail::check_picture(x, "input", 4, "[N, C, H, W] or [C, H, W]");
  detail::check_filters(x, "input", w, 4, "[C, K / groups, R, S]");
  GPUNN_CHECK(w.size(0) == x.size(1), "expected weight [", x.size(1), ", K / groups, R, S], got ", w.shape());
  detail::check_extent(o.groups, 1, "groups");
  GPUNN_CHECK(x.size(1) % o.groups == 0, "expected groups that divide the ", x.size(1), " channels, got ",
              o.groups);
  Conv2dSizes s{};
  s.N = x.size(0), s.K = x.size(1), s.P = x.size(2), s.Q = x.size(3);
  s.C = w.size(1) * o.groups, s.R = w.size(2), s.S = w.size(3);
  detail::check_extent(s.C, 1, "channels of the result");
  detail::check_bias(x, "input", b, s.C);
  s.H = spread(s.P, o.stride.h, o.padding.h, o.dilation.h, s.R, o.output_padding.h);
  s.W = spread(s.Q, o.stride.w, o.padding.w, o.dilation.w, s.S, o.output_padding.w);
  s.stride_h = o.stride.h, s.stride_w = o.stride.w;
  s.pad_h = o.padding.h, s.pad_w = o.padding.w;
  s.dilation_h = o.dilation.h, s.dilation_w = o.dilation.w;
  s.groups = o.groups;
  s.channels_last = x.layout() == Layout::channels_last;
  return detail::convolve_dx("conv_transpose2d", x, w, b, s);
}

}  // namespace gpunn
