// Series are pictures of height 1.
#include "gpunn/core/op.h"
#include "gpunn/kernels/conv2d/conv2d_ops_impl.h"

namespace gpunn {

Tensor conv1d(const Tensor& x, const Tensor& w, const Tensor& b, const Conv1dOptions& o) {
  OpScope scope("conv1d");
  check_floating(x, "input");
  if (x.dim() == 2) return conv1d(x.unsqueeze(0), w, b, o).squeeze(0);
  detail::check_picture(x, "input", 3, "[N, C, L] or [C, L]");
  detail::check_filters(x, "input", w, 3, "[K, C / groups, S]");
  detail::check_bias(x, "input", b, w.size(0));
  GPUNN_CHECK(!o.same || o.padding == 0, "expected no padding beside `same`, got ", o.padding);
  Conv2dSizes s{};
  s.N = x.size(0), s.C = x.size(1), s.H = 1, s.W = x.size(2);
  s.K = w.size(0), s.R = 1, s.S = w.size(2);
  Conv2dOptions wide{.stride = {1, o.stride}, .dilation = {1, o.dilation}, .groups = o.groups};
  wide.padding = o.same ? Padding2d::same() : Padding2d(0, o.padding);
  detail::set_windows(s, wide, w.size(1));
  return detail::convolve("conv1d", x.unsqueeze(2), w.unsqueeze(2), b, s, o.relu).squeeze(2);
}

}  // namespace gpunn
