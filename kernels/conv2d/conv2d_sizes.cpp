// Checks of arguments and the arithmetic of windows.
#include "gpunn/core/op.h"
#include "gpunn/kernels/conv2d/conv2d_ops_impl.h"

namespace gpunn::detail {
namespace {

constexpr std::int64_t kLimit = std::int64_t{1} << 31;

void check_extents(Size2d size, std::int64_t least, const char* name) {
  check_extent(size.h, least, name);
  check_extent(size.w, least, name);
}

/// Windows along one side of the picture.
std::int64_t windows(std::int64_t size, std::int64_t pad, std::int64_t span, std::int64_t stride,
                     const char* side) {
  const std::int64_t padded = size + 2 * pad;
  GPUNN_CHECK(span <= padded, "expected a filter that fits the padded input, got ", side, " ", span,
              " of the filter (with dilation) for ", padded);
  const std::int64_t count = (padded - span) / stride + 1;
  check_extent(count, 1, "size of the result");
  return count;
}

}  // namespace

void check_extent(std::int64_t v, std::int64_t least, const char* name) {
  GPUNN_CHECK(v >= least && v < kLimit, "expected ", name, " in [", least, ", 2^31), got ", v);
}

void check_picture(const Tensor& t, const char* name, int rank, const char* form) {
  check_floating(t, name);
  bool fits = t.dim() == rank;
  for (int i = 1; fits && i < rank; ++i) fits = t.size(i) >= 1 && t.size(i) < kLimit;
  GPUNN_CHECK(fits, "expected ", name, " ", form, " with sizes (but the batch) in [1, 2^31), got ",
              t.shape());
}

void check_filters(const Tensor& x, const char* name_x, const Tensor& w, int rank, const char* form) {
  check_same(x, name_x, w, "weight");
  bool fits = w.dim() == rank;
  for (int i = 0; fits && i < rank; ++i) fits = w.size(i) >= 1 && w.size(i) < kLimit;
  GPUNN_CHECK(fits, "expected weight ", form, " with sizes in [1, 2^31), got ", w.shape());
}

void check_bias(const Tensor& x, const char* name_x, const Tensor& b, std::int64_t channels) {
  if (!b.defined()) return;
  check_same(x, name_x, b, "bias");
  GPUNN_CHECK(b.dim() == 1 && b.size(0) == channels, "expected bias [", channels, "], got ", b.shape());
}

void set_windows(Conv2dSizes& s, const Conv2dOptions& o, std::int64_t channels_of_group) {
  check_extents(o.stride, 1, "stride");
  check_extents(o.dilation, 1, "dilation");
  check_extents(o.padding.size(), 0, "padding");
  check_extent(o.groups, 1, "groups");
  GPUNN_CHECK(s.C % o.groups == 0 && s.K % o.groups == 0, "expected groups that divide the ", s.C, " and ",
              s.K, " channels, got ", o.groups);
  GPUNN_CHECK(channels_of_group == s.C / o.groups, "expected weight of ", s.C / o.groups,
              " channels (channels of the input / groups), got ", channels_of_group);
  s.groups = o.groups;
  s.stride_h = o.stride.h, s.stride_w = o.stride.w;
  s.dilation_h = o.dilation.h, s.dilation_w = o.dilation.w;
  const std::int64_t span_h = s.dilation_h * (s.R - 1) + 1, span_w = s.dilation_w * (s.S - 1) + 1;
  if (o.padding.is_same()) {
    GPUNN_CHECK(o.stride == Size2d(1), "expected stride 1 with padding `same`, got ", o.stride.h, " and ",
                o.stride.w);
    check_extents({span_h, span_w}, 1, "size of the filter (with dilation)");
    s.pad_h = (span_h - 1) / 2, s.pad_w = (span_w - 1) / 2;
    s.P = s.H, s.Q = s.W;
    return;
  }
  s.pad_h = o.padding.size().h, s.pad_w = o.padding.size().w;
  s.P = windows(s.H, s.pad_h, span_h, s.stride_h, "height");
  s.Q = windows(s.W, s.pad_w, span_w, s.stride_w, "width");
}

}  // namespace gpunn::detail
