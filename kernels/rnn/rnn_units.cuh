#pragma once
// One unit of one sequence at one step, after its product: reads what belongs to it, applies rnn_step_impl.h,
// writes what forward or backward owes.
#include "gpunn/kernels/common/convert.cuh"
#include "gpunn/kernels/rnn/rnn_rows_impl.h"
#include "gpunn/kernels/rnn/rnn_step_impl.h"

namespace gpunn {

inline constexpr int kLstmGates = 4, kGruGates = 3;

template <class T, class P>
class RnnUnit {
 public:
  GPUNN_DEVICE RnnUnit(const P& p, const RnnRows& rows, std::int64_t b, std::int64_t j)
      : p_(p),
        rows_(rows),
        b_(b),
        j_(j),
        row_((rows.now.row + b) * p.sizes.H + j),
        state_(b * p.sizes.H + j) {}

  GPUNN_DEVICE bool begins() const { return b_ >= rows_.before.batch; }
  GPUNN_DEVICE bool ends() const { return b_ >= rows_.next.batch; }
  /// Index in an array [B, H] of states.
  GPUNN_DEVICE std::int64_t state() const { return state_; }
  GPUNN_DEVICE float h_prev() const { return begins() ? get(p_.h0, state_) : get(p_.y, before()); }

 protected:
  GPUNN_DEVICE static float get(const void* from, std::int64_t i) {
    return to_float(static_cast<const T*>(from)[i]);
  }
  GPUNN_DEVICE static void put(void* to, std::int64_t i, float v) {
    static_cast<T*>(to)[i] = from_float<T>(v);
  }
  GPUNN_DEVICE std::int64_t before() const { return (rows_.before.row + b_) * p_.sizes.H + j_; }
  /// Index in an array [rows, G, H].
  GPUNN_DEVICE std::int64_t gate(int g) const {
    return ((rows_.now.row + b_) * p_.sizes.G() + g) * p_.sizes.H + j_;
  }

  const P& p_;
  const RnnRows& rows_;
  std::int64_t b_, j_;
  std::int64_t row_;    // index in an array [rows, H]
  std::int64_t state_;  // and in one [B, H]
};

/// `x`: the inputs' sums, `a`: the states' ones.
template <class T>
class RnnForwardUnit : public RnnUnit<T, RnnForwardProblem> {
  using Base = RnnUnit<T, RnnForwardProblem>;
  using Base::b_, Base::get, Base::j_, Base::p_, Base::put, Base::row_, Base::state_;

 public:
  using Base::Base, Base::gate;

  template <int kGates>
  GPUNN_DEVICE void load_x(float (&x)[kGates], int first_gate = 0) const {
    GPUNN_UNROLL
    for (int g = 0; g < kGates; ++g) x[g] = get(p_.gx, gate(first_gate + g));
  }
  GPUNN_DEVICE float c_first() const { return get(p_.c0, state_); }

  GPUNN_DEVICE void plain(const float (&x)[1], const float (&a)[1]) const {
    const float sum = x[0] + a[0];
    deliver(p_.sizes.mode == RnnMode::tanh ? std::tanh(sum) : sum < 0.0f ? 0.0f : sum);
  }
  /// Returns c.
  GPUNN_DEVICE float lstm(const float (&x)[4], const float (&a)[4], float c_prev) const {
    const auto u = lstm_unit(x[0] + a[0], x[1] + a[1], x[2] + a[2], x[3] + a[3], c_prev);
    keep(0, u.i);
    keep(1, u.f);
    keep(2, u.g);
    keep(3, u.o);
    if (p_.cells) put(p_.cells, row_, u.c);
    if (this->ends()) put(p_.cn, state_, u.c);
    deliver(u.h);
    return u.c;
  }
  GPUNN_DEVICE void gru(const float (&x)[3], const float (&a)[3]) const {
    const float hn = a[2] + bias();
    const auto u = gru_unit(x[0] + a[0], x[1] + a[1], x[2], hn, this->h_prev());
    keep(0, u.r);
    keep(1, u.z);
    keep(2, u.n);
    if (p_.extra) put(p_.extra, row_, hn);
    deliver(u.h);
  }
  /// GRU with the reset before the product, first half: r h_prev to `reset` [rows of the step, H]; returns z.
  GPUNN_DEVICE float gru_reset(const float (&x)[2], const float (&a)[2], void* reset) const {
    const float r = rnn_sigmoid(x[0] + a[0]), z = rnn_sigmoid(x[1] + a[1]);
    keep(0, r);
    keep(1, z);
    put(reset, state_, r * this->h_prev());
    return z;
  }
  GPUNN_DEVICE void gru_candidate(const float (&x)[1], const float (&a)[1], float z) const {
    const float n = std::tanh(x[0] + a[0] + bias());
    keep(2, n);
    deliver(n + z * (this->h_prev() - n));
  }

 private:
  GPUNN_DEVICE float bias() const { return p_.b_hn ? get(p_.b_hn, j_) : 0.0f; }
  GPUNN_DEVICE void keep(int g, float v) const {
    if (p_.gates) put(p_.gates, gate(g), v);
  }
  GPUNN_DEVICE void deliver(float h) const {
    put(p_.y, row_, h);
    if (this->ends()) put(p_.hn, state_, h);
  }
};

/// What backward reads of a unit; none of it depends on other units' gradients, so it can be on its way while
/// the product is summed.
struct RnnSaved {
  float dh, dc;  // from outside
  float gates[4];
  float now, before;  // lstm c, else h
  float extra;
};

/// `carry`: where lstm's dc, or gru's part of dh that meets no product, goes from step to step, f32; null for
/// the others.
template <class T>
class RnnBackwardUnit : public RnnUnit<T, RnnBackwardProblem> {
  using Base = RnnUnit<T, RnnBackwardProblem>;
  using Base::b_, Base::get, Base::p_, Base::put, Base::row_, Base::rows_, Base::state_;

 public:
  using Base::Base, Base::gate;

  GPUNN_DEVICE RnnSaved load() const {
    RnnSaved u{};
    if (b_ >= rows_.now.batch) return u;
    const RnnMode mode = p_.sizes.mode;
    const bool lstm = mode == RnnMode::lstm, gru = mode == RnnMode::gru;
    if (this->ends()) {
      u.dh = optional(p_.dhn, state_);
      if (lstm) u.dc = optional(p_.dcn, state_);
    }
    u.dh += optional(p_.dy, row_);
    u.now = get(lstm ? p_.cells : p_.y, row_);
    if (!lstm && !gru) return u;
    GPUNN_UNROLL
    for (int g = 0; g < kLstmGates; ++g)
      if (g < kGruGates || lstm) u.gates[g] = get(p_.gates, gate(g));
    if (gru) {
      u.before = this->h_prev();
      if (p_.sizes.reset_after) u.extra = get(p_.extra, row_);
    } else {
      u.before = this->begins() ? get(p_.c0, state_) : get(p_.cells, this->before());
    }
    return u;
  }

  /// `product`: the next step's gradients times w_hh, 0 where there is none; `saved`: from load().
  GPUNN_DEVICE void step(float product, const RnnSaved& saved, float* carry) const {
    if (b_ >= rows_.now.batch) return initial(product, carry);
    const float dh = this->ends() ? saved.dh : saved.dh + product;
    switch (p_.sizes.mode) {
      case RnnMode::lstm:
        return lstm(saved, dh, this->ends() ? saved.dc : *carry, carry);
      case RnnMode::gru:
        return gru(saved, this->ends() ? dh : dh + *carry, carry);
      case RnnMode::tanh:
        return put(p_.dgx, gate(0), dh * (1.0f - saved.now * saved.now));
      default:
        return put(p_.dgx, gate(0), saved.now > 0.0f ? dh : 0.0f);
    }
  }
  /// GRU with the reset before the product, second half; `product`: dn times w_hn, the gradient of r h_prev.
  GPUNN_DEVICE void gru_reset(float product, float* carry) const {
    const float r = get(p_.gates, gate(0));
    put(p_.dgx, gate(0), product * this->h_prev() * r * (1.0f - r));
    *carry += product * r;
  }

 private:
  GPUNN_DEVICE static float optional(const void* from, std::int64_t i) { return from ? get(from, i) : 0.0f; }
  /// The sequence began at the next step: its gradients of the initial states.
  GPUNN_DEVICE void initial(float product, const float* carry) const {
    put(p_.dh0, state_, p_.sizes.mode == RnnMode::gru ? product + *carry : product);
    if (p_.sizes.mode == RnnMode::lstm) put(p_.dc0, state_, *carry);
  }
  GPUNN_DEVICE void lstm(const RnnSaved& s, float dh, float dc, float* carry) const {
    const LstmUnit<float> u{s.gates[0], s.gates[1], s.gates[2], s.gates[3], s.now, 0.0f};
    const auto d = lstm_unit_grad(u, s.before, dh, dc);
    put(p_.dgx, gate(0), d.di);
    put(p_.dgx, gate(1), d.df);
    put(p_.dgx, gate(2), d.dg);
    put(p_.dgx, gate(3), d.d_o);
    *carry = d.dc_prev;
  }
  GPUNN_DEVICE void gru(const RnnSaved& s, float dh, float* carry) const {
    const GruUnit<float> u{s.gates[0], s.gates[1], s.gates[2], 0.0f};
    const auto d = gru_unit_grad(u, s.extra, s.before, dh);
    if (p_.sizes.reset_after) {  // else r's gradient comes with gru_reset()
      put(p_.dgx, gate(0), d.dr);
      put(p_.dextra, row_, d.dhn);
    }
    put(p_.dgx, gate(1), d.dz);
    put(p_.dgx, gate(2), d.dn);
    *carry = d.dh_prev;
  }
};

}  // namespace gpunn
