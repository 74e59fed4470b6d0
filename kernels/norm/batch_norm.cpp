// Batch norm: argument checks and gradients.
#include "gpunn/kernels/elementwise/compare.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/elementwise/math_functions.h"
#include "gpunn/kernels/norm/norm.h"
#include "gpunn/kernels/norm/norm_checks_impl.h"
#include "gpunn/kernels/norm/norm_impl.h"
#include "gpunn/kernels/reduce/reduce.h"

namespace gpunn {
namespace {

using detail::contiguous_or_none;
using detail::data_or_null;
using detail::writable_or_null;

/// What backward keeps.
struct Kept {
  Saved x, y, weight, mean, rstd;  // y only with relu
  BatchNormOptions options;
  Layout layout;
  bool wide, residual;
};

ChannelSizes sizes_of(const Tensor& x, Layout layout) {
  std::int64_t pixels = 1;
  for (int i = 2; i < x.dim(); ++i) pixels *= x.size(i);
  return {x.size(0), x.size(1), pixels, layout == Layout::channels_last || pixels == 1};
}

Gradients backward_fused(const Backward& b, const Kept& kept) {
  const Tensor x = kept.x(b), mean = kept.mean(b), rstd = kept.rstd(b);
  const Tensor y = kept.options.relu ? kept.y(b) : Tensor();
  const Tensor weight = kept.weight.defined() ? kept.weight(b) : Tensor();
  const Tensor dy = b.grad().contiguous(kept.layout);
  const auto like_x = [&] { return empty_on(x.context(), x.shape(), x.dtype(), kept.layout); };
  BatchNormBackwardProblem p{};
  p.dtype = x.dtype(), p.sizes = sizes_of(x, kept.layout);
  p.training = kept.options.training, p.relu = kept.options.relu;
  p.has_weight = weight.defined(), p.wide_weights = kept.wide;
  p.want_dz = kept.residual && b.needs(3) && p.relu;
  p.want_dw = b.needs(1) || b.needs(2);
  const Tensor dx = like_x(), dz = p.want_dz ? like_x() : Tensor();
  Tensor dw, db;
  if (p.want_dw) {
    dw = empty_on(x.context(), {p.sizes.C}, weight_dtype(p));
    db = empty_on(x.context(), {p.sizes.C}, weight_dtype(p));
  }
  if (x.numel() > 0) {
    p.x = x.data(), p.y = data_or_null(y), p.dy = dy.data(), p.weight = data_or_null(weight);
    p.mean = mean.data(), p.rstd = rstd.data();
    p.dx = dx.data(), p.dz = writable_or_null(dz), p.dw = writable_or_null(dw), p.db = writable_or_null(db);
    execute(kBatchNormBackward, p, {&x, &y, &dy, &weight, &mean, &rstd}, {&dx, &dz, &dw, &db});
  } else if (p.want_dw) {
    NoGrad guard;
    dw.zero_();
    db.zero_();
  }
  return {dx, b.needs(1) ? dw : Tensor(), b.needs(2) ? db : Tensor(), p.want_dz ? dz : dy};
}

/// The same from public ops, for second derivatives, in the precision of statistics.
Gradients backward_composed(const Backward& b, const Kept& kept) {
  const Tensor x_in = kept.x(b);
  const DType acc = accumulator_of(x_in.dtype());
  const Tensor x = x_in.to(acc);
  Dims others{0};
  Shape channel{1, x.size(1)};
  for (int i = 2; i < x.dim(); ++i) {
    others.push_back(i);
    channel.push_back(1);
  }
  Tensor g = b.grad().to(acc);
  if (kept.options.relu) g = g * logical_not(le(kept.y(b).detach(), 0)).to(acc);
  Tensor normal, rstd;
  if (kept.options.training) {
    const Tensor centred = x - mean(x, others, true);
    rstd = rsqrt(mean(centred * centred, others, true) + kept.options.eps);
    normal = centred * rstd;
  } else {
    rstd = kept.rstd(b).reshape(channel);
    normal = (x - kept.mean(b).reshape(channel)) * rstd;
  }
  const Tensor sum_g = sum(g, others, true), sum_gx = sum(g * normal, others, true);
  Tensor dx = g;
  if (kept.options.training) {
    const auto count = static_cast<double>(x.numel() / x.size(1));
    dx = g - sum_g / count - normal * (sum_gx / count);
  }
  dx = dx * rstd;
  const DType weights = kept.wide ? acc : x_in.dtype();
  if (kept.weight.defined()) dx = dx * kept.weight(b).to(acc).reshape(channel);
  return {dx.to(x_in.dtype()), sum_gx.reshape({x.size(1)}).to(weights),
          sum_g.reshape({x.size(1)}).to(weights), g.to(x_in.dtype())};
}

void check_sizes(const Tensor& x, const BatchNormOptions& options) {
  check_floating(x, "x");
  GPUNN_CHECK(x.dim() >= 2 && x.dim() <= 4, "expected x [N, C], [N, C, L] or [N, C, H, W], got ", x.shape());
  GPUNN_CHECK(options.momentum >= 0 && options.momentum <= 1, "expected momentum in [0, 1], got ",
              options.momentum);
  detail::check_eps(options.eps);
  const ChannelSizes s = sizes_of(x, Layout::contiguous);
  GPUNN_CHECK(!options.training || s.per_channel() > 1,
              "expected more than one value per channel when training, got x ", x.shape());
}

void check_running(const Tensor& mean, const Tensor& var, bool training) {
  GPUNN_CHECK(mean.defined() == var.defined(), "expected running_mean and running_var both or neither, got ",
              mean.defined() ? "running_mean" : "running_var", " alone");
  GPUNN_CHECK(training || mean.defined(), "expected running_mean and running_var, or training");
  if (!training || !mean.defined()) return;
  GPUNN_CHECK(mean.is_contiguous() && var.is_contiguous(), "expected contiguous running statistics");
  autograd::check_in_place(mean, "batch_norm");
  autograd::check_in_place(var, "batch_norm");
}

}  // namespace

Tensor batch_norm(const Tensor& x_in, const Tensor& running_mean_in, const Tensor& running_var_in,
                  const Tensor& weight_in, const Tensor& bias_in, const BatchNormOptions& options,
                  const Tensor& residual_in) {
  OpScope scope("batch_norm");
  check_sizes(x_in, options);
  check_running(running_mean_in, running_var_in, options.training);
  const bool wide = detail::check_weights(x_in, {x_in.size(1)},
                                          {{weight_in, "weight"},
                                           {bias_in, "bias"},
                                           {running_mean_in, "running_mean"},
                                           {running_var_in, "running_var"}});
  if (residual_in.defined()) {
    check_same(x_in, "x", residual_in, "residual");
    GPUNN_CHECK(residual_in.shape() == x_in.shape(), "expected residual ", x_in.shape(), " like x, got ",
                residual_in.shape());
  }
  const Layout layout = x_in.layout() == Layout::channels_last ? Layout::channels_last : Layout::contiguous;
  const Tensor x = x_in.contiguous(layout);
  const Tensor residual = residual_in.defined() ? residual_in.contiguous(layout) : Tensor();
  const Tensor weight = contiguous_or_none(weight_in), bias = contiguous_or_none(bias_in);
  const Tensor running_mean = contiguous_or_none(running_mean_in),
               running_var = contiguous_or_none(running_var_in);
  const bool recorded = autograd::wanted(x, weight, bias, residual);
  Tensor y = empty_on(x.context(), x.shape(), x.dtype(), layout), mean, rstd;
  const DType acc = accumulator_of(x.dtype());
  if (recorded) {
    mean = empty_on(x.context(), {x.size(1)}, acc);
    rstd = empty_on(x.context(), {x.size(1)}, acc);
  }
  if (x.numel() > 0) {
    BatchNormProblem p{};
    p.dtype = x.dtype(), p.sizes = sizes_of(x, layout);
    p.momentum = options.momentum, p.eps = options.eps;
    p.training = options.training, p.relu = options.relu, p.save = recorded, p.wide_weights = wide;
    p.has_weight = weight.defined(), p.has_bias = bias.defined();
    p.has_residual = residual.defined(), p.has_running = running_mean.defined();
    p.x = x.data(), p.weight = data_or_null(weight), p.bias = data_or_null(bias);
    p.residual = data_or_null(residual);
    p.running_mean = writable_or_null(running_mean), p.running_var = writable_or_null(running_var);
    p.y = y.data(), p.mean = writable_or_null(mean), p.rstd = writable_or_null(rstd);
    if (options.training)
      execute(kBatchNormForward, p, {&x, &weight, &bias, &residual},
              {&y, &mean, &rstd, &running_mean, &running_var});
    else
      execute(kBatchNormForward, p, {&x, &weight, &bias, &residual, &running_mean, &running_var},
              {&y, &mean, &rstd});
  }
  if (recorded) {
    Kept kept{Saved(x),
              options.relu ? Saved::output(y) : Saved(),
              weight.defined() ? Saved(weight) : Saved(),
              Saved(mean),
              Saved(rstd),
              options,
              layout,
              wide,
              residual.defined()};
    autograd::record(y, "batch_norm", {&x, &weight, &bias, &residual},
                     [kept = std::move(kept)](const Backward& b) -> Gradients {
                       return b.creates_graph() ? backward_composed(b, kept) : backward_fused(b, kept);
                     });
  }
  return y;
}

}  // namespace gpunn
