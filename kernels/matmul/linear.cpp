#include "gpunn/core/op.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/matmul/matmul.h"
#include "gpunn/kernels/matmul/product_impl.h"
#include "gpunn/kernels/reduce/reduce.h"

namespace gpunn {
namespace {

struct BiasGrad {
  Tensor dz, db;
};

/// dz and, if asked for, db from dy [rows, cols] and y; dz is dy itself without an activation.
BiasGrad bias_grad(const Tensor& dy_in, const Tensor& y, Activation activation, bool want_db) {
  const Tensor dy = dy_in.contiguous();
  BiasGradProblem p{};
  p.dtype = dy.dtype();
  p.rows = dy.size(0), p.cols = dy.size(1);
  p.activation = activation;
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
  p.y = p.want_dz ? y.data() : nullptr;
  p.dz = p.want_dz ? out.dz.data() : nullptr;
  p.db = want_db ? out.db.data() : nullptr;
  if (p.want_dz)
    execute(kBiasGrad, p, {&dy, &y}, {&out.dz, &out.db});
  else
    execute(kBiasGrad, p, {&dy}, {&out.db});
  return out;
}

/// dy * activation'(y) from public ops, for second derivatives.
Tensor activation_grad(const Tensor& dy, const Tensor& y, Activation activation) {
  switch (activation) {
    case Activation::relu: {
      // The step function of y: its own derivative is 0, so that it may stand as a constant.
      return dy * bias_grad(ones_like(y), y.detach(), activation, false).dz;
    }
    case Activation::sigmoid:
      return dy * y * (1.0 - y);
    case Activation::tanh:
      return dy * (1.0 - y * y);
    default:
      return dy;
  }
}

struct LinearRule {
  Saved x, w, y;
  Activation activation;
  bool has_bias;

  Gradients operator()(const Backward& b) const {
    const Tensor input = x(b), weight = w(b);
    const std::int64_t N = weight.size(0), K = weight.size(1),
                       rows = b.grad().numel() / std::max<std::int64_t>(N, 1);
    const Tensor dy = b.grad().reshape({rows, N});
    const Tensor result = activation == Activation::none ? Tensor() : y(b).reshape({rows, N});
    const bool want_db = has_bias && b.needs(2);
    if (b.creates_graph()) {
      const Tensor dz = activation_grad(dy, result, activation);
      return {b.needs(0) ? matmul(dz, weight).reshape(input.shape()) : Tensor(),
              b.needs(1) ? matmul(dz.t(), input.reshape({rows, K})) : Tensor(),
              want_db ? sum(dz, {0}) : Tensor()};
    }
    const BiasGrad g = bias_grad(dy, result, activation, want_db);
    return {b.needs(0) ? detail::multiply({g.dz}, {weight}, {}).reshape(input.shape()) : Tensor(),
            b.needs(1) ? detail::multiply({g.dz, true}, {input.reshape({rows, K})}, {}) : Tensor(), g.db};
  }
};

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

Tensor linear(const Tensor& x, const Tensor& w, const Tensor& b, Activation activation) {
  OpScope scope("linear");
  check_arguments(x, w, b);
  const std::int64_t K = w.size(1), N = w.size(0);
  std::int64_t rows = 1;
  for (int d = 0; d + 1 < x.dim(); ++d) rows *= x.shape()[d];
  Tensor y;
  if (x.dim() == 2) {
    y = detail::multiply({x}, {w, true}, {}, {&b, activation});
  } else {
    const NoGrad off;  // the views are means to an end; the rule below speaks for the whole op
    Shape shape = x.shape();
    shape[x.dim() - 1] = N;
    y = detail::multiply({x.reshape({rows, K})}, {w, true}, {}, {&b, activation}).view(shape);
  }
  if (autograd::wanted(x, w, b))
    autograd::record(
        y, "linear", {&x, &w, &b},
        LinearRule{Saved(x), Saved(w), activation == Activation::none ? Saved() : Saved::output(y),
                   activation, b.defined()});
  return y;
}

}  // namespace gpunn
