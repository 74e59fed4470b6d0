// Checks, sizes, implementation lists and gradients of resizing.
#include "gpunn/kernels/resize/resize.h"

#include <cmath>

#include "gpunn/core/op.h"
#include "gpunn/kernels/common/device_dtype.h"
#include "gpunn/kernels/resize/resize_impl.h"

namespace gpunn {
namespace {

template <class P>
const char* accepts_cpu(const P& p) {
  return p.dtype == DType::f32 ? nullptr : "takes f32";
}

constexpr Implementation<ResizeProblem> kForwardEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", DeviceType::cuda, [](const ResizeProblem& p) { return device_dtype_reason(p.dtype); }, nullptr,
     Determinism::bitwise, resize_fwd_cuda},
#endif
    {"cpu", DeviceType::cpu, accepts_cpu<ResizeProblem>, nullptr, Determinism::bitwise, resize_fwd_cpu},
    {"ref", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise, resize_fwd_ref},
};

constexpr Implementation<ResizeBackwardProblem> kBackwardEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", DeviceType::cuda, [](const ResizeBackwardProblem& p) { return device_dtype_reason(p.dtype); },
     nullptr, Determinism::bitwise, resize_bwd_cuda},
#endif
    {"cpu", DeviceType::cpu, accepts_cpu<ResizeBackwardProblem>, nullptr, Determinism::bitwise,
     resize_bwd_cpu},
    {"ref", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise, resize_bwd_ref},
};

Layout layout_of(const ResizeSizes& s) {
  return s.channels_last ? Layout::channels_last : Layout::contiguous;
}

Tensor resize_dx(const Tensor& dy, const ResizeSizes& s, const char* name);

Tensor resize(const Tensor& x_in, const ResizeSizes& s, const char* name) {
  const Tensor x = x_in.contiguous(layout_of(s));
  Tensor y = empty_on(x.context(), {s.N, s.C, s.h.out, s.w.out}, x.dtype(), layout_of(s));
  if (y.numel() > 0) {
    ResizeProblem p{x.dtype(), x.data(), y.data(), s};
    execute(kResize, p, {&x}, {&y});
  }
  if (autograd::wanted(x))
    autograd::record(y, name, {&x},
                     [s, name](const Backward& b) -> Gradients { return {resize_dx(b.grad(), s, name)}; });
  return y;
}

/// The gradient of resize, whose gradient is resize again.
Tensor resize_dx(const Tensor& dy_in, const ResizeSizes& s, const char* name) {
  const Tensor dy = dy_in.contiguous(layout_of(s));
  Tensor dx = empty_on(dy.context(), {s.N, s.C, s.h.in, s.w.in}, dy.dtype(), layout_of(s));
  if (dx.numel() > 0) {
    ResizeBackwardProblem p{dy.dtype(), dy.data(), dx.data(), s};
    execute(kResizeBackward, p, {&dy}, {&dx});
  }
  if (autograd::wanted(dy))
    autograd::record(dx, name, {&dy},
                     [s, name](const Backward& b) -> Gradients { return {resize(b.grad(), s, name)}; });
  return dx;
}

ResizeRule rule_of(Interpolation mode, bool align_corners) {
  GPUNN_CHECK(mode == Interpolation::bilinear || !align_corners,
              "expected align_corners with bilinear interpolation only, got it with nearest");
  return mode == Interpolation::nearest ? ResizeRule::nearest
                                        : (align_corners ? ResizeRule::corners : ResizeRule::bilinear);
}

/// `step`: places of x for one of y where the rule does not say it itself.
ResizeAxis axis_of(std::int64_t in, std::int64_t out, float step, ResizeRule rule) {
  GPUNN_CHECK(in <= kMostResizeExtent && out >= 1 && out <= kMostResizeExtent,
              "expected a size of 1 to 2^28, got ", out, " from ", in);
  if (rule == ResizeRule::corners)
    step = out > 1 ? static_cast<float>(in - 1) / static_cast<float>(out - 1) : 0.0f;
  return {static_cast<std::int32_t>(in), static_cast<std::int32_t>(out), step};
}

void check_picture(const Tensor& x) {
  check_floating(x, "x");
  GPUNN_CHECK(x.dim() == 3 || x.dim() == 4, "expected x [N, C, H, W] or [C, H, W], got ", x.shape());
  GPUNN_CHECK(x.size(-3) >= 1 && x.size(-2) >= 1 && x.size(-1) >= 1,
              "expected x [N, C, H, W] with channels and pixels, got ", x.shape());
}

/// Both forms after their checks.
Tensor resized(const Tensor& x, const ResizeAxis& h, const ResizeAxis& w, ResizeRule rule, const char* name) {
  const Tensor batched = x.dim() == 4 ? x : x.unsqueeze(0);
  const bool channels_last = batched.layout() == Layout::channels_last;
  const ResizeSizes s{batched.size(0), batched.size(1), h, w, rule, channels_last};
  constexpr std::int64_t most = 0x7fffffff;
  GPUNN_CHECK(s.x_pixels() <= most && s.y_pixels() <= most,
              "expected pictures of fewer than 2^31 pixels, got ", s.x_pixels(), " to ", s.y_pixels());
  const Tensor y = resize(batched, s, name);
  return x.dim() == 4 ? y : y.squeeze(0);
}

float ratio(std::int64_t in, std::int64_t out) { return static_cast<float>(in) / static_cast<float>(out); }

std::int64_t scaled(std::int64_t in, double scale) {
  GPUNN_CHECK(std::isfinite(scale) && scale > 0, "expected a positive finite scale, got ", scale);
  const double out = std::floor(static_cast<double>(in) * scale);
  GPUNN_CHECK(out >= 1 && out <= static_cast<double>(kMostResizeExtent), "expected a size of 1 to 2^28, got ",
              out, " from ", in, " scaled by ", scale);
  return static_cast<std::int64_t>(out);
}

}  // namespace

constexpr ImplementationList<ResizeProblem> kResize{"interpolate", "forward", kForwardEntries};
constexpr ImplementationList<ResizeBackwardProblem> kResizeBackward{"interpolate", "backward",
                                                                    kBackwardEntries};

std::vector<Operand> operands(ResizeProblem& p) {
  return {{"x", const_cast<void**>(&p.x), p.dtype, p.sizes.x_elements(), Role::in},
          {"y", &p.y, p.dtype, p.sizes.y_elements(), Role::out}};
}

std::vector<Operand> operands(ResizeBackwardProblem& p) {
  return {{"dy", const_cast<void**>(&p.dy), p.dtype, p.sizes.y_elements(), Role::in},
          {"dx", &p.dx, p.dtype, p.sizes.x_elements(), Role::out}};
}

namespace {
Cost cost_of(const ResizeSizes& s, DType dtype) {
  const double operations = s.rule == ResizeRule::nearest ? 0 : 8;
  return {static_cast<double>(s.x_elements() + s.y_elements()) * static_cast<double>(size_of(dtype)),
          operations * static_cast<double>(s.y_elements())};
}
}  // namespace

Cost cost(const ResizeProblem& p) { return cost_of(p.sizes, p.dtype); }
Cost cost(const ResizeBackwardProblem& p) { return cost_of(p.sizes, p.dtype); }

Tensor interpolate(const Tensor& x, Size2d size, Interpolation mode, bool align_corners) {
  OpScope scope("interpolate");
  check_picture(x);
  const ResizeRule rule = rule_of(mode, align_corners);
  const std::int64_t H = x.size(-2), W = x.size(-1);
  return resized(x, axis_of(H, size.h, ratio(H, size.h), rule), axis_of(W, size.w, ratio(W, size.w), rule),
                 rule, "interpolate");
}

Tensor interpolate_scale(const Tensor& x, double scale_h, double scale_w, Interpolation mode,
                         bool align_corners) {
  OpScope scope("interpolate_scale");
  check_picture(x);
  const ResizeRule rule = rule_of(mode, align_corners);
  const auto axis = [&](std::int64_t in, double scale) {
    return axis_of(in, scaled(in, scale), static_cast<float>(1 / scale), rule);
  };
  return resized(x, axis(x.size(-2), scale_h), axis(x.size(-1), scale_w), rule, "interpolate_scale");
}

}  // namespace gpunn
