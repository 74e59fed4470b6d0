// Argument checks, broadcasting and gradients of the element-wise ops.
#include "gpunn/kernels/elementwise/elementwise.h"

#include <cmath>

#include "gpunn/core/detail/strided.h"
#include "gpunn/core/op.h"
#include "gpunn/kernels/elementwise/elementwise_impl.h"
#include "gpunn/kernels/reduce/reduce.h"

namespace gpunn {

namespace {

template <class Function>
void check_dtype(Function function, const Tensor& t) {
  GPUNN_CHECK(t.defined(), "expected a tensor, got an undefined one");
  if (is_floating(t.dtype())) [[likely]]
    return;
  if (takes_integers(function)) {
    GPUNN_CHECK(is_wide_integer(t.dtype()), "expected a tensor of f32, f64, f16, bf16, i32 or i64, got ",
                t.dtype(), "; convert it with .to()");
  } else {
    check_floating(t, "tensor");
  }
}

/// Strides of `t` seen as `shape`: 0 where it is repeated.
void broadcast_strides(const Tensor& t, const Shape& shape, std::int64_t* strides) {
  const int missing = shape.rank() - t.dim();
  for (int i = 0; i < shape.rank(); ++i) {
    const bool repeated = i < missing || (t.shape()[i - missing] == 1 && shape[i] != 1);
    strides[i] = repeated ? 0 : t.strides()[i - missing];
  }
}

/// The op without gradients. Nothing on the way allocates but the result: small tensors take some 100 ns.
Tensor unary(UnaryFunction function, const Tensor& x, double scalar = 0) {
  check_dtype(function, x);
  const bool dense = x.layout() != Layout::strided;
  Tensor y = empty_on(x.context(), x.shape(), x.dtype(), dense ? x.layout() : Layout::contiguous);
  const std::int64_t n = x.numel();
  if (n == 0) return y;
  UnaryProblem p;
  p.dtype = x.dtype();
  p.function = function;
  p.x = x.data();
  p.y = y.data();
  p.scalar = scalar;
  if (dense) [[likely]] {
    p.rank = 1;
    p.shape[0] = n;
    p.x_strides[0] = 1;
  } else {
    std::copy(x.shape().begin(), x.shape().end(), p.shape);
    std::copy(x.strides().begin(), x.strides().end(), p.x_strides);
    p.rank = detail::coalesce<1>({x.dim(), p.shape, {p.x_strides}});
  }
  execute(kUnary[static_cast<int>(function)], p, {&x}, {&y});
  return y;
}

/// Likewise, with broadcasting.
Tensor binary(BinaryFunction function, const Tensor& a, const Tensor& b) {
  check_dtype(function, a);
  check_same(a, "a", b, "b");
  const bool same = a.shape() == b.shape();
  const Shape shape = same ? a.shape() : broadcast_shapes(a.shape(), b.shape());
  const bool dense = same && a.layout() == b.layout() && a.layout() != Layout::strided;
  Tensor y = empty_on(a.context(), shape, a.dtype(), dense ? a.layout() : Layout::contiguous);
  const std::int64_t n = y.numel();
  if (n == 0) return y;
  BinaryProblem p;
  p.dtype = a.dtype();
  p.function = function;
  p.a = a.data();
  p.b = b.data();
  p.y = y.data();
  if (dense) [[likely]] {
    p.rank = 1;
    p.shape[0] = n;
    p.a_strides[0] = p.b_strides[0] = 1;
  } else {
    std::copy(shape.begin(), shape.end(), p.shape);
    broadcast_strides(a, shape, p.a_strides);
    broadcast_strides(b, shape, p.b_strides);
    p.rank = detail::coalesce<2>({shape.rank(), p.shape, {p.a_strides, p.b_strides}});
  }
  execute(kBinary[static_cast<int>(function)], p, {&a, &b}, {&y});
  return y;
}

/// For integers the scalar must be one of their values.
void check_scalar(const Tensor& t, double scalar) {
  if (!t.defined() || is_floating(t.dtype())) return;
  const double limit = t.dtype() == DType::i32 ? 0x1p31 : 0x1p63;
  GPUNN_CHECK(scalar >= -limit && scalar < limit && scalar == std::trunc(scalar),
              "expected a whole number for a tensor of ", t.dtype(), ", got ", scalar,
              "; convert the tensor with .to()");
}

/// The gradient of relu, itself differentiable with respect to dy.
Tensor relu_grad(const Tensor& dy, const Tensor& y) {
  Tensor dx = binary(BinaryFunction::relu_grad, dy, y);
  if (autograd::wanted(dy))
    autograd::record(dx, "relu", {&dy},
                     [y = Saved(y)](const Backward& b) -> Gradients { return {relu_grad(b.grad(), y(b))}; });
  return dx;
}

/// -a * b
Tensor neg_mul(const Backward& backward, const Tensor& a, const Tensor& b) {
  return backward.creates_graph() ? neg(mul(a, b)) : binary(BinaryFunction::neg_mul, a, b);
}

}  // namespace

Tensor add(const Tensor& a, const Tensor& b) {
  OpScope scope("add");
  Tensor y = binary(BinaryFunction::add, a, b);
  if (autograd::wanted(a, b))
    autograd::record(y, "add", {&a, &b}, [sa = a.shape(), sb = b.shape()](const Backward& g) -> Gradients {
      return {g.needs(0) ? sum_to(g.grad(), sa) : Tensor(), g.needs(1) ? sum_to(g.grad(), sb) : Tensor()};
    });
  return y;
}

Tensor sub(const Tensor& a, const Tensor& b) {
  OpScope scope("sub");
  Tensor y = binary(BinaryFunction::sub, a, b);
  if (autograd::wanted(a, b))
    autograd::record(y, "sub", {&a, &b}, [sa = a.shape(), sb = b.shape()](const Backward& g) -> Gradients {
      return {g.needs(0) ? sum_to(g.grad(), sa) : Tensor(),
              g.needs(1) ? neg(sum_to(g.grad(), sb)) : Tensor()};
    });
  return y;
}

Tensor mul(const Tensor& a, const Tensor& b) {
  OpScope scope("mul");
  Tensor y = binary(BinaryFunction::mul, a, b);
  if (autograd::wanted(a, b))
    autograd::record(y, "mul", {&a, &b}, [a = Saved(a), b = Saved(b)](const Backward& g) -> Gradients {
      const Tensor left = a(g), right = b(g);
      return {g.needs(0) ? sum_to(mul(g.grad(), right), left.shape()) : Tensor(),
              g.needs(1) ? sum_to(mul(g.grad(), left), right.shape()) : Tensor()};
    });
  return y;
}

Tensor div(const Tensor& a, const Tensor& b) {
  OpScope scope("div");
  Tensor y = binary(BinaryFunction::div, a, b);
  if (autograd::wanted(a, b))
    autograd::record(y, "div", {&a, &b},
                     [sa = a.shape(), b = Saved(b), y = Saved::output(y)](const Backward& g) -> Gradients {
                       const Tensor divisor = b(g);
                       // db = -dy a / b^2 = -(dy / b) y: da serves twice
                       const Tensor da = div(g.grad(), divisor);
                       return {g.needs(0) ? sum_to(da, sa) : Tensor(),
                               g.needs(1) ? sum_to(neg_mul(g, da, y(g)), divisor.shape()) : Tensor()};
                     });
  return y;
}

Tensor add(const Tensor& a, double b) {
  OpScope scope("add");
  check_scalar(a, b);
  Tensor y = unary(UnaryFunction::add_scalar, a, b);
  if (autograd::wanted(a))
    autograd::record(y, "add", {&a}, [](const Backward& g) -> Gradients { return {g.grad()}; });
  return y;
}

Tensor sub(const Tensor& a, double b) {
  OpScope scope("sub");
  check_scalar(a, b);
  // x - s is x + (-s) exactly; an integer's lowest value is its own negative.
  const bool lowest =
      a.defined() && !is_floating(a.dtype()) && b == (a.dtype() == DType::i32 ? -0x1p31 : -0x1p63);
  Tensor y = unary(UnaryFunction::add_scalar, a, lowest ? b : -b);
  if (autograd::wanted(a))
    autograd::record(y, "sub", {&a}, [](const Backward& g) -> Gradients { return {g.grad()}; });
  return y;
}

Tensor mul(const Tensor& a, double b) {
  OpScope scope("mul");
  check_scalar(a, b);
  Tensor y = unary(UnaryFunction::mul_scalar, a, b);
  if (autograd::wanted(a))
    autograd::record(y, "mul", {&a}, [b](const Backward& g) -> Gradients { return {mul(g.grad(), b)}; });
  return y;
}

Tensor div(const Tensor& a, double b) {
  OpScope scope("div");
  Tensor y = unary(UnaryFunction::div_scalar, a, b);
  if (autograd::wanted(a))
    autograd::record(y, "div", {&a}, [b](const Backward& g) -> Gradients { return {div(g.grad(), b)}; });
  return y;
}

Tensor sub(double a, const Tensor& b) {
  OpScope scope("sub");
  check_scalar(b, a);
  Tensor y = unary(UnaryFunction::rsub_scalar, b, a);
  if (autograd::wanted(b))
    autograd::record(y, "sub", {&b}, [](const Backward& g) -> Gradients { return {neg(g.grad())}; });
  return y;
}

Tensor div(double a, const Tensor& b) {
  OpScope scope("div");
  Tensor y = unary(UnaryFunction::rdiv_scalar, b, a);
  if (autograd::wanted(b))
    autograd::record(y, "div", {&b}, [b = Saved(b), y = Saved::output(y)](const Backward& g) -> Gradients {
      return {neg_mul(g, div(g.grad(), b(g)), y(g))};
    });
  return y;
}

Tensor neg(const Tensor& x) {
  OpScope scope("neg");
  Tensor y = unary(UnaryFunction::neg, x);
  if (autograd::wanted(x))
    autograd::record(y, "neg", {&x}, [](const Backward& g) -> Gradients { return {neg(g.grad())}; });
  return y;
}

Tensor exp(const Tensor& x) {
  OpScope scope("exp");
  Tensor y = unary(UnaryFunction::exp, x);
  if (autograd::wanted(x))
    autograd::record(y, "exp", {&x}, [y = Saved::output(y)](const Backward& g) -> Gradients {
      return {mul(g.grad(), y(g))};
    });
  return y;
}

Tensor log(const Tensor& x) {
  OpScope scope("log");
  Tensor y = unary(UnaryFunction::log, x);
  if (autograd::wanted(x))
    autograd::record(y, "log", {&x},
                     [x = Saved(x)](const Backward& g) -> Gradients { return {div(g.grad(), x(g))}; });
  return y;
}

Tensor relu(const Tensor& x) {
  OpScope scope("relu");
  Tensor y = unary(UnaryFunction::relu, x);
  if (autograd::wanted(x))
    autograd::record(y, "relu", {&x}, [y = Saved::output(y)](const Backward& g) -> Gradients {
      return {relu_grad(g.grad(), y(g))};
    });
  return y;
}

Tensor sigmoid(const Tensor& x) {
  OpScope scope("sigmoid");
  Tensor y = unary(UnaryFunction::sigmoid, x);
  if (autograd::wanted(x))
    autograd::record(y, "sigmoid", {&x}, [y = Saved::output(y)](const Backward& g) -> Gradients {
      const Tensor out = y(g);
      if (g.creates_graph()) return {mul(mul(g.grad(), out), sub(1, out))};
      return {binary(BinaryFunction::sigmoid_grad, g.grad(), out)};
    });
  return y;
}

Tensor tanh(const Tensor& x) {
  OpScope scope("tanh");
  Tensor y = unary(UnaryFunction::tanh, x);
  if (autograd::wanted(x))
    autograd::record(y, "tanh", {&x}, [y = Saved::output(y)](const Backward& g) -> Gradients {
      const Tensor out = y(g);
      if (g.creates_graph()) return {mul(g.grad(), sub(1, mul(out, out)))};
      return {binary(BinaryFunction::tanh_grad, g.grad(), out)};
    });
  return y;
}

}  // namespace gpunn
