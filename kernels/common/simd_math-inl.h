// Vector exp, log, tanh and sigmoid in f32 for CPU kernels, over any Highway target.
//
// Within 4 ulp of the exact value everywhere, subnormal results included (measured over 10^8 floats of all
// magnitudes, with and without fused multiply-add: exp 0.99, log 0.78, tanh 1.31, sigmoid 2.36 ulp). NaN
// gives NaN, and infinities their limits. The value of an element does not depend on its lane. Polynomials
// are minimax fits by Remez's algorithm for the relative error of the function; their errors stand beside
// them.
//
// Include it in a source that is compiled per target (foreach_target.h), after hwy/highway.h; inside
// gpunn::HWY_NAMESPACE the functions are Exp(d, x), Log(d, x), Tanh(d, x), Sigmoid(d, x), as Highway names
// such things.
#if defined(GPUNN_KERNELS_COMMON_SIMD_MATH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GPUNN_KERNELS_COMMON_SIMD_MATH_INL_H_
#undef GPUNN_KERNELS_COMMON_SIMD_MATH_INL_H_
#else
#define GPUNN_KERNELS_COMMON_SIMD_MATH_INL_H_
#endif

#include <limits>

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace gpunn {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

/// c[0] + c[1] x + … by Horner's rule.
template <class V>
HWY_INLINE V Polynomial(V, V c) {
  return c;
}
template <class V, class... C>
HWY_INLINE V Polynomial(V x, V c, C... rest) {
  return hn::MulAdd(Polynomial(x, rest...), x, c);
}

/// 2^n for n in [-126, 127].
template <class D, class VI>
HWY_INLINE hn::Vec<D> PowerOfTwo(D d, VI n) {
  const hn::RebindToSigned<D> di;
  return hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(n, hn::Set(di, 127))));
}

/// e^(x + low) = 2^n e^r with n = round(x / ln 2), |r| <= ln(2) / 2; |low| <= 0.1 is used only under kLow.
template <bool kLow, class D, class V = hn::Vec<D>>
HWY_INLINE V ExpOfSum(D d, V x, V low) {
  // Beyond these bounds the result is 0 or infinity. The zeros (masked places of a softmax) are selected, not
  // computed: products that underflow cost 150 cycles each.
  const auto vanishes = hn::Lt(x, hn::Set(d, -104.0f));
  const V bounded = hn::Min(hn::IfThenZeroElse(vanishes, x), hn::Set(d, 89.0f));
  const auto n = hn::NearestInt(hn::Mul(bounded, hn::Set(d, 1.44269504f)));
  const V nf = hn::ConvertTo(d, n);
  // ln 2 in two parts; the first has 9 bits, so that its product with n is exact.
  V r = hn::NegMulAdd(nf, hn::Set(d, 0x1.63p-1f), bounded);
  r = hn::NegMulAdd(nf, hn::Set(d, -0x1.bd0106p-13f), r);
  if constexpr (kLow) r = hn::Add(r, low);
  // e^r = 1 + r + r^2 p(r), |error| < 3.3e-9
  const V p = Polynomial(r, hn::Set(d, 0x1.fffffcp-2f), hn::Set(d, 0x1.55548ap-3f),
                         hn::Set(d, 0x1.555916p-5f), hn::Set(d, 0x1.123fc6p-7f), hn::Set(d, 0x1.6a1a6ep-10f));
  const V y = hn::Add(hn::MulAdd(p, hn::Mul(r, r), r), hn::Set(d, 1.0f));
  // Two factors, each a normal number: n goes from -151 to 128, and a subnormal result is rounded once.
  const auto half = hn::ShiftRight<1>(n);
  const V scaled = hn::Mul(hn::Mul(y, PowerOfTwo(d, half)), PowerOfTwo(d, hn::Sub(n, half)));
  return hn::IfThenElse(hn::Eq(x, x), hn::IfThenZeroElse(vanishes, scaled), x);
}
template <class D, class V = hn::Vec<D>>
HWY_INLINE V Exp(D d, V x) {
  return ExpOfSum<false>(d, x, x);
}

/// ln x = e ln 2 + ln(1 + f) with 1 + f in [sqrt(1/2), sqrt(2)).
template <class D, class V = hn::Vec<D>>
HWY_INLINE V Log(D d, V x) {
  const hn::RebindToSigned<D> di;
  const V infinity = hn::Set(d, std::numeric_limits<float>::infinity());
  const auto tiny = hn::Lt(x, hn::Set(d, std::numeric_limits<float>::min()));
  const auto bits = hn::BitCast(di, hn::IfThenElse(tiny, hn::Mul(x, hn::Set(d, 0x1p25f)), x));
  const auto e = hn::ShiftRight<23>(hn::Sub(bits, hn::Set(di, 0x3f3504f3)));  // sqrt(1/2)
  const V f = hn::Sub(hn::BitCast(d, hn::Sub(bits, hn::ShiftLeft<23>(e))), hn::Set(d, 1.0f));
  const V ef = hn::Sub(hn::ConvertTo(d, e), hn::IfThenElseZero(tiny, hn::Set(d, 25.0f)));
  // With s = f / (2 + f): ln(1 + f) = f - f^2/2 + s (f^2/2 + R), R = s^2 p(s^2), |error| < 1.7e-9
  const V s = hn::Div(f, hn::Add(f, hn::Set(d, 2.0f)));
  const V z = hn::Mul(s, s);
  const V R = hn::Mul(
      z, Polynomial(z, hn::Set(d, 0x1.55557ap-1f), hn::Set(d, 0x1.995e9cp-2f), hn::Set(d, 0x1.31e678p-2f)));
  const V half_square = hn::Mul(hn::Mul(f, f), hn::Set(d, 0.5f));
  const V low = hn::MulAdd(ef, hn::Set(d, -0x1.bd0106p-13f), hn::Mul(s, hn::Add(half_square, R)));
  const V y = hn::MulAdd(ef, hn::Set(d, 0x1.63p-1f), hn::Sub(f, hn::Sub(half_square, low)));
  const V nan = hn::Set(d, std::numeric_limits<float>::quiet_NaN());
  const V special =
      hn::IfThenElse(hn::Eq(x, hn::Zero(d)), hn::Neg(infinity), hn::IfThenElse(hn::Eq(x, infinity), x, nan));
  return hn::IfThenElse(hn::And(hn::Gt(x, hn::Zero(d)), hn::Lt(x, infinity)), y, special);
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V Tanh(D d, V x) {
  const V one = hn::Set(d, 1.0f), a = hn::Abs(x);
  // |x| < 0.625: x + x^3 p(x^2), |error| < 4.2e-9
  const V z = hn::Mul(x, x);
  const V p =
      Polynomial(z, hn::Set(d, -0x1.555534p-2f), hn::Set(d, 0x1.110768p-3f), hn::Set(d, -0x1.b84448p-5f),
                 hn::Set(d, 0x1.5256d8p-6f), hn::Set(d, -0x1.76ac1ap-8f));
  const V small = hn::MulAdd(hn::Mul(x, z), p, x);
  // else 1 - 2 / (e^2|x| + 1); an overflow of the exponential gives 1
  const V t = Exp(d, hn::Add(a, a));
  const V large = hn::Sub(one, hn::Div(hn::Set(d, 2.0f), hn::Add(t, one)));
  // The sign also where it would be lost: tanh(-0) is -0.
  return hn::CopySign(hn::IfThenElse(hn::Lt(a, hn::Set(d, 0.625f)), small, large), x);
}

/// 1 / (1 + e^-x), by e^-|x| on both sides of 0 so that nothing overflows or cancels.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V Sigmoid(D d, V x) {
  const V one = hn::Set(d, 1.0f);
  const V e = Exp(d, hn::Neg(hn::Abs(x)));
  return hn::Div(hn::IfThenElse(hn::Ge(x, hn::Zero(d)), one, e), hn::Add(one, e));
}

}  // namespace HWY_NAMESPACE
}  // namespace gpunn
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
