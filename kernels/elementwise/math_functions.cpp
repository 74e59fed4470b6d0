// Argument checks and gradients of the mathematical functions.
//
// Gradients are fused kernels; while gradients are recorded through backward they are composed from public
// ops, so that derivatives of any order exist.
#include "gpunn/kernels/elementwise/math_functions.h"

#include <cmath>
#include <limits>

#include "gpunn/kernels/elementwise/compare.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/elementwise/map_op_impl.h"
#include "gpunn/kernels/elementwise/math_functors_impl.h"
#include "gpunn/kernels/reduce/reduce.h"

namespace gpunn {

namespace {

/// The gradient in public ops, from dy and what is kept.
using Composed = Tensor (*)(const Tensor& dy, const Tensor& kept, double s, double t);
enum class Keeps : std::uint8_t { input, output };

/// A function of one tensor with its fused gradient and the composed one.
struct Differentiable {
  const char* name;
  MathFunction function;
  MathGrad gradient;
  Keeps keeps;
  Composed composed;
};

Tensor unary(const Differentiable& f, const Tensor& x, double s = 0, double t = 0) {
  OpScope scope(f.name);
  Tensor y = elementwise::map(f.function, x, s, t);
  if (autograd::wanted(x))
    autograd::record(y, f.name, {&x},
                     [kept = f.keeps == Keeps::input ? Saved(x) : Saved::output(y), gradient = f.gradient,
                      composed = f.composed, s, t](const Backward& g) -> Gradients {
                       const Tensor v = kept(g);
                       if (g.creates_graph()) return {composed(g.grad(), v, s, t)};
                       return {elementwise::map(gradient, g.grad(), v, s, t)};
                     });
  return y;
}

/// A function whose slope is 0 wherever it has one.
Tensor steps(const char* name, MathFunction f, const Tensor& x) {
  OpScope scope(name);
  Tensor y = elementwise::map(f, x);
  if (autograd::wanted(x))
    autograd::record(y, name, {&x}, [](const Backward& g) -> Gradients { return {zeros_like(g.grad())}; });
  return y;
}

/// A function of two tensors: each operand's gradient, fused and composed, from (dy, a, b).
using Composed2 = Tensor (*)(const Tensor& dy, const Tensor& a, const Tensor& b);
using Fused2 = Tensor (*)(const Tensor& dy, const Tensor& a, const Tensor& b);
struct Differentiable2 {
  const char* name;
  BinaryMath function;
  Fused2 fused_a, fused_b;
  Composed2 composed_a, composed_b;
};

Tensor binary(const Differentiable2& f, const Tensor& a, const Tensor& b) {
  OpScope scope(f.name);
  Tensor y = elementwise::map(f.function, a, b);
  if (autograd::wanted(a, b))
    autograd::record(y, f.name, {&a, &b}, [f, a = Saved(a), b = Saved(b)](const Backward& g) -> Gradients {
      const Tensor left = a(g), right = b(g);
      const auto gradient = [&](int i, Fused2 fused, Composed2 composed, const Shape& shape) {
        if (!g.needs(static_cast<std::size_t>(i))) return Tensor();
        return sum_to((g.creates_graph() ? composed : fused)(g.grad(), left, right), shape);
      };
      return {gradient(0, f.fused_a, f.composed_a, left.shape()),
              gradient(1, f.fused_b, f.composed_b, right.shape())};
    });
  return y;
}

template <BinaryMathGrad kGradient>
Tensor fused(const Tensor& dy, const Tensor& a, const Tensor& b) {
  return elementwise::map(kGradient, dy, a, b);
}
/// For the second operand of a symmetric function.
template <BinaryMathGrad kGradient>
Tensor fused_exchanged(const Tensor& dy, const Tensor& a, const Tensor& b) {
  return elementwise::map(kGradient, dy, b, a);
}
Tensor passed(const Tensor& dy, const Tensor&, const Tensor&) { return dy; }

/// dy where the operand wins by `loses` being false, half of it where both are equal.
Tensor shared(const Tensor& dy, const Tensor& loses, const Tensor& equal) {
  return dy * (1 - loses.to(dy.dtype()) - equal.to(dy.dtype()) * 0.5);
}

Tensor scalar_like(const Tensor& t, double value) {
  GPUNN_CHECK(t.defined(), "expected a tensor, got an undefined one");
  return full({}, value, {.dtype = t.dtype(), .device = t.device()});
}

using In = const Tensor&;
using M = MathFunction;
using G = MathGrad;

}  // namespace

Tensor abs(In x) {
  return unary(
      {"abs", M::abs, G::abs, Keeps::input, [](In dy, In v, double, double) { return dy * sign(v); }}, x);
}
Tensor square(In x) {
  return unary({"square", M::square, G::square, Keeps::input,
                [](In dy, In v, double, double) { return dy * (v * 2); }},
               x);
}
Tensor sqrt(In x) {
  return unary(
      {"sqrt", M::sqrt, G::sqrt, Keeps::output, [](In dy, In v, double, double) { return dy / (v * 2); }}, x);
}
Tensor rsqrt(In x) {
  return unary({"rsqrt", M::rsqrt, G::rsqrt, Keeps::output,
                [](In dy, In v, double, double) { return dy * (v * v * v) * -0.5; }},
               x);
}
Tensor reciprocal(In x) {
  return unary({"reciprocal", M::reciprocal, G::reciprocal, Keeps::output,
                [](In dy, In v, double, double) { return -(dy * (v * v)); }},
               x);
}
Tensor exp2(In x) {
  return unary({"exp2", M::exp2, G::exp2, Keeps::output,
                [](In dy, In v, double, double) { return dy * v * elementwise::kLn2; }},
               x);
}
Tensor expm1(In x) {
  return unary(
      {"expm1", M::expm1, G::expm1, Keeps::output, [](In dy, In v, double, double) { return dy * (v + 1); }},
      x);
}
Tensor log1p(In x) {
  return unary(
      {"log1p", M::log1p, G::log1p, Keeps::input, [](In dy, In v, double, double) { return dy / (v + 1); }},
      x);
}
Tensor log2(In x) {
  return unary({"log2", M::log2, G::log2, Keeps::input,
                [](In dy, In v, double, double) { return dy / (v * elementwise::kLn2); }},
               x);
}
Tensor log10(In x) {
  return unary({"log10", M::log10, G::log10, Keeps::input,
                [](In dy, In v, double, double) { return dy / (v * elementwise::kLn10); }},
               x);
}
Tensor sin(In x) {
  return unary({"sin", M::sin, G::sin, Keeps::input, [](In dy, In v, double, double) { return dy * cos(v); }},
               x);
}
Tensor cos(In x) {
  return unary(
      {"cos", M::cos, G::cos, Keeps::input, [](In dy, In v, double, double) { return -(dy * sin(v)); }}, x);
}
Tensor tan(In x) {
  return unary(
      {"tan", M::tan, G::tan, Keeps::output, [](In dy, In v, double, double) { return dy * (v * v + 1); }},
      x);
}
Tensor asin(In x) {
  return unary({"asin", M::asin, G::asin, Keeps::input,
                [](In dy, In v, double, double) { return dy * rsqrt((1 - v) * (1 + v)); }},
               x);
}
Tensor acos(In x) {
  return unary({"acos", M::acos, G::acos, Keeps::input,
                [](In dy, In v, double, double) { return -(dy * rsqrt((1 - v) * (1 + v))); }},
               x);
}
Tensor atan(In x) {
  return unary(
      {"atan", M::atan, G::atan, Keeps::input, [](In dy, In v, double, double) { return dy / (v * v + 1); }},
      x);
}
Tensor sinh(In x) {
  return unary(
      {"sinh", M::sinh, G::sinh, Keeps::input, [](In dy, In v, double, double) { return dy * cosh(v); }}, x);
}
Tensor cosh(In x) {
  return unary(
      {"cosh", M::cosh, G::cosh, Keeps::input, [](In dy, In v, double, double) { return dy * sinh(v); }}, x);
}
Tensor erf(In x) {
  return unary({"erf", M::erf, G::erf, Keeps::input,
                [](In dy, In v, double, double) { return dy * exp(-(v * v)) * elementwise::kTwoOverSqrtPi; }},
               x);
}

Tensor sign(In x) { return steps("sign", M::sign, x); }
Tensor floor(In x) { return steps("floor", M::floor, x); }
Tensor ceil(In x) { return steps("ceil", M::ceil, x); }
Tensor round(In x) { return steps("round", M::round, x); }
Tensor trunc(In x) { return steps("trunc", M::trunc, x); }

Tensor clamp(In x, std::optional<double> min, std::optional<double> max) {
  {
    OpScope scope("clamp");
    GPUNN_CHECK(min || max, "expected a bound, got neither min nor max");
    for (const auto& bound : {min, max})
      if (bound) {
        GPUNN_CHECK(!std::isnan(*bound), "expected a bound, got NaN");
        GPUNN_CHECK(!x.defined() || is_floating(x.dtype()) || *bound == std::trunc(*bound),
                    "expected a whole number as bound of a tensor of ", x.dtype(), ", got ", *bound);
      }
  }
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  return unary(
      {"clamp", M::clamp, G::clamp, Keeps::input,
       [](In dy, In v, double s, double t) { return dy * logical_and(ge(v, s), le(v, t)).to(dy.dtype()); }},
      x, min.value_or(-kInfinity), max.value_or(kInfinity));
}

Tensor pow(In x, double exponent) {
  return unary({"pow", M::pow_scalar, G::pow_scalar, Keeps::input,
                [](In dy, In v, double s, double) {
                  return s == 0 ? zeros_like(dy) : s == 1 ? dy : dy * (pow(v, s - 1) * s);
                }},
               x, exponent);
}

Tensor pow(double x, In exponent) {
  return unary({"pow", M::scalar_pow, G::scalar_pow, Keeps::output,
                [](In dy, In v, double s, double) {
                  return s == 0 ? where(le(v, 1), 0, dy * (v * std::log(s))) : dy * (v * std::log(s));
                }},
               exponent, x);
}

Tensor pow(In x, In exponent) {
  using B = BinaryMathGrad;
  return binary({"pow", BinaryMath::pow, fused<B::pow_a>, fused<B::pow_b>,
                 [](In dy, In a, In b) { return where(eq(b, 0), 0, dy * (b * pow(a, b - 1))); },
                 [](In dy, In a, In b) {
                   const Tensor flat = logical_and(eq(a, 0), ge(b, 0));
                   return where(flat, 0, dy * (pow(a, b) * log(where(flat, 1, a))));
                 }},
                x, exponent);
}

Tensor maximum(In a, In b) {
  using B = BinaryMathGrad;
  return binary({"maximum", BinaryMath::maximum, fused<B::maximum>, fused_exchanged<B::maximum>,
                 [](In dy, In left, In right) { return shared(dy, lt(left, right), eq(left, right)); },
                 [](In dy, In left, In right) { return shared(dy, lt(right, left), eq(left, right)); }},
                a, b);
}

Tensor minimum(In a, In b) {
  using B = BinaryMathGrad;
  return binary({"minimum", BinaryMath::minimum, fused<B::minimum>, fused_exchanged<B::minimum>,
                 [](In dy, In left, In right) { return shared(dy, gt(left, right), eq(left, right)); },
                 [](In dy, In left, In right) { return shared(dy, gt(right, left), eq(left, right)); }},
                a, b);
}

Tensor fmod(In a, In b) {
  return binary({"fmod", BinaryMath::fmod, passed, fused<BinaryMathGrad::fmod_b>, passed,
                 [](In dy, In left, In right) { return -(dy * trunc(left / right)); }},
                a, b);
}
Tensor fmod(In a, double b) {
  OpScope scope("fmod");
  return fmod(a, scalar_like(a, b));
}

Tensor remainder(In a, In b) {
  return binary({"remainder", BinaryMath::remainder, passed, fused<BinaryMathGrad::remainder_b>, passed,
                 [](In dy, In left, In right) { return -(dy * floor(left / right)); }},
                a, b);
}
Tensor remainder(In a, double b) {
  OpScope scope("remainder");
  return remainder(a, scalar_like(a, b));
}

Tensor atan2(In a, In b) {
  using B = BinaryMathGrad;
  return binary({"atan2", BinaryMath::atan2, fused<B::atan2_a>, fused<B::atan2_b>,
                 [](In dy, In left, In right) { return dy * (right / (left * left + right * right)); },
                 [](In dy, In left, In right) { return -(dy * (left / (left * left + right * right))); }},
                a, b);
}

Tensor heaviside(In x, In values) {
  OpScope scope("heaviside");
  return elementwise::map(BinaryMath::heaviside, x, values);
}

Tensor lerp(In start, In end, In weight) {
  OpScope scope("lerp");
  Tensor y = elementwise::map(TernaryFunction::lerp, start, end, weight);
  if (autograd::wanted(start, end, weight))
    autograd::record(y, "lerp", {&start, &end, &weight},
                     [a = Saved(start), b = Saved(end), w = Saved(weight)](const Backward& g) -> Gradients {
                       const Tensor from = a(g), to = b(g), part = w(g);
                       return {g.needs(0) ? sum_to(g.grad() * (1 - part), from.shape()) : Tensor(),
                               g.needs(1) ? sum_to(g.grad() * part, to.shape()) : Tensor(),
                               g.needs(2) ? sum_to(g.grad() * (to - from), part.shape()) : Tensor()};
                     });
  return y;
}

Tensor lerp(In start, In end, double weight) {
  OpScope scope("lerp");
  Tensor y = elementwise::map(BinaryMath::lerp_scalar, start, end, weight);
  if (autograd::wanted(start, end))
    autograd::record(y, "lerp", {&start, &end},
                     [weight, from = start.shape(), to = end.shape()](const Backward& g) -> Gradients {
                       return {g.needs(0) ? sum_to(g.grad() * (1 - weight), from) : Tensor(),
                               g.needs(1) ? sum_to(g.grad() * weight, to) : Tensor()};
                     });
  return y;
}

Tensor addcmul(In x, In a, In b, double value) {
  OpScope scope("addcmul");
  Tensor y = elementwise::map(TernaryFunction::addcmul, x, a, b, value);
  if (autograd::wanted(x, a, b))
    autograd::record(y, "addcmul", {&x, &a, &b},
                     [value, shape = x.shape(), a = Saved(a), b = Saved(b)](const Backward& g) -> Gradients {
                       const Tensor left = a(g), right = b(g);
                       return {g.needs(0) ? sum_to(g.grad(), shape) : Tensor(),
                               g.needs(1) ? sum_to(g.grad() * right * value, left.shape()) : Tensor(),
                               g.needs(2) ? sum_to(g.grad() * left * value, right.shape()) : Tensor()};
                     });
  return y;
}

Tensor addcdiv(In x, In a, In b, double value) {
  OpScope scope("addcdiv");
  Tensor y = elementwise::map(TernaryFunction::addcdiv, x, a, b, value);
  if (autograd::wanted(x, a, b))
    autograd::record(y, "addcdiv", {&x, &a, &b},
                     [value, shape = x.shape(), a = Saved(a), b = Saved(b)](const Backward& g) -> Gradients {
                       const Tensor left = a(g), right = b(g);
                       const Tensor da = g.grad() / right * value;
                       return {g.needs(0) ? sum_to(g.grad(), shape) : Tensor(),
                               g.needs(1) ? sum_to(da, left.shape()) : Tensor(),
                               g.needs(2) ? sum_to(-(da * left / right), right.shape()) : Tensor()};
                     });
  return y;
}

}  // namespace gpunn
