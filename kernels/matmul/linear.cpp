#include "gpunn/core/op.h"
#include "gpunn/kernels/elementwise/activation_functors_impl.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/elementwise/math_functions.h"
#include "gpunn/kernels/matmul/matmul.h"
#include "gpunn/kernels/matmul/product_impl.h"
#include "gpunn/kernels/reduce/reduce.h"

namespace gpunn {
namespace {

struct BiasGrad {
  Tensor dz, db;
};

/// dz and, if asked for, db from dy [rows, cols] and y, or with `from_pre` the preactivation instead of y; dz
/// is dy itself without an activation.
BiasGrad bias_grad(const Tensor& dy_in, const Tensor& y, Activation activation, bool from_pre, bool want_db) {
  const Tensor dy = dy_in.contiguous();
  BiasGradProblem p{};
  p.dtype = dy.dtype();
  p.rows = dy.size(0), p.cols = dy.size(1);
  p.activation = activation;
  p.from_pre = from_pre;
  p.want_dz = activation != Activation::none;
  p.want_db = want_db;
  BiasGrad out{p.want_dz ? empty_on(dy.context(), dy.shape(), dy.dtype()) : dy,
               want_db ? empty_on(dy.context(), {p.cols}, dy.dtype()) : Tensor()};
  if (!p.want_dz && !want_db) return out;
  if (dy.numel() == 0) {
    if (want_db) out.db.zero_();
    return out;
  }
  p.dy = dy.data();
  (from_pre ? p.pre : p.y) = p.want_dz ? y.data() : nullptr;
  p.dz = p.want_dz ? out.dz.data() : nullptr;
  p.db = want_db ? out.db.data() : nullptr;
  if (p.want_dz)
    execute(kBiasGrad, p, {&dy, &y}, {&out.dz, &out.db});
  else
    execute(kBiasGrad, p, {&dy}, {&out.db});
  return out;
}

/// y from the preactivation, for the activations whose slope is a function of y.
Tensor activated(const Tensor& z, Activation activation) {
  switch (activation) {
    case Activation::relu:
      return relu(z);
    case Activation::sigmoid:
      return sigmoid(z);
    case Activation::tanh:
      return tanh(z);
    default:
      return z;
  }
}

Tensor gelu_slope(const Tensor& z) {
  const Tensor cdf = (erf(z * elementwise::kSqrtHalf) + 1.0) * 0.5;
  return cdf + z * exp(z * z * -0.5) * elementwise::kNormalDensity;
}
Tensor gelu_tanh_slope(const Tensor& z) {
  const Tensor cubic = z * z * elementwise::kGeluCubic;
  const Tensor gate = sigmoid(z * (cubic + 1.0) * (2 * elementwise::kGeluScale));
  return gate + z * (cubic * 3.0 + 1.0) * (2 * elementwise::kGeluScale) * gate * (1.0 - gate);
}

/// dy times the activation's slope from public ops, for second derivatives: `y` is what the activation
/// returned, for GELU what it was given.
Tensor activation_grad(const Tensor& dy, const Tensor& y, Activation activation) {
  switch (activation) {
    case Activation::relu: {
      // The step function of y: its own derivative is 0, so that it may stand as a constant.
      return dy * bias_grad(ones_like(y), y.detach(), activation, false, false).dz;
    }
    case Activation::sigmoid:
      return dy * y * (1.0 - y);
    case Activation::tanh:
      return dy * (1.0 - y * y);
    case Activation::gelu:
      return dy * gelu_slope(y);
    case Activation::gelu_tanh:
      return dy * gelu_tanh_slope(y);
    default:
      return dy;
  }
}

struct LinearRule {
  Saved x, w, bias, y, pre;  // bias with pre only, and of y and pre what the slope is computed from
  Activation activation;
  bool has_bias;

  /// dz as a differentiable function of dy and what was saved. The saved preactivation has no history: it is
  /// computed again.
  Tensor composed_dz(const Backward& b, const Tensor& dy, const Tensor& input, const Tensor& weight) const {
    if (!pre.defined())
      return activation_grad(dy, y.defined() ? y(b).reshape(dy.shape()) : Tensor(), activation);
    const Tensor z = linear(input, weight, has_bias ? bias(b) : Tensor()).reshape(dy.shape());
    return activation_grad(dy, activated(z, activation), activation);
  }

  Gradients operator()(const Backward& b) const {
    const Tensor input = x(b), weight = w(b);
    const std::int64_t N = weight.size(0), K = weight.size(1),
                       rows = b.grad().numel() / std::max<std::int64_t>(N, 1);
    const Tensor dy = b.grad().reshape({rows, N});
    const Tensor residual_grad = b.needs(3) ? b.grad() : Tensor();  // dy itself
    const bool want_db = has_bias && b.needs(2);
    if (b.creates_graph()) {
      const Tensor dz = composed_dz(b, dy, input, weight);
      return {b.needs(0) ? matmul(dz, weight).reshape(input.shape()) : Tensor(),
              b.needs(1) ? matmul(dz.t(), input.reshape({rows, K})) : Tensor(),
              want_db ? sum(dz, {0}) : Tensor(), residual_grad};
    }
    if (!b.needs(0) && !b.needs(1) && !want_db) return {Tensor(), Tensor(), Tensor(), residual_grad};
    const bool from_pre = pre.defined();
    const Tensor saved =
        activation == Activation::none ? Tensor() : (from_pre ? pre : y)(b).reshape({rows, N});
    const BiasGrad g = bias_grad(dy, saved, activation, from_pre, want_db);
    return {b.needs(0) ? detail::multiply({g.dz}, {weight}, {}).reshape(input.shape()) : Tensor(),
            b.needs(1) ? detail::multiply({g.dz, true}, {input.reshape({rows, K})}, {}) : Tensor(), g.db,
            residual_grad};
  }
};

void check_residual(const Tensor& x, const Tensor& residual, std::int64_t N) {
  check_same(x, "input", residual, "residual");
  Shape shape = x.shape();
  shape[x.dim() - 1] = N;
  GPUNN_CHECK(residual.shape() == shape, "expected residual ", shape, ", got ", residual.shape());
}

void check_arguments(const Tensor& x, const Tensor& w, const Tensor& b) {
  check_floating(x, "input");
  check_same(x, "input", w, "weight");
  GPUNN_CHECK(w.dim() == 2, "expected weight [N, K], got ", w.shape());
  GPUNN_CHECK(x.dim() >= 1 && x.size(-1) == w.size(1), "expected input [*, ", w.size(1), "], got ",
              x.shape());
  if (!b.defined()) return;
  check_same(x, "input", b, "bias");
  GPUNN_CHECK(b.dim() == 1 && b.size(0) == w.size(0), "expected bias [", w.size(0), "], got ", b.shape());
}

}  // namespace

Tensor linear(const Tensor& x, const Tensor& w, const Tensor& b, Activation activation,
              const Tensor& residual) {
  OpScope scope("linear");
  check_arguments(x, w, b);
  const std::int64_t K = w.size(1), N = w.size(0);
  if (residual.defined()) check_residual(x, residual, N);
  std::int64_t rows = 1;
  for (int d = 0; d + 1 < x.dim(); ++d) rows *= x.shape()[d];
  // A result that includes the residual does not tell the slope any more.
  const bool use_pre = needs_pre(activation) || (residual.defined() && activation != Activation::none);
  const bool keep_pre = use_pre && autograd::wanted(x, w, b);
  Tensor y, pre;
  if (x.dim() == 2) {
    y = detail::multiply({x}, {w, true}, {}, {&b, activation, &residual, keep_pre ? &pre : nullptr});
  } else {
    const NoGrad off;  // the views are means to an end; the rule below speaks for the whole op
    Shape shape = x.shape();
    shape[x.dim() - 1] = N;
    const Tensor added = residual.defined() ? residual.reshape({rows, N}) : Tensor();
    y = detail::multiply({x.reshape({rows, K})}, {w, true}, {},
                         {&b, activation, &added, keep_pre ? &pre : nullptr})
            .view(shape);
  }
  if (autograd::wanted(x, w, b, residual))
    autograd::record(y, "linear", {&x, &w, &b, &residual},
                     LinearRule{Saved(x), Saved(w), keep_pre && b.defined() ? Saved(b) : Saved(),
                                activation == Activation::none || use_pre ? Saved() : Saved::output(y),
                                keep_pre ? Saved(pre) : Saved(), activation, b.defined()});
  return y;
}

}  // namespace gpunn
