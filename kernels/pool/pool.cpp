// Checks, shapes and gradients of pooling.
#include "gpunn/kernels/pool/pool.h"

#include <cmath>

#include "gpunn/core/op.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/elementwise/math_functions.h"
#include "gpunn/kernels/pool/pool_impl.h"

namespace gpunn {
namespace {

/// Before the tensor is looked at as [N, C, H, W].
void check_rank(const Tensor& x, int batched, const char* shapes) {
  check_floating(x, "x");
  GPUNN_CHECK(x.dim() == batched || x.dim() == batched - 1, "expected x ", shapes, ", got ", x.shape());
  for (int d = x.dim() - batched + 1; d < x.dim(); ++d)
    GPUNN_CHECK(x.size(d) >= 1, "expected x ", shapes, " with channels and pixels, got ", x.shape());
}

/// [N, C, H, W] without gaps in one of the two orders.
Tensor picture_of(const Tensor& x) {
  check_rank(x, 4, "[N, C, H, W] or [C, H, W]");
  const Tensor batched = x.dim() == 4 ? x : x.unsqueeze(0);
  return batched.contiguous(batched.layout() == Layout::channels_last ? Layout::channels_last
                                                                      : Layout::contiguous);
}
/// A picture of height 1: [N, C, 1, L].
Tensor series_of(const Tensor& x) {
  check_rank(x, 3, "[N, C, L] or [C, L]");
  return x.unsqueeze(-2);
}
Tensor like_input(const Tensor& y, const Tensor& x) { return x.dim() == 4 ? y : y.squeeze(0); }
MaxPoolResult like_input(const MaxPoolResult& y, const Tensor& x) {
  return {like_input(y.values, x), like_input(y.indices, x)};
}

Layout layout_of(const PoolSizes& s) { return s.channels_last ? Layout::channels_last : Layout::contiguous; }
Tensor empty_x(const Tensor& like, const PoolSizes& s) {
  return empty_on(like.context(), {s.N, s.C, s.h.in, s.w.in}, like.dtype(), layout_of(s));
}
Tensor empty_y(const Tensor& like, const PoolSizes& s, DType dtype) {
  return empty_on(like.context(), {s.N, s.C, s.h.out, s.w.out}, dtype, layout_of(s));
}

std::int32_t narrow(std::int64_t v) { return static_cast<std::int32_t>(v); }

/// Every window sees a place: with a dilation the first one may begin before the picture and step over it.
bool sees_the_picture(const PoolAxis& a) {
  for (std::int32_t o = 0; o < a.out && o * a.stride < a.pad; ++o)
    if (pool_window(a, o).first >= a.in) return false;
  return true;
}

/// Checks one dimension; messages name the number that does not fit.
PoolAxis axis_of(std::int64_t in, std::int64_t kernel, std::int64_t stride, std::int64_t pad,
                 std::int64_t dilation, bool ceil_mode) {
  if (stride == 0) stride = kernel;
  constexpr std::int64_t most = kMostPoolExtent;
  GPUNN_CHECK(in <= most, "expected at most 2^28 rows and columns, got ", in);
  GPUNN_CHECK(kernel >= 1 && kernel <= most, "expected a kernel of 1 to 2^28, got ", kernel);
  GPUNN_CHECK(stride >= 1 && stride <= most, "expected a stride of 1 to 2^28, got ", stride);
  GPUNN_CHECK(dilation >= 1 && dilation <= most, "expected a dilation of 1 to 2^28, got ", dilation);
  GPUNN_CHECK(pad >= 0 && pad <= kernel / 2, "expected a padding of at least 0 and at most half the kernel ",
              kernel, ", got ", pad);
  const std::int64_t out = pool_extent(in, kernel, stride, pad, dilation, ceil_mode);
  GPUNN_CHECK(out >= 1, "expected a kernel that fits the padded picture, got kernel ", kernel,
              " with dilation ", dilation, " for ", in, " places and padding ", pad);
  const PoolAxis axis{narrow(in),  narrow(out),      narrow(kernel), narrow(stride),
                      narrow(pad), narrow(dilation), false};
  GPUNN_CHECK(sees_the_picture(axis), "expected windows that see the picture, got kernel ", kernel,
              " with dilation ", dilation, " for ", in, " places and padding ", pad);
  return axis;
}

PoolSizes sizes_of(const Tensor& x, const PoolAxis& h, const PoolAxis& w) {
  const PoolSizes s{x.size(0), x.size(1), h, w, x.layout() == Layout::channels_last};
  constexpr std::int64_t most = 0x7fffffff;
  GPUNN_CHECK(s.x_pixels() <= most && s.y_pixels() <= most,
              "expected pictures of fewer than 2^31 pixels, got ", s.x_pixels(), " to ", s.y_pixels());
  return s;
}

PoolSizes windows_of(const Tensor& x, Size2d kernel, const PoolOptions& o) {
  return sizes_of(x, axis_of(x.size(2), kernel.h, o.stride.h, o.padding.h, o.dilation.h, o.ceil_mode),
                  axis_of(x.size(3), kernel.w, o.stride.w, o.padding.w, o.dilation.w, o.ceil_mode));
}

PoolSizes adaptive_windows_of(const Tensor& x, Size2d out) {
  const auto axis = [](std::int64_t in, std::int64_t n) {
    GPUNN_CHECK(in <= kMostPoolExtent && n >= 1 && n <= kMostPoolExtent,
                "expected 1 to 2^28 rows and columns, got ", n, " from ", in);
    return PoolAxis{narrow(in), narrow(n), 1, 1, 0, 1, true};
  };
  return sizes_of(x, axis(x.size(2), out.h), axis(x.size(3), out.w));
}

// ---- max: values and i32 indices; its gradient and the gradient of that undo each other.

Tensor max_pool_dx(const Tensor& dy, const Tensor& indices, const PoolSizes& s);

/// The gradient of max_pool_dx by dy.
Tensor pool_gather(const Tensor& x_in, const Tensor& indices, const PoolSizes& s) {
  const Tensor x = x_in.contiguous(layout_of(s));
  Tensor y = empty_y(x, s, x.dtype());
  if (y.numel() > 0) {
    PoolGatherProblem p{x.dtype(), x.data(), static_cast<const std::int32_t*>(indices.data()), y.data(), s};
    execute(kPoolGather, p, {&x, &indices}, {&y});
  }
  if (autograd::wanted(x))
    autograd::record(y, "max_pool2d", {&x}, [indices = Saved(indices), s](const Backward& b) -> Gradients {
      return {max_pool_dx(b.grad(), indices(b), s)};
    });
  return y;
}

Tensor max_pool_dx(const Tensor& dy_in, const Tensor& indices, const PoolSizes& s) {
  const Tensor dy = dy_in.contiguous(layout_of(s));
  Tensor dx = empty_x(dy, s);
  if (dx.numel() > 0) {
    MaxPoolBackwardProblem p{dy.dtype(), dy.data(), static_cast<const std::int32_t*>(indices.data()),
                             dx.data(), s};
    execute(kMaxPoolBackward, p, {&dy, &indices}, {&dx});
  }
  if (autograd::wanted(dy))
    autograd::record(dx, "max_pool2d", {&dy}, [indices = Saved(indices), s](const Backward& b) -> Gradients {
      return {pool_gather(b.grad(), indices(b), s)};
    });
  return dx;
}

/// Indices only when they are wanted by the caller or by backward.
MaxPoolResult max_pool(const Tensor& x, const PoolSizes& s, bool want_indices, const char* name) {
  const bool record = autograd::wanted(x);
  Tensor y = empty_y(x, s, x.dtype());
  Tensor indices = record || want_indices ? empty_y(x, s, DType::i32) : Tensor();
  if (y.numel() > 0) {
    MaxPoolProblem p{x.dtype(), x.data(), y.data(), nullptr, s, indices.defined()};
    if (indices.defined()) p.indices = static_cast<std::int32_t*>(indices.data());
    execute(kMaxPool, p, {&x}, {&y, &indices});
  }
  if (record)
    autograd::record(y, name, {&x}, [indices = Saved(indices), s](const Backward& b) -> Gradients {
      return {max_pool_dx(b.grad(), indices(b), s)};
    });
  return {y, want_indices ? indices.to(DType::i64) : Tensor()};
}

MaxPoolResult max_windows(const Tensor& x, Size2d kernel, const PoolOptions& options, bool want_indices,
                          const char* name) {
  GPUNN_CHECK(options.divisor_override == 0, "expected no divisor_override, got ", options.divisor_override);
  const Tensor picture = picture_of(x);
  return max_pool(picture, windows_of(picture, kernel, options), want_indices, name);
}

// ---- average: linear, the gradient of its gradient is the op again.

struct Average {
  PoolSizes sizes;
  bool count_include_pad;
  std::int64_t divisor_override;
  const char* name;
};

Tensor avg_pool_dx(const Tensor& dy, const Average& a);

Tensor avg_pool(const Tensor& x_in, const Average& a) {
  const Tensor x = x_in.contiguous(layout_of(a.sizes));
  Tensor y = empty_y(x, a.sizes, x.dtype());
  if (y.numel() > 0) {
    AvgPoolProblem p{x.dtype(), x.data(), y.data(), a.sizes, a.count_include_pad, a.divisor_override};
    execute(kAvgPool, p, {&x}, {&y});
  }
  if (autograd::wanted(x))
    autograd::record(y, a.name, {&x},
                     [a](const Backward& b) -> Gradients { return {avg_pool_dx(b.grad(), a)}; });
  return y;
}

Tensor avg_pool_dx(const Tensor& dy_in, const Average& a) {
  const Tensor dy = dy_in.contiguous(layout_of(a.sizes));
  Tensor dx = empty_x(dy, a.sizes);
  if (dx.numel() > 0) {
    AvgPoolBackwardProblem p{dy.dtype(), dy.data(),           dx.data(),
                             a.sizes,    a.count_include_pad, a.divisor_override};
    execute(kAvgPoolBackward, p, {&dy}, {&dx});
  }
  if (autograd::wanted(dy))
    autograd::record(dx, a.name, {&dy},
                     [a](const Backward& b) -> Gradients { return {avg_pool(b.grad(), a)}; });
  return dx;
}

Tensor adaptive_avg(const Tensor& x, Size2d out, const char* name) {
  const Tensor picture = picture_of(x);
  return like_input(avg_pool(picture, {adaptive_windows_of(picture, out), true, 0, name}), x);
}

/// Along the width alone.
PoolOptions picture_options(const Pool1dOptions& o) {
  return {.stride = {1, o.stride},
          .padding = {0, o.padding},
          .dilation = {1, o.dilation},
          .ceil_mode = o.ceil_mode,
          .count_include_pad = o.count_include_pad};
}
MaxPoolResult series(const MaxPoolResult& y) { return {y.values.squeeze(-2), y.indices.squeeze(-2)}; }

}  // namespace

Tensor max_pool2d(const Tensor& x, Size2d kernel, const PoolOptions& options) {
  OpScope scope("max_pool2d");
  return like_input(max_windows(x, kernel, options, false, "max_pool2d").values, x);
}

MaxPoolResult max_pool2d_with_indices(const Tensor& x, Size2d kernel, const PoolOptions& options) {
  OpScope scope("max_pool2d_with_indices");
  return like_input(max_windows(x, kernel, options, true, "max_pool2d_with_indices"), x);
}

Tensor avg_pool2d(const Tensor& x, Size2d kernel, const PoolOptions& options) {
  OpScope scope("avg_pool2d");
  GPUNN_CHECK(options.dilation == Size2d(1), "expected no dilation in an average, got ", options.dilation.h,
              " x ", options.dilation.w);
  const Tensor picture = picture_of(x);
  return like_input(avg_pool(picture, {windows_of(picture, kernel, options), options.count_include_pad,
                                       options.divisor_override, "avg_pool2d"}),
                    x);
}

Tensor lp_pool2d(const Tensor& x, double norm_type, Size2d kernel, Size2d stride, bool ceil_mode) {
  OpScope scope("lp_pool2d");
  GPUNN_CHECK(std::isfinite(norm_type) && norm_type != 0, "expected a finite norm_type other than 0, got ",
              norm_type);
  const Tensor powers = norm_type == 1 ? x : pow(x, norm_type);
  const Tensor mean = avg_pool2d(powers, kernel, {.stride = stride, .ceil_mode = ceil_mode});
  const Tensor sum = mean * static_cast<double>(kernel.h * kernel.w);
  const Tensor y = norm_type == 1 ? sum : pow(sum, 1 / norm_type);
  return x.layout() == Layout::channels_last ? y.contiguous(Layout::channels_last) : y;
}

Tensor adaptive_avg_pool2d(const Tensor& x, Size2d out) {
  OpScope scope("adaptive_avg_pool2d");
  return adaptive_avg(x, out, "adaptive_avg_pool2d");
}

Tensor adaptive_max_pool2d(const Tensor& x, Size2d out) {
  OpScope scope("adaptive_max_pool2d");
  const Tensor picture = picture_of(x);
  return like_input(max_pool(picture, adaptive_windows_of(picture, out), false, "adaptive_max_pool2d").values,
                    x);
}

MaxPoolResult adaptive_max_pool2d_with_indices(const Tensor& x, Size2d out) {
  OpScope scope("adaptive_max_pool2d_with_indices");
  const Tensor picture = picture_of(x);
  return like_input(
      max_pool(picture, adaptive_windows_of(picture, out), true, "adaptive_max_pool2d_with_indices"), x);
}

Tensor global_avg_pool2d(const Tensor& x) {
  OpScope scope("global_avg_pool2d");
  return adaptive_avg(x, 1, "global_avg_pool2d");
}

Tensor max_pool1d(const Tensor& x, std::int64_t kernel, const Pool1dOptions& options) {
  OpScope scope("max_pool1d");
  return max_pool2d(series_of(x), {1, kernel}, picture_options(options)).squeeze(-2);
}

MaxPoolResult max_pool1d_with_indices(const Tensor& x, std::int64_t kernel, const Pool1dOptions& options) {
  OpScope scope("max_pool1d_with_indices");
  return series(max_pool2d_with_indices(series_of(x), {1, kernel}, picture_options(options)));
}

Tensor avg_pool1d(const Tensor& x, std::int64_t kernel, const Pool1dOptions& options) {
  OpScope scope("avg_pool1d");
  return avg_pool2d(series_of(x), {1, kernel}, picture_options(options)).squeeze(-2);
}

Tensor lp_pool1d(const Tensor& x, double norm_type, std::int64_t kernel, std::int64_t stride,
                 bool ceil_mode) {
  OpScope scope("lp_pool1d");
  return lp_pool2d(series_of(x), norm_type, {1, kernel}, {1, stride}, ceil_mode).squeeze(-2);
}

Tensor adaptive_avg_pool1d(const Tensor& x, std::int64_t out) {
  OpScope scope("adaptive_avg_pool1d");
  return adaptive_avg_pool2d(series_of(x), {1, out}).squeeze(-2);
}

Tensor adaptive_max_pool1d(const Tensor& x, std::int64_t out) {
  OpScope scope("adaptive_max_pool1d");
  return adaptive_max_pool2d(series_of(x), {1, out}).squeeze(-2);
}

MaxPoolResult adaptive_max_pool1d_with_indices(const Tensor& x, std::int64_t out) {
  OpScope scope("adaptive_max_pool1d_with_indices");
  return series(adaptive_max_pool2d_with_indices(series_of(x), {1, out}));
}

}  // namespace gpunn
