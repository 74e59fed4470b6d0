// The non-linearities of recurrent units and their gradients in f32, by vectors of units: rnn_step_impl.h for
// SIMD, compiled once per target.
#include "gpunn/kernels/rnn/rnn_cpu_impl.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "gpunn/kernels/rnn/rnn_units_cpu.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"

#include "gpunn/kernels/common/simd_rows-inl.h"
#include "gpunn/kernels/rnn/simd_gates-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gpunn {
namespace HWY_NAMESPACE {
namespace {

using detail::RnnBackwardTile;
using detail::RnnForwardTile;
using detail::RnnKernels;

using D = hn::CappedTag<float, 16>;
using V = hn::Vec<D>;

/// 1 - v
HWY_INLINE V Rest(V v) { return hn::Sub(hn::Set(D(), 1.0f), v); }
/// The derivatives of sigmoid and tanh by their values, times `by`.
HWY_INLINE V SigmoidGrad(V by, V v) { return hn::Mul(by, hn::Mul(v, Rest(v))); }
HWY_INLINE V TanhGrad(V by, V v) { return hn::Mul(by, hn::NegMulAdd(v, v, hn::Set(D(), 1.0f))); }

/// A vector of a tile's units in one row: the arrays' elements there.
template <class Tile, std::int64_t kGates>
struct Place {
  const Tile& t;
  std::int64_t r, j, n;  // row, first unit, units left

  V at(const float* p, std::int64_t ld) const { return LoadPart(D(), p + r * ld + j, n); }
  V state(const float* p) const { return at(p, t.H); }
  V state_or_zero(const float* p) const { return p ? state(p) : hn::Zero(D()); }
  V gate(const float* p, std::int64_t g) const { return at(p + g * t.H, kGates * t.H); }
  void put(V v, float* p, std::int64_t ld) const { StorePart(D(), v, p + r * ld + j, n); }
  void put_state(V v, float* p) const { put(v, p, t.H); }
  void put_gate(V v, float* p, std::int64_t g) const { put(v, p + g * t.H, kGates * t.H); }
};

/// f(place) for all vectors of units of all rows.
template <std::int64_t kGates, class Tile, class F>
HWY_INLINE void ForEachPlace(const Tile& t, F f) {
  for (std::int64_t r = 0; r < t.rows; ++r)
    ForEachVector(D(), t.units,
                  [&](std::int64_t j, std::int64_t n) HWY_ATTR { f(Place<Tile, kGates>{t, r, j, n}); });
}

/// What the products add to gate g, and with the inputs' part.
template <class P>
HWY_INLINE V Recurrent(const P& at, std::int64_t g) {
  return at.at(at.t.sums + g * at.t.sums_gate, at.t.sums_ld);
}
template <class P>
HWY_INLINE V Sum(const P& at, std::int64_t g) {
  return hn::Add(at.gate(at.t.gx, g), Recurrent(at, g));
}

void TanhForward(const RnnForwardTile& t) {
  ForEachPlace<1>(t, [&](const auto& at) HWY_ATTR { at.put_state(GateTanh(D(), Sum(at, 0)), t.y); });
}

void ReluForward(const RnnForwardTile& t) {
  ForEachPlace<1>(t, [&](const auto& at) HWY_ATTR {
    const V sum = Sum(at, 0);
    at.put_state(hn::IfThenZeroElse(hn::Lt(sum, hn::Zero(D())), sum), t.y);  // keeps NaN
  });
}

void LstmForward(const RnnForwardTile& t) {
  ForEachPlace<4>(t, [&](const auto& at) HWY_ATTR {
    const V i = GateSigmoid(D(), Sum(at, 0)), f = GateSigmoid(D(), Sum(at, 1));
    const V g = GateTanh(D(), Sum(at, 2)), o = GateSigmoid(D(), Sum(at, 3));
    const V c = hn::MulAdd(f, at.state(t.c_prev), hn::Mul(i, g));
    at.put_state(hn::Mul(o, GateTanh(D(), c)), t.y);
    at.put_state(c, t.c);
    if (t.cells) at.put_state(c, t.cells);
    if (!t.gates) return;
    at.put_gate(i, t.gates, 0);
    at.put_gate(f, t.gates, 1);
    at.put_gate(g, t.gates, 2);
    at.put_gate(o, t.gates, 3);
  });
}

/// n (before tanh) and z make h; both are kept on demand.
template <class P>
HWY_INLINE void GruOutput(const P& at, V n_sum, V z) {
  const RnnForwardTile& t = at.t;
  const V n = GateTanh(D(), n_sum);
  at.put_state(hn::MulAdd(z, hn::Sub(at.state(t.h_prev), n), n), t.y);
  if (t.gates) at.put_gate(n, t.gates, 2);
}

template <class P>
HWY_INLINE V BiasOfN(const P& at) {
  return at.t.b_hn ? at.at(at.t.b_hn, 0) : hn::Zero(D());
}

void GruForward(const RnnForwardTile& t) {
  ForEachPlace<3>(t, [&](const auto& at) HWY_ATTR {
    const V r = GateSigmoid(D(), Sum(at, 0)), z = GateSigmoid(D(), Sum(at, 1));
    const V hn_sum = hn::Add(Recurrent(at, 2), BiasOfN(at));
    GruOutput(at, hn::MulAdd(r, hn_sum, at.gate(t.gx, 2)), z);
    if (t.extra) at.put_state(hn_sum, t.extra);
    if (!t.gates) return;
    at.put_gate(r, t.gates, 0);
    at.put_gate(z, t.gates, 1);
  });
}

/// Sums of r and z.
void GruReset(const RnnForwardTile& t) {
  ForEachPlace<3>(t, [&](const auto& at) HWY_ATTR {
    const V r = GateSigmoid(D(), Sum(at, 0)), z = GateSigmoid(D(), Sum(at, 1));
    at.put_state(hn::Mul(r, at.state(t.h_prev)), t.extra);
    at.put_state(z, t.z);
    if (!t.gates) return;
    at.put_gate(r, t.gates, 0);
    at.put_gate(z, t.gates, 1);
  });
}

/// Sums of n.
void GruCandidate(const RnnForwardTile& t) {
  ForEachPlace<3>(t, [&](const auto& at) HWY_ATTR {
    const V sum = hn::Add(Recurrent(at, 0), BiasOfN(at));
    GruOutput(at, hn::Add(at.gate(t.gx, 2), sum), at.state(t.z));
  });
}

/// All that reaches h.
template <class P>
HWY_INLINE V Dh(const P& at) {
  V dh = at.state_or_zero(at.t.dy);
  if (at.t.sums) dh = hn::Add(dh, at.at(at.t.sums, at.t.sums_ld));
  return at.t.dh ? hn::Add(dh, at.state(at.t.dh)) : dh;
}

void TanhBackward(const RnnBackwardTile& t) {
  ForEachPlace<1>(t, [&](const auto& at) HWY_ATTR { at.put_state(TanhGrad(Dh(at), at.state(t.y)), t.dgx); });
}

void ReluBackward(const RnnBackwardTile& t) {
  ForEachPlace<1>(t, [&](const auto& at) HWY_ATTR {
    at.put_state(hn::IfThenElseZero(hn::Gt(at.state(t.y), hn::Zero(D())), Dh(at)), t.dgx);
  });
}

void LstmBackward(const RnnBackwardTile& t) {
  ForEachPlace<4>(t, [&](const auto& at) HWY_ATTR {
    const V i = at.gate(t.gates, 0), f = at.gate(t.gates, 1), g = at.gate(t.gates, 2),
            o = at.gate(t.gates, 3);
    const V dh = Dh(at), tanh_c = GateTanh(D(), at.state(t.c));
    const V dc = hn::Add(at.state_or_zero(t.dc), TanhGrad(hn::Mul(dh, o), tanh_c));
    at.put_gate(SigmoidGrad(hn::Mul(dc, g), i), t.dgx, 0);
    at.put_gate(SigmoidGrad(hn::Mul(dc, at.state(t.c_prev)), f), t.dgx, 1);
    at.put_gate(TanhGrad(hn::Mul(dc, i), g), t.dgx, 2);
    at.put_gate(SigmoidGrad(hn::Mul(dh, tanh_c), o), t.dgx, 3);
    at.put_state(hn::Mul(dc, f), t.dc_prev);
  });
}

/// dz and what goes on to h_prev directly; the result is dn, by the sum of n.
template <class P>
HWY_INLINE V GruOutputGrad(const P& at) {
  const RnnBackwardTile& t = at.t;
  const V dh = Dh(at), z = at.gate(t.gates, 1), n = at.gate(t.gates, 2);
  const V dz = SigmoidGrad(hn::Mul(dh, hn::Sub(at.state(t.h_prev), n)), z);
  const V dn = TanhGrad(hn::Mul(dh, Rest(z)), n);
  at.put_state(hn::Mul(dh, z), t.dh_prev);
  at.put_gate(dz, t.dgx, 1);
  at.put_gate(dn, t.dgx, 2);
  if (t.dgh) at.put_gate(dz, t.dgh, 1);
  return dn;
}

void GruBackward(const RnnBackwardTile& t) {
  ForEachPlace<3>(t, [&](const auto& at) HWY_ATTR {
    const V dn = GruOutputGrad(at), r = at.gate(t.gates, 0);
    const V dr = SigmoidGrad(hn::Mul(dn, at.at(t.extra, t.extra_ld)), r);
    at.put(hn::Mul(dn, r), t.dextra, t.extra_ld);
    at.put_gate(dr, t.dgx, 0);
    if (t.dgh) at.put_gate(dr, t.dgh, 0);
  });
}

void GruCandidateGrad(const RnnBackwardTile& t) {
  ForEachPlace<3>(t, [&](const auto& at) HWY_ATTR { GruOutputGrad(at); });
}

/// Sums: gradient of r h_prev.
void GruResetGrad(const RnnBackwardTile& t) {
  ForEachPlace<3>(t, [&](const auto& at) HWY_ATTR {
    const V by_product = at.at(t.sums, t.sums_ld), r = at.gate(t.gates, 0);
    at.put_gate(SigmoidGrad(hn::Mul(by_product, at.state(t.h_prev)), r), t.dgx, 0);
    at.put_state(hn::MulAdd(by_product, r, at.state(t.dh)), t.dh_prev);
  });
}

// In the order of RnnMode.
constexpr RnnKernels kKernels{{TanhForward, ReluForward, LstmForward, GruForward},
                              {TanhBackward, ReluBackward, LstmBackward, GruBackward},
                              GruReset,
                              GruCandidate,
                              GruCandidateGrad,
                              GruResetGrad};
static_assert(static_cast<int>(RnnMode::relu) == 1 && static_cast<int>(RnnMode::lstm) == 2 &&
              static_cast<int>(RnnMode::gru) == 3);

}  // namespace

const RnnKernels* target_rnn_kernels() { return &kKernels; }

}  // namespace HWY_NAMESPACE
}  // namespace gpunn
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gpunn {

HWY_EXPORT(target_rnn_kernels);

const detail::RnnKernels& detail::rnn_kernels() { return *HWY_DYNAMIC_DISPATCH(target_rnn_kernels)(); }

}  // namespace gpunn
#endif
