#include "gpunn/kernels/conv2d/conv2d.h"

#include "gpunn/core/op.h"
#include "gpunn/core/tuning.h"
#include "gpunn/kernels/conv2d/conv2d_ops_impl.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/matmul/matmul.h"
#include "gpunn/kernels/reduce/reduce.h"

namespace gpunn {
namespace detail {
namespace {

Layout layout_of(const Conv2dSizes& s) {
  return s.channels_last ? Layout::channels_last : Layout::contiguous;
}
Tensor in_order(const Tensor& t) { return t.defined() ? t.contiguous() : t; }
const void* data_of(const Tensor& t) { return t.defined() ? t.data() : nullptr; }
bool tf32(const Tensor& t) { return t.dtype() == DType::f32 && allow_tf32(); }

struct ChannelGrad {
  Tensor dz, db;
};

/// dz (dy itself without `y`, the result of relu) and, if asked for, db; without history.
ChannelGrad channel_grad(const Tensor& dy_in, const Tensor& y, Layout layout, bool want_db) {
  const Tensor dy = dy_in.contiguous(layout);
  ChannelGradProblem p{};
  p.dtype = dy.dtype();
  p.N = dy.size(0), p.K = dy.size(1), p.pixels = dy.size(2) * dy.size(3);
  p.channels_last = layout == Layout::channels_last;
  p.relu = y.defined();
  p.want_db = want_db;
  ChannelGrad out{p.relu ? empty_on(dy.context(), dy.shape(), dy.dtype(), layout) : dy,
                  want_db ? empty_on(dy.context(), {p.K}, dy.dtype()) : Tensor()};
  if (!p.relu && !want_db) return out;
  if (dy.numel() == 0) {
    if (want_db) out.db.zero_();
    return out;
  }
  p.dy = dy.data(), p.y = data_of(y);
  p.dz = p.relu ? out.dz.data() : nullptr;
  p.db = want_db ? out.db.data() : nullptr;
  if (p.relu)
    execute(kChannelGrad, p, {&dy, &y}, {&out.dz, &out.db});
  else
    execute(kChannelGrad, p, {&dy}, {&out.db});
  return out;
}

/// The same from public ops. The step function of y is a constant: its own derivative is 0.
ChannelGrad composed_channel_grad(const Tensor& dy, const Tensor& y, Layout layout, bool want_db) {
  Tensor dz = dy;
  if (y.defined()) {
    const NoGrad off;
    const Tensor mask = channel_grad(ones_like(y), y.detach(), layout, false).dz;
    const GradMode on(true);
    dz = dy * mask;
  }
  return {dz, want_db ? sum(dz, {0, 2, 3}) : Tensor()};
}

ChannelGrad through_end(const Backward& b, const Tensor& y, Layout layout, bool want_db) {
  return (b.creates_graph() ? composed_channel_grad : channel_grad)(b.grad(), y, layout, want_db);
}

struct ConvolveRule {
  Saved x, w, y;  // y with relu only
  Conv2dSizes s;
  bool has_bias;

  Gradients operator()(const Backward& b) const {
    const bool want_db = has_bias && b.needs(2);
    const ChannelGrad g = through_end(b, y.defined() ? y(b) : Tensor(), layout_of(s), want_db);
    return {b.needs(0) ? convolve_dx("conv2d_dx", g.dz, w(b), {}, s) : Tensor(),
            b.needs(1) ? convolve_dw("conv2d_dw", x(b), g.dz, s) : Tensor(), g.db};
  }
};

struct ConvolveDxRule {
  Saved dy, w;
  Conv2dSizes s;
  bool has_bias;

  Gradients operator()(const Backward& b) const {
    const ChannelGrad g = through_end(b, {}, layout_of(s), has_bias && b.needs(2));
    return {b.needs(0) ? convolve("conv2d", g.dz, w(b), {}, s, false) : Tensor(),
            b.needs(1) ? convolve_dw("conv2d_dw", g.dz, dy(b), s) : Tensor(), g.db};
  }
};

struct ConvolveDwRule {
  Saved x, dy;
  Conv2dSizes s;

  Gradients operator()(const Backward& b) const {
    const Tensor& g = b.grad();
    return {b.needs(0) ? convolve_dx("conv2d_dx", dy(b), g, {}, s) : Tensor(),
            b.needs(1) ? convolve("conv2d", x(b), g, {}, s, false) : Tensor()};
  }
};

}  // namespace

Tensor convolve(const char* name, const Tensor& x_in, const Tensor& w_in, const Tensor& b_in,
                const Conv2dSizes& s, bool relu) {
  const Tensor x = x_in.contiguous(layout_of(s)), w = w_in.contiguous(), b = in_order(b_in);
  Tensor y = empty_on(x.context(), {s.N, s.K, s.P, s.Q}, x.dtype(), layout_of(s));
  if (s.N > 0) {
    Conv2dProblem p{x.dtype(), x.data(), w.data(), data_of(b), y.data(), s, b.defined(), relu, tf32(x)};
    execute(Tuned(kConv2d, p, y.context(), describe).list(), p, {&x, &w, &b}, {&y});
  }
  if (autograd::wanted(x, w, b))
    autograd::record(y, name, {&x, &w, &b},
                     ConvolveRule{Saved(x), Saved(w), relu ? Saved::output(y) : Saved(), s, b.defined()});
  return y;
}

Tensor convolve_dx(const char* name, const Tensor& dy_in, const Tensor& w_in, const Tensor& b_in,
                   const Conv2dSizes& s) {
  const Tensor dy = dy_in.contiguous(layout_of(s)), w = w_in.contiguous(), b = in_order(b_in);
  Tensor dx = empty_on(dy.context(), {s.N, s.C, s.H, s.W}, dy.dtype(), layout_of(s));
  if (s.N > 0) {
    Conv2dDxProblem p{dy.dtype(), dy.data(), w.data(), data_of(b), dx.data(), s, b.defined(), tf32(dy)};
    execute(Tuned(kConv2dDx, p, dx.context(), describe).list(), p, {&dy, &w, &b}, {&dx});
  }
  if (autograd::wanted(dy, w, b))
    autograd::record(dx, name, {&dy, &w, &b}, ConvolveDxRule{Saved(dy), Saved(w), s, b.defined()});
  return dx;
}

Tensor convolve_dw(const char* name, const Tensor& x_in, const Tensor& dy_in, const Conv2dSizes& s) {
  const Tensor x = x_in.contiguous(layout_of(s)), dy = dy_in.contiguous(layout_of(s));
  Tensor dw = empty_on(x.context(), {s.K, s.C / s.groups, s.R, s.S}, x.dtype());
  if (s.N > 0) {
    Conv2dDwProblem p{x.dtype(), x.data(), dy.data(), dw.data(), s, tf32(x)};
    execute(Tuned(kConv2dDw, p, dw.context(), describe).list(), p, {&x, &dy}, {&dw});
  } else {
    dw.zero_();
  }
  if (autograd::wanted(x, dy)) autograd::record(dw, name, {&x, &dy}, ConvolveDwRule{Saved(x), Saved(dy), s});
  return dw;
}

}  // namespace detail

namespace {

constexpr const char* kPictures = "[N, C, H, W]";
constexpr const char* kGradients = "[N, K, P, Q]";
constexpr const char* kFilters = "[K, C / groups, R, S]";

/// The gradient ops take what came before relu.
void check_gradient(const Tensor& dy, const Conv2dSizes& s, const Conv2dOptions& o) {
  GPUNN_CHECK(!o.relu, "expected options without relu: the gradient of what comes before it");
  const Shape expected{s.N, s.K, s.P, s.Q};
  GPUNN_CHECK(dy.shape() == expected, "expected dy ", expected, ", got ", dy.shape());
}

}  // namespace

Tensor conv2d(const Tensor& x, const Tensor& w, const Tensor& b, const Conv2dOptions& options) {
  OpScope scope("conv2d");
  check_floating(x, "input");
  if (x.dim() == 3) return conv2d(x.unsqueeze(0), w, b, options).squeeze(0);
  detail::check_picture(x, "input", 4, "[N, C, H, W] or [C, H, W]");
  detail::check_filters(x, "input", w, 4, kFilters);
  detail::check_bias(x, "input", b, w.size(0));
  Conv2dSizes s{};
  s.N = x.size(0), s.C = x.size(1), s.H = x.size(2), s.W = x.size(3);
  s.K = w.size(0), s.R = w.size(2), s.S = w.size(3);
  s.channels_last = x.layout() == Layout::channels_last;
  detail::set_windows(s, options, w.size(1));
  return detail::convolve("conv2d", x, w, b, s, options.relu);
}

Tensor conv2d_dx(const Tensor& dy, const Tensor& w, Size2d x_size, const Conv2dOptions& options) {
  OpScope scope("conv2d_dx");
  detail::check_picture(dy, "dy", 4, kGradients);
  detail::check_filters(dy, "dy", w, 4, kFilters);
  GPUNN_CHECK(w.size(0) == dy.size(1), "expected weight [", dy.size(1), ", C / groups, R, S], got ",
              w.shape());
  detail::check_extent(x_size.h, 1, "height");
  detail::check_extent(x_size.w, 1, "width");
  detail::check_extent(options.groups, 1, "groups");
  Conv2dSizes s{};
  s.N = dy.size(0), s.C = w.size(1) * options.groups, s.H = x_size.h, s.W = x_size.w;
  s.K = w.size(0), s.R = w.size(2), s.S = w.size(3);
  s.channels_last = dy.layout() == Layout::channels_last;
  detail::check_extent(s.C, 1, "channels of the input");
  detail::set_windows(s, options, w.size(1));
  check_gradient(dy, s, options);
  return detail::convolve_dx("conv2d_dx", dy, w, {}, s);
}

Tensor conv2d_dw(const Tensor& x, const Tensor& dy, Size2d w_size, const Conv2dOptions& options) {
  OpScope scope("conv2d_dw");
  detail::check_picture(x, "input", 4, kPictures);
  check_same(x, "input", dy, "dy");
  detail::check_picture(dy, "dy", 4, kGradients);
  detail::check_extent(w_size.h, 1, "height of the filters");
  detail::check_extent(w_size.w, 1, "width of the filters");
  detail::check_extent(options.groups, 1, "groups");
  Conv2dSizes s{};
  s.N = x.size(0), s.C = x.size(1), s.H = x.size(2), s.W = x.size(3);
  s.K = dy.size(1), s.R = w_size.h, s.S = w_size.w;
  s.channels_last = x.layout() == Layout::channels_last;
  detail::set_windows(s, options, s.C / options.groups);
  check_gradient(dy, s, options);
  return detail::convolve_dw("conv2d_dw", x, dy, s);
}

}  // namespace gpunn
