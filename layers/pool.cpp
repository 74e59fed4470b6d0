#include "gpunn/layers/pool.h"

namespace gpunn {

namespace {

// One operation for each element of each window.
double windows(const Shape& y, std::int64_t h, std::int64_t w) {
  return static_cast<double>(y.numel()) * static_cast<double>(h * w);
}
double once(const Shape& x) { return static_cast<double>(x.numel()); }

}  // namespace

MaxPoolResult MaxPool1d::forward_with_indices(const Tensor& x) {
  ModuleScope scope(*this);
  return max_pool1d_with_indices(x, kernel_, options_);
}

MaxPoolResult MaxPool2d::forward_with_indices(const Tensor& x) {
  ModuleScope scope(*this);
  return max_pool2d_with_indices(x, kernel_, options_);
}

MaxPoolResult AdaptiveMaxPool2d::forward_with_indices(const Tensor& x) {
  ModuleScope scope(*this);
  return adaptive_max_pool2d_with_indices(x, out_);
}

double MaxPool1d::flops(const Shape&, const Shape& y) const { return windows(y, kernel_, 1); }
double MaxPool2d::flops(const Shape&, const Shape& y) const { return windows(y, kernel_.h, kernel_.w); }
double AvgPool1d::flops(const Shape&, const Shape& y) const { return windows(y, kernel_, 1); }
double AvgPool2d::flops(const Shape&, const Shape& y) const { return windows(y, kernel_.h, kernel_.w); }
// A power and an addition.
double LPPool2d::flops(const Shape&, const Shape& y) const { return 2 * windows(y, kernel_.h, kernel_.w); }
// Windows overlap by a row at most.
double AdaptiveAvgPool1d::flops(const Shape& x, const Shape&) const { return once(x); }
double AdaptiveAvgPool2d::flops(const Shape& x, const Shape&) const { return once(x); }
double AdaptiveMaxPool2d::flops(const Shape& x, const Shape&) const { return once(x); }

Upsample::Upsample(const UpsampleOptions& options) : options_(options) {
  GPUNN_CHECK(options.size.has_value() != (options.scale_factor != 0),
              "expected Upsample with either a size or a scale factor");
}

Tensor Upsample::forward(const Tensor& x) {
  const UpsampleOptions& o = options_;
  if (o.size) return interpolate(x, *o.size, o.mode, o.align_corners);
  return interpolate_scale(x, o.scale_factor, o.scale_factor, o.mode, o.align_corners);
}

// Four weighted elements.
double Upsample::flops(const Shape&, const Shape& y) const {
  return options_.mode == Interpolation::bilinear ? 8 * static_cast<double>(y.numel()) : 0;
}

}  // namespace gpunn
