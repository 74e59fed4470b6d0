// Activations and their gradients in f32 on the CPU.
#include "gpunn/kernels/elementwise/activation_functors_impl.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "gpunn/kernels/elementwise/activations_cpu.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
// After highway.h
#include "gpunn/kernels/elementwise/map_cpu-inl.h"
#include "gpunn/kernels/elementwise/simd_activations-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gpunn {
namespace HWY_NAMESPACE {
namespace {

HWY_INLINE Vector C(double value) { return hn::Set(Tag(), static_cast<float>(value)); }
HWY_INLINE Vector Square(Vector x) { return hn::Mul(x, x); }

HWY_INLINE Vector LogOnePlusExp(Tag d, Vector x) {
  const Vector positive = hn::IfThenZeroElse(hn::Lt(x, hn::Zero(d)), x);
  return hn::Add(positive, Log1p(d, Exp(d, hn::Neg(hn::Abs(x)))));
}
/// x + 3 within [0, 6], NaN staying NaN
HWY_INLINE Vector HardGate(Tag d, Vector x) {
  const Vector v = hn::Add(x, C(3));
  return hn::IfThenElse(hn::Gt(v, C(6)), C(6), hn::IfThenZeroElse(hn::Lt(v, hn::Zero(d)), v));
}
HWY_INLINE Vector Positive(Tag d, Vector x, Vector yes, Vector no) {
  return hn::IfThenElse(hn::Gt(x, hn::Zero(d)), yes, no);
}
/// `linear` where mish is, else the other.
HWY_INLINE Vector MishPart(Vector x, Vector linear, Vector curved) {
  return hn::IfThenElse(hn::Ge(x, C(elementwise::kMishLinear)), linear, curved);
}

GPUNN_VECTOR_1(LeakyRelu, return Positive(d, x, x, hn::Mul(x, s)););
GPUNN_VECTOR_1(Elu, return Positive(d, x, x, hn::Mul(s, Expm1(d, x))););
GPUNN_VECTOR_1(Selu, return hn::Mul(C(elementwise::kSeluScale),
                                    Positive(d, x, x, hn::Mul(C(elementwise::kSeluAlpha), Expm1(d, x)))););
GPUNN_VECTOR_1(Celu, return Positive(d, x, x, hn::Mul(s, Expm1(d, hn::Div(x, s)))););
GPUNN_VECTOR_1(Gelu, return Gelu(d, x););
GPUNN_VECTOR_1(GeluTanh, return GeluTanh(d, x););
GPUNN_VECTOR_1(Silu, return Silu(d, x););
GPUNN_VECTOR_1(Mish, const Vector e = Exp(d, x), n = hn::Mul(e, hn::Add(e, C(2)));
               return MishPart(x, x, hn::Mul(x, hn::Div(n, hn::Add(n, C(2))))););
GPUNN_VECTOR_1(Softplus, const Vector v = hn::Mul(x, s);
               return hn::IfThenElse(hn::Gt(v, t), x, hn::Div(LogOnePlusExp(d, v), s)););
GPUNN_VECTOR_1(Softsign, return hn::Div(x, hn::Add(C(1), hn::Abs(x))););
GPUNN_VECTOR_1(Hardtanh, return hn::IfThenElse(hn::Lt(x, s), s, hn::IfThenElse(hn::Gt(x, t), t, x)););
GPUNN_VECTOR_1(Hardsigmoid, return hn::Div(HardGate(d, x), C(6)););
GPUNN_VECTOR_1(Hardswish, return hn::Mul(x, hn::Div(HardGate(d, x), C(6))););
GPUNN_VECTOR_1(LogSigmoid, const Vector below = hn::IfThenElseZero(hn::Lt(x, hn::Zero(d)), x);
               return hn::Sub(below, Log1p(d, Exp(d, hn::Neg(hn::Abs(x))))););

GPUNN_VECTOR_2(LeakyReluGrad, dy, x, return Positive(d, x, dy, hn::Mul(dy, s)););
GPUNN_VECTOR_2(EluGrad, dy, x,
               return hn::IfThenElse(hn::Le(x, hn::Zero(d)), hn::Mul(hn::Mul(dy, s), Exp(d, x)), dy););
GPUNN_VECTOR_2(SeluGrad, dy, x, const Vector below = C(elementwise::kSeluScale * elementwise::kSeluAlpha);
               return hn::Mul(dy, hn::IfThenElse(hn::Le(x, hn::Zero(d)), hn::Mul(below, Exp(d, x)),
                                                 C(elementwise::kSeluScale))););
GPUNN_VECTOR_2(CeluGrad, dy, x,
               return hn::IfThenElse(hn::Le(x, hn::Zero(d)), hn::Mul(dy, Exp(d, hn::Div(x, s))), dy););
GPUNN_VECTOR_2(GeluGrad, dy, x, return GeluGrad(d, dy, x););
GPUNN_VECTOR_2(GeluTanhGrad, dy, x, return GeluTanhGrad(d, dy, x););
GPUNN_VECTOR_2(SiluGrad, dy, x, return SiluGrad(d, dy, x););
GPUNN_VECTOR_2(MishGrad, dy, x, const Vector e = Exp(d, x), n = hn::Mul(e, hn::Add(e, C(2)));
               const Vector r = hn::Div(C(1), hn::Add(n, C(2)));
               const Vector rise = hn::Mul(hn::Mul(hn::Mul(C(4), e), r), hn::Mul(hn::Add(e, C(1)), r));
               return MishPart(x, dy, hn::Mul(dy, hn::MulAdd(x, rise, hn::Mul(n, r)))););
GPUNN_VECTOR_2(SoftplusGrad, dy, x, const Vector v = hn::Mul(x, s);
               return hn::IfThenElse(hn::Gt(v, t), dy, hn::Mul(dy, Sigmoid(d, v))););
GPUNN_VECTOR_2(SoftsignGrad, dy, x, return hn::Div(dy, Square(hn::Add(C(1), hn::Abs(x)))););
GPUNN_VECTOR_2(HardtanhGrad, dy, x, return hn::IfThenZeroElse(hn::Or(hn::Le(x, s), hn::Ge(x, t)), dy););
GPUNN_VECTOR_2(HardsigmoidGrad, dy, x,
               return hn::IfThenElseZero(hn::And(hn::Gt(x, C(-3)), hn::Lt(x, C(3))), hn::Div(dy, C(6))););
GPUNN_VECTOR_2(HardswishGrad, dy, x, const Vector inner = hn::Mul(dy, hn::Add(hn::Div(x, C(3)), C(0.5)));
               return hn::IfThenZeroElse(hn::Le(x, C(-3)), hn::IfThenElse(hn::Lt(x, C(3)), inner, dy)););
GPUNN_VECTOR_2(LogSigmoidGrad, dy, x, return hn::Mul(dy, Sigmoid(d, hn::Neg(x))););

GPUNN_VECTOR_2(Glu, gate, up, return hn::Mul(Sigmoid(d, gate), up););
GPUNN_VECTOR_2(Swiglu, gate, up, return hn::Mul(Silu(d, gate), up););
GPUNN_VECTOR_2(Geglu, gate, up, return hn::Mul(Gelu(d, gate), up););
GPUNN_VECTOR_3(GluGrad, dy, gate, up, Vector slope = gate; SigmoidAndSlope(d, gate, slope);
               return hn::Mul(hn::Mul(dy, up), slope););
GPUNN_VECTOR_3(SwigluGrad, dy, gate, up, return SiluGrad(d, hn::Mul(dy, up), gate););
GPUNN_VECTOR_3(GegluGrad, dy, gate, up, return GeluGrad(d, hn::Mul(dy, up), gate););

MapRun ChooseActivation(ActivationFunction f) { return ChooseRun(f); }
MapRun ChooseActivationGrad(ActivationGrad f) { return ChooseRun(f); }
MapRun ChooseGated(GatedFunction f) { return ChooseRun(f); }
MapRun ChooseGatedGrad(GatedGrad f) { return ChooseRun(f); }

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace gpunn
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gpunn {

namespace {
HWY_EXPORT(ChooseActivation);
HWY_EXPORT(ChooseActivationGrad);
HWY_EXPORT(ChooseGated);
HWY_EXPORT(ChooseGatedGrad);
}  // namespace

void map_cpu(const MapProblem<ActivationFunction>& p, const Exec& exec) {
  elementwise::run_cpu(p, exec, HWY_DYNAMIC_DISPATCH(ChooseActivation)(p.function));
}
void map_cpu(const MapProblem<ActivationGrad>& p, const Exec& exec) {
  elementwise::run_cpu(p, exec, HWY_DYNAMIC_DISPATCH(ChooseActivationGrad)(p.function));
}
void map_cpu(const MapProblem<GatedFunction>& p, const Exec& exec) {
  elementwise::run_cpu(p, exec, HWY_DYNAMIC_DISPATCH(ChooseGated)(p.function));
}
void map_cpu(const MapProblem<GatedGrad>& p, const Exec& exec) {
  elementwise::run_cpu(p, exec, HWY_DYNAMIC_DISPATCH(ChooseGatedGrad)(p.function));
}

}  // namespace gpunn
#endif  // HWY_ONCE
