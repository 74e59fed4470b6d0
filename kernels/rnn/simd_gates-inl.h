// Sigmoid and tanh of gates in f32: half the instructions of those in simd_math-inl.h, because the argument
// is bounded first, so that no exponential overflows, vanishes or is subnormal.
//
// Within 2.6 ulp of the exact value (measured over 10^8 floats of all magnitudes, with and without fused
// multiply-add); sigmoid below -87 stays at 1.6e-38. A NaN stays one.
//
// Include it in a source that is compiled per target, after hwy/highway.h.
#if defined(GPUNN_KERNELS_RNN_SIMD_GATES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GPUNN_KERNELS_RNN_SIMD_GATES_INL_H_
#undef GPUNN_KERNELS_RNN_SIMD_GATES_INL_H_
#else
#define GPUNN_KERNELS_RNN_SIMD_GATES_INL_H_
#endif

#include "gpunn/kernels/common/simd_math-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace gpunn {
namespace HWY_NAMESPACE {

/// e^x = (1 + fraction) scale, scale a power of two.
template <class V>
struct ScaledExp {
  V fraction, scale;
};

/// |x| <= 87.
template <class D, class V = hn::Vec<D>>
HWY_INLINE ScaledExp<V> ExpOfBounded(D d, V x) {
  const hn::RebindToSigned<D> di;
  // Adding 1.5 * 2^23 rounds to a whole number n and leaves it in the lowest bits.
  const V magic = hn::Set(d, 0x1.8p23f), shifted = hn::MulAdd(x, hn::Set(d, 1.44269504f), magic);
  const V n = hn::Sub(shifted, magic);
  const V r = hn::NegMulAdd(n, hn::Set(d, -0x1.bd0106p-13f), hn::NegMulAdd(n, hn::Set(d, 0x1.63p-1f), x));
  // As Exp in simd_math-inl.h: e^r = 1 + r + r^2 p(r), |error| < 3.3e-9
  const V p = Polynomial(r, hn::Set(d, 0x1.fffffcp-2f), hn::Set(d, 0x1.55548ap-3f),
                         hn::Set(d, 0x1.555916p-5f), hn::Set(d, 0x1.123fc6p-7f), hn::Set(d, 0x1.6a1a6ep-10f));
  const auto exponent = hn::Add(hn::ShiftLeft<23>(hn::BitCast(di, shifted)), hn::Set(di, 127 << 23));
  return {hn::MulAdd(p, hn::Mul(r, r), r), hn::BitCast(d, exponent)};
}

/// x in [-most, most]; unlike Min and Max it keeps NaN on every target.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V Bounded(D d, V x, float most) {
  const V bound = hn::Set(d, most);
  return hn::IfThenElse(hn::Gt(hn::Abs(x), bound), hn::CopySign(bound, x), x);
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V GateSigmoid(D d, V x) {
  const V one = hn::Set(d, 1.0f);
  const ScaledExp<V> e = ExpOfBounded(d, hn::Neg(Bounded(d, x, 87.0f)));
  return hn::Div(one, hn::Add(one, hn::MulAdd(e.fraction, e.scale, e.scale)));
}

/// m / (m + 2) with m = e^2x - 1, which keeps its digits near 0; beyond 10 it is 1 in f32.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V GateTanh(D d, V x) {
  const V bounded = Bounded(d, x, 10.0f);
  const ScaledExp<V> e = ExpOfBounded(d, hn::Add(bounded, bounded));
  const V m = hn::MulAdd(e.fraction, e.scale, hn::Sub(e.scale, hn::Set(d, 1.0f)));
  return hn::Div(m, hn::Add(m, hn::Set(d, 2.0f)));
}

}  // namespace HWY_NAMESPACE
}  // namespace gpunn
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
