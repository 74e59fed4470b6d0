#pragma once
// Functions of one, two and three tensors, comparisons and their gradients, one functor each for the
// reference (double), the CPU's scalar path and the GPU (float, integers). Integers wrap around.
#include "gpunn/kernels/elementwise/activation_functors_impl.h"
#include "gpunn/kernels/elementwise/elementwise_functors_impl.h"

namespace gpunn::elementwise {

inline constexpr double kLn2 = 0.69314718055994530941723212145818;
inline constexpr double kLn10 = 2.30258509299404568401799145468436;
inline constexpr double kTwoOverSqrtPi = 1.12837916709551257389615890312155;

// ---- one tensor

GPUNN_FUNCTOR_1(Abs, if constexpr (std::is_integral_v<T>) return x < T(0) ? Neg::apply(x, x) : x;
                else return std::fabs(x););
GPUNN_FUNCTOR_1(Sign, if (is_nan(x)) return x; return x > T(0) ? T(1) : x < T(0) ? T(-1) : T(0););
GPUNN_FUNCTOR_1(Square, return Mul::apply(x, x););
// A lower bound above the upper one loses, as in PyTorch.
GPUNN_FUNCTOR_1(Clamp, const T v = x < s ? s : x; return v > t ? t : v;);
GPUNN_FUNCTOR_1(Sqrt, return std::sqrt(x););
GPUNN_FUNCTOR_1(Rsqrt, return T(1) / std::sqrt(x););
GPUNN_FUNCTOR_1(Reciprocal, return T(1) / x;);
GPUNN_FUNCTOR_1(Exp2, return std::exp2(x););
GPUNN_FUNCTOR_1(Expm1, return std::expm1(x););
GPUNN_FUNCTOR_1(Log1p, return std::log1p(x););
GPUNN_FUNCTOR_1(Log2, return std::log2(x););
GPUNN_FUNCTOR_1(Log10, return std::log10(x););
GPUNN_FUNCTOR_1(Sin, return std::sin(x););
GPUNN_FUNCTOR_1(Cos, return std::cos(x););
GPUNN_FUNCTOR_1(Tan, return std::tan(x););
GPUNN_FUNCTOR_1(Asin, return std::asin(x););
GPUNN_FUNCTOR_1(Acos, return std::acos(x););
GPUNN_FUNCTOR_1(Atan, return std::atan(x););
GPUNN_FUNCTOR_1(Sinh, return std::sinh(x););
GPUNN_FUNCTOR_1(Cosh, return std::cosh(x););
GPUNN_FUNCTOR_1(Erf, return std::erf(x););
GPUNN_FUNCTOR_1(Floor, return std::floor(x););
GPUNN_FUNCTOR_1(Ceil, return std::ceil(x););
GPUNN_FUNCTOR_1(Round, return std::rint(x););  // half to even
GPUNN_FUNCTOR_1(Trunc, return std::trunc(x););
GPUNN_FUNCTOR_1(PowScalar, return s == T(2) ? x * x : std::pow(x, s););
GPUNN_FUNCTOR_1(ScalarPow, return std::pow(s, x););

// (dy, x) or (dy, y); at kinks as PyTorch.
GPUNN_FUNCTOR_2(AbsGrad, dy, x, return dy * Sign::apply(x, s, t););
GPUNN_FUNCTOR_2(SquareGrad, dy, x, return dy * (T(2) * x););
GPUNN_FUNCTOR_2(ClampGrad, dy, x, return x >= s && x <= t ? dy : T(0););
GPUNN_FUNCTOR_2(SqrtGrad, dy, y, return dy / (T(2) * y););
GPUNN_FUNCTOR_2(RsqrtGrad, dy, y, return T(-0.5) * dy * (y * y * y););
GPUNN_FUNCTOR_2(ReciprocalGrad, dy, y, return -dy * (y * y););
GPUNN_FUNCTOR_2(Exp2Grad, dy, y, return dy * y * T(kLn2););
GPUNN_FUNCTOR_2(Expm1Grad, dy, y, return dy * (y + T(1)););
GPUNN_FUNCTOR_2(Log1pGrad, dy, x, return dy / (x + T(1)););
GPUNN_FUNCTOR_2(Log2Grad, dy, x, return dy / (x * T(kLn2)););
GPUNN_FUNCTOR_2(Log10Grad, dy, x, return dy / (x * T(kLn10)););
GPUNN_FUNCTOR_2(SinGrad, dy, x, return dy * std::cos(x););
GPUNN_FUNCTOR_2(CosGrad, dy, x, return -dy * std::sin(x););
GPUNN_FUNCTOR_2(TanGrad, dy, y, return dy * (T(1) + y * y););
GPUNN_FUNCTOR_2(AsinGrad, dy, x, return dy / std::sqrt((T(1) - x) * (T(1) + x)););
GPUNN_FUNCTOR_2(AcosGrad, dy, x, return -dy / std::sqrt((T(1) - x) * (T(1) + x)););
GPUNN_FUNCTOR_2(AtanGrad, dy, x, return dy / (T(1) + x * x););
GPUNN_FUNCTOR_2(SinhGrad, dy, x, return dy * std::cosh(x););
GPUNN_FUNCTOR_2(CoshGrad, dy, x, return dy * std::sinh(x););
GPUNN_FUNCTOR_2(ErfGrad, dy, x, return dy * T(kTwoOverSqrtPi) * std::exp(-x * x););
GPUNN_FUNCTOR_2(PowScalarGrad, dy, x,
                return s == T(0)   ? T(0)
                       : s == T(2) ? dy * (T(2) * x)
                                   : dy * (s * std::pow(x, s - T(1))););
// 0^x is 1 at 0 and 0 right of it, where its slope is taken for 0.
GPUNN_FUNCTOR_2(ScalarPowGrad, dy, y, return s == T(0) && y <= T(1) ? T(0) : dy * (y * std::log(s)););

// ---- two tensors

GPUNN_FUNCTOR_2(Maximum, a, b, return is_nan(a) ? a : is_nan(b) ? b : a < b ? b : a;);
GPUNN_FUNCTOR_2(Minimum, a, b, return is_nan(a) ? a : is_nan(b) ? b : b < a ? b : a;);
GPUNN_FUNCTOR_2(Pow, a, b, return std::pow(a, b););
GPUNN_FUNCTOR_2(Fmod, a, b, return std::fmod(a, b););
// The sign of the divisor, as Python's %.
GPUNN_FUNCTOR_2(Remainder, a, b, const T r = std::fmod(a, b);
                return r != T(0) && (r < T(0)) != (b < T(0)) ? r + b : r;);
GPUNN_FUNCTOR_2(Atan2, a, b, return std::atan2(a, b););
GPUNN_FUNCTOR_2(Heaviside, x, values, return x == T(0) ? values : x > T(0) ? T(1) : T(0););
GPUNN_FUNCTOR_2(Prelu, x, w, return x > T(0) ? x : w * x;);
// From the nearer end, so that a weight of 1 gives b.
GPUNN_FUNCTOR_2(LerpScalar, a, b, return s < T(0.5) ? a + s * (b - a) : b - (b - a) * (T(1) - s););

// (dy, a, b). The larger operand takes the gradient, equal ones half of it each; for the other operand the
// arguments are exchanged.
GPUNN_FUNCTOR_3(MaximumGrad, dy, a, b, return a < b ? T(0) : a == b ? dy / T(2) : dy;);
GPUNN_FUNCTOR_3(MinimumGrad, dy, a, b, return a > b ? T(0) : a == b ? dy / T(2) : dy;);
GPUNN_FUNCTOR_3(PowGradA, dy, a, b, return b == T(0) ? T(0) : dy * (b * std::pow(a, b - T(1))););
GPUNN_FUNCTOR_3(PowGradB, dy, a, b,
                return a == T(0) && b >= T(0) ? T(0) : dy * (std::pow(a, b) * std::log(a)););
GPUNN_FUNCTOR_3(FmodGradB, dy, a, b, return -dy * std::trunc(a / b););
GPUNN_FUNCTOR_3(RemainderGradB, dy, a, b, return -dy * std::floor(a / b););
GPUNN_FUNCTOR_3(Atan2GradA, dy, a, b, return dy * (b / (a * a + b * b)););
GPUNN_FUNCTOR_3(Atan2GradB, dy, a, b, return -dy * (a / (a * a + b * b)););
GPUNN_FUNCTOR_3(PreluGradX, dy, x, w, return x > T(0) ? dy : dy * w;);
GPUNN_FUNCTOR_3(PreluGradW, dy, x, w, return x > T(0) ? T(0) : dy * x;);

// ---- three tensors

GPUNN_FUNCTOR_3(Lerp, a, b, w, return w < T(0.5) ? a + w * (b - a) : b - (b - a) * (T(1) - w););
GPUNN_FUNCTOR_3(Addcmul, a, b, c, return a + s * b * c;);
GPUNN_FUNCTOR_3(Addcdiv, a, b, c, return a + s * b / c;);
GPUNN_FUNCTOR_3(Where, condition, a, b, return condition != T(0) ? a : b;);

// ---- comparisons: (a, b; s, t) and (x; s, t), the operands being the first two

#define GPUNN_COMPARISON(Name, ...)                 \
  struct Name {                                     \
    template <class T, class... Rest>               \
    static GPUNN_HD bool apply(T a, T b, Rest...) { \
      return __VA_ARGS__;                           \
    }                                               \
  }
GPUNN_COMPARISON(Eq, a == b);
GPUNN_COMPARISON(Ne, a != b);
GPUNN_COMPARISON(Lt, a < b);
GPUNN_COMPARISON(Le, a <= b);
GPUNN_COMPARISON(Gt, a > b);
GPUNN_COMPARISON(Ge, a >= b);
GPUNN_COMPARISON(LogicalAnd, a != T(0) && b != T(0));
GPUNN_COMPARISON(LogicalOr, a != T(0) || b != T(0));
GPUNN_COMPARISON(LogicalXor, (a != T(0)) != (b != T(0)));

/// |x| beyond every finite number; false for integers.
template <class T>
GPUNN_HD bool is_infinite(T x) {
  if constexpr (std::is_integral_v<T>)
    return false;
  else
    return std::fabs(x) >
           (sizeof(T) == sizeof(float) ? T(3.40282346638528859812e38) : T(1.79769313486231570815e308));
}
struct IsNan {
  template <class T>
  static GPUNN_HD bool apply(T x, T, T) {
    return is_nan(x);
  }
};
struct IsInf {
  template <class T>
  static GPUNN_HD bool apply(T x, T, T) {
    return is_infinite(x);
  }
};
struct IsFinite {
  template <class T>
  static GPUNN_HD bool apply(T x, T, T) {
    return !is_nan(x) && !is_infinite(x);
  }
};
struct LogicalNot {
  template <class T>
  static GPUNN_HD bool apply(T x, T, T) {
    return x == T(0);
  }
};

GPUNN_MAP_VISIT(MathFunction, GPUNN_MATH_INTEGERS, GPUNN_MATH_FLOATING)
GPUNN_MAP_VISIT(MathGrad, GPUNN_MAP_NONE, GPUNN_MATH_GRADS)
GPUNN_MAP_VISIT(BinaryMath, GPUNN_BINARY_MATH_INTEGERS, GPUNN_BINARY_MATH_FLOATING)
GPUNN_MAP_VISIT(BinaryMathGrad, GPUNN_MAP_NONE, GPUNN_BINARY_MATH_GRADS)
GPUNN_MAP_VISIT(TernaryFunction, GPUNN_MAP_NONE, GPUNN_TERNARY_FLOATING)
GPUNN_MAP_VISIT(Selection, GPUNN_SELECTIONS, GPUNN_MAP_NONE)
GPUNN_MAP_VISIT(CompareFunction, GPUNN_COMPARISONS, GPUNN_MAP_NONE)
GPUNN_MAP_VISIT(Predicate, GPUNN_PREDICATES, GPUNN_MAP_NONE)

}  // namespace gpunn::elementwise
