// Argument checks, shape rules, implementation lists and gradients of the reductions.
#include "gpunn/kernels/reduce/reduce.h"

#include <limits>
#include <string>

#include "gpunn/core/detail/strided.h"
#include "gpunn/core/op.h"
#include "gpunn/core/tuning.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/reduce/reduce_axes_impl.h"

namespace gpunn {

namespace {

void describe_side(const char* side, const ReduceDims& d, TuningKey& key) {
  for (int i = 0; i < d.rank; ++i) {
    const std::string axis = side + std::to_string(i);
    key.add(axis, d.shape[i]).add(axis + "_stride", d.strides[i]);
  }
}

}  // namespace

void describe(const ReduceProblem& p, TuningKey& key) {
  describe_side("kept", p.kept, key);
  describe_side("reduced", p.reduced, key);
  if (p.function == ReduceFunction::norm) key.add("term", static_cast<int>(norm_term(p.parameter)));
  key.add_alignment({p.x, p.y, p.indices});
}

namespace detail {

ReduceAxes reduce_axes(const Tensor& x, const Dims& dims) {
  GPUNN_CHECK(x.defined(), "expected a tensor, got an undefined one");
  ReduceAxes axes;
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

Dims one_dim(const Tensor& x, int dim) {
  GPUNN_CHECK(x.defined(), "expected a tensor, got an undefined one");
  return x.dim() == 0 && (dim == 0 || dim == -1) ? Dims() : Dims{normalize_dim(dim, x.dim())};
}

ReduceDims reduce_side(const Tensor& x, const ReduceAxes& axes, bool side, bool any_order) {
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

namespace {

void check_reducible(const Tensor& x, ReduceFunction function) {
  if (is_floating(x.dtype()) || function == ReduceFunction::sum || counts(function)) return;
  if (!chooses(function)) return check_floating(x, "tensor");
  GPUNN_CHECK(x.dtype() == DType::i32 || x.dtype() == DType::i64,
              "expected a tensor of a floating dtype, i32 or i64, got ", x.dtype(),
              "; convert it with .to()");
}

/// The result over no elements. `least` norms and what is chosen have none.
double of_nothing(ReduceFunction function, double parameter, const Shape& shape) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const bool none =
      chooses(function) || (function == ReduceFunction::norm && (parameter < 0 || parameter == kInfinity));
  GPUNN_CHECK(!none, "expected at least one element to choose from, got shape ", shape);
  switch (function) {
    case ReduceFunction::prod:
    case ReduceFunction::all:
      return 1;
    case ReduceFunction::mean:
    case ReduceFunction::var:
    case ReduceFunction::std:
      return std::numeric_limits<double>::quiet_NaN();
    case ReduceFunction::logsumexp:
      return -kInfinity;
    default:
      return 0;
  }
}

}  // namespace

MaxResult reduce(ReduceFunction function, const Tensor& x, const ReduceAxes& axes, bool keepdim,
                 double parameter) {
  check_reducible(x, function);
  ReduceProblem p;
  p.dtype = x.dtype();
  p.function = function;
  p.parameter = parameter;
  const Shape& shape = keepdim ? axes.keep_shape : axes.shape;
  MaxResult out;
  if (gives_values(function)) out.values = empty_on(x.context(), shape, value_dtype(p));
  if (gives_indices(function)) out.indices = empty_on(x.context(), shape, DType::i64);
  if (shape.numel() == 0) return out;
  if (axes.length == 0) {
    out.values.fill_(of_nothing(function, parameter, x.shape()));
    return out;
  }
  p.x = x.data();
  p.y = out.values.defined() ? out.values.data() : nullptr;
  p.indices = out.indices.defined() ? static_cast<std::int64_t*>(out.indices.data()) : nullptr;
  p.kept = reduce_side(x, axes, false, false);
  p.reduced = reduce_side(x, axes, true, !gives_indices(function));
  const Tuned tuned(kReduce[static_cast<int>(function)], p, x.context(), describe);
  if (out.values.defined())
    execute(tuned.list(), p, {&x}, {&out.values, &out.indices});
  else
    execute(tuned.list(), p, {&x}, {&out.indices});
  return out;
}

}  // namespace detail

namespace {

using detail::one_dim;
using detail::reduce;
using Axes = detail::ReduceAxes;

Axes axes_of(const Tensor& x, const Dims& dims) { return detail::reduce_axes(x, dims); }

Tensor adding(ReduceFunction function, const char* name, const Tensor& x, const Dims& dims, bool keepdim) {
  OpScope scope(name);
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
  p.kept = detail::reduce_side(dx, axes, false, false);
  p.reduced = detail::reduce_side(dx, axes, true, !p.by_index);
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

/// max or min over any dimensions.
Tensor extreme(ReduceFunction function, const char* name, const Tensor& x, const Dims& dims, bool keepdim) {
  OpScope scope(name);
  const Axes axes = axes_of(x, dims);
  Tensor y = reduce(function, x, axes, keepdim).values;
  if (autograd::wanted(x))
    autograd::record(y, name, {&x},
                     [x = Saved(x), y = Saved::output(y), axes](const Backward& b) -> Gradients {
                       const Tensor in = x(b);
                       return max_rule(b, in, y(b), Tensor(), in.shape(), axes);
                     });
  return y;
}

/// max or min along one dimension, with its indices.
MaxResult extreme_at(ReduceFunction function, const char* name, const Tensor& x, int dim, bool keepdim) {
  OpScope scope(name);
  const Axes axes = axes_of(x, one_dim(x, dim));
  MaxResult out = reduce(function, x, axes, keepdim);
  if (autograd::wanted(x))
    autograd::record(out.values, name, {&x},
                     [indices = Saved(out.indices), shape = x.shape(), axes](const Backward& b) -> Gradients {
                       return max_rule(b, Tensor(), Tensor(), indices(b), shape, axes);
                     });
  return out;
}

Tensor position(ReduceFunction function, const char* name, const Tensor& x, const Dims& dims, bool keepdim) {
  OpScope scope(name);
  return reduce(function, x, axes_of(x, dims), keepdim).indices;
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

Tensor max(const Tensor& x) { return extreme(ReduceFunction::max, "max", x, {}, false); }
Tensor min(const Tensor& x) { return extreme(ReduceFunction::min, "min", x, {}, false); }
Tensor amax(const Tensor& x, const Dims& dims, bool keepdim) {
  return extreme(ReduceFunction::max, "amax", x, dims, keepdim);
}
Tensor amin(const Tensor& x, const Dims& dims, bool keepdim) {
  return extreme(ReduceFunction::min, "amin", x, dims, keepdim);
}
MaxResult max(const Tensor& x, int dim, bool keepdim) {
  return extreme_at(ReduceFunction::max_indices, "max", x, dim, keepdim);
}
MaxResult min(const Tensor& x, int dim, bool keepdim) {
  return extreme_at(ReduceFunction::min_indices, "min", x, dim, keepdim);
}
Tensor argmax(const Tensor& x) { return position(ReduceFunction::argmax, "argmax", x, {}, false); }
Tensor argmin(const Tensor& x) { return position(ReduceFunction::argmin, "argmin", x, {}, false); }
Tensor argmax(const Tensor& x, int dim, bool keepdim) {
  OpScope scope("argmax");
  return position(ReduceFunction::argmax, "argmax", x, one_dim(x, dim), keepdim);
}
Tensor argmin(const Tensor& x, int dim, bool keepdim) {
  OpScope scope("argmin");
  return position(ReduceFunction::argmin, "argmin", x, one_dim(x, dim), keepdim);
}

}  // namespace gpunn
