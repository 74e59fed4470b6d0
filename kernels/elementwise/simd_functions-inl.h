// Vector expm1, log1p, erf, the normal distribution and pow in f32, beside those of simd_math-inl.h, for the
// element-wise kernels on the CPU.
//
// NaN gives NaN, infinities their limits; the value of an element does not depend on its lane. Include it as
// simd_math-inl.h; inside gpunn::HWY_NAMESPACE the functions are Expm1(d, x), Log1p(d, x), Erf(d, x),
// NormalCdf(d, x, e), Pow(d, x, y).
#if defined(GPUNN_KERNELS_ELEMENTWISE_SIMD_FUNCTIONS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GPUNN_KERNELS_ELEMENTWISE_SIMD_FUNCTIONS_INL_H_
#undef GPUNN_KERNELS_ELEMENTWISE_SIMD_FUNCTIONS_INL_H_
#else
#define GPUNN_KERNELS_ELEMENTWISE_SIMD_FUNCTIONS_INL_H_
#endif

#include <cmath>
#include <limits>

#include "gpunn/kernels/common/simd_math-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace gpunn {
namespace HWY_NAMESPACE {

/// e^x - 1 = 2^n (e^r - 1) + (2^n - 1), exact where n is 0.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V Expm1(D d, V x) {
  const V half = hn::Set(d, 0.5f);
  const V bounded = hn::Min(hn::Max(x, hn::Set(d, -18.0f)), hn::Set(d, 89.0f));
  const auto n = hn::NearestInt(hn::Mul(bounded, hn::Set(d, 1.44269504f)));
  const V nf = hn::ConvertTo(d, n);
  V r = hn::NegMulAdd(nf, hn::Set(d, 0x1.63p-1f), bounded);
  r = hn::NegMulAdd(nf, hn::Set(d, -0x1.bd0106p-13f), r);
  const V p = Polynomial(r, hn::Set(d, 0x1.fffffcp-2f), hn::Set(d, 0x1.55548ap-3f),
                         hn::Set(d, 0x1.555916p-5f), hn::Set(d, 0x1.123fc6p-7f), hn::Set(d, 0x1.6a1a6ep-10f));
  const V q = hn::MulAdd(p, hn::Mul(r, r), r);
  // By half of 2^n, which is a number where 2^n overflows.
  const hn::RebindToSigned<D> di;
  const V scale = PowerOfTwo(d, hn::Sub(n, hn::Set(di, 1)));
  const V y = hn::MulAdd(q, scale, hn::Sub(scale, half));
  return hn::IfThenElse(hn::Eq(x, x), hn::CopySign(hn::Add(y, y), x), x);
}

/// ln(1 + x): the logarithm of the rounded sum, and what the rounding lost.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V Log1p(D d, V x) {
  const V one = hn::Set(d, 1.0f), u = hn::Add(x, one);
  const V y = Log(d, u), lost = hn::Div(hn::Sub(x, hn::Sub(u, one)), u);
  const auto regular =
      hn::And(hn::Gt(u, hn::Zero(d)), hn::Lt(u, hn::Set(d, std::numeric_limits<float>::infinity())));
  return hn::IfThenElse(hn::Eq(u, one), x, hn::IfThenElse(regular, hn::Add(y, lost), y));
}

/// e^(factor a^2) for a >= 0 and a factor of -1 or -1/2. The square is kept in two parts: rounding it would
/// cost up to a^2 / 2 ulp.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V ExpOfSquare(D d, V a, float factor) {
  const hn::RebindToUnsigned<D> du;
  const V bounded = hn::Min(a, hn::Set(d, 15.0f));
  const V high = hn::BitCast(d, hn::And(hn::BitCast(du, bounded), hn::Set(du, 0xfffff000u)));
  const V low = hn::Mul(hn::Sub(bounded, high), hn::Add(bounded, high));
  const V f = hn::Set(d, factor);
  return ExpOfSum<true>(d, hn::Mul(f, hn::Mul(high, high)), hn::Mul(f, low));
}

/// e^(z^2) erfc(z) for 0 <= z <= 10.3 as t p(t) with t = 1 / (1 + 0.42 z), |relative error| < 3.1e-9. The
/// polynomial is a Chebyshev interpolation in t, mapped to [-1, 1].
template <class D, class V = hn::Vec<D>>
HWY_INLINE V ScaledErfc(D d, V z) {
  const V one = hn::Set(d, 1.0f);
  const V t = hn::Div(one, hn::MulAdd(z, hn::Set(d, 0.42f), one));
  const V u = hn::MulAdd(t, hn::Set(d, 0x1.3b2d54p1f), hn::Set(d, -0x1.765aa8p0f));
  return hn::Mul(
      t, Polynomial(u, hn::Set(d, 0x1.042f7ep-1f), hn::Set(d, 0x1.4c8304p-2f), hn::Set(d, 0x1.18f14ap-3f),
                    hn::Set(d, 0x1.05d84p-5f), hn::Set(d, -0x1.070e0ap-15f), hn::Set(d, -0x1.087fcp-9f),
                    hn::Set(d, -0x1.2750ap-13f), hn::Set(d, 0x1.4c7848p-13f), hn::Set(d, 0x1.0d14c6p-17f),
                    hn::Set(d, -0x1.9b6b92p-17f)));
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V Erf(D d, V x) {
  const V a = hn::Abs(x), one = hn::Set(d, 1.0f), z = hn::Mul(x, x);
  // |x| < 1: x + x p(x^2), |relative error| < 1.4e-9
  const V small = hn::MulAdd(
      x,
      Polynomial(z, hn::Set(d, 0x1.06eba8p-3f), hn::Set(d, -0x1.81273ep-2f), hn::Set(d, 0x1.ce2d18p-4f),
                 hn::Set(d, -0x1.b7fb38p-6f), hn::Set(d, 0x1.541636p-8f), hn::Set(d, -0x1.a46b4p-11f),
                 hn::Set(d, 0x1.4a9dacp-14f)),
      x);
  const V bounded = hn::Min(a, hn::Set(d, 10.0f));
  const V large = hn::NegMulAdd(ExpOfSquare(d, bounded, -1.0f), ScaledErfc(d, bounded), one);
  const V y = hn::IfThenElse(hn::Lt(a, one), small, hn::CopySign(large, x));
  return hn::IfThenElse(hn::Eq(x, x), y, x);
}

/// 2^64 e^(-a^2 / 2) for 0 <= a <= 14.5: a normal number everywhere, so that a product with it is rounded
/// once.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V ScaledGauss(D d, V a) {
#if HWY_NATIVE_FMA
  // -a^2 / 2 log2(e) = n + r. A sum with 1.5 2^23 + 64 leaves n + 64 in its low bits; what rounding the
  // square loses is kept.
  const hn::RebindToSigned<D> di;
  const V rounder = hn::Set(d, 0x1.8p23f + 64), factor = hn::Set(d, -0x1.715476p-1f);
  const V square = hn::Mul(a, a), lost = hn::MulSub(a, a, square);
  const V shifted = hn::MulAdd(square, factor, rounder);
  V r = hn::MulSub(square, factor, hn::Sub(shifted, rounder));
  r = hn::MulAdd(square, hn::Set(d, -0x1.4ae0cp-27f), hn::MulAdd(lost, factor, r));
  // 2^r, |r| <= 1/2, |relative error| < 1.6e-8
  const V power = Polynomial(r, hn::Set(d, 1.0f), hn::Set(d, 0x1.62e43p-1f), hn::Set(d, 0x1.ebfbdap-3f),
                             hn::Set(d, 0x1.c6aed4p-5f), hn::Set(d, 0x1.3b2dbcp-7f),
                             hn::Set(d, 0x1.5f456ap-10f), hn::Set(d, 0x1.41d332p-13f));
  return hn::BitCast(d, hn::Add(hn::BitCast(di, power), hn::ShiftLeft<23>(hn::BitCast(di, shifted))));
#else
  return hn::Mul(ExpOfSquare(d, a, -0.5f), hn::Set(d, 0x1p64f));
#endif
}

/// 2^-64 e^(a^2 / 2) P(X > a) for 0 <= a <= 14.5, X standard normal: ScaledErfc(a / sqrt(2)) with its
/// constants scaled.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V ScaledTail(D d, V a) {
  const V one = hn::Set(d, 1.0f);
  const V t = hn::Div(one, hn::MulAdd(a, hn::Set(d, 0x1.301cccp-2f), one));
  const V u = hn::MulAdd(t, hn::Set(d, 0x1.3b2d54p1f), hn::Set(d, -0x1.765aa8p0f));
  return hn::Mul(
      t, Polynomial(u, hn::Set(d, 0x1.042f7ep-66f), hn::Set(d, 0x1.4c8304p-67f), hn::Set(d, 0x1.18f14ap-68f),
                    hn::Set(d, 0x1.05d84p-70f), hn::Set(d, -0x1.070e0ap-80f), hn::Set(d, -0x1.087fcp-74f),
                    hn::Set(d, -0x1.2750ap-78f), hn::Set(d, 0x1.4c7848p-78f), hn::Set(d, 0x1.0d14c6p-82f),
                    hn::Set(d, -0x1.9b6b92p-82f)));
}

/// P(X <= x) of the standard normal distribution, relatively exact in the lower tail; `gauss` becomes
/// 2^64 e^(-x^2 / 2). For NaN any value.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V NormalCdf(D d, V x, V& gauss) {
  const V a = hn::Min(hn::Abs(x), hn::Set(d, 14.5f));
  gauss = ScaledGauss(d, a);
  const V tail = hn::Mul(gauss, ScaledTail(d, a));
  return hn::IfThenElse(hn::Lt(x, hn::Zero(d)), tail, hn::Sub(hn::Set(d, 1.0f), tail));
}

/// 2^(y (e + log2(1 + f))) in double: the product's error must stay below 2^-24 although it reaches 128.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V PowerInDouble(D d, V e, V f, V y) {
#if HWY_TARGET == HWY_SCALAR
  const double log2 =
      static_cast<double>(hn::GetLane(e)) + std::log2(1 + static_cast<double>(hn::GetLane(f)));
  return hn::Set(d, static_cast<float>(std::exp2(static_cast<double>(hn::GetLane(y)) * log2)));
#else
  const hn::RepartitionToWide<D> dd;
  const hn::RebindToUnsigned<decltype(dd)> du;
  const hn::Half<D> half;
  const auto part = [&](auto e32, auto f32, auto y32) HWY_ATTR {
    const auto exponent = hn::PromoteTo(dd, e32), fraction = hn::PromoteTo(dd, f32);
    // ln(1 + f) = 2 (s + s^3 / 3 + ...), s = f / (2 + f), |s| < 0.172; error < 1.4e-12
    const auto s = hn::Div(fraction, hn::Add(fraction, hn::Set(dd, 2.0)));
    const auto z = hn::Mul(s, s);
    const auto series =
        Polynomial(z, hn::Set(dd, 1.0), hn::Set(dd, 1.0 / 3), hn::Set(dd, 1.0 / 5), hn::Set(dd, 1.0 / 7),
                   hn::Set(dd, 1.0 / 9), hn::Set(dd, 1.0 / 11), hn::Set(dd, 1.0 / 13));
    const auto log2 = hn::MulAdd(hn::Mul(s, series), hn::Set(dd, 2.8853900817779268), exponent);
    // Beyond 2^-160 and 2^160 nothing is left in f32.
    const auto v =
        hn::Min(hn::Max(hn::Mul(hn::PromoteTo(dd, y32), log2), hn::Set(dd, -160.0)), hn::Set(dd, 160.0));
    const auto n = hn::Round(v);
    const auto r = hn::Mul(hn::Sub(v, n), hn::Set(dd, 0.69314718055994531));
    // e^r, |r| < 0.347; error < 8e-12
    const auto power =
        Polynomial(r, hn::Set(dd, 1.0), hn::Set(dd, 1.0), hn::Set(dd, 1.0 / 2), hn::Set(dd, 1.0 / 6),
                   hn::Set(dd, 1.0 / 24), hn::Set(dd, 1.0 / 120), hn::Set(dd, 1.0 / 720),
                   hn::Set(dd, 1.0 / 5040), hn::Set(dd, 1.0 / 40320), hn::Set(dd, 1.0 / 362880));
    // n + 1023 in the low bits of 2^52 + 1023 + n, shifted to where the exponent is
    const auto biased = hn::BitCast(du, hn::Add(n, hn::Set(dd, 0x1p52 + 1023)));
    return hn::DemoteTo(half, hn::Mul(power, hn::BitCast(dd, hn::ShiftLeft<52>(biased))));
  };
  return hn::Combine(d, part(hn::UpperHalf(half, e), hn::UpperHalf(half, f), hn::UpperHalf(half, y)),
                     part(hn::LowerHalf(half, e), hn::LowerHalf(half, f), hn::LowerHalf(half, y)));
#endif
}

/// x^y with C's special values.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V Pow(D d, V x, V y) {
  const hn::RebindToSigned<D> di;
  const V infinity = hn::Set(d, std::numeric_limits<float>::infinity());
  const V zero = hn::Zero(d), one = hn::Set(d, 1.0f), a = hn::Abs(x);
  const auto tiny = hn::Lt(a, hn::Set(d, std::numeric_limits<float>::min()));
  const auto bits = hn::BitCast(di, hn::IfThenElse(tiny, hn::Mul(a, hn::Set(d, 0x1p25f)), a));
  const auto e = hn::ShiftRight<23>(hn::Sub(bits, hn::Set(di, 0x3f3504f3)));  // sqrt(1/2)
  const V f = hn::Sub(hn::BitCast(d, hn::Sub(bits, hn::ShiftLeft<23>(e))), one);
  const V ef = hn::Sub(hn::ConvertTo(d, e), hn::IfThenElseZero(tiny, hn::Set(d, 25.0f)));
  const auto at_zero = hn::Eq(a, zero), at_infinity = hn::Eq(a, infinity);
  const V exponent = hn::IfThenElse(at_zero, hn::Neg(infinity), hn::IfThenElse(at_infinity, infinity, ef));
  const V power = PowerInDouble(d, exponent, hn::IfThenZeroElse(hn::Or(at_zero, at_infinity), f), y);
  // A negative x: the sign of an odd power, NaN for broken ones.
  const V half_y = hn::Mul(y, hn::Set(d, 0.5f));
  const auto whole = hn::Eq(hn::Floor(y), y);
  const auto odd = hn::And(whole, hn::And(hn::Ne(hn::Floor(half_y), half_y), hn::Lt(hn::Abs(y), infinity)));
  const V signed_power = hn::IfThenElse(odd, hn::CopySign(power, x), power);
  const V nan = hn::Set(d, std::numeric_limits<float>::quiet_NaN());
  const auto broken = hn::And(hn::And(hn::Lt(x, zero), hn::Not(whole)), hn::Lt(a, infinity));
  const V finite = hn::IfThenElse(broken, nan, signed_power);
  const V ordered = hn::IfThenElse(hn::And(hn::Eq(x, x), hn::Eq(y, y)), finite, nan);
  const auto unit = hn::And(hn::Eq(a, one), hn::Eq(hn::Abs(y), infinity));
  return hn::IfThenElse(hn::Or(unit, hn::Or(hn::Eq(x, one), hn::Eq(y, zero))), one, ordered);
}

}  // namespace HWY_NAMESPACE
}  // namespace gpunn
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
