// GELU, its slope and that of the logistic function in f32 vectors, for the epilogue of products and its
// gradient. Formulas, special values and errors are those of kernels/elementwise/activations.h.
//
// Include it in a source that is compiled per target, after hwy/highway.h.
#if defined(GPUNN_KERNELS_MATMUL_SIMD_GELU_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GPUNN_KERNELS_MATMUL_SIMD_GELU_INL_H_
#undef GPUNN_KERNELS_MATMUL_SIMD_GELU_INL_H_
#else
#define GPUNN_KERNELS_MATMUL_SIMD_GELU_INL_H_
#endif

#include "gpunn/kernels/elementwise/activation_functors_impl.h"
#include "gpunn/kernels/elementwise/simd_functions-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace gpunn {
namespace HWY_NAMESPACE {

/// The logistic function of u and its slope, without cancellation, from one exponential.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V LogisticAndSlope(D d, V u, V& slope) {
  const V one = hn::Set(d, 1.0f), e = Exp(d, hn::Neg(hn::Abs(u))), r = hn::Div(one, hn::Add(one, e));
  slope = hn::Mul(hn::Mul(e, r), r);
  return hn::Mul(hn::IfThenElse(hn::Ge(u, hn::Zero(d)), one, e), r);
}
template <class D, class V = hn::Vec<D>>
HWY_INLINE V LogisticSlope(D d, V u) {
  V slope = u;
  LogisticAndSlope(d, u, slope);
  return slope;
}

/// scale z (1 + cubic z^2): with cubic 0.044715, twice what gelu's tanh form takes the tanh of.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V GeluPolynomial(D d, V z, double cubic) {
  const V scaled = hn::Mul(z, hn::Set(d, static_cast<float>(2 * elementwise::kGeluScale)));
  return hn::MulAdd(hn::Mul(hn::Mul(z, z), hn::Set(d, static_cast<float>(cubic))), scaled, scaled);
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V Gelu(D d, V z) {
  V density = z;
  return hn::Mul(z, NormalCdf(d, z, density));
}
template <class D, class V = hn::Vec<D>>
HWY_INLINE V GeluSlope(D d, V z) {
  V gauss = z;  // times 2^64
  const V cdf = NormalCdf(d, z, gauss);
  const V unit = hn::Set(d, static_cast<float>(elementwise::kNormalDensity * 0x1p-64));
  return hn::MulAdd(z, hn::Mul(gauss, unit), cdf);
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V GeluTanh(D d, V z) {
  return hn::Mul(z, Sigmoid(d, GeluPolynomial(d, z, elementwise::kGeluCubic)));
}
/// Beyond the bound only the gate is left, and a product of infinite and vanished factors would be NaN.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V GeluTanhSlope(D d, V z) {
  const V bound = hn::Set(d, static_cast<float>(elementwise::kGeluLinear));
  const V v = hn::IfThenElse(hn::Gt(hn::Abs(z), bound), hn::CopySign(bound, z), z);
  V slope = z;
  const V gate = LogisticAndSlope(d, GeluPolynomial(d, v, elementwise::kGeluCubic), slope);
  return hn::MulAdd(GeluPolynomial(d, v, 3 * elementwise::kGeluCubic), slope, gate);
}

}  // namespace HWY_NAMESPACE
}  // namespace gpunn
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
