#include "gpunn/layers/conv.h"

#include <algorithm>
#include <cmath>

#include "gpunn/kernels/movement/movement.h"
#include "gpunn/layers/init.h"

namespace gpunn {

namespace {

bool at_least(Size2d size, std::int64_t least) { return size.h >= least && size.w >= least; }

std::string text(Size2d size) { return detail::concat(size.h, " x ", size.w); }

struct Extents {
  std::int64_t in, out, groups;
  Size2d kernel, stride, padding, dilation;
};

void check(const char* layer, const Extents& e) {
  GPUNN_CHECK(e.in >= 1 && e.out >= 1 && at_least(e.kernel, 1), "expected ", layer,
              " channels and kernel of at least 1, got ", e.in, ", ", e.out, " and ", text(e.kernel));
  GPUNN_CHECK(e.groups >= 1 && e.in % e.groups == 0 && e.out % e.groups == 0, "expected ", layer,
              " groups that divide ", e.in, " and ", e.out, " channels, got ", e.groups);
  GPUNN_CHECK(at_least(e.stride, 1) && at_least(e.dilation, 1), "expected ", layer,
              " stride and dilation of at least 1, got ", text(e.stride), " and ", text(e.dilation));
  GPUNN_CHECK(at_least(e.padding, 0), "expected ", layer, " padding of at least 0, got ", text(e.padding));
}

PadMode pad_mode(PaddingMode mode) {
  switch (mode) {
    case PaddingMode::reflect:
      return PadMode::reflect;
    case PaddingMode::replicate:
      return PadMode::replicate;
    case PaddingMode::circular:
      return PadMode::circular;
    case PaddingMode::zeros:
      break;
  }
  return PadMode::constant;
}

struct Border {
  std::int64_t before, after;
};
// `same` puts the odd one behind, as PyTorch does.
Border border_of(bool same, std::int64_t padding, std::int64_t dilation, std::int64_t kernel) {
  if (!same) return {padding, padding};
  const std::int64_t whole = dilation * (kernel - 1);
  return {whole / 2, whole - whole / 2};
}

void draw(const Tensor& weight, const Tensor& bias) {
  const double bound = 1 / std::sqrt(init::fans_of(weight).in);
  init::uniform(weight, -bound, bound);
  if (bias.defined()) init::uniform(bias, -bound, bound);
}

double products(std::int64_t per_element, const Shape& elements) {
  return 2 * static_cast<double>(elements.numel()) * static_cast<double>(per_element);
}

}  // namespace

Conv1d::Conv1d(std::int64_t in_channels, std::int64_t out_channels, std::int64_t kernel_size,
               const Conv1dLayerOptions& options)
    : options_(options), kernel_(kernel_size) {
  check("Conv1d", {in_channels, out_channels, options.groups, kernel_size, options.stride, options.padding,
                   options.dilation});
  GPUNN_CHECK(!options.same || options.stride == 1, "expected Conv1d stride 1 with `same`, got ",
              options.stride);
  {
    const MemoryTagScope tag(MemoryTag::weights);
    weight = Parameter(empty({out_channels, in_channels / options.groups, kernel_size}));
    if (options.bias) bias = Parameter(empty({out_channels}));
  }
  products_ = weight.numel() / weight.size(0);
  reset_parameters();
}

void Conv1d::reset_parameters() { draw(weight, bias); }

Tensor Conv1d::forward_with(const Tensor& x, const Tensor& w) const {
  const Conv1dLayerOptions& o = options_;
  Conv1dOptions options{
      .stride = o.stride, .padding = o.padding, .dilation = o.dilation, .groups = o.groups, .same = o.same};
  if (o.padding_mode == PaddingMode::zeros) return conv1d(x, w, bias, options);
  OpScope scope("conv1d");
  const Border border = border_of(o.same, o.padding, o.dilation, kernel_);
  options.padding = 0;
  options.same = false;
  return conv1d(pad(x, {border.before, border.after}, pad_mode(o.padding_mode)), w, bias, options);
}

double Conv1d::flops(const Shape&, const Shape& y) const { return products(products_, y); }

Conv2d::Conv2d(std::int64_t in_channels, std::int64_t out_channels, Size2d kernel_size,
               const Conv2dLayerOptions& options)
    : options_(options), kernel_(kernel_size) {
  check("Conv2d", {in_channels, out_channels, options.groups, kernel_size, options.stride,
                   options.padding.size(), options.dilation});
  GPUNN_CHECK(!options.padding.is_same() || options.stride == Size2d(1),
              "expected Conv2d stride 1 with `same`, got ", text(options.stride));
  {
    const MemoryTagScope tag(MemoryTag::weights);
    weight = Parameter(empty({out_channels, in_channels / options.groups, kernel_size.h, kernel_size.w}));
    if (options.bias) bias = Parameter(empty({out_channels}));
  }
  products_ = weight.numel() / weight.size(0);
  reset_parameters();
}

void Conv2d::reset_parameters() { draw(weight, bias); }

Tensor Conv2d::forward_with(const Tensor& x, const Tensor& w, bool relu) const {
  const Conv2dLayerOptions& o = options_;
  Conv2dOptions options{
      .stride = o.stride, .padding = o.padding, .dilation = o.dilation, .groups = o.groups, .relu = relu};
  if (o.padding_mode == PaddingMode::zeros) return conv2d(x, w, bias, options);
  OpScope scope("conv2d");
  const bool same = o.padding.is_same();
  const Border rows = border_of(same, o.padding.size().h, o.dilation.h, kernel_.h);
  const Border columns = border_of(same, o.padding.size().w, o.dilation.w, kernel_.w);
  options.padding = 0;
  Tensor padded = pad(x, {columns.before, columns.after, rows.before, rows.after}, pad_mode(o.padding_mode));
  if (x.layout() == Layout::channels_last) padded = padded.contiguous(Layout::channels_last);
  return conv2d(padded, w, bias, options);
}

double Conv2d::flops(const Shape&, const Shape& y) const { return products(products_, y); }

ConvTranspose2d::ConvTranspose2d(std::int64_t in_channels, std::int64_t out_channels, Size2d kernel_size,
                                 const ConvTranspose2dLayerOptions& options)
    : options_{.stride = options.stride,
               .padding = options.padding,
               .output_padding = options.output_padding,
               .groups = options.groups,
               .dilation = options.dilation} {
  check("ConvTranspose2d", {in_channels, out_channels, options.groups, kernel_size, options.stride,
                            options.padding, options.dilation});
  const Size2d& more = options.output_padding;
  GPUNN_CHECK(at_least(more, 0) && more.h < std::max(options.stride.h, options.dilation.h) &&
                  more.w < std::max(options.stride.w, options.dilation.w),
              "expected ConvTranspose2d output_padding below stride or dilation, got ", text(more));
  {
    const MemoryTagScope tag(MemoryTag::weights);
    weight = Parameter(empty({in_channels, out_channels / options.groups, kernel_size.h, kernel_size.w}));
    if (options.bias) bias = Parameter(empty({out_channels}));
  }
  products_ = weight.numel() / weight.size(0);
  reset_parameters();
}

void ConvTranspose2d::reset_parameters() { draw(weight, bias); }

Tensor ConvTranspose2d::forward_with(const Tensor& x, const Tensor& w) const {
  return conv_transpose2d(x, w, bias, options_);
}

// Each element of x goes into as many products as its filter has weights.
double ConvTranspose2d::flops(const Shape& x, const Shape&) const { return products(products_, x); }

}  // namespace gpunn
