// Vector gelu (both forms) and silu in f32 with their gradients, for the element-wise ops and for chains.
//
// Formulas and special values are those of activation_functors_impl.h. Include it as simd_math-inl.h; inside
// gpunn::HWY_NAMESPACE the functions are Gelu(d, x), GeluGrad(d, dy, x) and so on.
#if defined(GPUNN_KERNELS_ELEMENTWISE_SIMD_ACTIVATIONS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GPUNN_KERNELS_ELEMENTWISE_SIMD_ACTIVATIONS_INL_H_
#undef GPUNN_KERNELS_ELEMENTWISE_SIMD_ACTIVATIONS_INL_H_
#else
#define GPUNN_KERNELS_ELEMENTWISE_SIMD_ACTIVATIONS_INL_H_
#endif

#include "gpunn/kernels/elementwise/activation_functors_impl.h"
#include "gpunn/kernels/elementwise/simd_functions-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace gpunn {
namespace HWY_NAMESPACE {

/// sigmoid(x) and its slope, from one exponential.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V SigmoidAndSlope(D d, V x, V& slope) {
  const V one = hn::Set(d, 1.0f), e = Exp(d, hn::Neg(hn::Abs(x)));
  const V r = hn::Div(one, hn::Add(one, e));
  slope = hn::Mul(hn::Mul(e, r), r);
  return hn::Mul(hn::IfThenElse(hn::Ge(x, hn::Zero(d)), one, e), r);
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V Gelu(D d, V x) {
  V gauss = x;
  return hn::Mul(x, NormalCdf(d, x, gauss));
}
template <class D, class V = hn::Vec<D>>
HWY_INLINE V GeluGrad(D d, V dy, V x) {
  V gauss = x;
  const V cdf = NormalCdf(d, x, gauss);
  const V unit = hn::Set(d, static_cast<float>(elementwise::kNormalDensity * 0x1p-64));
  // The density vanishes before x meets it.
  return hn::Mul(dy, hn::MulAdd(x, hn::Mul(gauss, unit), cdf));
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V GeluArgument(D d, V x) {
  const V cubic = hn::Set(d, static_cast<float>(elementwise::kGeluCubic));
  return hn::Mul(hn::Set(d, static_cast<float>(2 * elementwise::kGeluScale)),
                 hn::MulAdd(hn::Mul(cubic, hn::Mul(x, x)), x, x));
}
template <class D, class V = hn::Vec<D>>
HWY_INLINE V GeluTanh(D d, V x) {
  return hn::Mul(x, Sigmoid(d, GeluArgument(d, x)));
}
template <class D, class V = hn::Vec<D>>
HWY_INLINE V GeluTanhGrad(D d, V dy, V x) {
  V slope = x;
  const V bound = hn::Set(d, static_cast<float>(elementwise::kGeluLinear));
  const V v = hn::IfThenElse(hn::Gt(hn::Abs(x), bound), hn::CopySign(bound, x), x);
  const V gate = SigmoidAndSlope(d, GeluArgument(d, v), slope);
  const V cubic = hn::Set(d, static_cast<float>(3 * elementwise::kGeluCubic));
  const V inner = hn::Mul(hn::Set(d, static_cast<float>(2 * elementwise::kGeluScale)),
                          hn::MulAdd(cubic, hn::Mul(v, v), hn::Set(d, 1.0f)));
  return hn::Mul(dy, hn::MulAdd(hn::Mul(v, inner), slope, gate));
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V Silu(D d, V x) {
  return hn::Mul(x, Sigmoid(d, x));
}
template <class D, class V = hn::Vec<D>>
HWY_INLINE V SiluGrad(D d, V dy, V x) {
  V slope = x;
  const V gate = SigmoidAndSlope(d, x, slope);
  return hn::Mul(dy, hn::MulAdd(x, slope, gate));
}

}  // namespace HWY_NAMESPACE
}  // namespace gpunn
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
