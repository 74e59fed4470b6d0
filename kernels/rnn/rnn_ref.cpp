#include <algorithm>
#include <cstddef>
#include <vector>

#include "gpunn/kernels/common/ref_access.h"
#include "gpunn/kernels/rnn/rnn_impl.h"
#include "gpunn/kernels/rnn/rnn_step_impl.h"

namespace gpunn {
namespace {

using Values = std::vector<double>;

Values widened(const void* data, DType dtype, std::int64_t n) {
  Values values(static_cast<std::size_t>(n), 0.0);
  if (!data) return values;  // absent: zeros
  for (std::int64_t i = 0; i < n; ++i) values[static_cast<std::size_t>(i)] = load_ref(data, dtype, i);
  return values;
}

/// `value` as it is after a store in `dtype`.
double rounded(DType dtype, double value) {
  double place = 0;
  store_ref(&place, dtype, 0, value);
  return load_ref(&place, dtype, 0);
}

/// An output that nobody may want.
class OptionalOut {
 public:
  OptionalOut(void* data, DType dtype) : data_(data), dtype_(dtype) {}
  void set(std::int64_t i, double value) const {
    if (data_) store_ref(data_, dtype_, i, value);
  }

 private:
  void* data_;
  DType dtype_;
};

double dot(const double* a, const double* b, std::int64_t n) {
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

/// The steps of `s` in the direction's order, or with `back` from its last one to its first.
std::vector<std::int64_t> steps_of(const RnnSizes& s, bool back) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(s.T));
  for (std::int64_t t = 0; t < s.T; ++t) order[static_cast<std::size_t>(t)] = t;
  if (s.reverse != back) std::reverse(order.begin(), order.end());
  return order;
}

/// Forward over the rows; states of sequences that have not begun are the initial ones, those of sequences
/// that have ended stay as they are.
class Forward {
 public:
  explicit Forward(const RnnForwardProblem& p)
      : p_(p),
        H_(p.sizes.H),
        gx_(p.gx, p.dtype),
        y_(p.y, p.dtype),
        gates_(p.gates, p.dtype),
        cells_(p.cells, p.dtype),
        extra_(p.extra, p.dtype),
        w_(widened(p.w_hh, p.dtype, p.sizes.G() * H_ * H_)),
        b_hn_(widened(p.b_hn, p.dtype, H_)),
        h_(widened(p.h0, p.dtype, p.sizes.B * H_)),
        c_(widened(p.c0, p.dtype, p.sizes.B * H_)),
        a_(static_cast<std::size_t>(p.sizes.G() * H_)),
        next_(static_cast<std::size_t>(H_)) {}

  void run() {
    for (const std::int64_t t : steps_of(p_.sizes, false)) {
      const RnnStep step = rnn_step(p_, p_.first_row, t);
      for (std::int64_t b = 0; b < step.batch; ++b) advance(step.row + b, b);
    }
    const OptionalOut hn(p_.hn, p_.dtype), cn(p_.cn, p_.dtype);
    for (std::int64_t i = 0; i < p_.sizes.B * H_; ++i) {
      hn.set(i, h_[static_cast<std::size_t>(i)]);
      cn.set(i, c_[static_cast<std::size_t>(i)]);
    }
  }

 private:
  /// What `state` adds to gate g of unit j.
  double product(std::int64_t g, std::int64_t j, const double* state) const {
    return dot(w_.data() + (g * H_ + j) * H_, state, H_);
  }

  void advance(std::int64_t row, std::int64_t b) {
    double* const h = h_.data() + b * H_;
    double* const c = c_.data() + b * H_;
    const std::int64_t G = p_.sizes.G(), products = p_.sizes.mode == RnnMode::gru ? 2 : G;
    for (std::int64_t i = 0; i < G * H_; ++i) {
      a_[static_cast<std::size_t>(i)] = gx_[row * G * H_ + i];
      if (i < products * H_) a_[static_cast<std::size_t>(i)] += product(i / H_, i % H_, h);
    }
    if (p_.sizes.mode == RnnMode::gru)
      gru(row, h);
    else
      for (std::int64_t j = 0; j < H_; ++j)
        next_[static_cast<std::size_t>(j)] = p_.sizes.mode == RnnMode::lstm ? lstm(row, j, c[j]) : plain(j);
    for (std::int64_t j = 0; j < H_; ++j) {
      y_.set(row * H_ + j, next_[static_cast<std::size_t>(j)]);
      h[j] = y_[row * H_ + j];
    }
  }

  double sum(std::int64_t g, std::int64_t j) const { return a_[static_cast<std::size_t>(g * H_ + j)]; }

  double plain(std::int64_t j) const {
    const double a = sum(0, j);
    if (p_.sizes.mode == RnnMode::tanh) return std::tanh(a);
    return a < 0 ? 0 : a;  // a NaN stays one
  }

  double lstm(std::int64_t row, std::int64_t j, double& c) const {
    const LstmUnit<double> u = lstm_unit(sum(0, j), sum(1, j), sum(2, j), sum(3, j), c);
    keep(row, j, {u.i, u.f, u.g, u.o});
    cells_.set(row * H_ + j, u.c);
    c = u.c;
    return u.h;
  }

  void gru(std::int64_t row, const double* h) {
    const bool after = p_.sizes.reset_after;
    Values reset(h, h + H_);
    if (!after)
      for (std::int64_t j = 0; j < H_; ++j) {
        double& value = reset[static_cast<std::size_t>(j)];
        value = rounded(p_.dtype, rnn_sigmoid(sum(0, j)) * h[j]);
        extra_.set(row * H_ + j, value);
      }
    for (std::int64_t j = 0; j < H_; ++j) {
      const double hn = product(2, j, reset.data()) + b_hn_[static_cast<std::size_t>(j)];
      if (after) extra_.set(row * H_ + j, hn);
      const GruUnit<double> u =
          gru_unit(sum(0, j), sum(1, j), sum(2, j) + (after ? 0 : hn), after ? hn : 0, h[j]);
      keep(row, j, {u.r, u.z, u.n});
      next_[static_cast<std::size_t>(j)] = u.h;
    }
  }

  void keep(std::int64_t row, std::int64_t j, std::initializer_list<double> gates) const {
    std::int64_t g = 0;
    for (const double gate : gates) gates_.set((row * p_.sizes.G() + g++) * H_ + j, gate);
  }

  const RnnForwardProblem& p_;
  std::int64_t H_;
  RefIn gx_;
  RefOut y_;
  OptionalOut gates_, cells_, extra_;
  Values w_, b_hn_;
  Values h_, c_;     // [B, H]
  Values a_, next_;  // of one row: sums before the non-linearities, h
};

class Back {
 public:
  explicit Back(const RnnBackwardProblem& p)
      : p_(p),
        H_(p.sizes.H),
        h0_(p.h0, p.dtype),
        c0_(p.c0, p.dtype),
        y_(p.y, p.dtype),
        gates_(p.gates, p.dtype),
        cells_(p.cells, p.dtype),
        extra_(p.extra, p.dtype),
        dgx_(p.dgx, p.dtype),
        dextra_(p.dextra, p.dtype),
        w_(widened(p.w_hh, p.dtype, p.sizes.G() * H_ * H_)),
        dh_(widened(p.dhn, p.dtype, p.sizes.B * H_)),
        dc_(widened(p.dcn, p.dtype, p.sizes.B * H_)),
        d_(static_cast<std::size_t>(p.sizes.G() * H_)),
        direct_(static_cast<std::size_t>(H_)) {}

  void run() {
    for (const std::int64_t t : steps_of(p_.sizes, true)) {
      const RnnStep step = rnn_step(p_, p_.first_row, t);
      for (std::int64_t b = 0; b < step.batch; ++b) retreat(step.row + b, b, previous(t, b));
    }
    const OptionalOut dh0(p_.dh0, p_.dtype), dc0(p_.dc0, p_.dtype);
    for (std::int64_t i = 0; i < p_.sizes.B * H_; ++i) {
      dh0.set(i, dh_[static_cast<std::size_t>(i)]);
      dc0.set(i, dc_[static_cast<std::size_t>(i)]);
    }
  }

 private:
  /// Row of sequence b one step before in the direction, -1: it begins at t.
  std::int64_t previous(std::int64_t t, std::int64_t b) const {
    const std::int64_t before = p_.sizes.reverse ? t + 1 : t - 1;
    if (before < 0 || before >= p_.sizes.T) return -1;
    const RnnStep step = rnn_step(p_, p_.first_row, before);
    return b < step.batch ? step.row + b : -1;
  }

  void retreat(std::int64_t row, std::int64_t b, std::int64_t before) {
    double* const dh = dh_.data() + b * H_;
    for (std::int64_t j = 0; p_.dy && j < H_; ++j) dh[j] += load_ref(p_.dy, p_.dtype, row * H_ + j);
    for (std::int64_t j = 0; j < H_; ++j) {
      const double h_prev = before < 0 ? h0_[b * H_ + j] : y_[before * H_ + j];
      switch (p_.sizes.mode) {
        case RnnMode::lstm:
          lstm(row, j, before < 0 ? c0_[b * H_ + j] : cells_[before * H_ + j], dh[j],
               dc_[static_cast<std::size_t>(b * H_ + j)]);
          break;
        case RnnMode::gru:
          gru(row, j, h_prev, dh[j]);
          break;
        default:
          plain(row, j, dh[j]);
      }
    }
    if (p_.sizes.mode == RnnMode::gru && !p_.sizes.reset_after) reset_before(row, b, before);
    // Through the products, from what was stored. The product of r h_prev is behind already.
    const std::int64_t products = p_.sizes.mode == RnnMode::gru && !p_.sizes.reset_after ? 2 : p_.sizes.G();
    for (std::int64_t k = 0; k < H_; ++k)
      dh[k] = direct_[static_cast<std::size_t>(k)] + through(0, products, k);
  }

  /// What unit k adds to gates [g0, g1), backwards.
  double through(std::int64_t g0, std::int64_t g1, std::int64_t k) const {
    double sum = 0;
    for (std::int64_t i = g0 * H_; i < g1 * H_; ++i)
      sum += w_[static_cast<std::size_t>(i * H_ + k)] * d_[static_cast<std::size_t>(i)];
    return sum;
  }

  void set(std::int64_t row, std::int64_t j, std::int64_t g, double value) {
    const std::int64_t at = (row * p_.sizes.G() + g) * H_ + j;
    dgx_.set(at, value);
    d_[static_cast<std::size_t>(g * H_ + j)] = dgx_[at];
  }
  double gate(std::int64_t row, std::int64_t j, std::int64_t g) const {
    return gates_[(row * p_.sizes.G() + g) * H_ + j];
  }

  void plain(std::int64_t row, std::int64_t j, double dh) {
    const double y = y_[row * H_ + j];
    set(row, j, 0, p_.sizes.mode == RnnMode::tanh ? dh * (1 - y * y) : y > 0 ? dh : 0);
    direct_[static_cast<std::size_t>(j)] = 0;
  }

  void lstm(std::int64_t row, std::int64_t j, double c_prev, double dh, double& dc) {
    const LstmUnit<double> u{gate(row, j, 0), gate(row, j, 1),      gate(row, j, 2),
                             gate(row, j, 3), cells_[row * H_ + j], 0};
    const LstmUnitGrad<double> d = lstm_unit_grad(u, c_prev, dh, dc);
    set(row, j, 0, d.di);
    set(row, j, 1, d.df);
    set(row, j, 2, d.dg);
    set(row, j, 3, d.d_o);
    dc = d.dc_prev;
    direct_[static_cast<std::size_t>(j)] = 0;
  }

  void gru(std::int64_t row, std::int64_t j, double h_prev, double dh) {
    const GruUnit<double> u{gate(row, j, 0), gate(row, j, 1), gate(row, j, 2), 0};
    const GruUnitGrad<double> d = gru_unit_grad(u, extra_[row * H_ + j], h_prev, dh);
    set(row, j, 1, d.dz);
    set(row, j, 2, d.dn);
    direct_[static_cast<std::size_t>(j)] = d.dh_prev;
    if (!p_.sizes.reset_after) return;  // r waits for the product
    set(row, j, 0, d.dr);
    dextra_.set(row * H_ + j, d.dhn);
    d_[static_cast<std::size_t>(2 * H_ + j)] = dextra_[row * H_ + j];
  }

  void reset_before(std::int64_t row, std::int64_t b, std::int64_t before) {
    for (std::int64_t j = 0; j < H_; ++j) {
      const double h_prev = before < 0 ? h0_[b * H_ + j] : y_[before * H_ + j];
      const double r = gate(row, j, 0), d_reset = through(2, 3, j);
      set(row, j, 0, d_reset * h_prev * r * (1 - r));
      direct_[static_cast<std::size_t>(j)] += d_reset * r;
    }
  }

  const RnnBackwardProblem& p_;
  std::int64_t H_;
  RefIn h0_, c0_, y_, gates_, cells_, extra_;
  RefOut dgx_, dextra_;
  Values w_;
  Values dh_, dc_;     // [B, H]: what reaches the states from later steps
  Values d_, direct_;  // of one row: as stored and multiplied with w_hh; around the products
};

}  // namespace

void rnn_fwd_ref(const RnnForwardProblem& p, const Exec&) { Forward(p).run(); }
void rnn_bwd_ref(const RnnBackwardProblem& p, const Exec&) { Back(p).run(); }

void rnn_cell_fwd_ref(const RnnCellProblem& p, const Exec&) {
  const std::int64_t G = gates_of(p.mode), H = p.H;
  const RefIn gx(p.gx, p.dtype), gh(p.gh, p.dtype), h(p.h, p.dtype), c(p.c, p.dtype);
  const OptionalOut h_next(p.h_next, p.dtype), c_next(p.c_next, p.dtype), gates(p.gates, p.dtype);
  for (std::int64_t i = 0; i < p.B * H; ++i) {
    const std::int64_t at = i / H * G * H + i % H;
    const auto sum = [&](std::int64_t g) { return gx[at + g * H] + gh[at + g * H]; };
    if (p.mode == RnnMode::lstm) {
      const LstmUnit<double> u = lstm_unit(sum(0), sum(1), sum(2), sum(3), c[i]);
      h_next.set(i, u.h);
      c_next.set(i, u.c);
      std::int64_t g = 0;
      for (const double gate : {u.i, u.f, u.g, u.o}) gates.set(at + g++ * H, gate);
    } else {
      const GruUnit<double> u = gru_unit(sum(0), sum(1), gx[at + 2 * H], gh[at + 2 * H], h[i]);
      h_next.set(i, u.h);
      std::int64_t g = 0;
      for (const double gate : {u.r, u.z, u.n}) gates.set(at + g++ * H, gate);
    }
  }
}

void rnn_cell_bwd_ref(const RnnCellBackwardProblem& p, const Exec&) {
  const std::int64_t G = gates_of(p.mode), H = p.H;
  const RefIn gates(p.gates, p.dtype), gh(p.gh, p.dtype), h(p.h, p.dtype), c(p.c, p.dtype),
      c_next(p.c_next, p.dtype);
  const RefOut dgx(p.dgx, p.dtype), dgh(p.dgh, p.dtype), dh(p.dh, p.dtype), dc(p.dc, p.dtype);
  for (std::int64_t i = 0; i < p.B * H; ++i) {
    const std::int64_t at = i / H * G * H + i % H;
    const auto gate = [&](std::int64_t g) { return gates[at + g * H]; };
    const double dh_next = p.dh_next ? load_ref(p.dh_next, p.dtype, i) : 0;
    if (p.mode == RnnMode::lstm) {
      const LstmUnit<double> u{gate(0), gate(1), gate(2), gate(3), c_next[i], 0};
      const LstmUnitGrad<double> d =
          lstm_unit_grad(u, c[i], dh_next, p.dc_next ? load_ref(p.dc_next, p.dtype, i) : 0);
      std::int64_t g = 0;
      for (const double slope : {d.di, d.df, d.dg, d.d_o}) dgx.set(at + g++ * H, slope);
      dc.set(i, d.dc_prev);
      continue;
    }
    const GruUnit<double> u{gate(0), gate(1), gate(2), 0};
    const GruUnitGrad<double> d = gru_unit_grad(u, gh[at + 2 * H], h[i], dh_next);
    std::int64_t g = 0;
    for (const double slope : {d.dr, d.dz, d.dn}) dgx.set(at + g++ * H, slope);
    g = 0;
    for (const double slope : {d.dr, d.dz, d.dhn}) dgh.set(at + g++ * H, slope);
    dh.set(i, d.dh_prev);
  }
}

}  // namespace gpunn
