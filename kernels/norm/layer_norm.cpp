// Layer and RMS norm: argument checks, and the call and gradient that group norm shares.
#include <limits>

#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/elementwise/math_functions.h"
#include "gpunn/kernels/norm/norm.h"
#include "gpunn/kernels/norm/norm_checks_impl.h"
#include "gpunn/kernels/norm/row_norm_impl.h"
#include "gpunn/kernels/reduce/reduce.h"

namespace gpunn {
namespace {

using detail::contiguous_or_none;
using detail::data_or_null;
using detail::RowNormSettings;
using detail::writable_or_null;

struct Kept {
  Saved x, weight, mean, rstd;
  RowNormSettings settings;
  Shape weight_shape;
};

Gradients backward_fused(const Backward& b, const Kept& kept) {
  const Tensor x = kept.x(b), dy = b.grad().contiguous(), rstd = kept.rstd(b);
  const Tensor mean = kept.mean.defined() ? kept.mean(b) : Tensor();
  const Tensor weight = kept.weight.defined() ? kept.weight(b) : Tensor();
  RowNormBackwardProblem p{};
  p.dtype = x.dtype(), p.sizes = kept.settings.sizes;
  p.rms = kept.settings.rms, p.wide_weights = kept.settings.wide, p.has_weight = weight.defined();
  p.want_dw = b.needs(1), p.want_db = b.needs(2);
  const auto gradient = [&](bool wanted) {
    return wanted ? empty_on(x.context(), kept.weight_shape, weight_dtype(p)) : Tensor();
  };
  const Tensor dx = empty_on(x.context(), x.shape(), x.dtype()), dw = gradient(p.want_dw),
               db = gradient(p.want_db);
  if (x.numel() == 0) {
    NoGrad guard;
    for (const Tensor* t : {&dw, &db})
      if (t->defined()) t->zero_();
    return {dx, dw, db};
  }
  p.x = x.data(), p.dy = dy.data(), p.weight = data_or_null(weight);
  p.mean = data_or_null(mean), p.rstd = rstd.data();
  p.dx = dx.data(), p.dw = writable_or_null(dw), p.db = writable_or_null(db);
  execute(kRowNormBackward, p, {&x, &dy, &weight, &mean, &rstd}, {&dx, &dw, &db});
  return {dx, dw, db};
}

}  // namespace

Gradients detail::row_norm_gradients(const Tensor& x_in, const Tensor& weight, const Tensor& dy_in,
                                     const RowNormSettings& settings, const Shape& weight_shape) {
  const DType acc = accumulator_of(x_in.dtype());
  const NormRows& s = settings.sizes;
  const Shape by_channel{s.rows / s.groups, s.groups, s.cols / s.pixels, s.pixels},
      of_weight{1, s.groups, s.cols / s.pixels, 1};
  const Dims row{2, 3}, samples{0, 3};
  Tensor centred = x_in.to(acc).reshape(by_channel);
  if (!settings.rms) centred = centred - mean(centred, row, true);
  const Tensor rstd = rsqrt(mean(centred * centred, row, true) + settings.eps);
  const Tensor normal = centred * rstd, dy = dy_in.to(acc).reshape(by_channel);
  const Tensor g = weight.defined() ? dy * weight.to(acc).reshape(of_weight) : dy;
  Tensor dx = g - normal * mean(g * normal, row, true);
  if (!settings.rms) dx = dx - mean(g, row, true);
  const DType weights = settings.wide ? acc : x_in.dtype();
  return {(dx * rstd).reshape(x_in.shape()).to(x_in.dtype()),
          sum(dy * normal, samples).reshape(weight_shape).to(weights),
          sum(dy, samples).reshape(weight_shape).to(weights)};
}

NormRows detail::rows_of(const Tensor& x, const Shape& shape) {
  check_floating(x, "x");
  bool fits = shape.rank() >= 1 && shape.rank() <= x.dim();
  for (int i = 0; fits && i < shape.rank(); ++i) fits = x.size(x.dim() - shape.rank() + i) == shape[i];
  GPUNN_CHECK(fits, "expected x [*, ...] that ends in normalized_shape ", shape, " of rank >= 1, got ",
              x.shape());
  std::int64_t rows = 1;
  for (int i = 0; i + shape.rank() < x.dim(); ++i) rows *= x.size(i);
  return {rows, shape.numel(), 1, 1};
}

double detail::rms_eps(DType dtype) {
  switch (dtype) {
    case DType::f16:
      return 0x1p-10;
    case DType::bf16:
      return 0x1p-7;
    case DType::f64:
      return std::numeric_limits<double>::epsilon();
    default:
      return static_cast<double>(std::numeric_limits<float>::epsilon());
  }
}

Tensor detail::row_norm(const Tensor& x, const Tensor& weight_in, const Tensor& bias_in,
                        const RowNormSettings& settings) {
  const Tensor weight = contiguous_or_none(weight_in), bias = contiguous_or_none(bias_in);
  const bool recorded = autograd::wanted(x, weight, bias);
  const NormRows& s = settings.sizes;
  Tensor y = empty_on(x.context(), x.shape(), x.dtype()), mean, rstd;
  const DType acc = accumulator_of(x.dtype());
  if (recorded) {
    if (!settings.rms) mean = empty_on(x.context(), {s.rows}, acc);
    rstd = empty_on(x.context(), {s.rows}, acc);
  }
  if (x.numel() > 0) {
    RowNormProblem p{};
    p.dtype = x.dtype(), p.sizes = s, p.eps = settings.eps;
    p.rms = settings.rms, p.save = recorded, p.wide_weights = settings.wide;
    p.has_weight = weight.defined(), p.has_bias = bias.defined();
    p.x = x.data(), p.weight = data_or_null(weight), p.bias = data_or_null(bias);
    p.y = y.data(), p.mean = writable_or_null(mean), p.rstd = writable_or_null(rstd);
    execute(kRowNormForward, p, {&x, &weight, &bias}, {&y, &mean, &rstd});
  }
  if (recorded) {
    const auto saved = [](const Tensor& t) { return t.defined() ? Saved(t) : Saved(); };
    const Shape shape = weight.defined() ? weight.shape()
                        : bias.defined() ? bias.shape()
                                         : Shape{s.channels()};
    Kept kept{Saved(x), saved(weight), saved(mean), Saved(rstd), settings, shape};
    autograd::record(y, settings.op, {&x, &weight, &bias},
                     [kept = std::move(kept)](const Backward& b) -> Gradients {
                       if (!b.creates_graph()) return backward_fused(b, kept);
                       return detail::row_norm_gradients(kept.x(b), kept.weight(b), b.grad(), kept.settings,
                                                         kept.weight_shape);
                     });
  }
  return y;
}

Tensor layer_norm(const Tensor& x, const Shape& normalized_shape, const Tensor& weight, const Tensor& bias,
                  double eps) {
  OpScope scope("layer_norm");
  const NormRows sizes = detail::rows_of(x, normalized_shape);
  detail::check_eps(eps);
  const bool wide = detail::check_weights(x, normalized_shape, {{weight, "weight"}, {bias, "bias"}});
  return detail::row_norm(x.contiguous(), weight, bias, {"layer_norm", sizes, eps, false, wide});
}

Tensor rms_norm(const Tensor& x, const Shape& normalized_shape, const Tensor& weight,
                std::optional<double> eps) {
  OpScope scope("rms_norm");
  const NormRows sizes = detail::rows_of(x, normalized_shape);
  if (eps) detail::check_eps(*eps);
  const bool wide = detail::check_weights(x, normalized_shape, {{weight, "weight"}});
  return detail::row_norm(x.contiguous(), weight, {},
                          {"rms_norm", sizes, eps.value_or(detail::rms_eps(x.dtype())), true, wide});
}

}  // namespace gpunn
