// Group and instance norm.
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/movement/movement.h"
#include "gpunn/kernels/norm/norm.h"
#include "gpunn/kernels/norm/norm_checks_impl.h"
#include "gpunn/kernels/norm/row_norm_impl.h"
#include "gpunn/kernels/reduce/reduce.h"

namespace gpunn {
namespace {

std::int64_t pixels_of(const Tensor& x) {
  std::int64_t pixels = 1;
  for (int i = 2; i < x.dim(); ++i) pixels *= x.size(i);
  return pixels;
}

/// The result in the memory order of x.
Tensor in_order_of(const Tensor& x, const Tensor& y) {
  return x.layout() == Layout::channels_last ? y.contiguous(Layout::channels_last) : y;
}

Tensor by_groups(const char* op, const Tensor& x, std::int64_t groups, const Tensor& weight,
                 const Tensor& bias, double eps, bool wide) {
  const std::int64_t C = x.size(1), pixels = pixels_of(x);
  const NormRows sizes{x.size(0) * groups, C / groups * pixels, groups, pixels};
  return in_order_of(x, detail::row_norm(x.contiguous(), weight, bias, {op, sizes, eps, false, wide}));
}

/// `v` [C] for each of N samples.
Tensor repeated(const Tensor& v, std::int64_t N) { return v.defined() ? repeat(v, {N}) : Tensor(); }

/// Samples are batches of their own then: N C channels of one sample.
Tensor with_running(const Tensor& x, const Tensor& running_mean, const Tensor& running_var,
                    const Tensor& weight, const Tensor& bias, double momentum, double eps) {
  const std::int64_t N = x.size(0), C = x.size(1);
  Tensor means, vars;
  {
    NoGrad guard;
    means = repeated(running_mean, N);
    vars = repeated(running_var, N);
  }
  const Tensor y =
      batch_norm(x.contiguous().reshape({1, N * C, pixels_of(x)}), means, vars, repeated(weight, N),
                 repeated(bias, N), {.training = true, .momentum = momentum, .eps = eps});
  {
    NoGrad guard;
    running_mean.copy_(mean(means.reshape({N, C}), {0}));
    running_var.copy_(mean(vars.reshape({N, C}), {0}));
  }
  return in_order_of(x, y.reshape(x.shape()));
}

void check_instance(const Tensor& x, const Tensor& running_mean, const Tensor& running_var,
                    bool use_input_stats, double momentum) {
  GPUNN_CHECK(running_mean.defined() == running_var.defined(),
              "expected running_mean and running_var both or neither");
  GPUNN_CHECK(use_input_stats || running_mean.defined(),
              "expected running_mean and running_var, or use_input_stats");
  GPUNN_CHECK(momentum >= 0 && momentum <= 1, "expected momentum in [0, 1], got ", momentum);
  if (!use_input_stats) return;
  GPUNN_CHECK(x.numel() == 0 || pixels_of(x) > 1, "expected more than one value per channel, got x ",
              x.shape());
  if (!running_mean.defined()) return;
  autograd::check_in_place(running_mean, "instance_norm");
  autograd::check_in_place(running_var, "instance_norm");
}

}  // namespace

Tensor group_norm(const Tensor& x, std::int64_t groups, const Tensor& weight, const Tensor& bias,
                  double eps) {
  OpScope scope("group_norm");
  check_floating(x, "x");
  GPUNN_CHECK(x.dim() >= 2, "expected x [N, C, *], got ", x.shape());
  const std::int64_t C = x.size(1);
  GPUNN_CHECK(groups >= 1 && C % groups == 0, "expected groups that divide the ", C, " channels, got ",
              groups);
  detail::check_eps(eps);
  const bool wide = detail::check_weights(x, {C}, {{weight, "weight"}, {bias, "bias"}});
  GPUNN_CHECK(x.numel() == 0 || C / groups * pixels_of(x) > 1,
              "expected more than one value per group, got x ", x.shape(), " with ", groups, " groups");
  return by_groups("group_norm", x, groups, weight, bias, eps, wide);
}

Tensor instance_norm(const Tensor& x_in, const Tensor& running_mean, const Tensor& running_var,
                     const Tensor& weight, const Tensor& bias, bool use_input_stats, double momentum,
                     double eps) {
  OpScope scope("instance_norm");
  check_floating(x_in, "x");
  GPUNN_CHECK(x_in.dim() >= 2 && x_in.dim() <= 4, "expected x [N, C, L], [N, C, H, W] or [C, L], got ",
              x_in.shape());
  const bool alone = x_in.dim() == 2;
  const Tensor x = alone ? x_in.unsqueeze(0) : x_in;
  const std::int64_t C = x.size(1);
  check_instance(x, running_mean, running_var, use_input_stats, momentum);
  detail::check_eps(eps);
  const bool wide = detail::check_weights(
      x, {C},
      {{weight, "weight"}, {bias, "bias"}, {running_mean, "running_mean"}, {running_var, "running_var"}});
  Tensor y;
  if (!use_input_stats)
    y = batch_norm(x, running_mean, running_var, weight, bias, {.eps = eps});
  else if (running_mean.defined() && x.numel() > 0)
    y = with_running(x, running_mean, running_var, weight, bias, momentum, eps);
  else
    y = by_groups("instance_norm", x, C, weight, bias, eps, wide);
  return alone ? y.squeeze(0) : y;
}

}  // namespace gpunn
