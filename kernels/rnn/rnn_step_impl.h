#pragma once
// The arithmetic of one unit and one step, written once for the reference (double), the cells and the device
// (float). `F` is the type that sums are kept in.

#include <cmath>

#include "gpunn/core/hd.h"

namespace gpunn {

template <class F>
GPUNN_HD F rnn_sigmoid(F a) {
  // exp of a positive number may overflow; of a negative one it may only vanish.
  const F e = std::exp(a < 0 ? a : -a);
  return (a < 0 ? e : F(1)) / (F(1) + e);
}

template <class F>
struct LstmUnit {
  F i, f, g, o;  // after the non-linearities
  F c, h;
};

/// `i f g o`: sums before the non-linearities.
template <class F>
GPUNN_HD LstmUnit<F> lstm_unit(F i, F f, F g, F o, F c_prev) {
  LstmUnit<F> u{rnn_sigmoid(i), rnn_sigmoid(f), std::tanh(g), rnn_sigmoid(o), F(0), F(0)};
  u.c = u.f * c_prev + u.i * u.g;
  u.h = u.o * std::tanh(u.c);
  return u;
}

template <class F>
struct LstmUnitGrad {
  F di, df, dg, d_o;  // by the sums
  F dc_prev;
};

/// `u` as stored by forward (c too), `dc`: what reaches c_t from later steps.
template <class F>
GPUNN_HD LstmUnitGrad<F> lstm_unit_grad(const LstmUnit<F>& u, F c_prev, F dh, F dc) {
  const F tanh_c = std::tanh(u.c);
  const F through = dc + dh * u.o * (F(1) - tanh_c * tanh_c);
  return {through * u.g * u.i * (F(1) - u.i), through * c_prev * u.f * (F(1) - u.f),
          through * u.i * (F(1) - u.g * u.g), dh * tanh_c * u.o * (F(1) - u.o), through * u.f};
}

template <class F>
struct GruUnit {
  F r, z, n;  // after the non-linearities
  F h;
};

/// `hn`: what h_prev adds to n, bias included (reset_after).
template <class F>
GPUNN_HD GruUnit<F> gru_unit(F r, F z, F n, F hn, F h_prev) {
  GruUnit<F> u{rnn_sigmoid(r), rnn_sigmoid(z), F(0), F(0)};
  u.n = std::tanh(n + u.r * hn);
  u.h = u.n + u.z * (h_prev - u.n);
  return u;
}

template <class F>
struct GruUnitGrad {
  F dr, dz, dn;  // by the sums; dn by x's part of n
  F dhn;         // by hn
  F dh_prev;     // directly, not through the products
};

template <class F>
GPUNN_HD GruUnitGrad<F> gru_unit_grad(const GruUnit<F>& u, F hn, F h_prev, F dh) {
  const F dn = dh * (F(1) - u.z) * (F(1) - u.n * u.n);
  return {dn * hn * u.r * (F(1) - u.r), dh * (h_prev - u.n) * u.z * (F(1) - u.z), dn, dn * u.r, dh * u.z};
}

}  // namespace gpunn
