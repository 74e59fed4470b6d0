// A whole layer, plainly: the product of the inputs, the steps by their own reference, and products over all
// rows for what is left of the gradients. Rounds where rnn_sequence() stores.
#include <vector>

#include "gpunn/kernels/common/ref_access.h"
#include "gpunn/kernels/rnn/rnn_layer_impl.h"

namespace gpunn {
namespace {

/// Zeros in any floating dtype.
class Buffer {
 public:
  Buffer(DType dtype, std::int64_t n) : data_(static_cast<std::size_t>(n), 0.0), dtype_(dtype) {}
  void* data() { return data_.data(); }
  const void* data() const { return data_.data(); }
  double operator[](std::int64_t i) const { return load_ref(data_.data(), dtype_, i); }
  void set(std::int64_t i, double value) { store_ref(data_.data(), dtype_, i, value); }

 private:
  std::vector<double> data_;
  DType dtype_;
};

/// What the steps leave and read, for both directions.
template <class P>
class Steps {
 public:
  explicit Steps(const P& p)
      : p_(p),
        s_(p.sizes),
        gx(p.dtype, s_.rows * s_.G() * s_.H),
        zeros(p.dtype, s_.B * s_.H),
        y(p.dtype, s_.rows * s_.H),
        hn(p.dtype, s_.B * s_.H),
        cn(p.dtype, s_.B * s_.H),
        gates(p.dtype, s_.rows * s_.G() * s_.H),
        cells(p.dtype, s_.rows * s_.H),
        extra(p.dtype, s_.rows * s_.H) {}

  void multiply_inputs() {
    const RefIn x(p_.x, p_.dtype), w(p_.w_ih, p_.dtype), b_ih(p_.b_ih, p_.dtype), b_hh(p_.b_hh, p_.dtype);
    const std::int64_t gates_n = s_.G() * s_.H, own = s_.mode == RnnMode::gru ? 2 * s_.H : gates_n;
    for (std::int64_t row = 0; row < s_.rows; ++row)
      for (std::int64_t i = 0; i < gates_n; ++i) {
        double sum = 0;
        for (std::int64_t k = 0; k < p_.K; ++k) sum += x[row * p_.K + k] * w[i * p_.K + k];
        if (p_.b_ih) sum += b_ih[i] + (i < own ? b_hh[i] : 0);
        gx.set(row * gates_n + i, sum);
      }
  }

  /// Forward; y and the last states into `to` where they are wanted.
  void forward(void* y_to, void* hn_to, void* cn_to, bool keep) {
    RnnForwardProblem f{};
    f.dtype = p_.dtype, f.sizes = s_;
    f.gx = gx.data(), f.w_hh = p_.w_hh, f.b_hn = b_hn();
    f.h0 = h0(), f.c0 = c0();
    f.first_row = f.host_first_row = p_.host_first_row;
    f.y = y_to, f.hn = hn_to, f.cn = s_.has_cells() ? cn_to : nullptr;
    if (keep && s_.G() > 1) f.gates = gates.data();
    if (keep && s_.has_cells()) f.cells = cells.data();
    if (keep && s_.has_extra()) f.extra = extra.data();
    rnn_fwd_ref(f, {});
  }

  const void* h0() const { return p_.h0 ? p_.h0 : zeros.data(); }
  const void* c0() const { return !s_.has_cells() ? nullptr : p_.c0 ? p_.c0 : zeros.data(); }

 private:
  const void* b_hn() const {
    if (s_.mode != RnnMode::gru || !p_.b_hh) return nullptr;
    return static_cast<const char*>(p_.b_hh) + static_cast<std::size_t>(2 * s_.H) * size_of(p_.dtype);
  }

  const P& p_;
  const RnnSizes& s_;

 public:
  Buffer gx, zeros, y, hn, cn, gates, cells, extra;
};

/// For every row that of its sequence one step before in the direction, or -1 - b where sequence b begins.
std::vector<std::int64_t> previous_rows(const RnnLayerBackwardProblem& p) {
  std::vector<std::int64_t> previous(static_cast<std::size_t>(p.sizes.rows));
  for (std::int64_t t = 0; t < p.sizes.T; ++t) {
    const RnnStep step = rnn_step(p, p.host_first_row, t);
    const std::int64_t before = p.sizes.reverse ? t + 1 : t - 1;
    const RnnStep other =
        before < 0 || before >= p.sizes.T ? RnnStep{0, 0} : rnn_step(p, p.host_first_row, before);
    for (std::int64_t b = 0; b < step.batch; ++b)
      previous[static_cast<std::size_t>(step.row + b)] = b < other.batch ? other.row + b : -1 - b;
  }
  return previous;
}

/// The gradients that are products and sums over all rows.
class Products {
 public:
  Products(const RnnLayerBackwardProblem& p, const Steps<RnnLayerBackwardProblem>& steps, const Buffer& dgx,
           const Buffer& dextra)
      : p_(p), s_(p.sizes), steps_(steps), dgx_(dgx), dextra_(dextra), n_(s_.G() * s_.H) {}

  void inputs() const {
    const RefIn w(p_.w_ih, p_.dtype);
    const RefOut dx(p_.dx, p_.dtype);
    for (std::int64_t row = 0; row < s_.rows; ++row)
      for (std::int64_t k = 0; k < p_.K; ++k) {
        double sum = 0;
        for (std::int64_t i = 0; i < n_; ++i) sum += dgx_[row * n_ + i] * w[i * p_.K + k];
        dx.set(row * p_.K + k, sum);
      }
  }

  void weights() const {
    const RefIn x(p_.x, p_.dtype), h0(steps_.h0(), p_.dtype);
    const RefOut dw_ih(p_.dw_ih, p_.dtype), dw_hh(p_.dw_hh, p_.dtype);
    const std::vector<std::int64_t> previous = previous_rows(p_);
    for (std::int64_t i = 0; i < n_; ++i) {
      for (std::int64_t k = 0; k < p_.K; ++k)
        dw_ih.set(i * p_.K + k,
                  over_rows([&](std::int64_t row) { return dgx_[row * n_ + i] * x[row * p_.K + k]; }));
      for (std::int64_t k = 0; k < s_.H; ++k)
        dw_hh.set(i * s_.H + k, over_rows([&](std::int64_t row) {
                    const std::int64_t before = previous[static_cast<std::size_t>(row)];
                    if (reset_before(i)) return dgx_[row * n_ + i] * steps_.extra[row * s_.H + k];
                    return recurrent(row, i) *
                           (before < 0 ? h0[(-1 - before) * s_.H + k] : steps_.y[before * s_.H + k]);
                  }));
    }
  }

  void biases() const {
    const RefOut db_ih(p_.db_ih, p_.dtype), db_hh(p_.db_hh, p_.dtype);
    for (std::int64_t i = 0; i < n_; ++i) {
      db_ih.set(i, over_rows([&](std::int64_t row) { return dgx_[row * n_ + i]; }));
      db_hh.set(i, over_rows([&](std::int64_t row) { return recurrent(row, i); }));
    }
  }

 private:
  template <class F>
  double over_rows(F&& f) const {
    double sum = 0;
    for (std::int64_t row = 0; row < s_.rows; ++row) sum += f(row);
    return sum;
  }
  bool is_candidate(std::int64_t i) const { return s_.mode == RnnMode::gru && i >= 2 * s_.H; }
  bool reset_before(std::int64_t i) const { return is_candidate(i) && !s_.reset_after; }
  /// What reached the recurrent product of gate and unit i.
  double recurrent(std::int64_t row, std::int64_t i) const {
    return is_candidate(i) && s_.reset_after ? dextra_[row * s_.H + i - 2 * s_.H] : dgx_[row * n_ + i];
  }

  const RnnLayerBackwardProblem& p_;
  const RnnSizes& s_;
  const Steps<RnnLayerBackwardProblem>& steps_;
  const Buffer &dgx_, &dextra_;
  std::int64_t n_;
};

}  // namespace

void rnn_layer_fwd_ref(const RnnLayerForwardProblem& p, const Exec&) {
  Steps<RnnLayerForwardProblem> steps(p);
  steps.multiply_inputs();
  steps.forward(p.y, p.hn, p.cn, false);
}

void rnn_layer_bwd_ref(const RnnLayerBackwardProblem& p, const Exec&) {
  const RnnSizes& s = p.sizes;
  Steps<RnnLayerBackwardProblem> steps(p);
  steps.multiply_inputs();
  steps.forward(steps.y.data(), steps.hn.data(), steps.cn.data(), true);
  Buffer dgx(p.dtype, s.rows * s.G() * s.H), dextra(p.dtype, s.rows * s.H);
  RnnBackwardProblem b{};
  b.dtype = p.dtype, b.sizes = s;
  b.dy = p.dy, b.dhn = p.dhn, b.dcn = p.dcn;
  b.w_hh = p.w_hh, b.h0 = steps.h0(), b.c0 = steps.c0(), b.y = steps.y.data();
  b.gates = s.G() > 1 ? steps.gates.data() : nullptr;
  b.cells = s.has_cells() ? steps.cells.data() : nullptr;
  b.extra = s.has_extra() ? steps.extra.data() : nullptr;
  b.first_row = b.host_first_row = p.host_first_row;
  b.dgx = dgx.data(), b.dextra = s.has_extra() && s.reset_after ? dextra.data() : nullptr;
  b.dh0 = p.dh0, b.dc0 = p.dc0;
  rnn_bwd_ref(b, {});
  const Products products(p, steps, dgx, dextra);
  products.inputs();
  if (!p.dw_ih) return;
  products.weights();
  if (p.b_ih) products.biases();
}

}  // namespace gpunn
