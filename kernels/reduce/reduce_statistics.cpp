// Argument checks and gradients of products, variances, norms, logsumexp and counts.
#include <cmath>
#include <span>

#include "gpunn/core/op.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/reduce/reduce_axes_impl.h"

namespace gpunn {

namespace {

using Axes = detail::ReduceAxes;

/// The reduced dimensions; none means all.
Dims dims_of(const Axes& axes) {
  Dims dims;
  for (int i = 0; i < axes.keep_shape.rank(); ++i)
    if (axes.reduced[i]) dims.push_back(i);
  return dims;
}

/// dx of prod or norm, fused. `y` is defined for norm.
Tensor backward_fused(ReduceFunction function, const Tensor& strided, const Tensor& y,
                      const Tensor& strided_dy, const Axes& axes, double parameter) {
  const Tensor x = strided.contiguous(), dy = strided_dy.contiguous();
  Tensor dx = empty_on(x.context(), x.shape(), x.dtype());
  if (dx.numel() == 0) return dx;
  ReduceBackwardProblem p;
  p.dtype = x.dtype();
  p.function = function;
  p.x = x.data();
  p.y = y.defined() ? y.data() : nullptr;
  p.dy = dy.data();
  p.dx = dx.data();
  p.kept = detail::reduce_side(x, axes, false, false);
  p.reduced = detail::reduce_side(x, axes, true, true);
  p.parameter = parameter;
  const bool prod = function == ReduceFunction::prod;
  execute(prod ? kProdBackward : kNormBackward, p, {&x, &y, &dy}, {&dx});
  return dx;
}

// ---- products

/// x as [kept dimensions…, all reduced ones].
Tensor as_rows(const Tensor& x, const Axes& axes) {
  Dims order;
  for (const bool side : {false, true})
    for (int i = 0; i < x.dim(); ++i)
      if (axes.reduced[i] == side) order.push_back(i);
  Shape shape = axes.shape;
  shape.push_back(axes.length);
  return x.permute(order).reshape(shape);
}

/// The product along the last dimension as a tree of mul, whose derivatives are exact where elements are 0.
Tensor product_tree(Tensor x) {
  const int last = x.dim() - 1;
  Tensor rest;
  while (x.size(last) > 1) {
    const std::int64_t n = x.size(last), half = n / 2;
    if (n % 2 == 1) {
      const Tensor odd = x.narrow(last, n - 1, 1);
      rest = rest.defined() ? mul(rest, odd) : odd;
    }
    x = mul(x.narrow(last, 0, half), x.narrow(last, half, half));
  }
  return rest.defined() ? mul(x, rest) : x;
}

Gradients prod_rule(const Backward& b, const Tensor& x, const Axes& axes) {
  if (!b.creates_graph()) return {backward_fused(ReduceFunction::prod, x, {}, b.grad(), axes, 0)};
  if (x.numel() == 0) return {zeros_like(x)};
  const Tensor y = product_tree(as_rows(x, axes)), dy = b.grad().reshape(y.shape());
  return autograd::grad(std::span(&y, 1), std::span(&x, 1), std::span(&dy, 1), true, true);
}

// ---- variances and norms

/// dy / y, and 0 where y is 0.
Tensor divided(const Tensor& dy, const Tensor& y) {
  const Tensor here = [&] {
    NoGrad guard;
    return any(y.detach().reshape({y.numel(), 1}), {1}).reshape(y.shape()).to(y.dtype());
  }();
  return div(mul(dy, here), add(y, sub(1, here)));
}

/// x less its mean.
Tensor centred(const Tensor& x, const Axes& axes) { return sub(x, mean(x, dims_of(axes), true)); }

Tensor spread(ReduceFunction function, const char* name, const Tensor& x, const Dims& dims, double correction,
              bool keepdim) {
  OpScope scope(name);
  const Axes axes = detail::reduce_axes(x, dims);
  GPUNN_CHECK(std::isfinite(correction), "expected a finite correction, got ", correction);
  Tensor y = detail::reduce(function, x, axes, keepdim, correction).values;
  if (!autograd::wanted(x)) return y;
  const double divisor = variance_divisor(axes.length, correction);
  if (function == ReduceFunction::var)
    autograd::record(y, name, {&x}, [x = Saved(x), axes, divisor](const Backward& b) -> Gradients {
      return {mul(centred(x(b), axes), mul(b.grad(), 2 / divisor).reshape(axes.keep_shape))};
    });
  else
    autograd::record(y, name, {&x},
                     [x = Saved(x), y = Saved::output(y), axes, divisor](const Backward& b) -> Gradients {
                       const Tensor scale = div(divided(b.grad(), y(b)), divisor);
                       return {mul(centred(x(b), axes), scale.reshape(axes.keep_shape))};
                     });
  return y;
}

Gradients norm_rule(const Backward& b, const Tensor& x, const Tensor& y, const Axes& axes, double p) {
  const auto fused = [&](const Tensor& dy) {
    return backward_fused(ReduceFunction::norm, x, y, dy, axes, p);
  };
  if (!b.creates_graph()) return {fused(b.grad())};
  switch (norm_term(p)) {
    case NormTerm::square:
      return {mul(x, divided(b.grad(), y).reshape(axes.keep_shape))};
    case NormTerm::power:
      b.unsupported();
    default: {
      // Constant wherever the derivative exists.
      const Tensor weights = [&] {
        NoGrad guard;
        return fused(ones_like(b.grad()));
      }();
      return {mul(weights, b.grad().reshape(axes.keep_shape))};
    }
  }
}

Tensor counting(ReduceFunction function, const char* name, const Tensor& x, const Dims& dims, bool keepdim) {
  OpScope scope(name);
  return detail::reduce(function, x, detail::reduce_axes(x, dims), keepdim).values;
}

}  // namespace

Tensor prod(const Tensor& x) { return prod(x, {}); }
Tensor prod(const Tensor& x, const Dims& dims, bool keepdim) {
  OpScope scope("prod");
  const Axes axes = detail::reduce_axes(x, dims);
  Tensor y = detail::reduce(ReduceFunction::prod, x, axes, keepdim).values;
  if (autograd::wanted(x))
    autograd::record(y, "prod", {&x}, [x = Saved(x), axes](const Backward& b) -> Gradients {
      return prod_rule(b, x(b), axes);
    });
  return y;
}

Tensor var(const Tensor& x, const Dims& dims, double correction, bool keepdim) {
  return spread(ReduceFunction::var, "var", x, dims, correction, keepdim);
}
Tensor std(const Tensor& x, const Dims& dims, double correction, bool keepdim) {
  return spread(ReduceFunction::std, "std", x, dims, correction, keepdim);
}
VarMean var_mean(const Tensor& x, const Dims& dims, double correction, bool keepdim) {
  return {var(x, dims, correction, keepdim), mean(x, dims, keepdim)};
}

Tensor norm(const Tensor& x, double p) { return norm(x, p, {}); }
Tensor norm(const Tensor& x, double p, const Dims& dims, bool keepdim) {
  OpScope scope("norm");
  const Axes axes = detail::reduce_axes(x, dims);
  GPUNN_CHECK(!std::isnan(p), "expected p to be a number, got ", p);
  Tensor y = detail::reduce(ReduceFunction::norm, x, axes, keepdim, p).values;
  if (autograd::wanted(x))
    autograd::record(y, "norm", {&x},
                     [x = Saved(x), y = Saved::output(y), axes, p](const Backward& b) -> Gradients {
                       return norm_rule(b, x(b), y(b), axes, p);
                     });
  return y;
}

Tensor logsumexp(const Tensor& x, const Dims& dims, bool keepdim) {
  OpScope scope("logsumexp");
  const Axes axes = detail::reduce_axes(x, dims);
  Tensor y = detail::reduce(ReduceFunction::logsumexp, x, axes, keepdim).values;
  if (autograd::wanted(x))
    autograd::record(y, "logsumexp", {&x},
                     [x = Saved(x), y = Saved::output(y), axes](const Backward& b) -> Gradients {
                       const Tensor share = exp(sub(x(b), y(b).reshape(axes.keep_shape)));
                       return {mul(share, b.grad().reshape(axes.keep_shape))};
                     });
  return y;
}

Tensor any(const Tensor& x) { return any(x, {}); }
Tensor any(const Tensor& x, const Dims& dims, bool keepdim) {
  return counting(ReduceFunction::any, "any", x, dims, keepdim);
}
Tensor all(const Tensor& x) { return all(x, {}); }
Tensor all(const Tensor& x, const Dims& dims, bool keepdim) {
  return counting(ReduceFunction::all, "all", x, dims, keepdim);
}
Tensor count_nonzero(const Tensor& x, const Dims& dims) {
  return counting(ReduceFunction::count_nonzero, "count_nonzero", x, dims, false);
}

}  // namespace gpunn
