// Argument checks, shape rules, implementation lists and gradients of the reductions.
#include "gpunn/kernels/reduce/reduce.h"

#include <limits>

#include "gpunn/core/detail/strided.h"
#include "gpunn/core/op.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/reduce/reduce_impl.h"

namespace gpunn {

namespace {

/// Which dimensions of x are reduced, and the shapes of the result.
struct Axes {
  bool reduced[kMaxRank] = {};
  Shape shape;       // without the reduced dimensions
  Shape keep_shape;  // with them, as 1
  std::int64_t length = 1;
};

Axes axes_of(const Tensor& x, const Dims& dims) {
  Axes axes;
  for (const std::int64_t dim : dims) {
    GPUNN_CHECK(dim >= -x.dim() && dim < x.dim(), "expected dimensions in [", -x.dim(), ", ", x.dim() - 1,
                "] for shape ", x.shape(), ", got ", dim);
    bool& reduced = axes.reduced[dim < 0 ? dim + x.dim() : dim];
    GPUNN_CHECK(!reduced, "expected each dimension once, got ", dims);
    reduced = true;
  }
  if (dims.empty()) std::fill(axes.reduced, axes.reduced + x.dim(), true);
  for (int i = 0; i < x.dim(); ++i) {
    axes.keep_shape.push_back(axes.reduced[i] ? 1 : x.shape()[i]);
    if (axes.reduced[i])
      axes.length *= x.shape()[i];
    else
      axes.shape.push_back(x.shape()[i]);
  }
  return axes;
}

/// The dimensions of `x` with reduced[i] == side, coalesced.
ReduceDims side_of(const Tensor& x, const Axes& axes, bool side, bool any_order) {
  ReduceDims d;
  d.rank = 0;
  for (int i = 0; i < x.dim(); ++i) {
    if (axes.reduced[i] != side) continue;
    d.shape[d.rank] = x.shape()[i];
    d.strides[d.rank++] = x.strides()[i];
  }
  if (any_order) detail::sort_by_stride<1>({d.rank, d.shape, {d.strides}});
  d.rank = detail::coalesce<1>({d.rank, d.shape, {d.strides}});
  return d;
}

void check_reducible(const Tensor& x, ReduceFunction function) {
  GPUNN_CHECK(x.defined(), "expected a tensor, got an undefined one");
  if (is_floating(x.dtype()) || function == ReduceFunction::sum) return;
  if (function == ReduceFunction::mean) return check_floating(x, "tensor");
  GPUNN_CHECK(x.dtype() == DType::i32 || x.dtype() == DType::i64,
              "expected a tensor of a floating dtype, i32 or i64, got ", x.dtype(),
              "; convert it with .to()");
}

/// The op without gradients; values and indices as the function gives them.
MaxResult reduce(ReduceFunction function, const Tensor& x, const Axes& axes, bool keepdim) {
  check_reducible(x, function);
  ReduceProblem p;
  p.dtype = x.dtype();
  p.function = function;
  const Shape& shape = keepdim ? axes.keep_shape : axes.shape;
  MaxResult out;
  if (gives_values(function)) out.values = empty_on(x.context(), shape, value_dtype(p));
  if (gives_indices(function)) out.indices = empty_on(x.context(), shape, DType::i64);
  if (shape.numel() == 0) return out;
  if (axes.length == 0) {
    GPUNN_CHECK(function == ReduceFunction::sum || function == ReduceFunction::mean,
                "expected at least one element to choose from, got shape ", x.shape());
    out.values.fill_(function == ReduceFunction::sum ? 0 : std::numeric_limits<double>::quiet_NaN());
    return out;
  }
  p.x = x.data();
  p.y = out.values.defined() ? out.values.data() : nullptr;
  p.indices = out.indices.defined() ? static_cast<std::int64_t*>(out.indices.data()) : nullptr;
  p.kept = side_of(x, axes, false, false);
  p.reduced = side_of(x, axes, true, !gives_indices(function));
  const auto& list = kReduce[static_cast<int>(function)];
  if (out.values.defined())
    execute(list, p, {&x}, {&out.values, &out.indices});
  else
    execute(list, p, {&x}, {&out.indices});
  return out;
}

Tensor adding(ReduceFunction function, const char* name, const Tensor& x, const Dims& dims, bool keepdim) {
  OpScope scope(name);
  GPUNN_CHECK(x.defined(), "expected a tensor, got an undefined one");
  const Axes axes = axes_of(x, dims);
  Tensor y = reduce(function, x, axes, keepdim).values;
  if (autograd::wanted(x)) {
    const double divisor = function == ReduceFunction::mean ? static_cast<double>(axes.length) : 1;
    autograd::record(y, name, {&x},
                     [shape = x.shape(), keep = axes.keep_shape, divisor](const Backward& b) -> Gradients {
                       const Tensor dy = divisor == 1 ? b.grad() : div(b.grad(), divisor);
                       return {expand(dy.reshape(keep), shape)};
                     });
  }
  return y;
}

/// dx of a maximum for gradient `dy`. `y` or `indices` is defined.
Tensor max_backward(const Tensor& strided, const Tensor& y, const Tensor& indices, const Shape& shape,
                    const Axes& axes, const Tensor& strided_dy) {
  const Tensor dy = strided_dy.contiguous();
  const Tensor x = strided.defined() ? strided.contiguous() : Tensor();
  Tensor dx = empty_on(dy.context(), shape, dy.dtype());
  if (dx.numel() == 0) return dx;
  MaxBackwardProblem p;
  p.dtype = dy.dtype();
  p.by_index = indices.defined();
  p.x = p.by_index ? nullptr : x.data();
  p.y = p.by_index ? nullptr : y.data();
  p.indices = p.by_index ? static_cast<const std::int64_t*>(indices.data()) : nullptr;
  p.dy = dy.data();
  p.dx = dx.data();
  p.kept = side_of(dx, axes, false, false);
  p.reduced = side_of(dx, axes, true, !p.by_index);
  execute(kMaxBackward, p, {&x, &y, &indices, &dy}, {&dx});
  return dx;
}

/// The rule of all maxima: fused, or with weights taken for constants, which they are wherever the derivative
/// exists.
Gradients max_rule(const Backward& b, const Tensor& x, const Tensor& y, const Tensor& indices,
                   const Shape& shape, const Axes& axes) {
  if (!b.creates_graph()) return {max_backward(x, y, indices, shape, axes, b.grad())};
  const Tensor weights = [&] {
    NoGrad guard;
    return max_backward(x.defined() ? x.detach() : x, y, indices, shape, axes, ones_like(b.grad()));
  }();
  return {mul(expand(b.grad().reshape(axes.keep_shape), shape), weights)};
}

Tensor largest(const char* name, const Tensor& x, const Dims& dims, bool keepdim) {
  OpScope scope(name);
  GPUNN_CHECK(x.defined(), "expected a tensor, got an undefined one");
  const Axes axes = axes_of(x, dims);
  Tensor y = reduce(ReduceFunction::max, x, axes, keepdim).values;
  if (autograd::wanted(x))
    autograd::record(y, name, {&x},
                     [x = Saved(x), y = Saved::output(y), axes](const Backward& b) -> Gradients {
                       const Tensor in = x(b);
                       return max_rule(b, in, y(b), Tensor(), in.shape(), axes);
                     });
  return y;
}

/// One dimension, mapped into [0, rank); none for a scalar.
Dims one_dim(const Tensor& x, int dim) {
  GPUNN_CHECK(x.defined(), "expected a tensor, got an undefined one");
  return x.dim() == 0 && (dim == 0 || dim == -1) ? Dims() : Dims{normalize_dim(dim, x.dim())};
}

}  // namespace

Tensor sum(const Tensor& x) { return adding(ReduceFunction::sum, "sum", x, {}, false); }
Tensor sum(const Tensor& x, const Dims& dims, bool keepdim) {
  return adding(ReduceFunction::sum, "sum", x, dims, keepdim);
}
Tensor mean(const Tensor& x) { return adding(ReduceFunction::mean, "mean", x, {}, false); }
Tensor mean(const Tensor& x, const Dims& dims, bool keepdim) {
  return adding(ReduceFunction::mean, "mean", x, dims, keepdim);
}

Tensor max(const Tensor& x) { return largest("max", x, {}, false); }
Tensor amax(const Tensor& x, const Dims& dims, bool keepdim) { return largest("amax", x, dims, keepdim); }

MaxResult max(const Tensor& x, int dim, bool keepdim) {
  OpScope scope("max");
  const Axes axes = axes_of(x, one_dim(x, dim));
  MaxResult out = reduce(ReduceFunction::max_indices, x, axes, keepdim);
  if (autograd::wanted(x))
    autograd::record(out.values, "max", {&x},
                     [indices = Saved(out.indices), shape = x.shape(), axes](const Backward& b) -> Gradients {
                       return max_rule(b, Tensor(), Tensor(), indices(b), shape, axes);
                     });
  return out;
}

Tensor argmax(const Tensor& x) {
  OpScope scope("argmax");
  GPUNN_CHECK(x.defined(), "expected a tensor, got an undefined one");
  return reduce(ReduceFunction::argmax, x, axes_of(x, {}), false).indices;
}

Tensor argmax(const Tensor& x, int dim, bool keepdim) {
  OpScope scope("argmax");
  return reduce(ReduceFunction::argmax, x, axes_of(x, one_dim(x, dim)), keepdim).indices;
}

}  // namespace gpunn
