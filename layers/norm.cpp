#include "gpunn/layers/norm.h"

#include <cmath>

#include "gpunn/core/autograd.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/elementwise/math_functions.h"
#include "gpunn/kernels/reduce/reduce.h"
#include "gpunn/layers/init.h"

namespace gpunn {

namespace {

void check_eps(const char* layer, double eps) {
  GPUNN_CHECK(eps >= 0 && std::isfinite(eps), "expected ", layer, " eps >= 0, got ", eps);
}

void check_features(const char* layer, std::int64_t features) {
  GPUNN_CHECK(features >= 1, "expected ", layer, " over at least 1 feature, got ", features);
}

Tensor filled(const Shape& shape, double value) {
  const MemoryTagScope tag(MemoryTag::weights);
  return full(shape, value);
}

Tensor no_batches() {
  const MemoryTagScope tag(MemoryTag::weights);
  return zeros({}, {.dtype = DType::i64});
}

// Of one element: two for the result, two for the mean, three for the variance.
constexpr double kNormalise = 2, kWithStatistics = 7;

double elements(const Shape& shape) { return static_cast<double>(shape.numel()); }

}  // namespace

BatchNorm::BatchNorm(std::int64_t num_features, const BatchNormLayerOptions& options) : options_(options) {
  check_features("BatchNorm", num_features);
  check_eps("BatchNorm", options.eps);
  GPUNN_CHECK(!options.momentum || (*options.momentum >= 0 && *options.momentum <= 1),
              "expected BatchNorm momentum in [0, 1], got ", *options.momentum);
  if (options.affine) {
    weight = Parameter(filled({num_features}, 1));
    bias = Parameter(filled({num_features}, 0));
  }
  if (options.track_running_stats) {
    running_mean = Buffer(filled({num_features}, 0));
    running_var = Buffer(filled({num_features}, 1));
    num_batches_tracked = Buffer(no_batches());
  }
}

void BatchNorm::reset_running_stats() {
  if (!running_mean.defined()) return;
  NoGrad no_grad;
  running_mean.zero_();
  running_var.fill_(1);
  num_batches_tracked.zero_();
}

double BatchNorm::momentum_of_step() {
  if (!is_training() || !num_batches_tracked.defined()) return options_.momentum.value_or(0);
  {
    NoGrad no_grad;
    num_batches_tracked.copy_(add(num_batches_tracked, 1));
  }
  return options_.momentum ? *options_.momentum : 1 / num_batches_tracked.item();
}

Tensor BatchNorm::run(const Tensor& x, const Tensor& residual, bool cut_off) {
  OpScope scope("batch_norm");
  check_rank(x);
  if (folded_) {
    const Tensor y = residual.defined() ? x + residual : x;
    return cut_off ? relu(y) : y;
  }
  const bool batch_statistics = is_training() || !running_mean.defined();
  const Tensor y = batch_norm(
      x, running_mean, running_var, weight, bias,
      {.training = batch_statistics, .momentum = momentum_of_step(), .eps = options_.eps, .relu = cut_off},
      residual);
  return y;
}

double BatchNorm::flops(const Shape&, const Shape& y) const {
  if (folded_) return 0;
  return elements(y) * (is_training() || !running_mean.defined() ? kWithStatistics : kNormalise);
}

void BatchNorm::set_folded() {
  folded_ = true;
  weight = bias = Parameter();
  running_mean = running_var = num_batches_tracked = Buffer();
}

void BatchNorm1d::check_rank(const Tensor& x) const {
  GPUNN_CHECK(x.defined() && (x.dim() == 2 || x.dim() == 3), "expected input [N, C] or [N, C, L], got ",
              x.defined() ? to_string(x.shape()) : "an undefined tensor");
}

void BatchNorm2d::check_rank(const Tensor& x) const {
  GPUNN_CHECK(x.defined() && x.dim() == 4, "expected input [N, C, H, W], got ",
              x.defined() ? to_string(x.shape()) : "an undefined tensor");
}

InstanceNorm::InstanceNorm(std::int64_t num_features, const InstanceNormLayerOptions& options)
    : options_(options) {
  check_features("InstanceNorm", num_features);
  check_eps("InstanceNorm", options.eps);
  GPUNN_CHECK(options.momentum >= 0 && options.momentum <= 1,
              "expected InstanceNorm momentum in [0, 1], got ", options.momentum);
  if (options.affine) {
    weight = Parameter(filled({num_features}, 1));
    bias = Parameter(filled({num_features}, 0));
  }
  if (options.track_running_stats) {
    running_mean = Buffer(filled({num_features}, 0));
    running_var = Buffer(filled({num_features}, 1));
    num_batches_tracked = Buffer(no_batches());
  }
}

Tensor InstanceNorm::forward(const Tensor& x) {
  OpScope scope("instance_norm");
  const int sample = sample_rank();
  GPUNN_CHECK(x.defined() && (x.dim() == sample || x.dim() == sample + 1), "expected input of rank ", sample,
              " or ", sample + 1, ", got ", x.defined() ? to_string(x.shape()) : "an undefined tensor");
  const bool own_statistics = is_training() || !running_mean.defined();
  const Tensor y = instance_norm(x.dim() == sample ? x.unsqueeze(0) : x, running_mean, running_var, weight,
                                 bias, own_statistics, options_.momentum, options_.eps);
  return x.dim() == sample ? y.squeeze(0) : y;
}

double InstanceNorm::flops(const Shape&, const Shape& y) const { return elements(y) * kWithStatistics; }

LayerNorm::LayerNorm(const Shape& normalized_shape, const LayerNormOptions& options)
    : shape_(normalized_shape), eps_(options.eps) {
  check_features("LayerNorm", shape_.rank() > 0 ? shape_.numel() : 0);
  check_eps("LayerNorm", eps_);
  if (!options.elementwise_affine) return;
  weight = Parameter(filled(shape_, 1));
  if (options.bias) bias = Parameter(filled(shape_, 0));
}

double LayerNorm::flops(const Shape&, const Shape& y) const { return elements(y) * kWithStatistics; }

RMSNorm::RMSNorm(const Shape& normalized_shape, const RMSNormOptions& options)
    : shape_(normalized_shape), eps_(options.eps) {
  check_features("RMSNorm", shape_.rank() > 0 ? shape_.numel() : 0);
  if (eps_) check_eps("RMSNorm", *eps_);
  if (options.elementwise_affine) weight = Parameter(filled(shape_, 1));
}

// A square and its sum, two factors.
double RMSNorm::flops(const Shape&, const Shape& y) const { return elements(y) * 4; }

GroupNorm::GroupNorm(std::int64_t num_groups, std::int64_t num_channels, const GroupNormOptions& options)
    : groups_(num_groups), channels_(num_channels), eps_(options.eps) {
  check_features("GroupNorm", num_channels);
  GPUNN_CHECK(num_groups >= 1 && num_channels % num_groups == 0, "expected GroupNorm groups that divide ",
              num_channels, " channels, got ", num_groups);
  check_eps("GroupNorm", eps_);
  if (!options.affine) return;
  weight = Parameter(filled({num_channels}, 1));
  bias = Parameter(filled({num_channels}, 0));
}

Tensor GroupNorm::forward(const Tensor& x) {
  OpScope scope("group_norm");
  GPUNN_CHECK(x.defined() && x.dim() >= 2 && x.size(1) == channels_, "expected input [N, ", channels_,
              ", *], got ", x.defined() ? to_string(x.shape()) : "an undefined tensor");
  return group_norm(x, groups_, weight, bias, eps_);
}

double GroupNorm::flops(const Shape&, const Shape& y) const { return elements(y) * kWithStatistics; }

LocalResponseNorm::LocalResponseNorm(std::int64_t size, const LocalResponseNormOptions& options)
    : size_(size), options_(options) {
  GPUNN_CHECK(size >= 1, "expected LocalResponseNorm over at least 1 channel, got ", size);
}

// A square, the sum over the neighbours, scale, offset, power and quotient.
double LocalResponseNorm::flops(const Shape&, const Shape& y) const {
  return elements(y) * static_cast<double>(size_ + 5);
}

Tensor adaptive_instance_norm(const Tensor& content, const Tensor& style, double eps) {
  OpScope scope("adaptive_instance_norm");
  check_eps("AdaIN", eps);
  GPUNN_CHECK(content.defined() && style.defined() && content.dim() >= 3 && style.dim() == content.dim() &&
                  style.size(0) == content.size(0) && style.size(1) == content.size(1),
              "expected content and style [N, C, *] with the same N and C, got ",
              content.defined() ? to_string(content.shape()) : "an undefined tensor", " and ",
              style.defined() ? to_string(style.shape()) : "an undefined tensor");
  Dims pixels;
  for (int i = 2; i < style.dim(); ++i) pixels.push_back(i);
  const VarMean of_style = var_mean(style, pixels, 0, true);
  const Tensor normalised = instance_norm(content, {}, {}, {}, {}, true, 0, eps);
  return normalised * sqrt(of_style.var + eps) + of_style.mean;
}

AdaIN::AdaIN(double eps) : eps_(eps) { check_eps("AdaIN", eps); }

}  // namespace gpunn
