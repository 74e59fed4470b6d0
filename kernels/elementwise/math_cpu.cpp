// Mathematical functions, comparisons and selections in f32 on the CPU. Functions without a vector form here
// run the C library's, or a loop that the compiler vectorises.
#include "gpunn/kernels/elementwise/math_functors_impl.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "gpunn/kernels/elementwise/math_cpu.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
// After highway.h
#include "gpunn/kernels/elementwise/map_cpu-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gpunn {
namespace HWY_NAMESPACE {
namespace {

HWY_INLINE Vector C(double value) { return hn::Set(Tag(), static_cast<float>(value)); }

GPUNN_VECTOR_1(Abs, return hn::Abs(x););
GPUNN_VECTOR_1(Square, return hn::Mul(x, x););
GPUNN_VECTOR_1(Clamp, const Vector v = hn::IfThenElse(hn::Lt(x, s), s, x);
               return hn::IfThenElse(hn::Gt(v, t), t, v););
GPUNN_VECTOR_1(Sqrt, return hn::Sqrt(x););
GPUNN_VECTOR_1(Rsqrt, return hn::Div(C(1), hn::Sqrt(x)););
GPUNN_VECTOR_1(Reciprocal, return hn::Div(C(1), x););
GPUNN_VECTOR_1(Expm1, return Expm1(d, x););
GPUNN_VECTOR_1(Log1p, return Log1p(d, x););
GPUNN_VECTOR_1(Erf, return Erf(d, x););
GPUNN_VECTOR_1(Floor, return hn::Floor(x););
GPUNN_VECTOR_1(Ceil, return hn::Ceil(x););
GPUNN_VECTOR_1(Round, return hn::Round(x););
GPUNN_VECTOR_1(Trunc, return hn::Trunc(x););
// A square needs no logarithm; the exponent is one for all lanes.
GPUNN_VECTOR_1(PowScalar, if (hn::AllTrue(d, hn::Eq(s, C(2)))) return hn::Mul(x, x); return Pow(d, x, s););
GPUNN_VECTOR_1(ScalarPow, return Pow(d, s, x););

GPUNN_VECTOR_2(SquareGrad, dy, x, return hn::Mul(dy, hn::Add(x, x)););
GPUNN_VECTOR_2(ClampGrad, dy, x, return hn::IfThenElseZero(hn::And(hn::Ge(x, s), hn::Le(x, t)), dy););
GPUNN_VECTOR_2(SqrtGrad, dy, y, return hn::Div(dy, hn::Add(y, y)););
GPUNN_VECTOR_2(RsqrtGrad, dy, y, return hn::Mul(hn::Mul(C(-0.5), dy), hn::Mul(y, hn::Mul(y, y))););
GPUNN_VECTOR_2(ReciprocalGrad, dy, y, return hn::Neg(hn::Mul(dy, hn::Mul(y, y))););
GPUNN_VECTOR_2(ErfGrad, dy, x,
               const Vector slope = hn::Mul(C(elementwise::kTwoOverSqrtPi),
                                            ExpOfSquare(d, hn::Abs(x), -1.0f));
               return hn::Mul(dy, hn::IfThenElse(hn::Eq(x, x), slope, x)););
GPUNN_VECTOR_2(PowScalarGrad, dy, x, if (hn::AllTrue(d, hn::Eq(s, hn::Zero(d)))) return hn::Zero(d);
               if (hn::AllTrue(d, hn::Eq(s, C(2)))) return hn::Mul(dy, hn::Add(x, x));
               return hn::Mul(dy, hn::Mul(s, Pow(d, x, hn::Sub(s, C(1))))););

GPUNN_VECTOR_2(Maximum, a, b, const Vector larger = hn::IfThenElse(hn::Lt(a, b), b, a);
               return hn::IfThenElse(hn::Eq(b, b), larger, hn::IfThenElse(hn::Eq(a, a), b, a)););
GPUNN_VECTOR_2(Minimum, a, b, const Vector smaller = hn::IfThenElse(hn::Lt(b, a), b, a);
               return hn::IfThenElse(hn::Eq(b, b), smaller, hn::IfThenElse(hn::Eq(a, a), b, a)););
GPUNN_VECTOR_2(Pow, a, b, return Pow(d, a, b););
GPUNN_VECTOR_2(Prelu, x, w, return hn::IfThenElse(hn::Gt(x, hn::Zero(d)), x, hn::Mul(w, x)););

MapRun ChooseMath(MathFunction f) { return ChooseRun(f); }
MapRun ChooseMathGrad(MathGrad f) { return ChooseRun(f); }
MapRun ChooseBinaryMath(BinaryMath f) { return ChooseRun(f); }
MapRun ChooseBinaryMathGrad(BinaryMathGrad f) { return ChooseRun(f); }
MapRun ChooseTernary(TernaryFunction f) { return ChooseRun(f); }
MapRun ChooseSelection(Selection f) { return ChooseRun(f); }
MapRun ChooseComparison(CompareFunction f) { return ChooseRun(f); }
MapRun ChoosePredicate(Predicate f) { return ChooseRun(f); }

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace gpunn
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gpunn {

#define GPUNN_MAP_CPU(Function, Choose)                                      \
  namespace {                                                                \
  HWY_EXPORT(Choose);                                                        \
  }                                                                          \
  void map_cpu(const MapProblem<Function>& p, const Exec& exec) {            \
    elementwise::run_cpu(p, exec, HWY_DYNAMIC_DISPATCH(Choose)(p.function)); \
  }

GPUNN_MAP_CPU(MathFunction, ChooseMath)
GPUNN_MAP_CPU(MathGrad, ChooseMathGrad)
GPUNN_MAP_CPU(BinaryMath, ChooseBinaryMath)
GPUNN_MAP_CPU(BinaryMathGrad, ChooseBinaryMathGrad)
GPUNN_MAP_CPU(TernaryFunction, ChooseTernary)
GPUNN_MAP_CPU(Selection, ChooseSelection)
GPUNN_MAP_CPU(CompareFunction, ChooseComparison)
GPUNN_MAP_CPU(Predicate, ChoosePredicate)

}  // namespace gpunn
#endif  // HWY_ONCE
